# SPDX-License-Identifier: Apache-2.0
"""A cleanup that archives first: what goes is written to S3 and read back, and then exactly that is deleted.

Rows that changed after the archive was made stay, in the database and in the archive; the next cleanup takes them.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import DatabaseRefused
from airflow_mwaa_provider.metadata.cleaning.archive import ArchiveWriter, count_going, without_secrets
from airflow_mwaa_provider.metadata.cleaning.archived_windows import Stays, WindowTask
from airflow_mwaa_provider.metadata.cleaning.choice import choose_units
from airflow_mwaa_provider.metadata.cleaning.digests import Digests, Spool
from airflow_mwaa_provider.metadata.cleaning.lease import Lease
from airflow_mwaa_provider.metadata.cleaning.load import Watch
from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome
from airflow_mwaa_provider.metadata.cleaning.planning import with_dateless
from airflow_mwaa_provider.metadata.cleaning.transactions import Transactions, check_writable
from airflow_mwaa_provider.metadata.schema import quoted, read_schema
from airflow_mwaa_provider.metadata.sources import DatabaseSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mwaa_provider.metadata.cleaning.archive import Archive
    from airflow_mwaa_provider.metadata.cleaning.digests import Key, Window
    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.cleaning.transactions import Deleted
    from airflow_mwaa_provider.metadata.cleaning.units import Unit
    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.metadata.storage import Storage

    Progress = Callable[[str, int, int | None], None]

__all__ = ["run_archived_cleanup"]

log = logging.getLogger(__name__)


def run_archived_cleanup(
    database: Database,
    options: CleanupOptions,
    storage: Storage,
    prefix: str,
    *,
    route: str = "database",
    progress: Progress | None = None,
    tell: Callable[[str], None] = log.info,
    wait_timeout_s: float = 0.0,
) -> Outcome:
    """Archive what is old, read the archive back, and delete exactly what it has.

    The archive is a folder below the prefix, ``archive-20261122T000000Z``, named by the moment before which things were
    old; an archive that is there already is never written over. When it fails before anything is deleted, no manifest
    is there. When it is cut off later, the archive stays, and so do the rows that it had not come to: the next cleanup
    archives those again. Where nothing is old, nothing is written.

    Tables that hold secrets cannot be archived, and are left alone.

    :param storage: the bucket, an open context; it must let its objects be read.
    :param prefix: of one environment alone: archives of two would take each other's names.
    :param route: what the manifest says of how the database was reached.
    :param progress: is called with a table, how many of its rows are gone, and how many there are to go.
    :param tell: is told of the archive, of pauses and of lost connections.
    :param wait_timeout_s: how long another cleanup's end is waited for.
    :return: what happened; its ``archive`` names the manifest.
    :raises TableNotFound: a table is not there.
    :raises MwaaInputError: something cannot be done as asked; nothing was deleted.
    :raises CleanupUnderWay: another cleanup is at work.
    :raises StorageError: the archive could not be written, or did not read as it was written; nothing was deleted.
    :raises AccessDenied: the role may not write or read there; nothing was deleted.
    :raises MetadataError: the database refused before anything was deleted, or was lost for longer than a minute.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        connection = stack.enter_context(Transactions(database, options, tell))
        schema = connection.rows_of(read_schema, "reading its tables")
        now = options.now
        if now is None:
            [(now,)] = connection.ask("SELECT now()", "asking the time")
        assert now is not None
        units, secret = without_secrets(schema, choose_units(schema, options, now), options)
        tables = sorted({name for unit in units for name in [*unit.tables, unit.root.name]})
        qualified = [schema.qualified(name) for name in tables]
        connection.rows_of(lambda raw: check_writable(raw, qualified, database.label), "asking what its user may do")
        lease = Lease(database)
        lease.wait(wait_timeout_s)
        stack.callback(lease.let_go)
        outcome = Outcome(route=route)
        spool = stack.enter_context(Spool())
        writer = ArchiveWriter(storage, prefix, spool, options, lease.renew)
        timeout_s = options.statement_timeout.total_seconds()
        with DatabaseSource(database, statement_timeout_s=timeout_s, route=route) as source:

            def ask(statement: str, doing: str) -> list[tuple[Any, ...]]:
                with source.errors(doing), source.connection.cursor() as cursor:
                    cursor.execute(statement)
                    found: list[tuple[Any, ...]] = cursor.fetchall()
                return found

            units = with_dateless(units, ask)
            for unit in with_dateless(secret, ask):
                if rows := count_going(unit, units, ask):
                    outcome.leave(
                        f"{unit.name}: {rows:,} rows are old, may hold secrets and cannot be archived; a cleanup "
                        "without archive_to deletes them"
                    )
            archive = writer.take(source, units, now, route)
        if archive is not None:
            writer.publish(archive)
            outcome.archive = archive.place
            tell(f"Archived {sum(archive.rows.values()):,} rows of {len(archive.rows)} tables as {archive.place}")
            watch = Watch(schema, connection.ask, tell)
            deletion = _Deletion(database, options, connection, lease, watch, spool, outcome, progress, tell, began)
            deletion.run(archive)
            outcome.paused_s = watch.paused_s
        outcome.seconds = time.monotonic() - began
        return outcome


