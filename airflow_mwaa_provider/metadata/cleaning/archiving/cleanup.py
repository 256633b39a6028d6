# SPDX-License-Identifier: Apache-2.0
"""Archive and clean: rows are written to S3 and read back, and then exactly these rows are deleted.

Rows that change after the archive was written are kept, in the database and in the archive; the next cleanup deletes
them.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import DatabaseRefused
from airflow_mwaa_provider.metadata.catalog.schema import read_schema
from airflow_mwaa_provider.metadata.cleaning.archiving.digests import Digests, Spool
from airflow_mwaa_provider.metadata.cleaning.archiving.windows import KeptBecause, WindowDeleter
from airflow_mwaa_provider.metadata.cleaning.archiving.writer import ArchiveWriter, count_expired, without_secrets
from airflow_mwaa_provider.metadata.cleaning.deleting.session import CleanupSession, reference_time
from airflow_mwaa_provider.metadata.cleaning.scope.choose import choose_units
from airflow_mwaa_provider.metadata.cleaning.scope.plan import check_dags, with_undated
from airflow_mwaa_provider.metadata.sources import DatabaseSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.cleaning.archiving.digests import Key, Window
    from airflow_mwaa_provider.metadata.cleaning.archiving.writer import Archive
    from airflow_mwaa_provider.metadata.cleaning.deleting.connection import CleanupConnection
    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome, Progress
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit
    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.metadata.storage.bucket import Storage

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
    """Archive old rows, read the archive back, and delete exactly the rows in it.

    The archive is a folder below the prefix, ``archive-20261122T000000Z``, named after the cutoff; an existing archive
    is never overwritten. If this fails before anything is deleted, no manifest exists. If it is interrupted later, the
    archive is kept, and so are the rows that were not deleted: the next cleanup archives them again. If there are no
    old rows, nothing is written.

    Tables that hold secrets cannot be archived, and are skipped.

    :param storage: the bucket, an open context, whose objects can be read.
    :param prefix: for one environment only: the archives of two would use the same names.
    :param route: the route in the manifest.
    :param progress: called with a table, how many of its rows are deleted, and how many are to be.
    :param tell: called with the archive, each pause and each lost connection.
    :param wait_timeout_s: how long to wait for another cleanup to end.
    :return: what happened; its ``archive`` names the manifest.
    :raises TableNotFound: a table does not exist.
    :raises MwaaInputError: an option is wrong, or cannot be followed; nothing was deleted.
    :raises CleanupUnderWay: another cleanup is running.
    :raises StorageError: the archive could not be written, or differs from what was written; nothing was deleted.
    :raises AccessDenied: the role may not write or read there; nothing was deleted.
    :raises MetadataError: the database rejected something before anything was deleted, or was lost for longer than a
        minute.
    """
    units: list[CleanupUnit] = []
    secret: list[CleanupUnit] = []
    times: list[datetime] = []

    def prepare(connection: CleanupConnection) -> tuple[Schema, list[CleanupUnit]]:
        schema = connection.rows_of(read_schema, "reading its tables")
        now = reference_time(connection, options)
        times.append(now)
        found, left_out = without_secrets(schema, choose_units(schema, options, now), options)
        check_dags(schema, options, connection.ask)
        units.extend(found)
        secret.extend(left_out)
        return schema, units

    with ExitStack() as stack:
        session = stack.enter_context(
            CleanupSession.open(
                database, options, prepare, tell, progress=progress, wait_timeout_s=wait_timeout_s,
                on_timeout="the next cleanup archives the rest again, and continues",
            )
        )  # fmt: skip
        outcome = session.outcome
        outcome.route = route
        spool = stack.enter_context(Spool())
        writer = ArchiveWriter(storage, prefix, spool, options, session.lease.renew)
        timeout_s = options.statement_timeout.total_seconds()
        with DatabaseSource(database, statement_timeout_s=timeout_s, route=route) as source:

            def ask(statement: str, doing: str) -> list[tuple[Any, ...]]:
                with source.errors(doing), source.connection.cursor() as cursor:
                    cursor.execute(statement)
                    found: list[tuple[Any, ...]] = cursor.fetchall()
                return found

            settled = with_undated(units, ask)
            for unit in with_undated(secret, ask):
                if rows := count_expired(unit, settled, ask):
                    outcome.record_skipped(
                        f"{unit.name}: {rows:,} old rows may hold secrets and cannot be archived; a cleanup without "
                        "archive_to deletes them"
                    )
            archive = writer.take(source, settled, times[0], route)
        if archive is not None:
            writer.publish(archive)
            outcome.archive = archive.place
            tell(f"Archived {sum(archive.rows.values()):,} rows of {len(archive.rows)} tables as {archive.place}")
            _ArchivedDeletion(session, spool).run(archive)
        return session.finish()


class _ArchivedDeletion:
    """The second half, when all rows to delete are archived."""

    def __init__(self, session: CleanupSession, spool: Spool) -> None:
        self._session = session
        self._spool = spool
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[Key, int]] = {}

    def run(self, archive: Archive) -> None:
        """Delete unit by unit; if one fails, the others are still cleaned."""
        going = {name for one in archive.units for name in one.tables}
        for unit in archive.units:
            for name in unit.tables:
                self._session.outcome.table(name).matched = archive.rows.get(name, 0)
            windows = archive.windows[unit.name]
            if windows and self._session.should_continue():
                self._delete(unit, windows, going, archive.rows)
        for (what, why), (key, count) in self._kept.items():
            others = f" (and {count - 1:,} others)" if count > 1 else ""
            self._session.record_skipped(f"{what} {' '.join(' '.join(key).split())}{others} {why}")

    def _delete(self, unit: CleanupUnit, windows: list[Window], going: set[str], expected: dict[str, int]) -> None:
        session = self._session
        try:
            # Other runs may be the last ones now than when the archive was written.
            last_runs = session.last_runs(unit)
        except DatabaseRefused as error:
            session.fail(unit, None, error)
            return
        left, next_window = iter(windows), threading.Lock()
        count = session.counting(unit, expected.get(unit.name, 0))

        def take() -> Iterator[Window]:
            while True:
                with next_window:
                    window = next(left, None)
                if window is None:
                    return
                yield window

        def work(connection: CleanupConnection) -> None:
            task = WindowDeleter(
                Digests(unit, going), connection, last_runs, count, session.should_continue, self._record_kept
            )
            for window in take():
                if not session.should_continue():
                    return
                connection.with_reconnect(partial(task.run, self._spool.read(window)))

        session.work(unit, work)

    def _record_kept(self, unit: CleanupUnit, why: KeptBecause, keys: list[Key]) -> None:
        what = unit.name if unit.deletes_root_rows else f"{unit.name} of {unit.root_table.name}"
        with self._lock:
            first, count = self._kept.get((what, why.value), (keys[0], 0))
            self._kept[what, why.value] = (first, count + len(keys))
