# SPDX-License-Identifier: Apache-2.0
"""The figures of a report, counted in one pass over each table; only the counts are kept.

All days and hours are in UTC.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress
from typing import TYPE_CHECKING, Protocol

from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.report.sketch import DurationSketch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from airflow_mwaa_provider.metadata.reading.export import Export

__all__ = [
    "MAP_DAYS",
    "MAX_NAMES",
    "RECENT_DAYS",
    "Figures",
    "OpenItem",
    "OpenItems",
    "ReportProgress",
    "RunFigures",
    "Span",
    "TableFigures",
    "TaskFigures",
    "Work",
    "read_figures",
]

DAY_S, HOUR_S = 86_400, 3_600
MAX_NAMES = 50_000
"""DAGs, and tasks, that are counted separately; later ones are counted together."""
REST = "(others)"
RECENT_DAYS = 14
MAP_DAYS = 28
MAX_OPEN = 15
_EARLIEST = 1_262_304_000.0
"""2010, before there was an Airflow."""
_FINISHED = ("success", "failed")
_OPEN_TASKS = {
    "deferred", "queued", "restarting", "running", "scheduled", "sensing", "up_for_reschedule", "up_for_retry",
}  # fmt: skip


class ReportProgress(Protocol):
    """Callback for the progress of the reading."""

    def __call__(self, table: str, rows: int, expected_rows: int) -> None:
        """Report the number of rows read of a table, and the approximate total."""


@dataclass
class Work:
    """The durations of one DAG's runs, or of one task's instances.

    :param count: number of all, in any state.
    :param durations: from start to end, of those that succeeded or failed.
    """

    count: int = 0
    success: int = 0
    failed: int = 0
    durations: DurationSketch = field(default_factory=DurationSketch)

    @property
    def failed_share(self) -> float:
        """Share of failures among those that succeeded or failed, from 0 to 1."""
        return self.failed / finished if (finished := self.success + self.failed) else 0.0

    def add(self, state: str | None, start: float | None, end: float | None) -> None:
        """Add one."""
        self.count += 1
        if state == "success":
            self.success += 1
        elif state == "failed":
            self.failed += 1
        else:
            return
        if start is not None and end is not None and end >= start:
            self.durations.add(end - start)

    def merge(self, other: Work) -> None:
        """Add everything that another one has counted."""
        self.count += other.count
        self.success += other.success
        self.failed += other.failed
        self.durations.merge(other.durations)


@dataclass(frozen=True, order=True)
class OpenItem:
    """A run, or a task instance, that has not ended.

    :param age_s: from its start, or the time it was due, to the end of the export.
    """

    age_s: float
    dag_id: str
    run_id: str
    task_id: str
    state: str


@dataclass
class OpenItems:
    """Everything that has not ended: the number, and the oldest ones."""

    count: int = 0
    _oldest: list[OpenItem] = field(default_factory=list)

    def add(self, item: OpenItem) -> None:
        """Add one."""
        self.count += 1
        if len(self._oldest) < MAX_OPEN:
            heapq.heappush(self._oldest, item)
        else:
            heapq.heappushpop(self._oldest, item)

    @property
    def oldest(self) -> list[OpenItem]:
        """The oldest ones, oldest first."""
        return sorted(self._oldest, reverse=True)


def _recent() -> list[Work]:
    return [Work() for _ in range(RECENT_DAYS)]


@dataclass
class RunFigures:
    """Figures of the DAG runs.

    :param days: day number since 1970 -> success, failed, others.
    :param undated: number of runs without any time.
    :param types: number of runs by ``run_type``.
    :param states: number of runs by state.
    :param recent: runs of the last 24 hours before the end of the export, of the 24 hours before those, and so on.
    :param failed_days: DAG -> day number -> failed runs, in the last days of the export.
    """

    all: Work = field(default_factory=Work)
    dags: dict[str, Work] = field(default_factory=dict)
    days: dict[int, list[int]] = field(default_factory=dict)
    hours: Counter[int] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    undated: int = 0
    recent: list[Work] = field(default_factory=_recent)
    failed_days: dict[str, Counter[int]] = field(default_factory=dict)
    open: OpenItems = field(default_factory=OpenItems)


@dataclass
class TaskFigures:
    """Figures of the task instances, each by its last try.

    :param delays: day number since 1970 -> delays from queued to started.
    :param requeued: number of those that were queued again after they had started, such as deferred ones; their delay
        is unknown.
    :param recent: as for the runs.
    :param recent_delays: likewise, from queued to started.
    """

    all: Work = field(default_factory=Work)
    tasks: dict[tuple[str, str], Work] = field(default_factory=dict)
    hours: Counter[int] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    delay: DurationSketch = field(default_factory=DurationSketch)
    delays: dict[int, DurationSketch] = field(default_factory=dict)
    requeued: int = 0
    recent: list[Work] = field(default_factory=_recent)
    recent_delays: list[DurationSketch] = field(default_factory=lambda: [DurationSketch() for _ in range(RECENT_DAYS)])
    open: OpenItems = field(default_factory=OpenItems)


@dataclass
class TableFigures:
    """Size and growth of a table.

    :param rows: number of rows, each counted once, even if it was exported several times.
    :param months: year times 12 plus month (from 0) -> rows; ``None`` if the rows have no time.
    :param undated: number of rows without a time, such as tasks that never started.
    :param first_day: day number of the first row since 1970.
    """

    rows: int
    bytes: int
    months: Counter[int] | None = None
    undated: int = 0
    first_day: int | None = None

    def add(self, day: int, month: int) -> None:
        """Count a row of that day."""
        assert self.months is not None
        self.months[month] += 1
        if self.first_day is None or day < self.first_day:
            self.first_day = day


@dataclass
class Figures:
    """All figures; ``None`` for a table that the export lacks.

    :param span: the time that they cover.
    """

    runs: RunFigures | None
    tasks: TaskFigures | None
    tables: dict[str, TableFigures]
    span: Span


@dataclass(frozen=True)
class Span:
    """The time that a report covers, in seconds since 1970.

    :param begin: earlier rows are not counted; ``None`` if there are none.
    :param end: end of the export.
    :param latest: later times cannot be shown.
    """

    begin: float | None
    end: float
    latest: float

    def known(self, moments: Sequence[float | None]) -> list[float | None]:
        """Return ``None`` for an impossible time: one row of the year 9999 would make a plot of 8,000 years."""
        return [moment if moment is not None and _EARLIEST <= moment < self.latest else None for moment in moments]

    def holds(self, moment: float | None) -> bool:
        """Return whether a row of this time is counted; rows without a time only if all rows are counted."""
        return self.begin is None or (moment is not None and moment >= self.begin)


def read_figures(export: Export, progress: ReportProgress | None = None, *, since: datetime | None = None) -> Figures:
    """Read an export, once and as a stream; memory grows with the DAGs, tasks and days, not with the rows.

    :param since: count rows from this time on; rows without a time are counted only in tables that have no times.
    :raises StorageError: a file of it is missing or damaged, or cannot be read.
    """
    tell = progress or _silent
    tables: dict[str, TableFigures] = {}
    first, last = export.manifests[0], export.last
    begins = [moment.timestamp() for moment in (since, first.since) if moment]
    end = min(moment.timestamp() for moment in (last.until, last.exported_at) if moment)
    span = Span(max(begins, default=None), end, last.exported_at.timestamp() + DAY_S)
    runs = _runs(export, tables, span, tell) if "dag_run" in export.tables else None
    tasks = _tasks(export, tables, span, tell) if "task_instance" in export.tables else None
    for table in export.tables:
        if table not in tables:
            tables[table] = _table(export, table, span, tell)
    return Figures(runs, tasks, tables, span)


def _silent(table: str, rows: int, expected_rows: int) -> None:
    """Report no progress."""


def _batches(export: Export, table: str, columns: Sequence[str], tell: ReportProgress) -> Iterator[list[Sequence[Any]]]:
    rows, expected = 0, export.rows_written(table)
    tell(table, 0, expected)
    for batch in export.batches(table, columns):
        rows += len(batch[0])
        yield batch
        tell(table, rows, expected)


def _runs(export: Export, tables: dict[str, TableFigures], span: Span, tell: ReportProgress) -> RunFigures:
    figures = RunFigures()
    mapped_from = int(span.end // DAY_S) - MAP_DAYS
    growth = tables["dag_run"] = TableFigures(0, export.bytes_written("dag_run"), Counter())
    times = _time_columns(export, "dag_run")
    columns = ["dag_id", "state", "run_type", "start_date", "end_date", "run_id", *times]
    month_of = _Months()
    for batch in _batches(export, "dag_run", columns, tell):
        batch, moments = _within(span, batch[:6], _first_known(batch[6:], len(batch[0])))
        dag_ids, states, types, starts, ends, run_ids = batch
        figures.states.update(state or "none" for state in states)
        figures.types.update(kind or "none" for kind in types)
        growth.rows += len(dag_ids)
        for dag_id, run_id, state, start, end, moment in zip(
            dag_ids, run_ids, states, starts, ends, moments, strict=True
        ):
            figures.all.add(state, start, end)
            _named(figures.dags, dag_id or "", REST).add(state, start, end)
            if state not in _FINISHED:
                age_s = max(0.0, span.end - moment) if moment is not None else 0.0
                figures.open.add(OpenItem(age_s, dag_id or "", run_id or "", "", state or "none"))
            if moment is None:
                figures.undated += 1
                continue
            day = int(moment // DAY_S)
            if (age := int((span.end - moment) // DAY_S)) < RECENT_DAYS and age >= 0:
                figures.recent[age].add(state, start, end)
            if state == "failed" and mapped_from < day <= mapped_from + MAP_DAYS:
                figures.failed_days.setdefault(dag_id or "", Counter())[day] += 1
            if day not in figures.days:
                figures.days[day] = [0, 0, 0]
            figures.days[day][_FINISHED.index(state) if state in _FINISHED else 2] += 1
            figures.hours[int(moment // HOUR_S)] += 1
            growth.add(day, month_of[day])
    growth.undated = figures.undated
    return figures


def _tasks(export: Export, tables: dict[str, TableFigures], span: Span, tell: ReportProgress) -> TaskFigures:
    figures = TaskFigures()
    growth = tables["task_instance"] = TableFigures(0, export.bytes_written("task_instance"), Counter())
    times = _time_columns(export, "task_instance")
    columns = ["dag_id", "task_id", "state", "start_date", "end_date", "queued_dttm", "run_id", *times]
    month_of = _Months()
    for batch in _batches(export, "task_instance", columns, tell):
        batch, moments = _within(span, batch[:7], _first_known(batch[7:], len(batch[0])))
        dag_ids, task_ids, states, starts, ends, queued, run_ids = batch
        figures.states.update(state or "none" for state in states)
        figures.hours.update(int(start // HOUR_S) for start in starts if start is not None)
        growth.rows += len(dag_ids)
        names = zip(dag_ids, task_ids, strict=True)
        for name, run_id, state, start, end, moment, since in zip(
            names, run_ids, states, starts, ends, moments, queued, strict=True
        ):
            figures.all.add(state, start, end)
            _named(figures.tasks, name, (REST, REST)).add(state, start, end)
            if state in _OPEN_TASKS:
                known = moment if moment is not None else since
                age_s = max(0.0, span.end - known) if known is not None else 0.0
                figures.open.add(OpenItem(age_s, name[0] or "", run_id or "", name[1] or "", state))
            if moment is None:
                growth.undated += 1
                continue
            growth.add(day := int(moment // DAY_S), month_of[day])
            if (age := int((span.end - moment) // DAY_S)) < RECENT_DAYS and age >= 0:
                figures.recent[age].add(state, start, end)
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
            if (age := int((span.end - start) // DAY_S)) < RECENT_DAYS and age >= 0:
                figures.recent_delays[age].add(start - since)
    return figures


def _within(
    span: Span, columns: Sequence[Sequence[Any]], moments: Sequence[float | None]
) -> tuple[list[Sequence[Any]], Sequence[float | None]]:
    """Keep the rows within a span."""
    moments = span.known(moments)
    if span.begin is None:
        return list(columns), moments
    kept = [span.holds(moment) for moment in moments]
    return [list(compress(column, kept)) for column in columns], list(compress(moments, kept))


def _table(export: Export, table: str, span: Span, tell: ReportProgress) -> TableFigures:
    exports = export.exports_of(table)
    times = _time_columns(export, table)
    found = TableFigures(0, export.bytes_written(table), Counter() if times else None)
    if not times and (len(exports) == 1 or not exports[-1][1].key):
        found.rows = export.rows_written(table)
        return found
    month_of = _Months()
    for batch in _batches(export, table, times or list(exports[-1][1].key), tell):
        if not times:
            found.rows += len(batch[0])
            continue
        _, moments = _within(span, [], _first_known(batch, len(batch[0])))
        found.rows += len(moments)
        for moment in moments:
            if moment is None:
                found.undated += 1
            else:
                found.add(day := int(moment // DAY_S), month_of[day])
    return found


def _time_columns(export: Export, table: str) -> list[str]:
    """Return the table's columns with a row's creation time; times of a state do not show growth."""
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


class _Months(dict[int, int]):
    """Map a day to its month, both as numbers."""

    def __missing__(self, day: int) -> int:
        moment = datetime.fromtimestamp(day * DAY_S, UTC)
        self[day] = month = moment.year * 12 + moment.month - 1
        return month
