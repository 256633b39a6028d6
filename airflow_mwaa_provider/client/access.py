# SPDX-License-Identifier: Apache-2.0
"""How an environment is reached: its version, the transport in use, and the deadline of every call."""

from __future__ import annotations

import logging
import math
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mwaa_provider.client.aws.errors import not_available
from airflow_mwaa_provider.client.cli.airflow_cli import AirflowCli
from airflow_mwaa_provider.client.cli.endpoint import CliEndpoint
from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries, held
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.client.models import RestRequest
from airflow_mwaa_provider.client.rest.airflow_api import AirflowApi
from airflow_mwaa_provider.client.rest.transports import RestApiTransport, Transport, WebSessionTransport
from airflow_mwaa_provider.client.states import TransportName
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AnswerTooLarge,
    CallTimeout,
    CliCommandNotAllowed,
    EnvironmentNotFound,
    EnvironmentUnavailable,
    MwaaError,
    MwaaInputError,
    UnexpectedAnswer,
    UnsupportedByTransport,
    WebServerUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
    from airflow_mwaa_provider.client.backend import Backend
    from airflow_mwaa_provider.client.models import CliResult

T = TypeVar("T")
log = logging.getLogger(__name__)

# A transport that IAM denied is tried again after this time, because the permission may have been missing only briefly.
_DENIED_FOR_S = 300.0


@dataclass(frozen=True)
class ClientSettings:
    """How an environment is called.

    :param transport: ``"rest_api"``, ``"web_session"`` or ``"cli"`` to force one; ``None`` chooses automatically.
    :param web_server: proxy, CA bundle and time-outs for the environment's web server.
    :param retry: deadline and pauses of one call.
    :param airflow_major: the environment's major Airflow version, 2 or 3, which saves a call; ``None`` reads it from
        GetEnvironment, or from the version endpoint.
    """

    transport: TransportName | str | None = None
    web_server: WebServerSettings = field(default_factory=WebServerSettings)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    airflow_major: int | None = None

    def __post_init__(self) -> None:
        if self.transport is not None and self.transport not in TransportName.__members__.values():
            known = ", ".join(f"{name.value!r}" for name in TransportName)
            raise MwaaInputError(f"transport={self.transport!r} is none of {known}.")


