# SPDX-License-Identifier: Apache-2.0
"""The admin API under ``/_local/``: state, faults, limits, calls, identities, expiry.

Only for this machine, and only with the header ``X-Local-Admin``: an open web page can send requests to loopback, but
does not know the token (and a custom header makes the browser ask for permission first).
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.aws.cli_endpoint import json_answer
from airflow_mwaa_provider.local.aws.faults import FaultError
from airflow_mwaa_provider.local.aws.limits import LimitError
from airflow_mwaa_provider.local.aws.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from airflow_mwaa_provider.local.aws.call_log import CallLog
    from airflow_mwaa_provider.local.aws.environments import EnvironmentStore
    from airflow_mwaa_provider.local.aws.faults import FaultPlan
    from airflow_mwaa_provider.local.aws.identity import Identity, IdentityStore
    from airflow_mwaa_provider.local.aws.limits import Limits
    from airflow_mwaa_provider.local.aws.tokens import SessionStore, TokenStore

ADMIN_PREFIX = "/_local/"
ADMIN_HEADER = "X-Local-Admin"
_PERMISSIONS = "denied_actions and allowed_actions (lists of strings)"


class _Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AdminApi:
    """Serves the admin API; every answer is JSON, an error ``{"error": "one line"}``."""

    def __init__(
        self,
        *,
        token: str,
        environments: EnvironmentStore,
        identities: IdentityStore,
        faults: FaultPlan,
        limits: Limits,
        calls: CallLog,
        tokens: TokenStore,
        sessions: SessionStore,
    ) -> None:
        self._token = token.encode("utf-8")
        self._environments = environments
        self._identities = identities
        self._faults = faults
        self._limits = limits
        self._calls = calls
        self._tokens = tokens
        self._sessions = sessions
        self._routes: dict[tuple[str, str], Callable[[web.Request, dict[str, Any]], Any]] = {
            ("GET", "status"): self._status,
            ("GET", "faults"): self._list_faults,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._delete_faults,
            ("GET", "limits"): lambda *_: self._limits.as_dict(),
            ("PATCH", "limits"): self._change_limits,
            ("GET", "calls"): self._list_calls,
            ("DELETE", "calls"): self._clear_calls,
            ("POST", "identities"): self._add_identity,
            ("PATCH", "identities"): self._change_identity,
            ("POST", "expire"): self._expire,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        try:
            self._check_caller(request)
            name = request.path[len(ADMIN_PREFIX) :].strip("/")
            route = self._routes.get((request.method, name))
            if route is None:
                known = ", ".join(f"{method} {path}" for method, path in self._routes)
                raise _Refusal(404, f"no {request.method} {ADMIN_PREFIX}{name}; known are {known}")
            return json_answer(200, route(request, await _body(request)))
        except _Refusal as refusal:
            return json_answer(refusal.status, {"error": str(refusal)})
        except (FaultError, LimitError) as error:
            return json_answer(400, {"error": str(error)})

    def _check_caller(self, request: web.Request) -> None:
        given = request.headers.get(ADMIN_HEADER, "").encode("utf-8", "surrogateescape")
        if not is_loopback(request.remote) or not hmac.compare_digest(given, self._token):
            raise _Refusal(403, f"the admin API needs the header {ADMIN_HEADER} with this local MWAA's token")

    def _status(self, _request: web.Request, _body: dict[str, Any]) -> dict[str, Any]:
        return {
            "environments": [
                {
                    "name": environment.name,
                    "status": environment.status,
                    "airflow_version": environment.spec.airflow_version,
                    "url": environment.public_url,
                    "bucket": environment.spec.bucket,
                    "dag_s3_path": environment.spec.dag_s3_path,
                    "error": environment.error,
                }
                for environment in self._environments.all()
            ]
        }

    def _list_faults(self, _request: web.Request, _body: dict[str, Any]) -> dict[str, Any]:
        return {"faults": [fault.as_dict() for fault in self._faults.all()]}

    def _add_fault(self, _request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        return self._faults.add(body).as_dict()

    def _delete_faults(self, request: web.Request, _body: dict[str, Any]) -> dict[str, Any]:
        wanted = request.query.get("id")
        if wanted is None:
            self._faults.clear()
        elif not wanted.isdigit() or not self._faults.remove(int(wanted)):
            raise _Refusal(404, f"no fault has the id {wanted[:40]!r}")
        return self._list_faults(request, {})

    def _change_limits(self, _request: web.Request, body: dict[str, Any]) -> dict[str, float | int]:
        self._limits.change(body)
        return self._limits.as_dict()

    def _list_calls(self, request: web.Request, _body: dict[str, Any]) -> dict[str, Any]:
        limit = request.query.get("limit", "0")
        if not limit.isdigit():
            raise _Refusal(400, "limit must be a whole number")
        calls = self._calls.last(int(limit) or None, request.query.get("environment"))
        return {"counts": self._calls.counts(), "calls": calls}

    def _clear_calls(self, _request: web.Request, _body: dict[str, Any]) -> dict[str, Any]:
        self._calls.clear()
        return {"counts": {}, "calls": []}

    def _add_identity(self, _request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        arn = body.pop("arn", "")
        denied, allowed = _permissions(body)
        if body or not isinstance(arn, str):
            raise _Refusal(400, f"an identity has arn (a string), {_PERMISSIONS}")
        return _shown(self._identities.create(arn, denied, allowed))

    def _change_identity(self, _request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        key = body.pop("access_key_id", None)
        denied, allowed = _permissions(body)
        if body or not isinstance(key, str):
            raise _Refusal(400, f"a change of an identity has access_key_id (a string), {_PERMISSIONS}")
        changed = self._identities.change(key, denied, allowed)
        if changed is None:
            raise _Refusal(404, f"no identity has the access key id {key[:40]!r}")
        return _shown(changed)

    def _expire(self, _request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        env_name = body.get("environment")
        if set(body) - {"tokens", "sessions", "environment"} or not (body.get("tokens") or body.get("sessions")):
            raise _Refusal(400, 'name what to expire: {"tokens": true, "sessions": true}, optionally an environment')
        return {
            "tokens": self._tokens.expire(env_name) if body.get("tokens") else 0,
            "sessions": self._sessions.expire(env_name) if body.get("sessions") else 0,
        }


def _permissions(body: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return an identity's permissions from a request."""
    denied, allowed = body.pop("denied_actions", []), body.pop("allowed_actions", ["*"])
    if not all(isinstance(value, list) and all(isinstance(x, str) for x in value) for value in (denied, allowed)):
        raise _Refusal(400, f"an identity has {_PERMISSIONS}")
    return denied, allowed


def _shown(identity: Identity) -> dict[str, Any]:
    return {
        "arn": identity.arn,
        "access_key_id": identity.access_key_id,
        "secret_access_key": identity.secret_access_key,
        "denied_actions": identity.denied_actions,
        "allowed_actions": identity.allowed_actions,
    }


async def _body(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise _Refusal(400, "the body isn't JSON") from None
    if not isinstance(body, dict):
        raise _Refusal(400, "the body isn't a JSON object")
    return body
