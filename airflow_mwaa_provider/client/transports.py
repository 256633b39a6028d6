# SPDX-License-Identifier: Apache-2.0
"""Ways to carry one REST call to the Airflow of an environment: InvokeRestApi, or a web session.

A transport sends a request once and says honestly what happened; it never repeats a call that may have taken
effect. Renewing an expired session is its own matter: a 401 is an answer that nothing was done.

Source: guide "Uso de la API REST de Apache Airflow"; botocore's service model for InvokeRestApi's limits.
"""

from __future__ import annotations

import json as jsonlib
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.client.models import TransportName
from airflow_mwaa_provider.client.web_server import WebServer, WebServerSettings
from airflow_mwaa_provider.exceptions import (
    AnswerTooLarge,
    TokenExpired,
    UnexpectedAnswer,
    UnsupportedByTransport,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from airflow_mwaa_provider.client.control_plane import ControlPlane

log = logging.getLogger(__name__)

INVOKE_REST_API_MAX_PATH = 64
INVOKE_REST_API_MAX_BYTES = 6 * 1024 * 1024
# A session lives 12 hours; it is renewed a little earlier, so that no call is lost to the seam.
SESSION_LIFETIME_S = 12 * 3600 - 600


@dataclass(frozen=True)
class Answer:
    """Airflow's answer to one REST call: any status; ``body`` is parsed JSON, or text where it isn't JSON."""

    status: int
    body: Any = field(default=None, repr=False)


class Transport(Protocol):
    """Carries one REST call. ``path`` has no ``/api/v…`` prefix and is already percent-encoded."""

    name: TransportName

    def request(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None) -> Answer:
        """Send once.

        :raises MwaaError: with ``ambiguous`` set when the call may have taken effect all the same.
        """


class RestApiTransport:
    """InvokeRestApi: no network path to the web server needed, IAM alone decides."""

    name = TransportName.REST_API

    def __init__(self, control_plane: ControlPlane, env_name: str) -> None:
        self._control_plane = control_plane
        self._env_name = env_name

    def request(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None) -> Answer:
        """Send once; see :class:`Transport`.

        :raises UnsupportedByTransport: the path is longer than InvokeRestApi takes; nothing was sent.
        :raises AnswerTooLarge: the answer exceeds 6 MB.
        """
        if len(path) > INVOKE_REST_API_MAX_PATH:
            raise UnsupportedByTransport(
                f"Environment {self._env_name!r}: the path {path!r} has {len(path)} characters, InvokeRestApi takes "
                f"{INVOKE_REST_API_MAX_PATH}. Use transport='web_session', or shorter ids.",
                env_name=self._env_name,
            )
        try:
            status, body = self._control_plane.invoke_rest_api(
                self._env_name, method=method, path=path, params=dict(params) if params else None, body=json
            )
        except UnexpectedAnswer as error:
            if "6 MB" in str(error) or error.status == 413:
                raise AnswerTooLarge(str(error), status=error.status, env_name=self._env_name) from error
            raise
        return Answer(status, body)


class WebSessionTransport:
    """A session of the environment's web server, as the browser has one; reused for its life.

    Thread-safe. Needs a network path to the web server, and ``airflow:CreateWebLoginToken``.

    :param major: Airflow's major version; it decides the login's path and the session's cookie. ``None``: it is
        found out at login.
    """

    name = TransportName.WEB_SESSION

    def __init__(
        self,
        control_plane: ControlPlane,
        env_name: str,
        *,
        major: int | None = None,
        settings: WebServerSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control_plane = control_plane
        self._env_name = env_name
        self._major = major
        self._web_server = WebServer(env_name, settings or WebServerSettings())
        self._clock = clock
        self._lock = threading.Lock()
        self._login: _Login | None = None

    def request(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None) -> Answer:
        """Send once, logging in first where there is no session; after a 401 log in anew and send again.

        :raises TokenExpired: the new session was refused as well.
        """
        login = self._ensure_login()
        response = self._send(login, method, path, params, json)
        if response.status_code == 401 or _is_login_redirect(response):
            log.info("Environment %r: the web session ended, logging in again", self._env_name)
            login = self._ensure_login(instead_of=login)
            response = self._send(login, method, path, params, json)
            if response.status_code == 401 or _is_login_redirect(response):
                raise TokenExpired(
                    f"Environment {self._env_name!r}: {method} {path} was refused although the web session is new "
                    f"(HTTP {response.status_code}). Check the role's access to the Airflow UI.",
                    env_name=self._env_name,
                )
        return _answer(response, self._env_name, method, path)

    def _send(
        self, login: _Login, method: str, path: str, params: Mapping[str, Any] | None, json: Any
    ) -> requests.Response:
        return self._web_server.send(
            method,
            f"https://{login.host}/api/{'v1' if login.major == 2 else 'v2'}{path}",
            headers={**login.headers, "Accept": "application/json"},
            params=params,
            json=json,
        )

    def _ensure_login(self, instead_of: _Login | None = None) -> _Login:
        with self._lock:
            login = self._login
            if login is not None and login is not instead_of and self._clock() < login.renew_at:
                return login
            self._login = self._log_in()
            return self._login

    def _log_in(self) -> _Login:
        token = self._control_plane.create_web_login_token(self._env_name)
        majors = (self._major,) if self._major else (3, 2)
        status = 0
        for major in majors:
            path, cookie = ("/aws_mwaa/login", "session") if major == 2 else ("/pluginsv2/aws_mwaa/login", "_token")
            response = self._web_server.send(
                "POST", f"https://{token.host}{path}", data={"token": token.value}, secrets=(token.value,)
            )
            value = response.cookies.get(cookie)
            if response.ok and value:
                self._major = major
                headers = {"Cookie": f"session={value}"} if major == 2 else {"Authorization": f"Bearer {value}"}
                return _Login(token.host, major, headers, self._clock() + SESSION_LIFETIME_S)
            status = response.status_code
            if status != 404:
                break
        if status in (401, 403):
            raise TokenExpired(
                f"Environment {self._env_name!r}: the web server refused the login token (HTTP {status}). "
                "Tokens live 60 seconds: check the clock, and that the host is this environment's.",
                env_name=self._env_name,
            )
        raise UnexpectedAnswer(
            f"Environment {self._env_name!r}: login at {token.host} answered HTTP {status} and gave no session.",
            status=status,
            env_name=self._env_name,
            transient=status >= 500,
        )


@dataclass(frozen=True)
class _Login:
    host: str
    major: int
    headers: Mapping[str, str] = field(repr=False)
    renew_at: float


def _is_login_redirect(response: requests.Response) -> bool:
    return response.is_redirect and "login" in response.headers.get("Location", "")


def _answer(response: requests.Response, env_name: str, method: str, path: str) -> Answer:
    status = response.status_code
    if status == 204 or not response.content:
        return Answer(status)
    try:
        return Answer(status, jsonlib.loads(response.content))
    except ValueError:
        pass  # told apart below: a gateway's page, or Airflow's own text
    kind = response.headers.get("Content-Type", "").split(";")[0]
    raise UnexpectedAnswer(
        f"Environment {env_name!r}: {method} {path} answered HTTP {status} with {kind or 'something'} instead of JSON"
        ", so it was not Airflow that answered. "
        + (
            "The web server is down or restarting: try again later."
            if status >= 500
            else "Check that the path is one of Airflow's REST API, and that no proxy stands in between."
        ),
        status=status,
        env_name=env_name,
        transient=status >= 500 or status == 429,
        ambiguous=status >= 500 and method not in ("GET", "HEAD"),
    )
