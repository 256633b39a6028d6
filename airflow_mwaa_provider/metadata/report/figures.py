# SPDX-License-Identifier: Apache-2.0
"""What a report tells, counted in one pass over each table; only the counts are kept.

All days and hours are UTC's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from airflow_mwaa_provider.metadata import registry
from airflow_mwaa_provider.metadata.report.sketch import DurationSketch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from airflow_mwaa_provider.metadata.reading import Export

__all__ = [
    "MAX_NAMES",
    "Figures",
    "ReportProgress",
    "RunFigures",
    "TableFigures",
    "TaskFigures",
    "Work",
    "read_figures",
]

DAY_S, HOUR_S = 86_400, 3_600
MAX_NAMES = 50_000
"""DAGs, and tasks, that are told apart; those that come after are counted together."""
REST = "(others)"
_FINISHED = ("success", "failed")


class ReportProgress(Protocol):
    """Is told how far the reading is."""

    def __call__(self, table: str, rows: int, expected_rows: int) -> None:
        """Take the rows of a table that were read, and about how many there are."""


@dataclass
class Work:
    """What one DAG's runs, or one task's instances, took.

    :param count: of all, whatever their state.
    :param durations: from start to end, of those that succeeded or failed.
    """

    count: int = 0
    success: int = 0
    failed: int = 0
    durations: DurationSketch = field(default_factory=DurationSketch)

    @property
    def failed_share(self) -> float:
        """Of those that succeeded or failed, how many failed: 0 to 1."""
        return self.failed / finished if (finished := self.success + self.failed) else 0.0

    def add(self, state: str | None, start: float | None, end: float | None) -> None:
        """Count one."""
        self.count += 1
        if state == "success":
            self.success += 1
        elif state == "failed":
            self.failed += 1
        else:
            return
        if start is not None and end is not None and end >= start:
            self.durations.add(end - start)


@dataclass
class RunFigures:
    """The DAG runs.

    :param days: number of the day since 1970 -> success, failed, others.
    :param undated: runs without any time.
    :param types: how many of each ``run_type``.
    :param states: how many in each state.
    """

    all: Work = field(default_factory=Work)
    dags: dict[str, Work] = field(default_factory=dict)
    days: dict[int, list[int]] = field(default_factory=dict)
    hours: Counter[int] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    undated: int = 0


@dataclass
class TaskFigures:
    """The task instances, each as its last try was.

    :param delays: number of the day since 1970 -> from queued to started.
    :param requeued: those that were queued again after they had begun, as deferred ones are: their delay is unknown.
    """

    all: Work = field(default_factory=Work)
    tasks: dict[tuple[str, str], Work] = field(default_factory=dict)
    hours: Counter[int] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    delay: DurationSketch = field(default_factory=DurationSketch)
    delays: dict[int, DurationSketch] = field(default_factory=dict)
    requeued: int = 0


@dataclass
class TableFigures:
    """How large a table is, and how it grew.

    :param rows: each once, however often it was exported.
    :param months: year times 12 plus month (from 0) -> rows; ``None`` where rows have no time of their own.
    :param undated: rows without a time, such as tasks that never started.
    """

    rows: int
    bytes: int
    months: Counter[int] | None = None
    undated: int = 0


@dataclass
class Figures:
    """All of it; ``None`` for what the export lacks."""

    runs: RunFigures | None
    tasks: TaskFigures | None
    tables: dict[str, TableFigures]


def read_figures(export: Export, progress: ReportProgress | None = None) -> Figures:
    """Read an export, once and as a stream; memory grows with the DAGs, tasks and days, not with the rows.

    :raises StorageError: a file of it is gone, damaged, or cannot be read.
    """
    tell = progress or _silent
    tables: dict[str, TableFigures] = {}
    runs = _runs(export, tables, tell) if "dag_run" in export.tables else None
    tasks = _tasks(export, tables, tell) if "task_instance" in export.tables else None
    for table in export.tables:
        if table not in tables:
            tables[table] = _table(export, table, tell)
    return Figures(runs, tasks, tables)


def _silent(table: str, rows: int, expected_rows: int) -> None:
    """Tell nobody."""


def _batches(export: Export, table: str, columns: Sequence[str], tell: ReportProgress) -> Iterator[list[Sequence[Any]]]:
    rows, expected = 0, export.rows_written(table)
    tell(table, 0, expected)
    for batch in export.batches(table, columns):
        rows += len(batch[0])
        yield batch
        tell(table, rows, expected)


def _runs(export: Export, tables: dict[str, TableFigures], tell: ReportProgress) -> RunFigures:
    figures = RunFigures()
    growth = tables["dag_run"] = TableFigures(0, export.bytes_written("dag_run"), Counter())
    times = _time_columns(export, "dag_run")
    columns = ["dag_id", "state", "run_type", "start_date", "end_date", *times]
    month_of = _Months()
    for batch in _batches(export, "dag_run", columns, tell):
        dag_ids, states, types, starts, ends = batch[:5]
        moments = _first_known(batch[5:], len(dag_ids))
        figures.states.update(state or "none" for state in states)
        figures.types.update(kind or "none" for kind in types)
        growth.rows += len(dag_ids)
        for dag_id, state, start, end, moment in zip(dag_ids, states, starts, ends, moments, strict=True):
            figures.all.add(state, start, end)
            _named(figures.dags, dag_id or "", REST).add(state, start, end)
            if moment is None:
                figures.undated += 1
                continue
            day = int(moment // DAY_S)
            if day not in figures.days:
                figures.days[day] = [0, 0, 0]
            figures.days[day][_FINISHED.index(state) if state in _FINISHED else 2] += 1
            figures.hours[int(moment // HOUR_S)] += 1
            _months(growth)[month_of[day]] += 1
    growth.undated = figures.undated
    return figures


def _tasks(export: Export, tables: dict[str, TableFigures], tell: ReportProgress) -> TaskFigures:
    figures = TaskFigures()
    growth = tables["task_instance"] = TableFigures(0, export.bytes_written("task_instance"), Counter())
    times = _time_columns(export, "task_instance")
    columns = ["dag_id", "task_id", "state", "start_date", "end_date", "queued_dttm", *times]
    month_of, months = _Months(), _months(growth)
    for batch in _batches(export, "task_instance", columns, tell):
        dag_ids, task_ids, states, starts, ends, queued = batch[:6]
        moments = _first_known(batch[6:], len(dag_ids))
        figures.states.update(state or "none" for state in states)
        figures.hours.update(int(start // HOUR_S) for start in starts if start is not None)
        growth.rows += len(dag_ids)
        names = zip(dag_ids, task_ids, strict=True)
        for name, state, start, end, moment in zip(names, states, starts, ends, moments, strict=True):
            figures.all.add(state, start, end)
            _named(figures.tasks, name, (REST, REST)).add(state, start, end)
            if moment is None:
                growth.undated += 1
            else:
                months[month_of[int(moment // DAY_S)]] += 1
        for since, start in zip(queued, starts, strict=True):
            if since is None or start is None:
                continue
            if start < since:
                figures.requeued += 1
                continue
            figures.delay.add(start - since)
            day = int(start // DAY_S)
            if day not in figures.delays:
                figures.delays[day] = DurationSketch()
            figures.delays[day].add(start - since)
    return figures


def _table(export: Export, table: str, tell: ReportProgress) -> TableFigures:
    exports = export.exports_of(table)
    times = _time_columns(export, table)
    found = TableFigures(0, export.bytes_written(table), Counter() if times else None)
    if not times and (len(exports) == 1 or not exports[-1][1].key):
        found.rows = export.rows_written(table)
        return found
    month_of = _Months()
    for batch in _batches(export, table, times or list(exports[-1][1].key), tell):
        found.rows += len(batch[0])
        if not times:
            continue
        months = _months(found)
        for moment in _first_known(batch, len(batch[0])):
            if moment is None:
                found.undated += 1
            else:
                months[month_of[int(moment // DAY_S)]] += 1
    return found


def _time_columns(export: Export, table: str) -> list[str]:
    """Name the table's own columns that say when a row came to be; those of state say nothing of its growth."""
    facts = registry.facts_of(table)
    if facts.is_state:
        return []
    columns = export.columns(table)
    return [name for name in facts.time if columns.get(name) in {"timestamptz", "timestamp"}]


def _first_known(columns: Sequence[Sequence[Any]], count: int) -> Sequence[Any]:
    if not columns:
        return [None] * count
    if len(columns) == 1:
        return columns[0]
    return [next((value for value in values if value is not None), None) for values in zip(*columns, strict=True)]


def _named(works: dict[Any, Work], name: Any, rest: Any) -> Work:
    work = works.get(name)
    if work is None:
        if len(works) >= MAX_NAMES:
            name = rest
        work = works.setdefault(name, Work())
    return work


def _months(table: TableFigures) -> Counter[int]:
    assert table.months is not None
    return table.months


class _Months(dict[int, int]):
    """Day -> month, both as numbers."""

    def __missing__(self, day: int) -> int:
        moment = datetime.fromtimestamp(day * DAY_S, UTC)
        self[day] = month = moment.year * 12 + moment.month - 1
        return month