class TransportSelector:
    """The choice of a transport to one environment; created once for it and kept. Thread-safe.

    :param control_plane: the MWAA API of the environment's account and region.
    """

    def __init__(self, control_plane: ControlPlane, env_name: str, settings: ClientSettings) -> None:
        self.name = env_name
        self._control_plane = control_plane
        self._settings = settings
        # Guards the attributes; never held during a call.
        self._lock = threading.Lock()
        # Held while the environment is described, so that threads that start together make one call.
        self._describing = threading.RLock()
        self._description: dict[str, Any] | None = None
        self._version: str | None = None
        self._transports: dict[TransportName, Transport] = {}
        self._backends: dict[TransportName, Backend] = {}
        self._cli_endpoint: CliEndpoint | None = None
        # When IAM denied a transport; kept until it is permitted again.
        self._denied: dict[TransportName, float] = {}
        self.chosen: TransportName | None = None

    def call(
        self,
        send: Callable[[Backend], T],
        *,
        idempotent: bool = True,
        may_repeat: Callable[[MwaaError], bool] | None = None,
    ) -> T:
        """Send through the transport in use, retrying within the deadline.

        :param idempotent: the call may be carried out twice without harm.
        :param may_repeat: overrides which errors allow another attempt.
        """
        return self._with_retries(lambda: self._through_chosen(send, idempotent), idempotent, may_repeat)

    def call_by(self, transports: Sequence[TransportName], send: Callable[[Backend], T]) -> T:
        """Send through the first of these transports that works, whatever the transport in use.

        :param send: may be carried out twice without harm.
        :raises MwaaError: none works; the error of the first one.
        """
        refusal: MwaaError | None = None
        for name in transports:
            try:
                return self._with_retries(lambda name=name: send(self.backend(name)), True, None)  # type: ignore[misc]
            except (AccessDenied, CliCommandNotAllowed, UnsupportedByTransport) as error:
                if isinstance(error, AccessDenied) and not _by_iam(error):
                    raise
                refusal = refusal or error
        assert refusal is not None
        raise refusal

    @property
    def forced(self) -> TransportName | None:
        """The transport that was requested."""
        return TransportName(self._settings.transport) if self._settings.transport is not None else None

    def run_cli(self, argv: Sequence[str], *, idempotent: bool) -> CliResult:
        """Run a command through the CLI endpoint, whatever the transport in use."""
        return self._with_retries(lambda: self.cli_endpoint().run(argv), idempotent, None)

    def _with_retries(
        self,
        send: Callable[[], T],
        idempotent: bool,
        may_repeat: Callable[[MwaaError], bool] | None,
    ) -> T:
        def attempt() -> T:
            try:
                return send()
            except (EnvironmentNotFound, MwaaInputError) as error:
                # AWS uses the same words for an environment that is not ready and for a wrong name.
                explained = self._explained(error)
                if explained is error:
                    raise
                raise explained from error

        try:
            return call_with_retries(
                attempt,
                self._settings.retry,
                may_repeat=may_repeat or (lambda error: error.transient and (idempotent or not error.ambiguous)),
            )
        except WebServerUnreachable as error:
            explained = self._explained(error)
            if explained is error:
                raise
            raise explained from error

    def _through_chosen(self, send: Callable[[Backend], T], idempotent: bool) -> T:
        name, tried = self._candidates()[0], set[TransportName]()
        while True:
            self.chosen = name
            tried.add(name)
            try:
                answer = send(self.backend(name))
            except AccessDenied as error:
                another = self._turn_from(name, error, tried)
                if another is None:
                    raise
                name = another
            except (UnsupportedByTransport, AnswerTooLarge) as error:
                if name is not TransportName.REST_API or self._settings.transport is not None:
                    raise
                if isinstance(error, AnswerTooLarge) and not idempotent:
                    raise  # the call was carried out, and only its answer is lost
                log.info("%s Using another transport for this call.", error)
                try:
                    return self._around_rest_api(send)
                except AccessDenied as denied:
                    raise denied from error  # only this call is denied, not the transport in use
            except CallTimeout as error:
                if name is not TransportName.REST_API or self.forced is not None or error.ambiguous:
                    raise
                # The same call would take as long again, while Airflow continues with the abandoned one.
                log.info("%s Using another transport for this call.", error)
                try:
                    return self._around_rest_api(send)
                except MwaaError as other:
                    raise error from other
            else:
                self._note_permitted(name)
                return answer

    def _around_rest_api(self, send: Callable[[Backend], T]) -> T:
        """Send the one call that InvokeRestApi cannot carry through a web session, else through the CLI."""
        try:
            return send(self.backend(TransportName.WEB_SESSION))
        except AccessDenied as denied:
            if not _by_iam(denied):
                raise
            try:
                return send(self.backend(TransportName.CLI))
            except UnsupportedByTransport:
                raise denied from None

    def _turn_from(self, name: TransportName, error: AccessDenied, tried: set[TransportName]) -> TransportName | None:
        """Return the transport to try after IAM denied a call, which then had no effect; ``None`` if Airflow denied it.

        If none is left, those that were denied earlier are tried too, and the next call begins with the first again.
        """
        if not _by_iam(error) or self.forced is not None:
            return None
        with self._lock:
            known = name in self._denied
            self._denied[name] = self._settings.retry.clock()
            left = [other for other in self._candidates() if other not in tried]
            if not left:
                self._denied = dict.fromkeys(self._denied, -math.inf)
                left = [other for other in self._candidates() if other not in tried]
        if not left:
            return None
        log.log(logging.DEBUG if known else logging.INFO, "%s Using %s instead.", error, left[0].value)
        return left[0]

    def _note_permitted(self, name: TransportName) -> None:
        with self._lock:
            was_denied = self._denied.pop(name, None) is not None
        if was_denied:
            log.info("Environment %r: %s is permitted again and will be used.", self.name, name.value)

    def _candidates(self) -> list[TransportName]:
        """Return the transports that IAM has not denied recently, the best first; at least one."""
        if self.forced is not None:
            return [self.forced]
        known = [TransportName.REST_API, TransportName.WEB_SESSION, TransportName.CLI]
        if not self._control_plane.supports_invoke_rest_api:
            known = known[1:]
        denied_until = self._settings.retry.clock() - _DENIED_FOR_S
        return [name for name in known if self._denied.get(name, -math.inf) <= denied_until]

    def backend(self, name: TransportName) -> Backend:
        """Return the API behind a transport."""
        with self._lock:
            backend = self._backends.get(name)
        if backend is None:
            major = self.major()
            if name is TransportName.CLI:
                backend = AirflowCli(self.cli_endpoint(), self.name, major)
            else:
                backend = AirflowApi(self._transport(name), self.name, major)
            with self._lock:
                backend = self._backends.setdefault(name, backend)
        return backend

    def _transport(self, name: TransportName) -> Transport:
        with self._lock:
            if name not in self._transports:
                self._transports[name] = (
                    RestApiTransport(self._control_plane, self.name)
                    if name is TransportName.REST_API
                    else WebSessionTransport(
                        self._control_plane,
                        self.name,
                        major=self._known_major(),
                        settings=self._settings.web_server,
                    )
                )
            return self._transports[name]

    def cli_endpoint(self) -> CliEndpoint:
        """Return the environment's CLI endpoint, whatever the transport in use."""
        with self._lock:
            if self._cli_endpoint is None:
                self._cli_endpoint = CliEndpoint(self._control_plane, self.name, settings=self._settings.web_server)
            return self._cli_endpoint

    def major(self) -> int:
        """Return the environment's major Airflow version."""
        return self._settings.airflow_major or int(self.airflow_version().split(".")[0])

    def _known_major(self) -> int | None:
        return self._settings.airflow_major or (int(self._version.split(".")[0]) if self._version else None)

    def describe(self) -> dict[str, Any]:
        """Describe the environment by GetEnvironment; called once and kept."""
        with held(self._describing, self.name, "GetEnvironment"):
            if self._description is None:
                self._description = call_with_retries(
                    lambda: self._control_plane.get_environment(self.name), self._settings.retry
                )
            return self._description

    def web_server_host(self) -> str:
        """Return the web server's host name: from GetEnvironment, or if that is not permitted, from a token."""
        try:
            url = str(self.describe().get("WebserverUrl", ""))
        except AccessDenied as denied:
            for make_token in (self._control_plane.create_web_login_token, self._control_plane.create_cli_token):
                try:
                    return make_token(self.name).host
                except AccessDenied as error:
                    log.debug("%s", error)
            raise denied from None
        return url.removeprefix("https://").rstrip("/")

    def airflow_version(self) -> str:
        """Return the environment's Airflow version: from GetEnvironment, else from Airflow itself."""
        with held(self._describing, self.name, "GetEnvironment"):
            if self._version is None:
                self._version = self._ask_version()
            return self._version

    def _ask_version(self) -> str:
        try:
            description = self.describe()
        except AccessDenied as denied:
            if not _by_iam(denied):
                raise
            log.info("%s Reading the version from Airflow itself.", denied)
            return self._ask_airflow_for_version(denied)
        version = description.get("AirflowVersion")
        if not version:
            status = str(description.get("Status"))
            self._description = None
            raise EnvironmentUnavailable(
                f"Environment {self.name!r} is {status}, and has no Airflow version yet. Wait until it is AVAILABLE.",
                status=status,
                env_name=self.name,
            )
        return str(version)

    def _ask_airflow_for_version(self, denied: AccessDenied) -> str:
        for name in self._candidates():
            try:
                if name is TransportName.CLI:
                    text = self.cli_endpoint().run(["version"], check=True).stdout
                else:
                    api = AirflowApi(self._transport(name), self.name, 0)
                    text = str(api.request_fields(RestRequest("GET", "/version"), "version")["version"])
            except AccessDenied as error:
                denied = error
                continue
            except MwaaError as error:
                error.ambiguous = False  # only a reading call was sent
                raise
            found = re.findall(r"(?m)^\s*(\d+\.\d+\S*)\s*$", text)
            if found:
                return str(found[-1])
            raise UnexpectedAnswer(
                f"Environment {self.name!r}: its Airflow returned no version. Allow airflow:GetEnvironment.",
                env_name=self.name,
            )
        raise denied

    def _explained(self, error: MwaaError) -> MwaaError:
        """Add the environment's status, which distinguishes an environment that is being created from a wrong name."""
        from botocore.exceptions import ClientError

        if isinstance(error, MwaaInputError) and not isinstance(error.__cause__, ClientError):
            return error  # refused by this package, and not by AWS
        try:
            status = str(self._control_plane.get_environment(self.name).get("Status"))
        except MwaaError as unknown:
            log.debug("The status of environment %r is unknown: %s", self.name, unknown)
            return error
        if isinstance(error, WebServerUnreachable):
            return WebServerUnreachable(
                f"{error} The environment is {status}.",
                status=status,
                env_name=self.name,
                transient=error.transient,
                ambiguous=error.ambiguous,
            )
        if status == "AVAILABLE" or not isinstance(error.__cause__, ClientError):
            return error
        return not_available(self.name, status, error.__cause__, ambiguous=error.ambiguous)


def _by_iam(error: AccessDenied) -> bool:
    """Return whether IAM denied this MWAA call, so that another transport may be allowed."""
    return error.action is not None and error.action.startswith("airflow:")
