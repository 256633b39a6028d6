# SPDX-License-Identifier: Apache-2.0
"""One window of what is archived, deleted in a transaction that is undone where a row is not what the archive has."""

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

__all__ = ["Stays", "WindowDeleter"]

_TRIES = 3


class Stays(StrEnum):
    """Why a row that is archived is still in the database."""

    CHANGED = "changed since it was archived, or what hangs on it did, and stays"
    LOCKED = "is locked by somebody, or what hangs on it is, and stays"
    KEPT = "is kept by something that came after it was archived"
    LARGE = "takes longer than max_transaction to delete, and stays: give more, or clean it in a run without archive_to"


class _Changed(Exception):
    """Something is not what the archive has; nothing of the transaction is done."""

    def __init__(self, keys: set[Key]) -> None:
        super().__init__()
        self.keys = keys


@dataclass
class WindowDeleter:
    """Deletes what is archived, and nothing else.

    :param last_runs: the runs that Airflow schedules from, where they are kept.
    :param on_deleted: is told of each transaction.
    :param should_continue: is asked between two transactions; ``False`` ends the work.
    :param stay: is told which keys of the root stay, and why.
    """

    digests: Digests
    connection: CleanupConnection
    last_runs: LastRuns | None
    on_deleted: Callable[[Deleted], None]
    should_continue: Callable[[], bool]
    stay: Callable[[CleanupUnit, Stays, list[Key]], None]
    _kept: dict[Key, Stays] = field(init=False, default_factory=dict)

    @property
    def _unit(self) -> CleanupUnit:
        return self.digests.unit

    def run(self, roots: Roots) -> None:
        """Delete what goes with these rows of the root: in halves where it is too much for a transaction."""
        try:
            deleted = self._transaction(roots)
        except TransactionAborted as error:
            if len(roots) == 1:
                self.stay(self._unit, Stays.LOCKED if error.is_locked else Stays.LARGE, list(roots))
                return
            every = list(roots.items())
            middle = len(every) // 2
            for half in (every[:middle], every[middle:]):
                if not self.should_continue():
                    return
                self.run(dict(half))
            return
        for why in Stays:
            if keys := [key for key in roots if self._kept.get(key) is why]:
                self.stay(self._unit, why, keys)
        if deleted.total:
            self.on_deleted(deleted)

    def _transaction(self, roots: Roots) -> Deleted:
        """Delete in one transaction what is as it was archived; again without what turns out to have changed."""
        changed: set[Key] = set()
        for _ in range(_TRIES):
            self._kept = dict.fromkeys(changed, Stays.CHANGED)
            try:
                with self.connection.transaction(f"deleting what is archived of {self._unit.name}") as transaction:
                    self._delete(transaction, {key: roots[key] for key in roots if key not in changed})
                return transaction.deleted
            except _Changed as found:
                changed |= found.keys
        # Whoever works on these rows is at it now.
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
        # Where nothing was left, somebody else has deleted it.
        changed = {
            row[:width]
            for row, count, digest in zip(rows, counts, digests, strict=True)
            if count and total(str(digest)) != roots[row[:width]]
        }
        if changed:
            raise _Changed(changed)

    def _going(self, transaction: Transaction, roots: Roots) -> list[Key]:
        """Lock rows of the root, and give those that may go; note why others may not."""
        width = len(self._unit.key)
        rows = [tuple(row) for row in transaction.rows(self.digests.lock(list(roots)))]
        locked = {row[:width] for row in rows}
        if len(locked) < len(roots):
            self._look_for(transaction, [key for key in roots if key not in locked])
        going = without_kept(transaction, self._unit, rows, self.last_runs)
        self._kept.update(dict.fromkeys(locked.difference(row[:width] for row in going), Stays.KEPT))
        transaction.deleted.kept = len(rows) - len(going)
        return going

    def _look_for(self, transaction: Transaction, keys: list[Key]) -> None:
        """Say of rows that were not locked why: others have locked them, or they are not old any more, or gone."""
        for number, is_old in transaction.rows(self.digests.there(keys)):
            self._kept[keys[number]] = Stays.LOCKED if is_old else Stays.CHANGED
