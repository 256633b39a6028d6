# SPDX-License-Identifier: Apache-2.0
"""States of runs and tasks, and names of transports: what a DAG file needs of the client, quick to import."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["DagRunState", "TaskState", "TransportName"]


class TransportName(StrEnum):
    """Ways to reach the Airflow of an environment."""

    REST_API = "rest_api"
    WEB_SESSION = "web_session"
    CLI = "cli"


class DagRunState(StrEnum):
    """States of a DAG run; the same on Airflow 2 and 3."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether a run keeps this state unless it is cleared."""
        return self in (DagRunState.SUCCESS, DagRunState.FAILED)


class TaskState(StrEnum):
    """States of a task instance, Airflow 2.8 to 3.3. ``NONE`` is Airflow's null: not scheduled yet."""

    NONE = "none"
    REMOVED = "removed"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    RESTARTING = "restarting"
    FAILED = "failed"
    UP_FOR_RETRY = "up_for_retry"
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    UPSTREAM_FAILED = "upstream_failed"
    SKIPPED = "skipped"
    DEFERRED = "deferred"
    AWAITING_INPUT = "awaiting_input"

    @property
    def is_final(self) -> bool:
        """Whether a task keeps this state unless it is cleared."""
        return self in _FINAL_TASK_STATES


_FINAL_TASK_STATES = frozenset(
    {TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED, TaskState.UPSTREAM_FAILED, TaskState.REMOVED}
)
