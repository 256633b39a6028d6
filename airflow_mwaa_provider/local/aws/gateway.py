# SPDX-License-Identifier: Apache-2.0
"""The TLS gateway of one environment: MWAA's own paths, and Airflow behind everything else."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
import weakref
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from airflow_mwaa_provider.local.aws.cli_endpoint import CliEndpoint, CliLine, json_answer, json_error
from airflow_mwaa_provider.local.aws.faults import Fault, FaultCall, carry_out, html_page
from airflow_mwaa_provider.local.aws.http_server import serve
from airflow_mwaa_provider.local.aws.login_page import login_page
from airflow_mwaa_provider.local.aws.loopback import HTTPS_PORT
from airflow_mwaa_provider.local.aws.proxy import forward
from airflow_mwaa_provider.local.aws.tokens import SessionState, TokenKind

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    import aiohttp

    from airflow_mwaa_provider.local.aws.call_log import CallLog
    from airflow_mwaa_provider.local.aws.environment import Environment
    from airflow_mwaa_provider.local.aws.faults import FaultPlan
    from airflow_mwaa_provider.local.aws.limits import Limits
    from airflow_mwaa_provider.local.aws.tls import CertificateAuthority
    from airflow_mwaa_provider.local.aws.tokens import SessionStore, TokenStore
    from airflow_mwaa_provider.local.runtime import ApiSession

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)

_CLI_PATH = "/aws_mwaa/cli"
_LOGIN_PATHS = {2: "/aws_mwaa/login", 3: "/pluginsv2/aws_mwaa/login"}
_SSO_PATHS = {
    2: ("/aws_mwaa/aws-console-sso",),
    3: ("/aws_mwaa/aws-console-sso", "/pluginsv2/aws_mwaa/aws-console-sso"),
}
_OWN_PREFIXES = ("/aws_mwaa/", "/pluginsv2/aws_mwaa/")
_SESSION_COOKIES = ("session", "_token")


@dataclass(frozen=True)
class GatewayServices:
    """The shared parts of all gateways of one local MWAA."""

    tokens: TokenStore
    sessions: SessionStore
    limits: Limits
    faults: FaultPlan
    calls: CallLog
    certificates: CertificateAuthority
    http: aiohttp.ClientSession


@dataclass
class _Plan:
    """How a request will be answered, decided before any fault is drawn."""

    target: str
    answer: Handler
    effect: Handler
    line: CliLine | None = None


class Gateway:
    """Serves ``https://ADDRESS`` of one environment.

    Unproven: the bodies of MWAA's error answers. It is known that a rejected token causes HTTP 403; the JSON
    ``{"message": "Forbidden"}`` is the wording of AWS's gateways. The path of the other Airflow major answers 404
    (seen by users who posted to Airflow 3's login path on a 2.11 environment).
    """

    def __init__(self, environment: Environment, listener: socket.socket, services: GatewayServices) -> None:
        self._environment = environment
        self._listener = listener
        self._services = services
        self._cli = CliEndpoint(environment, services.limits)
        self._runner: web.AppRunner | None = None
        self._connections: weakref.WeakKeyDictionary[asyncio.Transport, socket.socket] = weakref.WeakKeyDictionary()
        self.host, port = listener.getsockname()[:2]
        self.address = self.host if port == HTTPS_PORT else f"{self.host}:{port}"

    async def start(self) -> None:
        """Start answering."""
        context = self._services.certificates.server_context([self.host])
        self._runner = await serve(self._handle, self._listener, context)

    async def stop(self) -> None:
        """Stop answering and free the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        for connection, connected in self._connections.items():
            # TLS would wait half a minute for a client that keeps an idle connection open.
            connection.abort()
            # Python 3.11's TLS loses its socket if it is closed twice, as by older releases of aiohttp.
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        name = self._environment.name
        if request.transport is not None and request.transport not in self._connections:
            self._connections[request.transport] = request.transport.get_extra_info("socket")
        plan = await self._plan(request)
        fault = self._services.faults.pick(self._fault_call(request, plan))
        response: web.StreamResponse | None = None
        try:
            response = await carry_out(
                fault,
                request,
                answer=lambda: plan.answer(request),
                effect_only=lambda: plan.effect(request),
                error=lambda status: json_error(status, "injected fault"),
            )
        except web.HTTPException as refusal:
            response = json_error(refusal.status, refusal.reason)
        except Exception:  # noqa: BLE001 - the caller gets an error page, the log the cause
            _log.exception("environment %s: %s %s failed", name, request.method, request.path)
            response = html_page(500)
        finally:
            self._services.calls.record(
                target=plan.target,
                environment=name,
                method=request.method,
                path=request.path,
                status=None if response is None or _is_reset(fault) else response.status,
                seconds=time.perf_counter() - started,
                fault=fault.kind if fault else None,
                command=plan.line.command if plan.line else None,
            )
        return response

    def _fault_call(self, request: web.Request, plan: _Plan) -> FaultCall:
        paths = [request.path]
        if plan.line is not None and plan.line.command is not None:
            paths.append(plan.line.command)
        targets = [] if plan.target == "ui" else [plan.target]
        return FaultCall(targets, self._environment.name, request.method, paths)

    async def _plan(self, request: web.Request) -> _Plan:
        path, major = request.path.rstrip("/"), min(self._environment.airflow_major, 3)
        if path == _CLI_PATH:
            try:
                body = await request.read()
            except web.HTTPRequestEntityTooLarge:
                return _same("cli", _refuse(413, "Request Entity Too Large"))
            line = CliLine(body, self._environment.spec.airflow_version)
            plan = _same("cli", lambda request: self._cli_answer(request, line))
            plan.line = line
            return plan
        if path == _LOGIN_PATHS[major]:
            return _same("login", self._login)
        if path in _SSO_PATHS[major]:
            return _same("ui", self._sso)
        if path.startswith(_OWN_PREFIXES):
            return _same("ui", _refuse(404, "Not Found"))
        target = "rest" if path.startswith("/api/") else "ui"
        return _Plan(target, self._pass_on, lambda request: self._pass_on(request, send_answer=False))

    async def _cli_answer(self, request: web.Request, line: CliLine) -> web.StreamResponse:
        if request.method != "POST":
            return json_error(405, "Method Not Allowed")
        if not self._services.tokens.accepts(TokenKind.CLI, self._environment.name, _bearer(request) or ""):
            return json_error(403, "Forbidden")
        return await self._cli.run(line)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            return json_error(405, "Method Not Allowed")
        try:
            token = (await request.post()).get("token")
        except ValueError:
            return json_error(400, "The form can not be read")
        accepted = isinstance(token, str) and self._services.tokens.accepts(
            TokenKind.WEB_LOGIN, self._environment.name, token
        )
        if not accepted:
            return json_error(403, "Forbidden")
        runtime = self._environment.runtime
        if runtime is None:
            return html_page(503)
        session = await runtime.login()
        self._services.sessions.remember(self._environment.name, session.cookie_value)
        response = json_answer(200, {"message": "Logged in"})
        response.headers["Set-Cookie"] = self._set_cookie(session)
        response.headers["Cache-Control"] = "no-store"
        return response

    def _set_cookie(self, session: ApiSession) -> str:
        # Airflow 3.0's own UI reads the cookie in a script; newer versions and Airflow 2 do not.
        http_only = "" if self._environment.spec.airflow_version.startswith("3.0.") else "; HttpOnly"
        return f"{session.cookie_name}={session.cookie_value}; Path=/; Secure{http_only}; SameSite=Lax"

    async def _sso(self, request: web.Request) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return json_error(405, "Method Not Allowed")
        return login_page(self._environment.name, _LOGIN_PATHS[min(self._environment.airflow_major, 3)])

    async def _pass_on(self, request: web.Request, *, send_answer: bool = True) -> web.StreamResponse:
        runtime = self._environment.runtime
        if runtime is None:
            return html_page(503)
        carried = self._carried_sessions(request)
        if carried and all(state is SessionState.EXPIRED for state in carried.values()):
            return self._session_ended(request)
        backend, public = runtime.base_url, self._environment.public_url
        return await forward(
            request,
            self._services.http,
            backend,
            extra_headers={
                "X-Forwarded-For": request.remote or "",
                "X-Forwarded-Host": request.host,
                "X-Forwarded-Proto": "https",
            },
            send_answer=send_answer,
            rewrite_location=lambda location: _public_location(location, backend, public),
            on_answer=lambda answer: self._note_renewals(answer, carried),
        )

    def _carried_sessions(self, request: web.Request) -> dict[str, SessionState]:
        """Return the sessions of a request that this gateway issued, and whether they are still valid."""
        bearer = _bearer(request)
        values = [bearer] if bearer else [request.cookies.get(name) for name in _SESSION_COOKIES]
        sessions, name = self._services.sessions, self._environment.name
        states = {value: sessions.state(name, value) for value in values if value}
        return {value: state for value, state in states.items() if state is not SessionState.UNKNOWN}

    def _session_ended(self, request: web.Request) -> web.StreamResponse:
        wants_page = "text/html" in request.headers.get("Accept", "")
        if wants_page and not request.path.startswith("/api/"):
            response = web.Response(status=302, headers={"Location": _SSO_PATHS[2][0]})
        else:
            body = {"detail": "The session has expired", "status": 401, "title": "Unauthorized"}
            response = json_answer(401, body)
        for cookie in _SESSION_COOKIES:
            response.headers.add("Set-Cookie", f"{cookie}=; Path=/; Max-Age=0; Secure")
        return response

    def _note_renewals(self, answer: aiohttp.ClientResponse, carried: dict[str, SessionState]) -> None:
        """Let a session with a new value from Airflow expire when the old one would have."""
        for header in answer.headers.getall("Set-Cookie", []) if carried else []:
            try:
                cookies = SimpleCookie(header)
            except CookieError:
                continue
            for name in _SESSION_COOKIES:
                if name in cookies and cookies[name].value:
                    self._services.sessions.renewed(next(iter(carried)), cookies[name].value)


def _same(target: str, handler: Handler) -> _Plan:
    """Plan an answer that is small enough to be created and discarded."""
    return _Plan(target, handler, handler)


def _refuse(status: int, message: str) -> Handler:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return json_error(status, message)

    return refuse


def _is_reset(fault: Fault | None) -> bool:
    return fault is not None and fault.kind.value.startswith("reset_")


def _bearer(request: web.Request) -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _public_location(location: str, backend: str, public: str) -> str:
    """Return the external target of a redirect: the addresses of the backend and of plain HTTP are rewritten."""
    parts = urlsplit(location)
    if parts.scheme == "http" and parts.netloc in (urlsplit(backend).netloc, urlsplit(public).netloc):
        return public + location.split(parts.netloc, 1)[1]
    return location
