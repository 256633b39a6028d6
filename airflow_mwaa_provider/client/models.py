# SPDX-License-Identifier: Apache-2.0
"""What is sent to a remote environment and what it answers, in types that hold for every Airflow and transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.states import DagRunState, TaskState, TransportName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CliResult",
    "Connection",
    "Dag",
    "DagFileError",
    "DagRun",
    "DagRunState",
    "Pool",
    "RestRequest",
    "Role",
    "RunRequest",
    "TaskInstance",
    "TaskState",
    "TasksToClear",
    "TransportName",
    "Variable",
    "parse_time",
]


@dataclass(frozen=True)
class Dag:
    """A DAG of a remote environment.

    :param schedule: as Airflow writes it, such as ``"0 3 * * *"``; ``None`` if it has none, or if it is not shown
        (the CLI).
    :param next_run: when the scheduler creates its next run, if that is shown.
    """

    dag_id: str
    is_paused: bool
    schedule: str | None = None
    next_run: datetime | None = None
    has_import_errors: bool = False


@dataclass(frozen=True)
class DagFileError:
    """A DAG file that a remote environment cannot import.

    :param message: Python's traceback, several lines.
    """

    filename: str
    message: str

    @property
    def last_line(self) -> str:
        """The line that names the error."""
        return next((line.strip() for line in reversed(self.message.splitlines()) if line.strip()), "no reason given")


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG in a remote environment.

    :param created: in the answer to a trigger: ``True`` if that call created the run, ``False`` if a run with this id
        already existed. ``None`` if the run was only read.
    :param run_after: the earliest time at which the run could begin; if Airflow does not show it (Airflow 2), the end
        of its data interval or its logical date, whichever is later.
    :param data_interval: its start and its end; the CLI does not show it.
    :param run_type: ``"scheduled"``, ``"manual"``, ``"backfill"`` …, as Airflow calls it; the CLI does not show it.
    """

    dag_id: str
    run_id: str
    state: DagRunState
    logical_date: datetime | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    conf: dict[str, Any] | None = field(default=None, repr=False)
    note: str | None = None
    created: bool | None = None
    run_after: datetime | None = None
    data_interval: tuple[datetime, datetime] | None = None
    run_type: str | None = None

    @property
    def duration_s(self) -> float | None:
        """Seconds from its start to its end; ``None`` if one of them is unknown."""
        return _seconds_between(self.start_date, self.end_date)


@dataclass(frozen=True)
class RestRequest:
    """One call of Airflow's REST API. Its repr shows no values, which may be secret.

    :param path: percent-encoded, without the ``/api/v…`` prefix.
    """

    method: str
    path: str
    params: Mapping[str, Any] | None = field(default=None, repr=False)
    json: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_mutating(self) -> bool:
        """Whether it may change anything: all but GET, HEAD and the reading POSTs that end in ``/list``."""
        return self.method not in ("GET", "HEAD") and not (self.method == "POST" and self.path.endswith("/list"))


@dataclass(frozen=True)
class RunRequest:
    """What a trigger requests of a new run.

    :param logical_date: with a time zone. If omitted, Airflow 2 uses the current time, Airflow 3 none.
    :param data_interval: start and end.
    """

    conf: Mapping[str, Any] | None = field(default=None, repr=False)
    logical_date: datetime | None = None
    data_interval: tuple[datetime, datetime] | None = None
    note: str | None = None


@dataclass(frozen=True)
class TasksToClear:
    """Which task instances of a run are cleared.

    :param task_ids: the tasks, each with all of its mapped instances; ``None`` for all of the run.
    :param downstream: also the tasks that depend on them.
    :param only_failed: only those that failed, or whose upstream did.
    """

    task_ids: Sequence[str] | None = None
    downstream: bool = False
    only_failed: bool = False


@dataclass(frozen=True)
class TaskInstance:
    """A task of a remote run. ``map_index`` is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    state: TaskState
    map_index: int = -1
    try_number: int | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None

    @property
    def label(self) -> str:
        """The task id, with the map index, if any, in brackets: ``load[3]``."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def duration_s(self) -> float | None:
        """Seconds from its start to its end; ``None`` if one of them is unknown."""
        return _seconds_between(self.start_date, self.end_date)


@dataclass(frozen=True)
class CliResult:
    """The output of one Airflow CLI command.

    ``exit_status`` is 0 if the endpoint answered 200, and 1 if it answered that the command failed: MWAA does not
    return the process's own status.
    """

    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    exit_status: int


@dataclass(frozen=True)
class Variable:
    """An Airflow variable. ``value`` is ``None`` if the answer does not contain it."""

    key: str
    value: str | None = field(default=None, repr=False)
    description: str | None = None


@dataclass(frozen=True)
class Connection:
    """An Airflow connection. Airflow never returns a password, and masks what looks secret in ``extra``.

    :param has_password: whether a connection that was read has a password; ``None`` if Airflow does not show it
        (Airflow 2).
    """

    conn_id: str
    conn_type: str
    host: str | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    port: int | None = None
    extra: str | None = field(default=None, repr=False)
    description: str | None = None
    has_password: bool | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Pool:
    """An Airflow pool."""

    name: str
    slots: int
    description: str | None = None
    include_deferred: bool = False


@dataclass(frozen=True)
class Role:
    """A role of Airflow's FAB auth manager.

    :param permissions: pairs of an action and a resource: ``("can_read", "DAG:etl")``.
    """

    name: str
    permissions: frozenset[tuple[str, str]] = frozenset()


def _seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def parse_time(value: object) -> datetime | None:
    """Read an ISO 8601 time as Airflow writes it, in UTC if it has no zone; return ``None`` for empty and null."""
    if not value:
        return None
    moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
