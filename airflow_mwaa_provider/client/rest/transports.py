# SPDX-License-Identifier: Apache-2.0
"""Transports that carry one REST call to the Airflow of an environment: InvokeRestApi, or a web session.

A transport sends a request once and reports what happened; it never repeats a call that may have taken effect. It
renews an expired session itself, because a rejected call was not carried out.

Source: guide "Uso de la API REST de Apache Airflow"; botocore's service model for InvokeRestApi's limits.
"""

from __future__ import annotations

import json as jsonlib
import logging
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.client.http.errors import truncate
from airflow_mwaa_provider.client.http.retrying import held
from airflow_mwaa_provider.client.http.web_server import WebServer, WebServerSettings
from airflow_mwaa_provider.client.states import TransportName
from airflow_mwaa_provider.exceptions import (
    AnswerTooLarge,
    CallTimeout,
    Throttled,
    TokenExpired,
    UnexpectedAnswer,
    UnsupportedByTransport,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
    from airflow_mwaa_provider.client.models import RestRequest

log = logging.getLogger(__name__)

PLUGIN_PREFIX = "/mwaa-provider/"
"""The path of this package's own plugins on a web server."""
INVOKE_REST_API_MAX_PATH = 64
INVOKE_REST_API_MAX_BYTES = 6 * 1024 * 1024
INVOKE_REST_API_TIMEOUT_S = 10
# A session is valid for 12 hours; it is renewed a little earlier, so that no call meets its end.
SESSION_LIFETIME_S = 12 * 3600 - 600
# A 403 in a session younger than this is Airflow's own answer, and no sign that the session has ended.
_FRESH_S = 60.0

_INVOKE_REST_API_METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")
# How MWAA answers for more than 6 MB is unverified; these are the words of the gateways that AWS builds such APIs with.
SLOW_DOWN = "Make fewer calls at once, or allow more time."
_TOO_LARGE = re.compile(r"payload size exceeded|response ?size ?too ?large|request entity too large", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """Airflow's answer to one REST call, with any status; ``body`` is parsed JSON, or text if it is not JSON."""

    status: int
    body: Any = field(default=None, repr=False)
    retry_after_s: float | None = None


class Transport(Protocol):
    """Carries one REST call."""

    name: TransportName

    def send(self, request: RestRequest) -> Answer:
        """Send once.

        :raises MwaaError: with ``ambiguous`` set if the call may have taken effect nevertheless.
        """


class RestApiTransport:
    """InvokeRestApi, which needs no network path to the web server and is permitted by IAM alone."""

    name = TransportName.REST_API

    def __init__(self, control_plane: ControlPlane, env_name: str) -> None:
        self._control_plane = control_plane
        self._env_name = env_name

    def send(self, request: RestRequest) -> Answer:
        """Send once; see :class:`Transport`.

        :raises UnsupportedByTransport: InvokeRestApi does not support the method, or a path of that length; nothing
            was sent.
        :raises AnswerTooLarge: the answer exceeds 6 MB; ``ambiguous`` if the call is mutating, because it was carried
            out.
        :raises CallTimeout: Airflow took longer than InvokeRestApi waits.
        """
        where, length = f"Environment {self._env_name!r}: {request}", len(request.path)
        if length > INVOKE_REST_API_MAX_PATH or request.method not in _INVOKE_REST_API_METHODS:
            what = (
                f"takes no {request.method}"
                if request.method not in _INVOKE_REST_API_METHODS
                else f"takes paths of at most {INVOKE_REST_API_MAX_PATH} characters, and this one has {length}"
            )
            raise UnsupportedByTransport(
                f"{where}: InvokeRestApi {what}. Use transport web_session, let it be chosen automatically, or "
                "shorten the ids.",
                env_name=self._env_name,
            )
        doubt = " It may have taken effect." if request.is_mutating else ""
        status, body = self._control_plane.invoke_rest_api(self._env_name, request)
        if status == 413 or (status >= 400 and _TOO_LARGE.search(str(body)[:1000])):
            raise AnswerTooLarge(
                f"{where}: the answer exceeds the {INVOKE_REST_API_MAX_BYTES >> 20} MB that InvokeRestApi "
                f"carries.{doubt} Request less at once, or use transport web_session.",
                status=status,
                env_name=self._env_name,
                ambiguous=request.is_mutating,
            )
        if status == 504:
            raise CallTimeout(
                f"{where}: no answer within InvokeRestApi's {INVOKE_REST_API_TIMEOUT_S} s (HTTP 504).{doubt} "
                "Request less at once, or use transport web_session.",
                env_name=self._env_name,
                transient=True,
                ambiguous=request.is_mutating,
            )
        return Answer(status, body)


class WebSessionTransport:
    """A session of the environment's web server, as a browser has one; reused for its lifetime.

    Thread-safe: threads without a session wait for one login. Needs a network path to the web server, and
    ``airflow:CreateWebLoginToken``.

    :param major: Airflow's major version, which determines the login's path and the session's cookie; ``None``
        determines it at login.
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

    def send(self, request: RestRequest) -> Answer:
        """Send once, logging in first if there is no session; if it has ended, log in again and send again.

        :raises TokenExpired: the new session was rejected as well.
        """
        login = self._ensure_login()
        response = self._send(login, request)
        if self._has_ended(login, response):
            log.info("Environment %r: the web session ended, logging in again", self._env_name)
            login = self._ensure_login(instead_of=login)
            response = self._send(login, request)
            if self._has_ended(login, response):
                raise TokenExpired(
                    f"Environment {self._env_name!r}: {request} was rejected although the web session is new "
                    f"(HTTP {response.status_code}). Check the role's access to the Airflow UI.",
                    env_name=self._env_name,
                )
        return _answer(response, self._env_name, request)

    def _send(self, login: _Login, request: RestRequest) -> requests.Response:
        return self._web_server.send(
            request.method,
            f"https://{login.host}{_full_path(request.path, login.major)}",
            is_mutating=request.is_mutating,
            headers={**login.headers, "Accept": "application/json"},
            params=request.params,
            json=request.json,
        )

    def _has_ended(self, login: _Login, response: requests.Response) -> bool:
        """Return whether an answer means that the session has ended.

        Airflow 3 answers 401 to an expired token, and 403 to one that was signed before the server restarted.
        """
        if response.status_code == 403:
            return self._clock() - login.made_at > _FRESH_S
        return response.status_code == 401 or _leads_to_login(response)

    def _ensure_login(self, instead_of: _Login | None = None) -> _Login:
        with held(self._lock, self._env_name, "the login"):
            login = self._login
            if login is not None and login is not instead_of and self._clock() < login.made_at + SESSION_LIFETIME_S:
                return login
            self._login = self._log_in()
            return self._login

    def _log_in(self) -> _Login:
        token = self._control_plane.create_web_login_token(self._env_name)
        status, retry_after_s = 0, None
        for major in (self._major,) if self._major else (3, 2):
            path, cookie = ("/aws_mwaa/login", "session") if major == 2 else ("/pluginsv2/aws_mwaa/login", "_token")
            # A login whose answer was lost does no harm: it is repeated.
            response = self._web_server.send(
                "POST", f"https://{token.host}{path}", is_mutating=False, data={"token": token.value}
            )
            value = response.cookies.get(cookie)
            if response.status_code < 400 and value:
                self._major = major
                headers = {"Cookie": f"session={value}"} if major == 2 else {"Authorization": f"Bearer {value}"}
                return _Login(token.host, major, headers, self._clock())
            status, retry_after_s = response.status_code, _retry_after_s(response)
            if status in (401, 403, 429) or status >= 500:
                break
        where = f"Environment {self._env_name!r}: login at {token.host}"
        if status in (401, 403):
            raise TokenExpired(
                f"{where} was rejected (HTTP {status}). Tokens are valid for 60 seconds: check the clock, and that the "
                "host is this environment's.",
                env_name=self._env_name,
            )
        if status == 429:
            raise Throttled(
                f"{where}: throttled (HTTP 429). {SLOW_DOWN}",
                env_name=self._env_name,
                transient=True,
                retry_after_s=retry_after_s,
            )
        raise UnexpectedAnswer(
            f"{where} answered HTTP {status} without a session. "
            + (
                "The web server is down or restarting: try again later."
                if status >= 500
                else "Check that this host is the environment's web server, and which Airflow it runs."
            ),
            status=status,
            env_name=self._env_name,
            transient=status >= 500,
            retry_after_s=retry_after_s,
        )


def _full_path(path: str, major: int) -> str:
    """Return a path with the API's prefix, unless it is outside of the API: Airflow 3's auth manager, or a plugin."""
    if path.startswith(PLUGIN_PREFIX) or (major >= 3 and path.startswith("/auth/")):
        return path
    return f"/api/{'v1' if major == 2 else 'v2'}{path}"


@dataclass(frozen=True, eq=False)
class _Login:
    host: str
    major: int
    headers: Mapping[str, str] = field(repr=False)
    made_at: float


def _leads_to_login(response: requests.Response) -> bool:
    location = response.headers.get("Location", "")
    return response.is_redirect and ("login" in location or "aws-console-sso" in location)


def _answer(response: requests.Response, env_name: str, request: RestRequest) -> Answer:
    status, retry_after_s = response.status_code, _retry_after_s(response)
    if not response.is_redirect and (status in (204, 429) or not response.content):
        return Answer(status, _json_or_none(response), retry_after_s)
    body = _json_or_none(response)
    if body is not None or response.content.strip() == b"null":
        return Answer(status, body, retry_after_s)
    # A page with a status below 300 may be the rest of an interrupted answer.
    doubtful = status >= 500 or status < 300
    raise UnexpectedAnswer(
        f"Environment {env_name!r}: {request} answered HTTP {status} with {_form(response)}. "
        + ("It may have taken effect. " if request.is_mutating and doubtful else "")
        + (
            "The web server is down or restarting: try again later."
            if status >= 500
            else "Check that the path is one of Airflow's REST API, and that no proxy is in between."
        ),
        status=status,
        env_name=env_name,
        transient=status >= 500,
        ambiguous=request.is_mutating and doubtful,
        retry_after_s=retry_after_s,
    )


def whose_page(status: int) -> str:
    """Return who may have answered with a page: for an unexpected error of its own, Airflow does so too."""
    if status == 500:
        return "so that either Airflow failed (see its web server's log) or something in front of it"
    return "so the answer is not from Airflow's API"


def _form(response: requests.Response) -> str:
    """Describe an answer that is not from the API."""
    if response.is_redirect:
        return "a redirect, so the answer is not from Airflow's API"
    kind = response.headers.get("Content-Type", "").split(";")[0]
    if kind == "application/json":
        return "broken JSON, interrupted or changed on its way"
    return f"{truncate(kind, 40) or 'an unknown type'} instead of JSON, {whose_page(response.status_code)}"


def _json_or_none(response: requests.Response) -> Any:
    try:
        return jsonlib.loads(response.content)
    except ValueError:
        return None


def _retry_after_s(response: requests.Response) -> float | None:
    """Return the seconds that the server asked to wait; a date is ignored."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
