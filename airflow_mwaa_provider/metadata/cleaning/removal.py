# SPDX-License-Identifier: Apache-2.0
"""Deleting what hangs on locked rows within a transaction: what a statement each does, and what the references do.

The database looks for what hangs on each row anyway, to delete it along (``ON DELETE CASCADE``); to look for it before
would be to do so twice. What is deleted along nobody returns, but the database's own statistics count it: so it is
told, and checked, that no more went than was seen. Where they are off (``track_counts``), a statement deletes each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.metadata.cleaning.graph import CASCADE
from airflow_mwaa_provider.metadata.cleaning.statements import TASKS, Statements, hangs_on_tasks
from airflow_mwaa_provider.metadata.cleaning.transactions import Forbidden
from airflow_mwaa_provider.metadata.schema import text_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.metadata.cleaning.transactions import Transaction
    from airflow_mwaa_provider.metadata.cleaning.units import Part, Unit

__all__ = ["Removal"]


class Removal:
    """Deletes rows of a unit; not thread-safe."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._statements = Statements(unit)
        self._filled: set[str] | None = None
        self._is_counted = True

    def remove(
        self, transaction: Transaction, rows: Sequence[Sequence[str]], tasks: Sequence[Sequence[str]] | None = None
    ) -> None:
        """Delete what hangs on locked rows of the root, and they themselves; or only these of their tasks.

        :raises Forbidden: something went that must stay, or that wasn't seen.
        """
        parts = [part for part in self._unit.parts if tasks is None or hangs_on_tasks(part)]
        if len(parts) == 1:
            transaction.delete(parts[0].table.name, self._statements.delete(parts[0], rows, tasks))
            return
        before = self._counts(transaction, parts)
        filled = self._with_rows(transaction)
        here = [part.table.name for part in parts]
        along, seen_along, stated = [], [], []
        for part in parts:
            goes_along = self._is_counted and part.path is not None and _cascades(part, here)
            if part.table.name not in filled and (goes_along or not self._is_counted):
                continue
            if goes_along and part.time_sql() is None:
                along.append(part.table.name)
            elif goes_along and TASKS in here and part.path is not None and _is_by_task(part):
                seen_along.append(part)
            else:
                stated.append(part)
        seen: dict[str, int] = {}
        for part in stated:
            name = part.table.name
            others = seen_along if name == TASKS else []
            found = transaction.delete(
                name, self._statements.delete(part, rows, tasks, others), [other.table.name for other in others]
            )
            seen.update(zip([name, *(other.table.name for other in others)], found, strict=True))
        if self._is_counted:
            after = self._counts(transaction, parts)
            gone = {name: after[name] - before[name] for name in here}
            self._check(gone, seen, along)
            for name in along:
                transaction.deleted.add(name, gone[name], 0.0)

    def _counts(self, transaction: Transaction, parts: Sequence[Part]) -> dict[str, int]:
        """Ask how many rows of each table this connection has deleted, since some time before the transaction."""
        if not self._is_counted:
            return {}
        names = [part.table.name for part in parts]
        items = ", ".join(
            f"pg_stat_get_xact_tuples_deleted({text_literal(self._unit.schema.qualified(name))}::regclass)"
            for name in names
        )
        [(is_counted, *counts)] = transaction.rows(f"SELECT current_setting('track_counts') = 'on', {items}")
        self._is_counted = is_counted
        return dict(zip(names, counts, strict=True))

    def _with_rows(self, transaction: Transaction) -> set[str]:
        """Say which tables have any rows: looking for what hangs on each task takes as long in others."""
        if self._filled is None or not self._is_counted:
            [found] = transaction.rows(self._statements.have_rows(self._unit.parts))
            names = (part.table.name for part in self._unit.parts)
            self._filled = {name for name, has_rows in zip(names, found, strict=True) if has_rows}
        return self._filled

    def _check(self, gone: dict[str, int], seen: dict[str, int], along: Sequence[str]) -> None:
        """Check that no row went along that nobody had looked at."""
        if any(gone[name] < count for name, count in seen.items()):
            # Whatever these count, it isn't this.
            self._is_counted = False
            raise Forbidden
        if any(count != seen.get(name, 0) for name, count in gone.items() if name not in along):
            # It came in between; and maybe it is the first of its table.
            self._filled = None
            raise Forbidden


def _cascades(part: Part, names: Sequence[str]) -> bool:
    """Whether the database deletes rows of a part along with what they refer to, which goes too."""
    assert part.path is not None
    first = part.path.steps[0]
    return first.on_delete == CASCADE and first.table in names


def _is_by_task(part: Part) -> bool:
    """Whether rows of a part are found by their task alone."""
    return part.path is not None and part.path.steps[0].table == TASKS and part.direct is None
