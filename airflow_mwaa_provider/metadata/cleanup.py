# SPDX-License-Identifier: Apache-2.0
"""Deletes what is old from a metadata database that is in use: planned first, then in short transactions.

What goes is decided by :mod:`~airflow_mwaa_provider.metadata.cleaning.rules`, and by the references that the database's
own catalog has; a row that others refer to never goes before they do, so that no cascade deletes anything.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import DatabaseRefused, MwaaInputError
from airflow_mwaa_provider.metadata.cleaning.batches import Pace, Task, Windows
from airflow_mwaa_provider.metadata.cleaning.choice import choose_units
from airflow_mwaa_provider.metadata.cleaning.lease import Lease
from airflow_mwaa_provider.metadata.cleaning.load import Watch
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.cleaning.outcome import Kept, Outcome, Plan, TableOutcome, TablePlan
from airflow_mwaa_provider.metadata.cleaning.planning import count_rows, make_plan, with_dateless
from airflow_mwaa_provider.metadata.cleaning.transactions import Transactions, check_writable
from airflow_mwaa_provider.metadata.key_ranges import KeyRange
from airflow_mwaa_provider.metadata.schema import quoted, read_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.metadata.cleaning.transactions import Deleted
    from airflow_mwaa_provider.metadata.cleaning.units import Unit
    from airflow_mwaa_provider.metadata.database import Database

    Progress = Callable[[str, int, int | None], None]

__all__ = [
    "CleanupOptions",
    "Kept",
    "Outcome",
    "Plan",
    "TableOutcome",
    "TablePlan",
    "cleanup_units",
    "plan_cleanup",
    "run_cleanup",
    "run_cleanup_step",
]

log = logging.getLogger(__name__)

_INTEGERS = {"int2", "int4", "int8"}


def plan_cleanup(database: Database, options: CleanupOptions, *, route: str = "database") -> Plan:
    """Count what a cleanup would delete, and say what it would keep; deletes nothing.

    :raises TableNotFound: a table is not there.
    :raises MwaaInputError: something cannot be done as asked.
    :raises MetadataError: the database refused, or could not be reached.
    """
    with Transactions(database, options) as connection:
        schema, units, now = _prepare(connection, options)
        return replace(make_plan(schema, units, connection.ask, now), route=route)


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
    with _begun(database, options, progress, tell, wait_timeout_s) as (cleanup, units):
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
    :return: what happened, and where to go on; ``None`` when nothing of the unit is left to do.
    :raises MwaaInputError: there is no such unit; and all that :func:`run_cleanup` raises.
    """
    with _begun(database, options, None, tell, 0.0) as (cleanup, units):
        for unit in units:
            if unit.name == unit_name:
                return cleanup.step(unit, tuple(after) if after is not None else None)
    raise MwaaInputError(f"A cleanup with these options has no part {unit_name!r}.")


def cleanup_units(database: Database, options: CleanupOptions) -> tuple[datetime, list[str]]:
    """Say in which parts a cleanup is done, by name and in their order, and what time ages are counted from.

    :raises TableNotFound: a table is not there.
    :raises MwaaInputError: something cannot be done as asked.
    """
    with Transactions(database, options) as connection:
        _, units, now = _prepare(connection, options)
    return now, [unit.name for unit in units]


@contextmanager
def _begun(
    database: Database,
    options: CleanupOptions,
    progress: Progress | None,
    tell: Callable[[str], None],
    wait_timeout_s: float,
) -> Iterator[tuple[_Cleanup, list[Unit]]]:
    with ExitStack() as stack:
        connection = stack.enter_context(Transactions(database, options, tell))
        schema, units, _ = _prepare(connection, options)
        tables = sorted({name for unit in units for name in [*unit.tables, unit.root.name]})
        qualified = [schema.qualified(name) for name in tables]
        connection.rows_of(lambda raw: check_writable(raw, qualified, database.label), "asking what its user may do")
        lease = Lease(database)
        lease.wait(wait_timeout_s)
        stack.callback(lease.let_go)
        watch = Watch(schema, connection.ask, tell)
        yield _Cleanup(database, options, connection, lease, watch, progress, tell), units


def _prepare(connection: Transactions, options: CleanupOptions) -> tuple[Any, list[Unit], datetime]:
    schema = connection.rows_of(read_schema, "reading its tables")
    now = options.now
    if now is None:
        [(now,)] = connection.ask("SELECT now()", "asking the time")
    assert now is not None
    units = choose_units(schema, options, now)
    return schema, with_dateless(units, connection.ask), now


