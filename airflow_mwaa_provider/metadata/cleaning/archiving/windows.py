# SPDX-License-Identifier: Apache-2.0
"""Delete one window of archived rows, in a transaction that is rolled back if a row differs from the archive."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_mwaa_provider.metadata.cleaning.archiving.digests import total
from airflow_mwaa_provider.metadata.cleaning.deleting.batches import without_kept
from airflow_mwaa_provider.metadata.cleaning.deleting.connection import TransactionAborted

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.cleaning.archiving.digests import Digests, Key, Roots
    from airflow_mwaa_provider.metadata.cleaning.deleting.connection import CleanupConnection, Deleted, Transaction
    from airflow_mwaa_provider.metadata.cleaning.scope.last_runs import LastRuns
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit

__all__ = ["KeptBecause", "WindowDeleter"]

_TRIES = 3


class KeptBecause(StrEnum):
    """Why a row that is archived is still in the database."""

    CHANGED = "or a dependent row changed since it was archived, and is kept"
    LOCKED = "or a dependent row is locked, and is kept"
    KEPT = "is kept because of other rows that changed after it was archived"
    LARGE = "takes longer than max_transaction to delete, and is kept: raise that limit, or do not archive it"


class _Changed(Exception):
    """A row differs from the archive; the transaction was rolled back."""

    def __init__(self, keys: set[Key]) -> None:
        super().__init__()
        self.keys = keys


@dataclass
class WindowDeleter:
    """Delete archived rows, and nothing else.

    :param last_runs: the runs that Airflow schedules from, if they are kept.
    :param on_deleted: called with each transaction.
    :param should_continue: called between two transactions; ``False`` ends the work.
    :param record_kept: called with the root keys that are kept, and why.
    """

    digests: Digests
    connection: CleanupConnection
    last_runs: LastRuns | None
    on_deleted: Callable[[Deleted], None]
    should_continue: Callable[[], bool]
    record_kept: Callable[[CleanupUnit, KeptBecause, list[Key]], None]
    _kept: dict[Key, KeptBecause] = field(init=False, default_factory=dict)

    @property
    def _unit(self) -> CleanupUnit:
        return self.digests.unit

    def run(self, roots: Roots) -> None:
        """Delete these root rows and their dependents, in halves if it is too much for a transaction."""
        try:
            deleted = self._transaction(roots)
        except TransactionAborted as error:
            if len(roots) == 1:
                self.record_kept(self._unit, KeptBecause.LOCKED if error.is_locked else KeptBecause.LARGE, list(roots))
                return
            every = list(roots.items())
            middle = len(every) // 2
            for half in (every[:middle], every[middle:]):
                if not self.should_continue():
                    return
                self.run(dict(half))
            return
        for why in KeptBecause:
            if keys := [key for key in roots if self._kept.get(key) is why]:
                self.record_kept(self._unit, why, keys)
        if deleted.total:
            self.on_deleted(deleted)

    def _transaction(self, roots: Roots) -> Deleted:
        """Delete the unchanged rows in one transaction; again without rows that turn out to have changed."""
        changed: set[Key] = set()
        for _ in range(_TRIES):
            self._kept = dict.fromkeys(changed, KeptBecause.CHANGED)
            try:
                with self.connection.transaction(f"deleting archived rows of {self._unit.name}") as transaction:
                    self._delete(transaction, {key: roots[key] for key in roots if key not in changed})
                return transaction.deleted
            except _Changed as found:
                changed |= found.keys
        # Something is working on these rows.
        raise TransactionAborted(is_locked=True)

    def _delete(self, transaction: Transaction, roots: Roots) -> None:
        if not roots:
            return
        rows = self._going(transaction, roots)
        if not rows:
            return
        for statement in self.digests.lock_parents(rows):
            transaction.rows(statement)
        counts, digests = [0] * len(rows), [0] * len(rows)
        for number, part in enumerate(self._unit.parts):
            began, transaction.table = time.monotonic(), part.table.name
            gone = 0
            for place, count, digest in transaction.rows(self.digests.delete(number, rows)):
                counts[place] += count
                digests[place] += total(digest)
                gone += count
            transaction.deleted.add(part.table.name, gone, time.monotonic() - began)
        width = len(self._unit.key)
        # If nothing was left, another session has deleted it.
        changed = {
            row[:width]
            for row, count, digest in zip(rows, counts, digests, strict=True)
            if count and total(str(digest)) != roots[row[:width]]
        }
        if changed:
            raise _Changed(changed)

    def _going(self, transaction: Transaction, roots: Roots) -> list[Key]:
        """Lock root rows and return those to delete; record why the others are kept."""
        width = len(self._unit.key)
        rows = [tuple(row) for row in transaction.rows(self.digests.lock(list(roots)))]
        locked = {row[:width] for row in rows}
        if len(locked) < len(roots):
            self._look_for(transaction, [key for key in roots if key not in locked])
        going = without_kept(transaction, self._unit, rows, self.last_runs)
        self._kept.update(dict.fromkeys(locked.difference(row[:width] for row in going), KeptBecause.KEPT))
        transaction.deleted.kept = len(rows) - len(going)
        return going

    def _look_for(self, transaction: Transaction, keys: list[Key]) -> None:
        """Record why rows were not locked: others have locked them, they are no longer old, or they no longer exist."""
        for number, is_old in transaction.rows(self.digests.there(keys)):
            self._kept[keys[number]] = KeptBecause.LOCKED if is_old else KeptBecause.CHANGED
