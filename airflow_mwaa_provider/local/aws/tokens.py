# SPDX-License-Identifier: Apache-2.0
"""Short-lived tokens of the control plane, and the web sessions that they were exchanged for.

They are stored as hashes, so a memory dump or an error report contains no usable token.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.local.aws.limits import Limits

_MAX_REMEMBERED = 10_000
"""The limit for stored tokens and sessions; the oldest are dropped. Tokens live only a minute, so none is missed."""


class TokenKind(StrEnum):
    """The use of a token; one kind cannot be used for the other."""

    CLI = "cli"
    WEB_LOGIN = "web_login"


class SessionState(Enum):
    """What the gateway knows about a request's session."""

    UNKNOWN = "unknown"
    VALID = "valid"
    EXPIRED = "expired"


@dataclass
class _Entry:
    env_name: str
    expires_at: float
    kind: TokenKind | None = None


class _Hashed:
    """Entries by the hash of their secret; the oldest are dropped first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def put(self, secret: str, entry: _Entry) -> None:
        self._entries[_digest(secret)] = entry
        while len(self._entries) > _MAX_REMEMBERED:
            self._entries.popitem(last=False)

    def get(self, secret: str) -> _Entry | None:
        return self._entries.get(_digest(secret))

    def expire(self, now: float, env_name: str | None) -> int:
        found = 0
        for entry in self._entries.values():
            if entry.expires_at > now and env_name in (None, entry.env_name):
                entry.expires_at = now
                found += 1
        return found


class TokenStore:
    """Tokens of CreateCliToken and CreateWebLoginToken.

    A token may be used more than once in its lifetime. Unproven: whether MWAA accepts a web login token twice.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._tokens = _Hashed()

    def issue(self, kind: TokenKind, env_name: str) -> str:
        """Create a token for one environment."""
        token = secrets.token_urlsafe(96)
        self._tokens.put(token, _Entry(env_name, self._clock() + self._limits.token_lifetime_s, kind))
        return token

    def accepts(self, kind: TokenKind, env_name: str, token: str) -> bool:
        """Return whether a token is of this kind, for this environment and still valid."""
        entry = self._tokens.get(token)
        return (
            entry is not None and entry.kind is kind and entry.env_name == env_name and entry.expires_at > self._clock()
        )

    def expire(self, env_name: str | None = None) -> int:
        """Expire all tokens (of one environment) at once; return how many."""
        return self._tokens.expire(self._clock(), env_name)


class SessionStore:
    """Web sessions that gateways have issued, by the value of their cookie or bearer token."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._sessions = _Hashed()

    def remember(self, env_name: str, value: str) -> None:
        """Start a session."""
        self._sessions.put(value, _Entry(env_name, self._clock() + self._limits.session_lifetime_s))

    def renewed(self, old_value: str, new_value: str) -> None:
        """Transfer a session's expiry to the value with which Airflow replaced it."""
        entry = self._sessions.get(old_value)
        if entry is not None:
            self._sessions.put(new_value, _Entry(entry.env_name, entry.expires_at))

    def state(self, env_name: str, value: str) -> SessionState:
        """Return what is known about a session; one of another environment is unknown."""
        entry = self._sessions.get(value)
        if entry is None or entry.env_name != env_name:
            return SessionState.UNKNOWN
        return SessionState.VALID if entry.expires_at > self._clock() else SessionState.EXPIRED

    def expire(self, env_name: str | None = None) -> int:
        """Expire all sessions (of one environment) at once; return how many."""
        return self._sessions.expire(self._clock(), env_name)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
