# SPDX-License-Identifier: Apache-2.0
"""What a cleanup does besides deleting: it holds a lease, pauses, ends in time, counts, and survives failures."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import DatabaseRefused, MwaaInputError
from airflow_mwaa_provider.metadata.cleaning.deleting.connection import (
    CleanupConnection,
    TransactionAborted,
    check_writable,
)
from airflow_mwaa_provider.metadata.cleaning.deleting.foreign_keys import ForeignKeys, ForeignKeysChanged
from airflow_mwaa_provider.metadata.cleaning.deleting.lease import Lease
from airflow_mwaa_provider.metadata.cleaning.deleting.throttle import Throttle
from airflow_mwaa_provider.metadata.cleaning.options import check_wait_timeout
from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.last_runs import LastRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.cleaning.deleting.connection import Deleted
    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.cleaning.outcome import Progress
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit
    from airflow_mwaa_provider.metadata.database import Database

__all__ = ["CleanupSession", "reference_time"]

_CLOCKS_DIFFER = timedelta(minutes=1)
_CANCELLED_EVERY_S = 0.1


def reference_time(connection: CleanupConnection, options: CleanupOptions) -> datetime:
    """Return the time that ages are counted from.

    :raises MwaaInputError: it is in the future: rows that are still valid would count as old.
    """
    there: datetime
    [(there,)] = connection.ask("SELECT now()", "reading its time")
    now = options.now or there
    if now > there + _CLOCKS_DIFFER:
        raise MwaaInputError(
            f"now={now.isoformat()} is later than the database's own time, {there.isoformat()}. Leave it out."
        )
    return now


class CleanupSession:
    """One running cleanup, with one or more workers. Thread-safe.

    :param connection: for queries; each worker has another one.
    :param foreign_keys: as they were before the schema was read.
    :param on_timeout: what happens to the rest when the time is over; a clause.
    :param began: when the cleanup began, by the monotonic clock.
    """

    def __init__(
        self,
        database: Database,
        options: CleanupOptions,
        connection: CleanupConnection,
        lease: Lease,
        watch: Throttle,
        foreign_keys: ForeignKeys,
        notify: Callable[[str], None],
        *,
        progress: Progress | None = None,
        on_timeout: str = "the next cleanup continues here",
        began: float | None = None,
    ) -> None:
        self.options = options
        self.connection = connection
        self.lease = lease
        self.outcome = Outcome()
        self._database = database
        self._throttle = watch
        self._foreign_keys = foreign_keys
        self._notify = notify
        self._progress = progress
        self._on_timeout = on_timeout
        self._began = time.monotonic() if began is None else began
        self._is_stopped = False
        self._lock = threading.Lock()
        self._between = threading.Lock()

    @classmethod
    @contextmanager
    def open(
        cls,
        database: Database,
        options: CleanupOptions,
        prepare: Callable[[CleanupConnection], tuple[Schema, Sequence[CleanupUnit]]],
        notify: Callable[[str], None],
        *,
        progress: Progress | None = None,
        wait_timeout_s: float = 0.0,
        on_timeout: str = "the next cleanup continues here",
    ) -> Iterator[CleanupSession]:
        """Check the user's privileges, and acquire the lease.

        :param prepare: returns the schema and the units to delete.
        :raises MwaaInputError: the time to wait is negative.
        :raises DatabaseRefused: the user may not delete these rows.
        :raises CleanupUnderWay: another cleanup is running.
        """
        check_wait_timeout(wait_timeout_s)
        began = time.monotonic()
        with ExitStack() as stack:
            connection = stack.enter_context(CleanupConnection(database, options, notify))
            foreign_keys = connection.rows_of(ForeignKeys.read, "reading its foreign keys")
            schema, units = prepare(connection)
            tables = sorted({name for unit in units for name in [*unit.tables, unit.root_table.name]})
            qualified = [schema.qualified(name) for name in tables]
            connection.rows_of(
                lambda raw: check_writable(raw, qualified, database.label), "checking the privileges of its user"
            )
            lease = Lease(database)
            lease.wait(wait_timeout_s)
            stack.callback(lease.release)
            throttle = Throttle(schema, connection.ask, notify, max_pause_s=options.max_pause.total_seconds())
            yield cls(
                database, options, connection, lease, throttle, foreign_keys, notify, progress=progress,
                on_timeout=on_timeout, began=began,
            )  # fmt: skip

    def work(self, unit: CleanupUnit, do: Callable[[CleanupConnection], None]) -> None:
        """Let each worker run a function for a unit, with its own connection; record what the database rejects.

        If foreign keys have changed since they were read, record that, and stop the cleanup.
        """

        def one(connection: CleanupConnection) -> None:
            with connection:
                try:
                    do(connection)
                except TransactionAborted:
                    self.record_skipped(f"{unit.name}: a transaction took too long, or waited too long for a lock")
                except DatabaseRefused as error:
                    self.fail(unit, connection.table, error)
                except ForeignKeysChanged as error:
                    # The other units know no newer ones.
                    self._is_stopped = True
                    self.fail(unit, None, error)
                finally:
                    with self._lock:
                        longest = max(self.outcome.longest_transaction_s, connection.longest_s)
                        self.outcome.longest_transaction_s = longest

        check = self._foreign_keys.check(unit)
        connections = [
            CleanupConnection(self._database, self.options, self._notify, check=check)
            for _ in range(self.options.workers)
        ]
        if len(connections) == 1:
            one(connections[0])
            return
        with ThreadPoolExecutor(len(connections), thread_name_prefix="cleanup") as pool:
            working = [pool.submit(one, connection) for connection in connections]
            try:
                for done in working:
                    done.result()
            except BaseException:
                # Otherwise the others would continue to the end of the unit before this error is raised. A worker that
                # is between two statements still begins the next one.
                self._is_stopped = True
                while wait(working, _CANCELLED_EVERY_S).not_done:
                    for connection in connections:
                        connection.cancel()
                raise

    def counting(self, unit: CleanupUnit, expected: int | None) -> Callable[[Deleted], None]:
        """Return a callback that counts each transaction."""
        done = 0

        def count(deleted: Deleted) -> None:
            nonlocal done
            with self._lock:
                for name, rows in deleted.rows.items():
                    if rows:
                        self.outcome.table(name).add(rows, deleted.seconds[name], deleted.transaction_s)
                done += deleted.rows.get(unit.name, 0)
                if self._progress is not None:
                    self._progress(unit.name, done, expected)

        return count

    def last_runs(self, unit: CleanupUnit) -> LastRuns | None:
        """Return the last runs of each DAG; ``None`` if the unit does not keep them."""
        if unit.root_table.name != rules.RUNS or not self.options.keep_last_run:
            return None
        return LastRuns.look_up(unit, self.connection.ask)

    def should_continue(self) -> bool:
        """Renew the lease and pause, between two transactions; return ``False`` when the time is over."""
        with self._between:
            if self.is_over():
                return False
            self.connection.with_reconnect(self.lease.renew)
            self._throttle.pause_if_overloaded(self._may_keep_pausing)
            return not self.is_over()

    def _may_keep_pausing(self) -> bool:
        self.connection.with_reconnect(self.lease.renew)
        return not self.is_over()

    def is_over(self) -> bool:
        """Return whether the time is over, or the cleanup was stopped."""
        if self._is_stopped:
            return True
        limit = self.options.max_duration
        if limit is None or time.monotonic() - self._began < limit.total_seconds():
            return False
        with self._lock:
            self.outcome.time_out(limit, self._on_timeout)
        return True

    def record_skipped(self, why: str) -> None:
        """Record why some rows to delete were not deleted."""
        with self._lock:
            self.outcome.record_skipped(why)

    def fail(self, unit: CleanupUnit, table: str | None, error: Exception) -> None:
        """Record that a unit has failed.

        :param table: which of its tables, if that is known.
        """
        with self._lock:
            for name in {unit.name if unit.name in unit.tables else unit.tables[-1], table or unit.tables[-1]}:
                self.outcome.table(name).failure = str(error)
            self.outcome.record_skipped(f"{unit.name}: {error}")

    def finish(self) -> Outcome:
        """Return what happened."""
        self.outcome.seconds = time.monotonic() - self._began
        self.outcome.paused_s = self._throttle.paused_s
        self.outcome.paused_why = dict(self._throttle.paused_why)
        return self.outcome
