# SPDX-License-Identifier: Apache-2.0
"""One environment of the local MWAA: its state, its last change, and its errors.

Source: the documentation of ``Environment.Status`` in botocore's service model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_mwaa_provider.local.runtime import EnvironmentSpec, Runtime


class EnvironmentProblem(ValueError):
    """A request for an environment cannot be carried out; the message is one line that says why."""


class EnvironmentExists(EnvironmentProblem):
    """The name is in use."""


class EnvironmentNotFound(EnvironmentProblem, KeyError):
    """No environment has that name."""

    def __str__(self) -> str:
        return str(self.args[0])


class UnsupportedVersion(EnvironmentProblem):
    """That Airflow version cannot be started here."""


class WrongState(EnvironmentProblem):
    """The environment's state does not allow it."""


class EnvironmentStatus(StrEnum):
    """The states of the service model that occur here."""

    CREATING = "CREATING"
    PENDING = "PENDING"
    CREATE_FAILED = "CREATE_FAILED"
    AVAILABLE = "AVAILABLE"
    UPDATING = "UPDATING"
    ROLLING_BACK = "ROLLING_BACK"
    UPDATE_FAILED = "UPDATE_FAILED"
    UNAVAILABLE = "UNAVAILABLE"
    DELETING = "DELETING"

    @property
    def is_usable(self) -> bool:
        """Return whether tokens are issued and the REST API may be invoked."""
        return self in _USABLE


_USABLE = {
    EnvironmentStatus.AVAILABLE,
    EnvironmentStatus.UPDATING,
    EnvironmentStatus.ROLLING_BACK,
    EnvironmentStatus.UPDATE_FAILED,
}


@dataclass(frozen=True)
class LastUpdate:
    """The result of the last create or update, or that it is in progress."""

    status: str
    """PENDING, SUCCESS or FAILED."""
    created_at: datetime
    error: str | None = None


class GatewayHandle(Protocol):
    """The TLS gateway of an environment: bound when it is created, answering once started."""

    address: str

    async def start(self) -> None:
        """Start answering."""

    async def stop(self) -> None:
        """Stop answering and free the port. Do nothing if already stopped."""


@dataclass(eq=False)
class Environment:
    """One environment, as it is now."""

    spec: EnvironmentSpec
    arn: str
    created_at: datetime
    last_update: LastUpdate
    status: EnvironmentStatus = EnvironmentStatus.CREATING
    address: str = ""
    """The address of its gateway, ``127.0.0.2`` or ``127.0.0.2:41234``; WebserverUrl and WebServerHostname."""
    runtime: Runtime | None = None
    """The Airflow behind it, once started; None while it is being restarted."""
    error_log_tail: str = ""
    """The end of the log that shows why the last create or update failed."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Members of CreateEnvironment and UpdateEnvironment that are only returned by GetEnvironment."""
    tags: dict[str, str] = field(default_factory=dict)
    gateway: GatewayHandle | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Return the environment's name."""
        return self.spec.name

    @property
    def error(self) -> str | None:
        """Return why the last create or update failed, in one line."""
        return self.last_update.error

    @property
    def public_url(self) -> str:
        """Return the gateway's URL: ``https://127.0.0.2:41234``."""
        return f"https://{self.address}"

    @property
    def airflow_major(self) -> int:
        """Return 2 or 3."""
        return int(self.spec.airflow_version.split(".", 1)[0])
