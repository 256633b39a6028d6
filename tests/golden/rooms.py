# SPDX-License-Identifier: Apache-2.0
"""What the golden files' tests use from private modules, so that moving a module changes only this file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import DagRun, DagRunState
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed
from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.airflow.runtime import AirflowRuntime
from airflow_mwaa_provider.local.machine.processes import PortAllocator
from airflow_mwaa_provider.local.machine.state import StateFolder
from airflow_mwaa_provider.metadata.cleaning.archiving.cleanup import run_archived_cleanup
from airflow_mwaa_provider.metadata.cleaning.routes.api import ApiCleanup
from airflow_mwaa_provider.plugins.answers import refusal, status_of, turned_off
from airflow_mwaa_provider.secrets.store import CacheKeys, Entry, FileStore
from airflow_mwaa_provider.triggers.events import event_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ApiCleanup", "CacheKeys", "DagRun", "DagRunState", "Done", "Entry", "Failed", "FileStore", "StateFolder",
    "event_of", "lifecycle", "load_record", "refusal", "run_archived_cleanup", "status_of", "turned_off",
]  # fmt: skip


def load_record(folder: Path, env_name: str) -> dict[str, Any]:
    """Return what an environment of a local MWAA reads from its record when it starts, and what it then writes there.

    The rest of a start, mainly Airflow's, takes half a minute.
    """
    environment = StateFolder(folder).environment(env_name)
    starting = SimpleNamespace(
        folder=environment,
        _context=SimpleNamespace(ports=PortAllocator()),
        _home=SimpleNamespace(path=environment.airflow_home),
    )
    AirflowRuntime._load_record(starting)  # type: ignore[arg-type]
    found: dict[str, Any] = starting._record
    return found
