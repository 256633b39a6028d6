# SPDX-License-Identifier: Apache-2.0
"""Delete one unit in batches of a size that keeps the transactions short."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import DatabaseRefused
from airflow_mwaa_provider.metadata.catalog.selection import KeyRange
from airflow_mwaa_provider.metadata.cleaning.deleting.connection import ProtectedRowDeleted, TransactionAborted
from airflow_mwaa_provider.metadata.cleaning.deleting.removal import Removal
from airflow_mwaa_provider.metadata.cleaning.deleting.statements import Statements, depends_on_tasks
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.rules import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.metadata.cleaning.deleting.connection import CleanupConnection, Deleted, Transaction
    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.cleaning.scope.last_runs import LastRuns
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit

__all__ = ["BatchSizer", "RangeDeleter", "Windows", "without_kept"]

Row = tuple[str, ...]
_FIRST_RUNS, _FIRST_ROWS = 20, 1000
_MAX_ROOTS, _MAX_STRETCH = 20_000, 32
_TRIES = 3
_CHANGES = "its dependents changed during the deletion, each time"
_MAX_HARD = 10
"""Consecutive single rows that cannot be deleted, after which the unit has failed."""


@dataclass
class BatchSizer:
    """How many root rows a transaction deletes: as many as fit the target time, judging by the last transactions.

    :param target_s: how long a transaction should take.
    :param batch_rows: the most rows that it deletes, all tables together.
    """

    target_s: float
    batch_rows: int
    roots: float = _FIRST_ROWS
    _rows_per_root: float = 1.0
    _stretch: int = 1

    @classmethod
    def of(cls, unit: CleanupUnit, options: CleanupOptions) -> BatchSizer:
        """Return a sizer that begins with a size that even a slow database manages in time."""
        first = _FIRST_RUNS if unit.root_table.name == rules.RUNS else _FIRST_ROWS
        sizer = cls(options.max_transaction.total_seconds() / 4, options.batch_rows, first)
        sizer.roots = min(sizer.roots, sizer._limit)
        return sizer

    @property
    def _limit(self) -> float:
        return max(1.0, min(self.batch_rows / max(self._rows_per_root, 0.1), _MAX_ROOTS))

    @property
    def size(self) -> int:
        """How many root rows to delete."""
        return max(1, int(min(self.roots, self._limit)))

    @property
    def window(self) -> int:
        """How many root rows to look at, deleted or not: more if few of them are deleted."""
        return self.size * self._stretch

    def record_transaction(self, roots: int, deleted: Deleted) -> None:
        """Adapt to a transaction."""
        is_sparse = roots < self.size / 2
        if is_sparse:
            # A few rows say nothing about many, except how far apart they are.
            if deleted.transaction_s < self.target_s:
                self._stretch = min(self._stretch * 2, _MAX_STRETCH)
            return
        self._stretch = max(1, self._stretch // 2)
        self._rows_per_root += (deleted.total / roots - self._rows_per_root) * 0.3
        self.roots *= min(2.0, max(0.4, self.target_s / max(deleted.transaction_s, 1e-4)))
        self.roots = max(1.0, min(self.roots, self._limit))

    def record_aborted(self, roots: int) -> None:
        """Adapt to a transaction that took too long."""
        self.roots = max(1.0, min(self.roots, roots) / 2)
        self._stretch = 1


class Windows:
    """The key ranges of a root table, each for one of the workers. Thread-safe.

    ``done`` is the end of the last range that was deleted, if there is one worker.
    """

    def __init__(self, unit: CleanupUnit, keys: KeyRange) -> None:
        self._statements = Statements(unit)
        self._left: KeyRange | None = keys
        self.done = keys.after
        self._lock = threading.Lock()

    def next(self, connection: CleanupConnection, rows: int) -> KeyRange | None:
        """Return the next range, of about so many rows; ``None`` after the last."""
        with self._lock:
            left = self._left
            if left is None:
                return None
            found = connection.look(self._statements.boundary(left, rows), "looking for the next rows")
            if not found:
                self._left = None
                return left
            last = found[0]
            self._left = KeyRange(left.columns, last, left.last)
            return KeyRange(left.columns, left.after, last, left.first)


def without_kept(
    transaction: Transaction, unit: CleanupUnit, rows: Sequence[Row], last_runs: LastRuns | None, *, unseen: bool = True
) -> list[Row]:
    """Return the locked root rows that other rows do not keep at this time.

    :param unseen: check only what the deletion itself does not show, because usually nothing keeps the rows.
    """
    going = [row for row in rows if last_runs is None or row[0] not in last_runs.ids]
    if going and last_runs is not None:
        last = last_runs.among(transaction, going)
        going = [row for number, row in enumerate(going) if number not in last]
    if going:
        for statement in Statements(unit).lock_referred(going):
            transaction.rows(statement)
        blocked = {number for (number,) in transaction.rows(Statements(unit).blocked(going, unseen=unseen))}
        going = [row for number, row in enumerate(going) if number not in blocked]
    return going


@dataclass
class RangeDeleter:
    """Delete the old rows of a key range.

    :param last_runs: the runs that Airflow schedules from, if they are kept.
    :param on_deleted: called with each transaction.
    :param should_continue: called before each transaction; ``False`` ends the work.
    :param record_skipped: called with the reason why rows to delete were not deleted.
    """

    unit: CleanupUnit
    connection: CleanupConnection
    sizer: BatchSizer
    last_runs: LastRuns | None
    on_deleted: Callable[[Deleted], None]
    should_continue: Callable[[], bool]
    record_skipped: Callable[[str], None]
    _statements: Statements = field(init=False)
    _removal: Removal = field(init=False)
    _hard: int = 0

    def __post_init__(self) -> None:
        self._statements = Statements(self.unit)
        self._removal = Removal(self.unit)

    @property
    def _doing(self) -> str:
        return f"deleting from {self.unit.name}"

    def run(self, keys: KeyRange) -> None:
        """Delete a range, in smaller ranges if it is too much for a transaction."""
        for part in self._divided(keys):
            if not self.should_continue():
                return
            if self._is_plain and self._delete_plain(part):
                continue
            self._delete_locked(part)

    @property
    def _is_plain(self) -> bool:
        unit = self.unit
        return (
            len(unit.parts) == 1 and unit.deletes_root_rows and not any(guard.reads_other_rows for guard in unit.guards)
        )

    def _divided(self, keys: KeyRange) -> Iterator[KeyRange]:
        """Divide a range by the sizer, which adapts meanwhile."""
        windows = Windows(self.unit, keys)
        while (part := windows.next(self.connection, self.window)) is not None:
            yield part

    @property
    def window(self) -> int:
        """How many root rows to look at next; without a look at them first, never more than may be deleted."""
        return min(self.sizer.window, self.sizer.batch_rows) if self._is_plain else self.sizer.window

    def _delete_plain(self, keys: KeyRange) -> bool:
        try:
            with self.connection.transaction(self._doing) as transaction:
                transaction.delete_plain(self.unit.root_table.name, self._statements.delete_plain(keys))
        except TransactionAborted as error:
            if not error.is_locked:
                self.sizer.record_aborted(self.sizer.size)
            return False
        self._record(transaction.deleted, transaction.deleted.total)
        return True

    def _delete_locked(self, keys: KeyRange) -> None:
        """Lock the rows of a range and delete them, in halves if it is too much."""
        part: KeyRange | None = keys
        while part is not None and self.should_continue():
            limit = 2 * self.sizer.size
            try:
                deleted, roots, following = self._transaction(part, None, limit)
            except TransactionAborted:
                rows = self._rows_or_none(part, limit)
                if rows is None:
                    self.sizer.record_aborted(self.sizer.size)
                    self.record_skipped(f"{self.unit.name}: rows that took too long to lock were skipped")
                    return
                following = self._following(part, rows, limit)
                self.sizer.record_aborted(len(rows))
                # A single row is tried again: what it waited for may be over.
                middle = len(rows) // 2
                for half in (rows[:middle], rows[middle:]):
                    if half:
                        self._delete_rows(half)
            else:
                self._record(deleted, roots)
            part = following

    def _following(self, keys: KeyRange, rows: Sequence[Row], limit: int) -> KeyRange | None:
        """Return the rest of a range after these rows, if they are as many as the limit."""
        if len(rows) < limit:
            return None
        return KeyRange(keys.columns, rows[-1][: len(keys.columns)], keys.last)

    def _delete_rows(self, rows: Sequence[Row]) -> None:
        """Delete these rows and their dependents, in halves if it is too much."""
        if not self.should_continue():
            return
        try:
            deleted, roots, _ = self._transaction(self._range_of(rows), rows)
        except TransactionAborted as error:
            if len(rows) == 1:
                self._delete_hard(rows[0], error)
                return
            self.sizer.record_aborted(len(rows))
            middle = len(rows) // 2
            self._delete_rows(rows[:middle])
            self._delete_rows(rows[middle:])
            return
        self._record(deleted, roots)

    def _range_of(self, rows: Sequence[Row]) -> KeyRange:
        """Return the range from the first to the last of these rows, both included."""
        count = len(self.unit.key)
        return KeyRange(self.unit.key, None, rows[-1][:count], first=rows[0][:count])

    def _rows_or_none(self, keys: KeyRange, limit: int) -> list[Row] | None:
        """Return the rows of a range to delete; ``None`` if finding them takes too long, twice."""
        for _ in range(2):
            try:
                with self.connection.transaction(self._doing) as transaction:
                    return [tuple(row) for row in transaction.rows(self._statements.lock(keys, limit))]
            except TransactionAborted:
                continue
        return None

    def _transaction(
        self, keys: KeyRange, only: Sequence[Row] | None, limit: int | None = None
    ) -> tuple[Deleted, int, KeyRange | None]:
        """Delete the old rows of a range in one transaction; again without rows that turn out to be kept.

        :return: what was deleted, of how many root rows, and the rest of the range.
        """
        kept: set[Row] = set()
        for _ in range(_TRIES):
            try:
                with self.connection.transaction(self._doing) as transaction:
                    rows = self._locked(transaction, keys, only, limit)
                    going = [row for row in rows if row not in kept]
                    going = without_kept(transaction, self.unit, going, self.last_runs)
                    transaction.deleted.kept = len(rows) - len(going)
                    if going:
                        self._removal.remove(transaction, going)
                following = self._following(keys, rows, limit) if limit is not None else None
                return transaction.deleted, len(going), following
            except ProtectedRowDeleted:
                with self.connection.transaction(self._doing) as transaction:
                    rows = self._locked(transaction, keys, only, limit)
                    if rows:
                        kept |= {rows[number] for (number,) in transaction.rows(self._statements.blocked(rows))}
        # It changed just now, and again: something is working on these rows.
        raise TransactionAborted(is_locked=True, why=_CHANGES)

    def _locked(
        self, transaction: Transaction, keys: KeyRange, only: Sequence[Row] | None, limit: int | None = None
    ) -> list[Row]:
        rows = [tuple(row) for row in transaction.rows(self._statements.lock(keys, limit))]
        looked_at = keys
        if limit is not None and len(rows) == limit:
            looked_at = replace(keys, last=rows[-1][: len(keys.columns)])
        [(count,)] = transaction.rows(self._statements.count_matching(looked_at))
        transaction.deleted.locked = max(0, count - len(rows))
        if only is not None:
            wanted = set(only)
            rows = [row for row in rows if row in wanted]
        return rows

    def _delete_hard(self, row: Row, error: TransactionAborted) -> None:
        """Delete a single root row that is too much for a transaction: piece by piece, if it is a run."""
        what = f"{self.unit.root_table.name} {' '.join(row)}"
        self._hard += 1
        if self._hard >= _MAX_HARD:
            raise DatabaseRefused(
                f"{self.unit.name}: row after row is locked, or takes longer than max_transaction to delete"
                f"{f' (the last: {error.why})' if error.why else ''}. Look for a lock on the whole table, for "
                "triggers, or for a reference without an index (plan names those); or raise max_transaction."
            ) from error
        if error.is_locked:
            self.record_skipped(f"{what}: {error.why or 'it or a dependent row is locked'}")
            return
        if self.unit.root_table.name != rules.RUNS or not any(map(depends_on_tasks, self.unit.parts)):
            self.record_skipped(f"{what}: deleting it takes longer than max_transaction")
            return
        try:
            self._delete_pieces(row)
            deleted, roots, _ = self._transaction(self._range_of([row]), [row])
        except TransactionAborted as again:
            why = "it is locked" if again.is_locked else "deleting it takes longer than max_transaction"
            self.record_skipped(f"{what}: {again.why or why}")
            return
        self._record(deleted, roots)

    def _delete_pieces(self, row: Row) -> None:
        """Delete the tasks of a large run and their dependents, some at a time."""
        if not any(part.table.name == TASKS for part in self.unit.parts):
            raise TransactionAborted(is_locked=False)
        keys, size, tries = self._range_of([row]), 1000, 0
        while self.should_continue():
            try:
                with self.connection.transaction(self._doing) as transaction:
                    rows = self._locked(transaction, keys, [row])
                    if not without_kept(transaction, self.unit, rows, self.last_runs, unseen=False):
                        return
                    tasks = transaction.rows(self._statements.tasks(row, size))
                    if tasks:
                        self._removal.remove(transaction, rows, tasks)
            except ProtectedRowDeleted:
                # Check again whether something keeps it; it may only have changed.
                tries += 1
                if tries == _TRIES:
                    raise TransactionAborted(is_locked=True, why=_CHANGES) from None
                continue
            except TransactionAborted as error:
                if error.is_locked or size == 1:
                    raise
                size = max(1, size // 4)
                continue
            if not tasks:
                return
            tries = 0
            self._record(transaction.deleted, 0)

    def _record(self, deleted: Deleted, roots: int) -> None:
        self._hard = 0
        self.sizer.record_transaction(roots, deleted)
        if deleted.locked:
            self.record_skipped(f"{self.unit.name}: rows that were locked were skipped")
        self.on_deleted(deleted)
