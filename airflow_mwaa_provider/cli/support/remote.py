# SPDX-License-Identifier: Apache-2.0
"""What the commands for a remote environment share: how AWS is reached, and how they end."""

from __future__ import annotations

import functools
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.aws import Aws, profile_option, region_option
from airflow_mwaa_provider.cli.support.errors import fail, mwaa_errors_in_one_line
from airflow_mwaa_provider.cli.support.interrupts import signals_as_interrupts
from airflow_mwaa_provider.cli.support.output import output_option
from airflow_mwaa_provider.cli.support.warnings_shown import show_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
    from airflow_mwaa_provider.client.environment import MwaaEnvironment

TRANSPORTS = ("rest_api", "web_session", "cli")

env_argument = click.argument("env_name", metavar="ENV")
endpoint_option = click.option(
    "--endpoint-url", metavar="URL", help="Another endpoint of the MWAA API, such as a VPC endpoint."
)


@dataclass(frozen=True)
class Remote:
    """The environment of a command, and the options for how it is reached. Makes no calls."""

    env_name: str
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    transport: str | None = None
    proxy: str | None = field(default=None, repr=False)

    @functools.cached_property
    def environment(self) -> MwaaEnvironment:
        """The client of the environment.

        :raises MwaaInputError: the profile does not exist, or no region is configured.
        :raises AccessDenied: there are no credentials.
        """
        from airflow_mwaa_provider.client.access import ClientSettings
        from airflow_mwaa_provider.client.environment import MwaaEnvironment
        from airflow_mwaa_provider.client.http.web_server import WebServerSettings

        settings = ClientSettings(transport=self.transport, web_server=WebServerSettings(proxy=self.proxy))
        return MwaaEnvironment(self._control_plane, self.env_name, settings)

    def describe(self) -> dict[str, Any]:
        """Return the answer of GetEnvironment, with the region added as ``region_name``."""
        from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries

        plane = self._control_plane
        found: dict[str, Any] = call_with_retries(lambda: plane.get_environment(self.env_name), RetryPolicy())
        return {**found, "region_name": plane.region_name}

    def s3(self) -> Any:
        """Return an S3 client."""
        return self._aws.s3()

    def aws_client(self, service: str, **options: Any) -> Any:
        """Return a client of another AWS service.

        :param options: those of :meth:`~airflow_mwaa_provider.cli.support.aws.Aws.client`.
        """
        return self._aws.client(service, **options)

    def again(self, *command: str) -> str:
        """Return a command line for the same environment, to be copied into a shell."""
        options = (("--region", self.region), ("--profile", self.profile), ("--endpoint-url", self.endpoint_url))
        given = [part for name, value in options if value and not _from_environment(name) for part in (name, value)]
        return shlex.join(["airflow-mwaa", *command, *given])

    def naming_the_nearest_environment(self) -> AbstractContextManager[None]:
        """Add the nearest names to the error of an environment that was not found."""
        return self._aws.naming_the_nearest_environment(self.endpoint_url)

    @functools.cached_property
    def _control_plane(self) -> ControlPlane:
        return self._aws.control_plane(self.endpoint_url)

    @functools.cached_property
    def _aws(self) -> Aws:
        return Aws(self.region, self.profile)


def _from_environment(option: str) -> bool:
    context = click.get_current_context()
    source = context.get_parameter_source(option.removeprefix("--").replace("-", "_"))
    return source is click.core.ParameterSource.ENVIRONMENT


def environment_command(
    *, transports: Sequence[str] = TRANSPORTS, interrupted: str = "interrupted"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the common options to a command, and pass it a :class:`Remote` as its first argument.

    :param transports: those that the command can use.
    :param interrupted: the message when Ctrl-C ends the command; ``{env_name}`` is filled in.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(
            *,
            env_name: str,
            region: str | None,
            profile: str | None,
            endpoint_url: str | None,
            proxy: str | None,
            transport: str | None,
            **own: Any,
        ) -> None:
            remote = Remote(env_name, region, profile, endpoint_url, transport, proxy)
            with show_warnings(), signals_as_interrupts():
                try:
                    with remote.naming_the_nearest_environment():
                        command(remote, **own)
                except KeyboardInterrupt:
                    fail(interrupted.format(env_name=env_name))

        options = (
            output_option,
            region_option,
            profile_option,
            endpoint_option,
            click.option(
                "--proxy",
                envvar="AIRFLOW_MWAA_PROXY",
                metavar="URL",
                help="Proxy to a private web server: http://HOST:PORT or socks5h://HOST:PORT.",
            ),
            click.option(
                "--transport",
                type=click.Choice(list(transports)),
                hidden=len(transports) == 1,
                help="How the environment is called. Default: the first transport that works.",
            ),
        )
        made: Callable[..., None] = mwaa_errors_in_one_line(wrapper)
        for option in reversed(options):
            made = option(made)
        return made

    return decorate
