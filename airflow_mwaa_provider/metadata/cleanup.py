# SPDX-License-Identifier: Apache-2.0
"""Delete old rows from a metadata database that is in use: plan first, then delete in short transactions.

:mod:`~airflow_mwaa_provider.metadata.cleaning.scope.rules` decides what is deleted, together with the references in the
database's own catalog. Rows that these references delete are counted, and checked before.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import DatabaseRefused, MwaaInputError
from airflow_mwaa_provider.metadata.catalog.schema import quoted, read_schema
from airflow_mwaa_provider.metadata.catalog.selection import KeyRange
from airflow_mwaa_provider.metadata.cleaning.deleting.batches import BatchSizer, RangeDeleter, Windows
from airflow_mwaa_provider.metadata.cleaning.deleting.connection import CleanupConnection
from airflow_mwaa_provider.metadata.cleaning.deleting.session import CleanupSession, reference_time
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome, Plan, RetainedRows, TableOutcome, TablePlan
from airflow_mwaa_provider.metadata.cleaning.scope.choose import choose_units
from airflow_mwaa_provider.metadata.cleaning.scope.plan import check_dags, count_rows, make_plan, with_undated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.cleaning.outcome import Progress
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit
    from airflow_mwaa_provider.metadata.database import Database

__all__ = [
    "CleanupOptions",
    "Outcome",
    "Plan",
    "RetainedRows",
    "TableOutcome",
    "TablePlan",
    "cleanup_units",
    "plan_cleanup",
    "run_cleanup",
    "run_cleanup_step",
]

log = logging.getLogger(__name__)

_INTEGERS = {"int2", "int4", "int8"}


def plan_cleanup(
    database: Database,
    options: CleanupOptions,
    *,
    route: str = "database",
    tell: Callable[[str], None] = log.debug,
) -> Plan:
    """Count what a cleanup would delete, and report what it would keep; delete nothing.

    :param tell: called with what is counted, before each query that may take long.
    :raises TableNotFound: a table does not exist.
    :raises MwaaInputError: an option is wrong, or cannot be followed.
    :raises MetadataError: the database rejected a query, or could not be reached.
    """
    with CleanupConnection(database, options) as connection:

        def ask(statement: str, doing: str) -> list[tuple[Any, ...]]:
            tell(doing)
            return connection.ask(statement, doing)

        schema, units, now = _prepare(connection, options, is_for_counting=True)
        return replace(make_plan(schema, units, ask, now), route=route, source=database.label)


def run_cleanup(
    database: Database,
    options: CleanupOptions,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] = log.info,
    wait_timeout_s: float = 0.0,
    route: str = "database",
) -> Outcome:
    """Delete old rows. If a cleanup is interrupted, the next one continues there.

    :param progress: called with a table, how many of its rows are deleted, and how many are to be.
    :param tell: called with each pause and each lost connection.
    :param wait_timeout_s: how long to wait for another cleanup to end.
    :return: what happened; :attr:`Outcome.failures` names the tables that failed.
    :raises TableNotFound: a table does not exist.
    :raises MwaaInputError: an option is wrong, or cannot be followed; nothing was deleted.
    :raises CleanupUnderWay: another cleanup is running.
    :raises MetadataError: the database rejected something before anything was deleted, or was lost for longer than a
        minute.
    """
    units: list[CleanupUnit] = []
    with CleanupSession.open(
        database, options, _preparing(options, units), tell, progress=progress, wait_timeout_s=wait_timeout_s
    ) as session:
        cleanup = _Cleanup(session)
        outcome = cleanup.run(units)
        outcome.route = route
        return outcome


def run_cleanup_step(
    database: Database,
    options: CleanupOptions,
    unit_name: str,
    after: Sequence[str] | None = None,
    *,
    tell: Callable[[str], None] = log.info,
) -> tuple[Outcome, tuple[str, ...] | None]:
    """Do a step of a cleanup, of ``max_duration`` at most: for callers with limited time, such as a web server.

    :param options: with ``now``, and the same in every step.
    :param unit_name: one of those that :func:`cleanup_units` returns.
    :param after: what the step before returned.
    :return: what happened, and where to continue: ``None`` if the unit is done, an empty tuple if it has not begun.
    :raises MwaaInputError: there is no such unit; and everything that :func:`run_cleanup` raises.
    """
    units: list[CleanupUnit] = []
    with CleanupSession.open(database, options, _preparing(options, units, is_dated=False), tell) as session:
        cleanup = _Cleanup(session)
        for unit in units:
            if unit.name == unit_name:
                [found] = with_undated([unit], session.connection.ask)
                return cleanup.step(found, tuple(after) if after else None)
    raise MwaaInputError(f"A cleanup with these options has no unit {unit_name!r}.")


def cleanup_units(database: Database, options: CleanupOptions) -> tuple[datetime, list[str]]:
    """Return the time that ages are counted from, and the names of the units of a cleanup, in their order.

    :raises TableNotFound: a table does not exist.
    :raises MwaaInputError: an option is wrong, or cannot be followed.
    """
    with CleanupConnection(database, options) as connection:
        _, units, now = _prepare(connection, options, is_dated=False)
    return now, [unit.name for unit in units]


def _preparing(
    options: CleanupOptions, units: list[CleanupUnit], *, is_dated: bool = True
) -> Callable[[CleanupConnection], tuple[Schema, list[CleanupUnit]]]:
    """Return a function that fills the list once there is a connection."""

    def prepare(connection: CleanupConnection) -> tuple[Schema, list[CleanupUnit]]:
        schema, found, _ = _prepare(connection, options, is_dated=is_dated)
        units.extend(found)
        return schema, units

    return prepare


def _prepare(
    connection: CleanupConnection, options: CleanupOptions, *, is_dated: bool = True, is_for_counting: bool = False
) -> tuple[Schema, list[CleanupUnit], datetime]:
    schema = connection.rows_of(read_schema, "reading its tables")
    now = reference_time(connection, options)
    units = choose_units(schema, options, now, is_for_counting=is_for_counting)
    check_dags(schema, options, connection.ask)
    return schema, with_undated(units, connection.ask) if is_dated else units, now


class _Cleanup:
    """One running cleanup, without an archive."""

    def __init__(self, session: CleanupSession) -> None:
        self._session = session
        self._outcome = session.outcome

    def run(self, units: list[CleanupUnit]) -> Outcome:
        """Delete unit by unit; if one fails, the others are still cleaned."""
        for unit in units:
            for name in unit.tables:
                self._outcome.table(name)
            if self._session.should_continue():
                self._clean(unit)
        self._count(units)
        return self._session.finish()

    def step(self, unit: CleanupUnit, after: tuple[str, ...] | None) -> tuple[Outcome, tuple[str, ...] | None]:
        """Delete a part of a unit; return what happened, and where to continue."""
        for name in unit.tables:
            self._outcome.table(name)
        last = self._clean(unit, after)
        for table in self._outcome.tables.values():
            table.matched = table.deleted
        return self._session.finish(), last

    def _clean(self, unit: CleanupUnit, after: tuple[str, ...] | None = None) -> tuple[str, ...] | None:
        """Delete rows of a unit; if the time is over before the end, return the last key."""
        session = self._session
        try:
            keys, expected = self._bounds(unit, after)
            if keys is None:
                return None
            last_runs = session.last_runs(unit)
        except DatabaseRefused as error:
            session.fail(unit, None, error)
            return None
        windows = Windows(unit, keys)
        count = session.counting(unit, expected if unit.deletes_root_rows else None)

        def work(connection: CleanupConnection) -> None:
            sizer = BatchSizer.of(unit, session.options)
            task = RangeDeleter(
                unit, connection, sizer, last_runs, count, session.should_continue, session.record_skipped
            )
            while session.should_continue():
                part = windows.next(connection, task.window)
                if part is None:
                    return
                connection.with_reconnect(partial(task.run, part))
                if not session.is_over():
                    windows.done = part.last

        session.work(unit, work)
        return (windows.done or ()) if session.is_over() else None

    def _bounds(self, unit: CleanupUnit, after: tuple[str, ...] | None) -> tuple[KeyRange | None, int]:
        """Return the range of root keys that has rows to delete, and about how many."""
        key = unit.key
        table = unit.schema.qualified(unit.root_table.name)
        is_number = len(key) == 1 and key[0].type in _INTEGERS
        name = f"t.{quoted(key[0].name)}"
        bounds = f"min({name})::text, max({name})::text" if is_number else "NULL, NULL"
        beyond = f"{KeyRange(key, after).condition()} AND " if after is not None else ""
        [(count, first, last)] = self._session.connection.ask(
            f"SELECT count(*), {bounds} FROM {table} t WHERE {beyond}{unit.row_condition_sql}",
            f"looking for rows of {unit.name} to delete",
        )
        if not count:
            return None, 0
        if not is_number:
            return KeyRange(key, after), count
        return KeyRange(key, after, (last,), None if after is not None else (first,)), count

    def _count(self, units: list[CleanupUnit]) -> None:
        """Count the rows to delete: those that were deleted, and those that are left, if any."""
        outcome = self._outcome
        for table in outcome.tables.values():
            table.matched = table.deleted
        if outcome.is_complete:
            return
        try:
            for _, rows in count_rows(units, self._session.connection.ask):
                for name, count in rows.items():
                    outcome.table(name).matched += count
        except DatabaseRefused as error:
            # Report what was deleted anyway.
            outcome.record_skipped(f"the rows that are left could not be counted: {error}")


def __getattr__(name: str) -> Any:
    """Return what a deprecated name stands for."""
    if name == "Kept":
        warnings.warn("Kept is called RetainedRows: use that name.", DeprecationWarning, stacklevel=2)
        return RetainedRows
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