class _Deletion:
    """The second half, when all that shall go is archived."""

    def __init__(
        self,
        database: Database,
        options: CleanupOptions,
        connection: Transactions,
        lease: Lease,
        watch: Watch,
        spool: Spool,
        outcome: Outcome,
        progress: Progress | None,
        tell: Callable[[str], None],
        began: float,
    ) -> None:
        self._database = database
        self._options = options
        self._connection = connection
        self._lease = lease
        self._watch = watch
        self._spool = spool
        self._outcome = outcome
        self._progress = progress
        self._tell = tell
        self._began = began
        self._lock = threading.Lock()
        self._between = threading.Lock()
        self._stays: dict[tuple[str, str], tuple[Key, int]] = {}

    def run(self, archive: Archive) -> None:
        """Delete unit by unit; one that fails doesn't keep the others from it."""
        for unit in archive.units:
            for name in unit.tables:
                self._outcome.table(name).matched = archive.rows.get(name, 0)
            windows = archive.windows[unit.name]
            if windows and self._may_go_on():
                self._delete(unit, windows, {name for one in archive.units for name in one.tables}, archive.rows)
        for (what, why), (key, count) in self._stays.items():
            others = f" (and {count - 1:,} others)" if count > 1 else ""
            self._leave(f"{what} {' '.join(' '.join(key).split())}{others} {why}")

    def _delete(self, unit: Unit, windows: list[Window], going: set[str], expected: dict[str, int]) -> None:
        try:
            kept = self._kept_keys(unit)
        except DatabaseRefused as error:
            self._fail(unit, None, error)
            return
        left, next_window = iter(windows), threading.Lock()

        def take() -> Iterator[Window]:
            while True:
                with next_window:
                    window = next(left, None)
                if window is None:
                    return
                yield window

        def work(connection: Transactions) -> None:
            digests = Digests(unit, going)
            task = WindowTask(digests, connection, kept, self._on_deleted(unit, expected), self._may_go_on, self._stay)
            with connection:
                try:
                    for window in take():
                        if not self._may_go_on():
                            return
                        connection.persistently(partial(task.run, self._spool.read(window)))
                except DatabaseRefused as error:
                    self._fail(unit, connection.table, error)
                finally:
                    with self._lock:
                        longest = max(self._outcome.longest_transaction_s, connection.longest_s)
                        self._outcome.longest_transaction_s = longest

        connections = [Transactions(self._database, self._options, self._tell) for _ in range(self._options.workers)]
        if len(connections) == 1:
            work(connections[0])
            return
        with ThreadPoolExecutor(len(connections), thread_name_prefix="cleanup") as pool:
            for done in [pool.submit(work, connection) for connection in connections]:
                done.result()

    def _on_deleted(self, unit: Unit, expected: dict[str, int]) -> Callable[[Deleted], None]:
        def on_deleted(deleted: Deleted) -> None:
            with self._lock:
                for name, rows in deleted.rows.items():
                    if rows:
                        self._outcome.table(name).add(rows, deleted.seconds[name], deleted.transaction_s)
                if self._progress is not None:
                    self._progress(unit.name, self._outcome.table(unit.name).deleted, expected.get(unit.name, 0))

        return on_deleted

    def _kept_keys(self, unit: Unit) -> frozenset[str]:
        """Find what is kept by now: other runs than at the archive's time may be the last ones."""
        table = unit.schema.qualified(unit.root.name)
        key = f"t.{quoted(unit.root.key[0])}::text"
        kept: set[str] = set()
        for guard in unit.guards:
            if guard.is_looked_up:
                query = f"SELECT {key} FROM {table} t WHERE {guard.sql}"
                kept.update(row[0] for row in self._connection.ask(query, f"asking what keeps rows of {unit.name}"))
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
        self._leave(f"max_duration of {limit} was over: the next cleanup archives what is left once more, and goes on")
        return True

    def _stay(self, unit: Unit, why: Stays, keys: list[Key]) -> None:
        what = unit.name if unit.takes_root else f"{unit.name} of {unit.root.name}"
        with self._lock:
            first, count = self._stays.get((what, why.value), (keys[0], 0))
            self._stays[what, why.value] = (first, count + len(keys))

    def _leave(self, why: str) -> None:
        with self._lock:
            self._outcome.leave(why)

    def _fail(self, unit: Unit, table: str | None, error: DatabaseRefused) -> None:
        with self._lock:
            for name in {unit.name if unit.name in unit.tables else unit.tables[-1], table or unit.tables[-1]}:
                self._outcome.table(name).failure = str(error)
            self._outcome.leave(f"{unit.name}: {error}")
