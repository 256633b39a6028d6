# SPDX-License-Identifier: Apache-2.0
"""Route ``rest``: an export's rows from Airflow's own REST API, where no plugin may be installed.

What the API shows is written as the database would write it. :mod:`~airflow_mwaa_provider.metadata.rest.tables` lists
the tables and columns, and why others are missing.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError, UnexpectedAnswer
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.export.copy import CHUNK_BYTES, Chunk
from airflow_mwaa_provider.metadata.export.layout import Partitioning
from airflow_mwaa_provider.metadata.rest.pagination import LONG_AGO_US, PAGE_ROWS, Paginator, field_of
from airflow_mwaa_provider.metadata.rest.tables import rest_schema, rest_tables
from airflow_mwaa_provider.metadata.rest.values import EARLIEST_US, LATEST_US, csv_line, micros, parse_datetime, text_of
from airflow_mwaa_provider.metadata.rest.values import written_time as written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.catalog.selection import TableRows, Window
    from airflow_mwaa_provider.metadata.catalog.witnesses import TableWitness
    from airflow_mwaa_provider.metadata.export.formats import FileFormat
    from airflow_mwaa_provider.metadata.rest.pagination import Request
    from airflow_mwaa_provider.metadata.rest.tables import ExposedColumn, RestTable

__all__ = ["PARTITIONED_BYTES", "RestSource"]

PARTITIONED_BYTES = 32 << 20
"""Size of the rows that wait for others of their partition, by which the API does not sort."""

_CLOCKS_DIFFER = timedelta(seconds=60)
_RUNS_KNOWN = 2_000
_RUN_KEY = ("dag_id", "dag_run_id")

Row = dict[str, Any]


class RestSource:
    """The tables that the REST API shows; a :class:`~airflow_mwaa_provider.metadata.export.source.RowSource`.

    There is no snapshot: each row is as it was when its page was read. A row that exists before and after the export is
    returned exactly once, with one exception: a task that is cleared and runs again during an export of a time span may
    be returned twice or, in an incremental export, appear only in the next one. Keeps at most 40 MB of rows in memory.

    A whole table is read by the dates of the runs, which every row has and which never change, so that it includes what
    has not started. A time span is read by start dates, and then once more for rows without one. Changes are read by
    ``updated_at``, by which the API filters and which it does not show; if that is NULL, by the row's other times.

    The role must see all DAGs: if it sees only some of them, only their rows are exported. On Airflow 2, SubDAGs are in
    no list of DAGs, and on Airflow 3, log entries without a time are in no list.

    :param request: calls the API, such as ``MwaaEnvironment.request``.
    :param airflow_version: of the environment, such as ``"3.3.1"``; determines which fields exist, and their names.
    :param clock: returns the time.
    """

    route = "rest"

    def __init__(
        self,
        request: Request,
        airflow_version: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.airflow_version = airflow_version
        self._request = request
        self._tables = rest_tables(airflow_version)
        self._schema = rest_schema(airflow_version)
        self._clock = clock
        self._now = clock()
        self._run_times: OrderedDict[tuple[Any, ...], datetime | None] = OrderedDict()

    def __enter__(self) -> RestSource:
        self._now = self._clock()
        return self

    def __exit__(self, *error: object) -> None:
        return

    @property
    def schema(self) -> Schema:
        """The tables and columns that the API shows."""
        return self._schema

    @property
    def now(self) -> datetime:
        """When the export started, by the clock of this machine."""
        return self._now

    @property
    def snapshot(self) -> None:
        """The API does not show transactions."""
        return

    def witnesses(self) -> tuple[TableWitness, ...]:
        """Return nothing: the API shows no transactions."""
        return ()

    def find_contradiction(self, witnesses: Sequence[TableWitness]) -> str | None:  # noqa: ARG002
        """Return nothing: the API shows no transactions."""
        return None

    def horizon(self) -> datetime:
        """Return the time before which no row can still appear: a minute ago, if clocks differ by less."""
        return self._now - _CLOCKS_DIFFER

    def check_until(self, until: datetime) -> None:
        """Check nothing, because Airflow's own database is not a standby."""

    @contextmanager
    def chunks(
        self,
        rows: TableRows,
        form: FileFormat,  # noqa: ARG002 - what the API shows fits both
        partition_sql: str | None,
    ) -> Iterator[Iterator[Chunk]]:
        """Read the rows of a table.

        The rows of a partition are in one chunk as long as all waiting rows fit :data:`PARTITIONED_BYTES`, otherwise in
        several.
        """
        if partition_sql is not None and not isinstance(partition_sql, Partitioning):
            raise MwaaInputError(
                "Route rest divides rows only by what ObjectKeys.partition_sql returns, and by no other SQL."
            )
        yield self._chunks(rows, partition_sql)

    def _chunks(self, rows: TableRows, partitioning: Partitioning | None) -> Iterator[Chunk]:
        table = self._tables[rows.name]
        line = _line_writer(table, rows)
        waiting: defaultdict[str, list[bytes]] = defaultdict(list)
        sizes: defaultdict[str, int] = defaultdict(int)
        size = 0
        limit = CHUNK_BYTES if partitioning is None else PARTITIONED_BYTES
        for row, time in self._rows_and_times(table, rows, is_timed=partitioning is not None):
            partition = "" if partitioning is None else partitioning.of(time)
            written_row = line(row)
            waiting[partition].append(written_row)
            sizes[partition] += len(written_row)
            size += len(written_row)
            if size >= limit:
                largest = max(sizes, key=sizes.__getitem__)
                size -= sizes.pop(largest)
                yield _chunk(largest, waiting.pop(largest))
        for partition in sorted(waiting):
            yield _chunk(partition, waiting[partition])

    # -- which rows --------------------------------------------------------------------------------

    def _rows_and_times(
        self, table: RestTable, rows: TableRows, *, is_timed: bool
    ) -> Iterator[tuple[Row, datetime | None]]:
        by_change = rows.changed_sql is not None and not rows.is_whole
        by_time = not by_change and not rows.is_whole
        found = self._rows_by_change(table, rows.window) if by_change else self._rows_by_time(table, rows)
        while batch := list(islice(found, PAGE_ROWS)):
            times = self._times(table, batch) if is_timed or by_time else [None] * len(batch)
            for row, time in zip(batch, times, strict=True):
                if not by_time or _holds(rows.window, time):
                    yield row, time

    def _rows_by_time(self, table: RestTable, rows: TableRows) -> Iterator[Row]:
        """Read the rows of a time span, and possibly some others."""
        paginator = self._paginator(table)
        if table.born is not None and rows.is_whole:
            yield from paginator.within(table.born)
        elif table.born is not None:
            assert table.began is not None
            # Rows of the last minute and rows that have not started are one group: a row that starts now remains in it.
            recently = micros(self.horizon())
            low, high = _span(rows.window)
            yield from paginator.within(table.began, low, min(high, recently))
            assert table.began.shown is not None
            for row in paginator.within(table.born, without={table.began.high: written(recently - 1)}):
                # A row that was deleted since its page was read looks like one that has not started.
                began = self._time(table, row, table.began.shown)
                if began is None or micros(began) >= recently:
                    yield row
        elif table.began is not None:
            yield from self._rows_that_began(table, rows.window, with_dateless=rows.window.since is None)
        else:
            yield from paginator.all()

    def _rows_by_change(self, table: RestTable, window: Window) -> Iterator[Row]:
        """Read the rows that were changed in a time span, as far as the database records it.

        Rows without any time are in every span, because they may be new.
        """
        low, high = _span(window)
        if table.changes is not None and table.changed is not None:
            paginator = Paginator(self._request, table.changes, table.key)
            # An open end would include rows without a time of change.
            yield from paginator.within(table.changed, max(low, LONG_AGO_US), high)
            assert table.born is not None
            rows = paginator.within(table.born, without={table.changed.low: written(LONG_AGO_US)})
        elif table.began is not None:
            yield from self._rows_that_began(table, window, with_dateless=True)
            return
        else:
            rows = self._paginator(table).all()
        facts = registry.facts_of(table.name)
        fields = table.fields_of(facts.changed or facts.time)
        for row in rows:
            times = [time for name in fields if (time := self._time(table, row, name)) is not None]
            if not times or _holds(window, max(times)):
                yield row

    def _rows_that_began(self, table: RestTable, window: Window, *, with_dateless: bool) -> Iterator[Row]:
        """Read rows that never change, and so have only one time."""
        assert table.began is not None
        yield from self._paginator(table).within(table.began, *_span(window))
        if table.began.may_lack and with_dateless:
            yield from self._paginator(table).lacking(table.began)

    def _paginator(self, table: RestTable) -> Paginator:
        dags_of = self._dags_of if table.name == "task_instance" else None
        return Paginator(self._request, table.listing, table.key, dags_of)

    def _dags_of(self, filters: Mapping[str, Any]) -> Iterator[str]:
        """Return the DAGs that have runs at one time; only these have tasks then."""
        runs = self._tables["dag_run"]
        assert runs.born is not None
        if set(filters) != {runs.born.low, runs.born.high}:
            return
        for run in Paginator(self._request, runs.listing, runs.key).all(filters):
            yield field_of(run, "dag_id", runs.listing.path)

    # -- times of rows -----------------------------------------------------------------------------

    def _times(self, table: RestTable, rows: list[Row]) -> list[datetime | None]:
        facts = registry.facts_of(table.name)
        fields = table.fields_of(facts.time)
        times = [
            next((time for name in fields if (time := self._time(table, row, name)) is not None), None) for row in rows
        ]
        if table.name != "task_instance" or None not in times:
            return times
        keys = [tuple(field_of(row, name, table.listing.path) for name in _RUN_KEY) for row in rows]
        unknown = {key: row for key, row, time in zip(keys, rows, times, strict=True) if time is None}
        self._learn_runs(table, unknown)
        return [self._run_times.get(key) if time is None else time for key, time in zip(keys, times, strict=True)]

    def _learn_runs(self, table: RestTable, wanted: dict[tuple[Any, ...], Row]) -> None:
        """Look up the times of the runs of tasks that have no time themselves."""
        runs = self._tables["dag_run"]
        assert runs.born is not None
        assert runs.born.shown is not None
        while len(self._run_times) > _RUNS_KNOWN:
            self._run_times.popitem(last=False)
        by_moment: dict[int, set[str]] = {}
        for key, row in wanted.items():
            if key in self._run_times:
                continue
            born = self._time(table, row, runs.born.shown)
            if born is not None:
                by_moment.setdefault(micros(born), set()).add(key[0])
        for born_us, dags in by_moment.items():
            filters = {runs.born.low: written(born_us), runs.born.high: written(born_us), "dag_ids": sorted(dags)}
            found = list(Paginator(self._request, runs.listing, runs.key).all(filters))
            for run, time in zip(found, self._times(runs, found), strict=True):
                self._run_times[tuple(run[name] for name in _RUN_KEY)] = time

    def _time(self, table: RestTable, row: Row, name: str) -> datetime | None:
        try:
            return parse_datetime(field_of(row, name, table.listing.path))
        except ValueError as error:
            raise _strange(table, name, error) from None


