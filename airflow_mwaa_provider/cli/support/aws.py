# SPDX-License-Identifier: Apache-2.0
"""How commands reach AWS: the common options, and the boto3 session that they configure."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.errors import fail, mwaa_errors_in_one_line, unended
from airflow_mwaa_provider.cli.support.interrupts import signals_as_interrupts
from airflow_mwaa_provider.cli.support.warnings_shown import show_warnings
from airflow_mwaa_provider.exceptions import AccessDenied, MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Callable

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
                command(Aws(region, profile), **own)
            except KeyboardInterrupt:
                fail("interrupted")

    return region_option(profile_option(mwaa_errors_in_one_line(wrapper)))
