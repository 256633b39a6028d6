# SPDX-License-Identifier: Apache-2.0
"""The environments of the local MWAA and the states they go through. (Signatures first; body follows.)"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mwaa_provider.local.runtime import EnvironmentSpec, Runtime


class EnvironmentStatus(StrEnum):
    """The states of the service model that occur here."""

    CREATING = "CREATING"
    CREATE_FAILED = "CREATE_FAILED"
    AVAILABLE = "AVAILABLE"
    UPDATING = "UPDATING"
    UPDATE_FAILED = "UPDATE_FAILED"
    DELETING = "DELETING"


@dataclass
class Environment:
    """One environment."""

    spec: EnvironmentSpec
    status: EnvironmentStatus
    address: str = ""
    """``127.0.0.2:41234`` once its gateway listens: WebserverUrl and WebServerHostname."""
    runtime: Runtime | None = None
    error: str | None = None
    """Why the last create or update failed, one line."""
    error_log_tail: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the environment's name."""
        return self.spec.name

    @property
    def public_url(self) -> str:
        """Return the gateway's URL: ``https://127.0.0.2:41234``."""
        return f"https://{self.address}"


class EnvironmentStore:
    """All environments of one local MWAA."""

    def create(
        self,
        name: str,
        *,
        bucket: str,
        dag_s3_path: str = "dags",
        airflow_version: str | None = None,
        configuration: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        gateway_port: int = 0,
    ) -> Environment:
        """Begin to create an environment and return it in state CREATING; needs the running event loop.

        :raises ValueError: the name is taken, or the version can't be started here.
        """
        raise NotImplementedError

    def get(self, name: str) -> Environment:
        """Return the environment. :raises KeyError: no such environment."""
        raise NotImplementedError

    def all(self) -> list[Environment]:
        """Return all environments in order of their names."""
        raise NotImplementedError

    async def wait_until_settled(self, name: str) -> Environment | None:
        """Wait until no change of it is under way; None when it has been deleted. Never raises for a failed
        creation: look at ``.status`` and ``.error``.
        """
        raise NotImplementedError
