# SPDX-License-Identifier: Apache-2.0
"""Find the rows that were written since an earlier snapshot of a database, by the transactions that wrote them.

The times of a row are when something happened, not when the row was written: Airflow copies old times into new rows (a
cleared task's into its history), gives links the times of what they link to, and leaves times empty. PostgreSQL records
in each row the transaction that wrote it, in the system column ``xmin``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Snapshot", "written_since_sql"]

_COMPARABLE = 1 << 30
"""The most transactions between two snapshots: ``xmin`` has 32 bits, and half of its numbers count as older."""


@dataclass(frozen=True)
class Snapshot:
    """A view of a database at a single point in time.

    :param database: identifies the server and its timeline, if it shows them, the database, and the revision of its
        schema: elsewhere transactions have other numbers, and a migration may change rows without writing them.
    :param oldest: number of the oldest transaction that had not ended, in 64 bits; earlier ones write no more rows.
    """

    database: str
    oldest: int

    def can_be_told_from(self, later: Snapshot) -> bool:
        """Return whether the rows written between this snapshot and a later one can be found."""
        return self.database == later.database and 0 <= later.oldest - self.oldest < _COMPARABLE


def written_since_sql(oldest: int, alias: str = "t") -> str:
    """Return the condition that a row was written by this transaction or a later one.

    It holds for every row that was not visible when this was the oldest transaction that had not ended, and for some
    that were. It reads nothing but the row's transaction, which vacuum does not change.
    """
    return f"age({alias}.xmin) <= age('{oldest % (1 << 32)}'::xid)"
