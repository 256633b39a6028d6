# SPDX-License-Identifier: Apache-2.0
"""How an environment is reached: its version, the transport that is used, and the deadline of every call."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mwaa_provider.client.airflow_api import AirflowApi
from airflow_mwaa_provider.client.airflow_cli import AirflowCli
from airflow_mwaa_provider.client.cli_endpoint import CliEndpoint
from airflow_mwaa_provider.client.models import TransportName
from airflow_mwaa_provider.client.retrying import RetryPolicy, call_with_retries
from airflow_mwaa_provider.client.transports import RestApiTransport, Transport, WebSessionTransport
from airflow_mwaa_provider.client.web_server import WebServerSettings
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AirflowError,
    AnswerTooLarge,
    EnvironmentUnavailable,
    MwaaError,
    MwaaInputError,
    UnsupportedByTransport,
    WebServerUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.client.control_plane import ControlPlane

T = TypeVar("T")
log = logging.getLogger(__name__)

Backend = AirflowApi | AirflowCli


@dataclass(frozen=True)
class ClientSettings:
    """How an environment is spoken to.

    :param transport: ``"rest_api"``, ``"web_session"`` or ``"cli"`` to force one; ``None`` chooses by itself.
    :param web_server: proxy, CA bundle and time-outs for the environment's web server.
    :param retry: deadline and pauses of one call.
    :param airflow_major: Airflow's major version there, 2 or 3, which saves asking; ``None`` asks GetEnvironment,
        or the version endpoint.
    """

    transport: TransportName | str | None = None
    web_server: WebServerSettings = field(default_factory=WebServerSettings)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    airflow_major: int | None = None

    def __post_init__(self) -> None:
        if self.transport is not None and self.transport not in TransportName.__members__.values():
            known = ", ".join(f"{name.value!r}" for name in TransportName)
            raise MwaaInputError(f"transport={self.transport!r} is none of {known}.")


class Access:
    """The way to one environment; made once for it and kept.

    :param control_plane: the MWAA API of the environment's account and region.
    """

    def __init__(self, control_plane: ControlPlane, env_name: str, settings: ClientSettings) -> None:
        self.name = env_name
        self._control_plane = control_plane
        self._settings = settings
        self._lock = threading.RLock()
        self._description: dict[str, Any] | None = None
        self._version: str | None = None
        self._backends: dict[TransportName, Backend] = {}
        self._cli_endpoint: CliEndpoint | None = None
        self.chosen: TransportName | None = None

    def call(
        self,
        send: Callable[[Backend], T],
        *,
        idempotent: bool = True,
        may_repeat: Callable[[MwaaError], bool] | None = None,
    ) -> T:
        """Send through the transport in use, within the deadline; see the module's docstring."""

        def attempt() -> T:
            try:
                return self._through_chosen(send)
            except WebServerUnreachable as error:
                raise self._with_status(error) from error

        if may_repeat is None:

            def may_repeat(error: MwaaError) -> bool:
                return error.transient and (idempotent or not error.ambiguous)

        return call_with_retries(attempt, self._settings.retry, may_repeat=may_repeat)

    def _through_chosen(self, send: Callable[[Backend], T]) -> T:
        candidates = self._candidates()
        for position, name in enumerate(candidates):
            try:
                with self._lock:
                    self.chosen = name
                return send(self.backend())
            except AccessDenied as error:
                # An IAM refusal did nothing, so that the next transport may be tried; Airflow's own refusal stays.
                if error.action is None or position + 1 == len(candidates):
                    raise
                log.info("%s Using %s instead.", error, candidates[position + 1].value)
            except (UnsupportedByTransport, AnswerTooLarge) as error:
                if name is not TransportName.REST_API or self._settings.transport is not None:
                    raise
                log.info("%s This one call goes through a web session.", error)
                return send(self.backend(TransportName.WEB_SESSION))
        raise AssertionError("there is always a candidate")

    def _candidates(self) -> list[TransportName]:
        if self._settings.transport is not None:
            return [TransportName(self._settings.transport)]
        known = [TransportName.REST_API, TransportName.WEB_SESSION, TransportName.CLI]
        if not self._control_plane.supports_invoke_rest_api:
            known = known[1:]
        return known if self.chosen is None else known[known.index(self.chosen) :]

    def backend(self, name: TransportName | None = None) -> Backend:
        """Give the API behind a transport: the one in use where none is named."""
        name = name or self.chosen or self._candidates()[0]
        with self._lock:
            backend = self._backends.get(name)
        if backend is None:
            major = self.major()
            if name is TransportName.CLI:
                backend = AirflowCli(self.cli_endpoint(), self.name, major)
            else:
                backend = AirflowApi(self._transport(name, major), self.name, major)
            with self._lock:
                backend = self._backends.setdefault(name, backend)
        return backend

    def _transport(self, name: TransportName, major: int | None) -> Transport:
        if name is TransportName.REST_API:
            return RestApiTransport(self._control_plane, self.name)
        return WebSessionTransport(self._control_plane, self.name, major=major, settings=self._settings.web_server)

    def cli_endpoint(self) -> CliEndpoint:
        """Give the environment's CLI endpoint, whatever the transport in use."""
        with self._lock:
            if self._cli_endpoint is None:
                self._cli_endpoint = CliEndpoint(self._control_plane, self.name, settings=self._settings.web_server)
            return self._cli_endpoint

    def major(self) -> int:
        """Give the major version of the Airflow there."""
        return self._settings.airflow_major or int(self.airflow_version().split(".")[0])

    def describe(self) -> dict[str, Any]:
        """Describe the environment by GetEnvironment; asked once and kept."""
        with self._lock:
            if self._description is None:
                self._description = call_with_retries(
                    lambda: self._control_plane.get_environment(self.name), self._settings.retry
                )
            return self._description

    def airflow_version(self) -> str:
        """The Airflow version there; from GetEnvironment, else from Airflow itself."""
        with self._lock:
            if self._version is None:
                self._version = self._ask_version()
            return self._version

    def _ask_version(self) -> str:
        try:
            description = self.describe()
        except AccessDenied as denied:
            log.info("%s Asking Airflow itself for its version.", denied)
            return self._ask_airflow_for_version(denied)
        status = description.get("Status")
        version = description.get("AirflowVersion")
        if not version:
            raise EnvironmentUnavailable(
                f"Environment {self.name!r} is {status}, with no Airflow version yet. Wait until it is AVAILABLE.",
                status=status,
                env_name=self.name,
            )
        return str(version)

    def _ask_airflow_for_version(self, denied: AccessDenied) -> str:
        for name in self._candidates():
            try:
                if name is TransportName.CLI:
                    words = self.cli_endpoint().run(["version"], check=True).stdout.split()
                    return next(word for word in reversed(words) if word[0].isdigit())
                answer = self._transport(name, None).request("GET", "/version")
                if answer.status == 200:
                    return str(answer.body["version"])
                raise AirflowError(
                    f"Environment {self.name!r}: GET /version answered HTTP {answer.status}.",
                    status=answer.status,
                    env_name=self.name,
                )
            except AccessDenied as error:
                denied = error
        raise denied

    def _with_status(self, error: WebServerUnreachable) -> WebServerUnreachable:
        """Add the environment's status, which tells an environment that is being updated from a network's fault."""
        try:
            status = str(self._control_plane.get_environment(self.name).get("Status"))
        except MwaaError as unknown:
            log.debug("The status of environment %r is unknown: %s", self.name, unknown)
            return error
        words = f"{error} The environment is {status}."
        return WebServerUnreachable(
            words, status=status, env_name=self.name, transient=error.transient, ambiguous=error.ambiguous
        )
