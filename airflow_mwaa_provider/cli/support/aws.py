# SPDX-License-Identifier: Apache-2.0
"""How commands reach AWS: the common options, and the boto3 session that they configure."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.errors import error_text, fail, mwaa_errors_in_one_line, unended
from airflow_mwaa_provider.cli.support.interrupts import signals_as_interrupts
from airflow_mwaa_provider.cli.support.output import nearest_to
from airflow_mwaa_provider.cli.support.warnings_shown import show_warnings
from airflow_mwaa_provider.exceptions import AccessDenied, EnvironmentNotFound, MwaaError, MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane

region_option = click.option(
    "--region", envvar="AWS_REGION", help="AWS region. Default: AWS_REGION, or that of the profile."
)
profile_option = click.option("--profile", help="AWS profile. Default: AWS_PROFILE, or what boto3 finds.")


@dataclass(frozen=True)
class Aws:
    """The account and region that the options of a command name. Makes no calls."""

    region: str | None = None
    profile: str | None = None

    def s3(self) -> Any:
        """Return an S3 client."""
        return self.client("s3")

    def client(self, service: str, *, attempts: int = 4) -> Any:
        """Return a client of another service.

        :param service: its name in boto3.
        :param attempts: how often boto3 tries a call; 1 where the caller retries.
        """
        from botocore.config import Config

        bounds = Config(connect_timeout=10, read_timeout=60, retries={"total_max_attempts": attempts})
        return self.session.client(service, config=bounds)

    def control_plane(self, endpoint_url: str | None = None) -> ControlPlane:
        """Return a client of the MWAA API."""
        from airflow_mwaa_provider.client.aws.control_plane import ControlPlane

        return ControlPlane(self.session, endpoint_url=endpoint_url)

    @contextlib.contextmanager
    def naming_the_nearest_environment(self, endpoint_url: str | None = None) -> Iterator[None]:
        """Add the nearest names to the error of an environment that was not found, where the role may list them."""
        try:
            yield
        except EnvironmentNotFound as error:
            hint = None
            with contextlib.suppress(MwaaError):
                known = self.control_plane(endpoint_url).list_environments()
                hint = nearest_to("environment", error.env_name or "", known)
            if hint is None:
                raise
            fail(f"{error_text(error)} {hint}")

    @functools.cached_property
    def session(self) -> Any:
        """The boto3 session.

        :raises MwaaInputError: the profile does not exist, or no region is configured.
        :raises AccessDenied: there are no credentials.
        """
        import boto3
        from botocore.exceptions import BotoCoreError, ProfileNotFound

        try:
            session = boto3.Session(profile_name=self.profile, region_name=self.region)
            region, credentials = session.region_name, session.get_credentials()
        except ProfileNotFound as error:
            raise MwaaInputError(
                f"{unended(error)}. Use another one (--profile or AWS_PROFILE), or create it: aws configure "
                "--profile NAME."
            ) from None
        except BotoCoreError as error:
            raise AccessDenied(
                f"The AWS credentials cannot be loaded: {unended(error)}. Check the AWS profile."
            ) from None
        if not region:
            raise MwaaInputError("No AWS region is configured. Use --region, or set AWS_REGION.")
        if credentials is None:
            raise AccessDenied(
                "No AWS credentials were found. Use --profile, set AWS_PROFILE, or log in: aws sso login, aws "
                'configure. For the local MWAA: eval "$(airflow-mwaa local env)".'
            )
        return session


def aws_command(command: Callable[..., None]) -> Callable[..., None]:
    """Add the AWS options to a command, and pass it an :class:`Aws` as its first argument."""

    @functools.wraps(command)
    def wrapper(*, region: str | None, profile: str | None, **own: Any) -> None:
        with show_warnings(), signals_as_interrupts():
            try:
                aws = Aws(region, profile)
                with aws.naming_the_nearest_environment():
                    command(aws, **own)
            except KeyboardInterrupt:
                fail("interrupted")

    return region_option(profile_option(mwaa_errors_in_one_line(wrapper)))
