# SPDX-License-Identifier: Apache-2.0
"""Which rows were written since an earlier look at a database, told by the transactions that wrote them.

The times of a row say when something happened, and not when the row was written: Airflow copies old times into new rows
(a cleared task's into its history), dates links by what they link to, and leaves times empty. PostgreSQL itself notes
with each row the transaction that wrote it, in the system column ``xmin``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Snapshot", "written_since_sql"]

_COMPARABLE = 1 << 30
"""Transactions that may lie between: ``xmin`` has 32 bits, and half of its numbers count as older."""


@dataclass(frozen=True)
class Snapshot:
    """What could be seen of a database at one moment.

    :param database: identifies the server and its timeline, as far as it says, the database, and the revision of its
        schema: elsewhere transactions have other numbers, and a migration may change rows without writing them.
    :param oldest: number of the oldest transaction that had not ended, in 64 bits; of those before nothing can appear.
    """

    database: str
    oldest: int

    def can_be_told_from(self, later: Snapshot) -> bool:
        """Whether a later snapshot can tell which rows were written since this one."""
        return self.database == later.database and 0 <= later.oldest - self.oldest < _COMPARABLE


def written_since_sql(oldest: int, alias: str = "t") -> str:
    """Write that a row was written by this transaction or a later one.

    Holds for every row that was not visible yet when this was the oldest transaction that had not ended, and for some
    that were. Needs nothing of the row but its transaction, which vacuum leaves as it is.
    """
    return f"age({alias}.xmin) <= age('{oldest % (1 << 32)}'::xid)"
