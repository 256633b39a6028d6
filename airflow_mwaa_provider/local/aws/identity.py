# SPDX-License-Identifier: Apache-2.0
"""Who may call the control plane: the credentials that exist, and their permissions."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


# How long an expired session can be told from one that never existed.
_REMEMBERED = timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A credential and its permissions; the secret is not in its ``repr``.

    :param expires_at: for temporary credentials, which are valid only with their session token.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    arn: str
    denied_actions: tuple[str, ...] = ()
    allowed_actions: tuple[str, ...] = ("*",)
    expires_at: datetime | None = None

    def may(self, action: str) -> bool:
        """Return whether ``airflow:ACTION`` or ``sts:…`` is allowed; a denial wins, ``*`` and ``?`` match as in IAM."""
        if any(fnmatchcase(action, pattern) for pattern in self.denied_actions):
            return False
        return any(fnmatchcase(action, pattern) for pattern in self.allowed_actions)

    @property
    def iam_name(self) -> str:
        """Return the name that CreateWebLoginToken calls IamIdentity: ``assumed-role/Admin/your-name``."""
        return self.arn.split(":", 5)[-1]


class IdentityStore:
    """The credentials of this local MWAA, in memory only."""

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id
        self._by_key: dict[str, Identity] = {}
        # moto's GetSessionToken issues the same key to everyone, with different tokens.
        self._sessions: dict[tuple[str, str], Identity] = {}

    def add(
        self,
        access_key_id: str,
        secret_access_key: str,
        arn: str = "",
        denied_actions: Iterable[str] = (),
        allowed_actions: Iterable[str] = ("*",),
    ) -> Identity:
        """Add a credential, or replace the one with the same key."""
        identity = Identity(
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            arn=arn or f"arn:aws:sts::{self._account_id}:assumed-role/LocalMwaa/{access_key_id}",
            denied_actions=tuple(denied_actions),
            allowed_actions=tuple(allowed_actions),
        )
        self._by_key[access_key_id] = identity
        return identity

    def create(
        self, arn: str = "", denied_actions: Iterable[str] = (), allowed_actions: Iterable[str] = ("*",)
    ) -> Identity:
        """Create a credential with a random key and secret."""
        key = "AKIALOCAL" + secrets.token_hex(6).upper()[:11]
        return self.add(key, secrets.token_urlsafe(30), arn, denied_actions, allowed_actions)

    def change(
        self, access_key_id: str, denied_actions: Iterable[str] = (), allowed_actions: Iterable[str] = ("*",)
    ) -> Identity | None:
        """Change the permissions of a credential; return None if no credential has that key.

        Sessions that it has begun keep their permissions, like those of a role with its own policies.
        """
        known = self._by_key.get(access_key_id)
        if known is None:
            return None
        return self.add(access_key_id, known.secret_access_key, known.arn, denied_actions, allowed_actions)

    def add_session(
        self,
        access_key_id: str,
        secret_access_key: str,
        session_token: str,
        expires_at: datetime,
        *,
        arn: str,
        denied_actions: Iterable[str] = (),
        allowed_actions: Iterable[str] = ("*",),
    ) -> None:
        """Add temporary credentials, valid until they expire and only with their token."""
        forgotten = datetime.now(UTC) - _REMEMBERED
        for key in [key for key, known in self._sessions.items() if known.expires_at and known.expires_at < forgotten]:
            del self._sessions[key]
        self._sessions[access_key_id, session_token] = Identity(
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            arn=arn,
            denied_actions=tuple(denied_actions),
            allowed_actions=tuple(allowed_actions),
            expires_at=expires_at,
        )

    def get(self, access_key_id: str, session_token: str | None = None) -> Identity | None:
        """Return the credential for a key, if any; with a token, the one that was issued with it."""
        if session_token:
            return self._sessions.get((access_key_id, session_token))
        return self._by_key.get(access_key_id)