def _line_writer(table: RestTable, rows: TableRows) -> Callable[[Row], bytes]:
    shown = {item.column: item for item in table.columns}
    wanted = [(shown[name], text_of(shown[name].kind)) for name in rows.column_names]

    def value(row: Row, item: ExposedColumn, write: Callable[[Any], str]) -> str | None:
        found = field_of(row, item.field, table.listing.path)
        if found is None:
            return None
        try:
            text = write(found)
        except ValueError as error:
            raise _strange(table, item.field, error) from None
        return text.upper() if item.is_upper else text

    return lambda row: csv_line([value(row, item, write) for item, write in wanted])


def _strange(table: RestTable, name: str, error: ValueError) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"{table.listing.path}: a row was answered with {name!r} of another type ({error}). Check that nothing but "
        "Airflow answers there, or use another route."
    )


def _span(window: Window) -> tuple[int, int]:
    low = EARLIEST_US if window.since is None else micros(window.since)
    return low, LATEST_US if window.until is None else micros(window.until)


def _holds(window: Window, time: datetime | None) -> bool:
    """Return whether a row with this time is in a window, as :meth:`Window.condition` defines it."""
    if time is None:
        return window.since is None
    return (window.since is None or window.since <= time) and (window.until is None or time < window.until)


def _chunk(partition: str, lines: list[bytes]) -> Chunk:
    return Chunk(partition, len(lines), b"".join(lines))
