# SPDX-License-Identifier: Apache-2.0
"""Deletes what is old from a metadata database that is in use: planned first, then in short transactions.

:mod:`~airflow_mwaa_provider.metadata.cleaning.scope.rules` says what is deleted, and so do the references that the
database's own catalog has; what they delete along is counted, and no more than was looked at.
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
    """Count what a cleanup would delete, and say what it would keep; deletes nothing.

    :param tell: is told what is counted, before each query that may take long.
    :raises TableNotFound: a table is not there.
    :raises MwaaInputError: something cannot be done as asked.
    :raises MetadataError: the database refused, or could not be reached.
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
    """Delete what is old. A cleanup that was cut off is gone on with by the next one.

    :param progress: is called with a table, how many of its rows are gone, and how many there are to go.
    :param tell: is told of pauses and lost connections.
    :param wait_timeout_s: how long another cleanup's end is waited for.
    :return: what happened; :attr:`Outcome.failures` says which tables went wrong.
    :raises TableNotFound: a table is not there.
    :raises MwaaInputError: something cannot be done as asked; nothing was deleted.
    :raises CleanupUnderWay: another cleanup is at work.
    :raises MetadataError: the database refused before anything was deleted, or was lost for longer than a minute.
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
    """Do a part of a cleanup, as long as ``max_duration``: for those who may not take longer at a time.

    :param options: with ``now`` given, and the same in every step.
    :param unit_name: one of those that :func:`cleanup_units` gives.
    :param after: what the step before has returned.
    :return: what happened, and where to go on; ``None`` when nothing of the unit is left to do, and nothing in it when
        all of it is.
    :raises MwaaInputError: there is no such unit; and all that :func:`run_cleanup` raises.
    """
    units: list[CleanupUnit] = []
    with CleanupSession.open(database, options, _preparing(options, units, is_dated=False), tell) as session:
        cleanup = _Cleanup(session)
        for unit in units:
            if unit.name == unit_name:
                [found] = with_undated([unit], session.connection.ask)
                return cleanup.step(found, tuple(after) if after else None)
    raise MwaaInputError(f"A cleanup with these options has no part {unit_name!r}.")


def cleanup_units(database: Database, options: CleanupOptions) -> tuple[datetime, list[str]]:
    """Say in which parts a cleanup is done, by name and in their order, and what time ages are counted from.

    :raises TableNotFound: a table is not there.
    :raises MwaaInputError: something cannot be done as asked.
    """
    with CleanupConnection(database, options) as connection:
        _, units, now = _prepare(connection, options, is_dated=False)
    return now, [unit.name for unit in units]


def _preparing(
    options: CleanupOptions, units: list[CleanupUnit], *, is_dated: bool = True
) -> Callable[[CleanupConnection], tuple[Schema, list[CleanupUnit]]]:
    """Give what fills the list, when there is a connection."""

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
    """One cleanup that is under way, without an archive."""

    def __init__(self, session: CleanupSession) -> None:
        self._session = session
        self._outcome = session.outcome

    def run(self, units: list[CleanupUnit]) -> Outcome:
        """Delete unit by unit; one that fails doesn't keep the others from it."""
        for unit in units:
            for name in unit.tables:
                self._outcome.table(name)
            if self._session.should_continue():
                self._clean(unit)
        self._count(units)
        return self._session.finish()

    def step(self, unit: CleanupUnit, after: tuple[str, ...] | None) -> tuple[Outcome, tuple[str, ...] | None]:
        """Delete a part of a unit, and say where to go on."""
        for name in unit.tables:
            self._outcome.table(name)
        last = self._clean(unit, after)
        for table in self._outcome.tables.values():
            table.matched = table.deleted
        return self._session.finish(), last

    def _clean(self, unit: CleanupUnit, after: tuple[str, ...] | None = None) -> tuple[str, ...] | None:
        """Delete what goes of a unit; where it was ended before, give the key that it came to."""
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
        """Say between which keys of the root there is something to do, and about how many rows."""
        key = unit.key
        table = unit.schema.qualified(unit.root_table.name)
        is_number = len(key) == 1 and key[0].type in _INTEGERS
        name = f"t.{quoted(key[0].name)}"
        bounds = f"min({name})::text, max({name})::text" if is_number else "NULL, NULL"
        beyond = f"{KeyRange(key, after).condition()} AND " if after is not None else ""
        [(count, first, last)] = self._session.connection.ask(
            f"SELECT count(*), {bounds} FROM {table} t WHERE {beyond}{unit.row_condition_sql}",
            f"looking for what goes of {unit.name}",
        )
        if not count:
            return None, 0
        if not is_number:
            return KeyRange(key, after), count
        return KeyRange(key, after, (last,), None if after is not None else (first,)), count

    def _count(self, units: list[CleanupUnit]) -> None:
        """Say how much there was to go: what is gone, and, where not all is, what isn't yet."""
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
            # What was deleted is told all the same.
            outcome.record_skipped(f"what is left could not be counted: {error}")


def __getattr__(name: str) -> Any:
    """Return what a deprecated name stands for."""
    if name == "Kept":
        warnings.warn("Kept is called RetainedRows: use that name.", DeprecationWarning, stacklevel=2)
        return RetainedRows
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