class _Cleanup:
    """One cleanup that is under way."""

    def __init__(
        self,
        database: Database,
        options: CleanupOptions,
        connection: Transactions,
        lease: Lease,
        watch: Watch,
        progress: Progress | None,
        tell: Callable[[str], None],
    ) -> None:
        self._database = database
        self._options = options
        self._connection = connection
        self._lease = lease
        self._watch = watch
        self._progress = progress
        self._tell = tell
        self._outcome = Outcome()
        self._lock = threading.Lock()
        self._between = threading.Lock()
        self._began = time.monotonic()

    def run(self, units: list[Unit]) -> Outcome:
        """Delete unit by unit; one that fails doesn't keep the others from it."""
        outcome = self._outcome
        for unit in units:
            for name in unit.tables:
                outcome.table(name)
            if self._may_go_on():
                self._clean(unit)
        self._count(units)
        return self._ended()

    def step(self, unit: Unit, after: tuple[str, ...] | None) -> tuple[Outcome, tuple[str, ...] | None]:
        """Delete a part of a unit, and say where to go on."""
        for name in unit.tables:
            self._outcome.table(name)
        last = self._clean(unit, after)
        for table in self._outcome.tables.values():
            table.matched = table.deleted
        return self._ended(), last

    def _ended(self) -> Outcome:
        self._outcome.seconds = time.monotonic() - self._began
        self._outcome.paused_s = self._watch.paused_s
        return self._outcome

    def _clean(self, unit: Unit, after: tuple[str, ...] | None = None) -> tuple[str, ...] | None:
        """Delete what goes of a unit; where it was ended before, give the key that it came to."""
        try:
            keys, expected = self._bounds(unit, after)
            if keys is None:
                return None
            kept = self._kept_keys(unit)
        except DatabaseRefused as error:
            self._fail(unit, None, error)
            return None
        windows, told = Windows(unit, keys), [0]

        def on_deleted(deleted: Deleted) -> None:
            with self._lock:
                for name, rows in deleted.rows.items():
                    if rows:
                        self._outcome.table(name).add(rows, deleted.seconds[name], deleted.transaction_s)
                told[0] += deleted.rows.get(unit.name, 0)
                if self._progress is not None:
                    self._progress(unit.name, told[0], expected if unit.takes_root else None)

        def work(connection: Transactions) -> None:
            task = Task(unit, connection, Pace.of(unit, self._options), kept, on_deleted, self._may_go_on, self._leave)
            with connection:
                try:
                    self._work(task, windows)
                except DatabaseRefused as error:
                    self._fail(unit, connection.table, error)
                finally:
                    with self._lock:
                        longest = max(self._outcome.longest_transaction_s, connection.longest_s)
                        self._outcome.longest_transaction_s = longest

        count = self._options.workers
        connections = [Transactions(self._database, self._options, self._tell) for _ in range(count)]
        if count == 1:
            work(connections[0])
            return windows.done if self._is_over() else None
        with ThreadPoolExecutor(count, thread_name_prefix="cleanup") as pool:
            for done in [pool.submit(work, connection) for connection in connections]:
                done.result()
        return None

    def _work(self, task: Task, windows: Windows) -> None:
        while self._may_go_on():
            keys = windows.next(task.connection, task.window)
            if keys is None:
                return
            task.connection.persistently(partial(task.run, keys))
            if not self._is_over():
                windows.done = keys.last

    def _bounds(self, unit: Unit, after: tuple[str, ...] | None) -> tuple[KeyRange | None, int]:
        """Say between which keys of the root there is something to do, and about how many rows."""
        key = unit.key
        table = unit.schema.qualified(unit.root.name)
        is_number = len(key) == 1 and key[0].type in _INTEGERS
        name = f"t.{quoted(key[0].name)}"
        bounds = f"min({name})::text, max({name})::text" if is_number else "NULL, NULL"
        beyond = f"{KeyRange(key, after).condition()} AND " if after is not None else ""
        [(count, first, last)] = self._connection.ask(
            f"SELECT count(*), {bounds} FROM {table} t WHERE {beyond}{unit.own_sql}",
            f"looking for what goes of {unit.name}",
        )
        if not count:
            return None, 0
        if not is_number:
            return KeyRange(key, after), count
        return KeyRange(key, after or (str(int(first) - 1),), (last,)), count

    def _kept_keys(self, unit: Unit) -> frozenset[str]:
        table = unit.schema.qualified(unit.root.name)
        kept: set[str] = set()
        for guard in unit.guards:
            if guard.is_looked_up:
                key = f"t.{quoted(unit.root.key[0])}::text"
                rows = self._connection.ask(
                    f"SELECT {key} FROM {table} t WHERE {guard.sql}", f"asking what keeps rows of {unit.name}"
                )
                kept.update(row[0] for row in rows)
        return frozenset(kept)

    def _may_go_on(self) -> bool:
        """Look after everything else between two transactions; ``False`` when the time is up."""
        with self._between:
            if self._is_over():
                return False
            self._lease.renew()
            self._watch.rest(lambda: not self._is_over() and self._renewed())
            return not self._is_over()

    def _renewed(self) -> bool:
        self._lease.renew()
        return True

    def _is_over(self) -> bool:
        limit = self._options.max_duration
        if limit is None or time.monotonic() - self._began < limit.total_seconds():
            return False
        self._leave(f"max_duration of {limit} was over: the next cleanup goes on here")
        return True

    def _leave(self, why: str) -> None:
        with self._lock:
            self._outcome.leave(why)

    def _fail(self, unit: Unit, table: str | None, error: DatabaseRefused) -> None:
        with self._lock:
            for name in {unit.name if unit.name in unit.tables else unit.tables[-1], table or unit.tables[-1]}:
                self._outcome.table(name).failure = str(error)
            self._outcome.leave(f"{unit.name}: {error}")

    def _count(self, units: list[Unit]) -> None:
        """Say how much there was to go: what is gone, and, where not all is, what isn't yet."""
        outcome = self._outcome
        for table in outcome.tables.values():
            table.matched = table.deleted
        if outcome.is_complete:
            return
        for _, rows in count_rows(units, self._connection.ask):
            for name, count in rows.items():
                outcome.table(name).matched += count
