# SPDX-License-Identifier: Apache-2.0
"""Deleting what hangs on locked rows within a transaction: what a statement each does, and what the references do.

The database looks for what hangs on each row anyway, to delete it along (``ON DELETE CASCADE``); to look for it before
would be to do so twice. What is deleted along nobody returns, but the database's own statistics count it: so it is
told, and checked, that no more went than was seen. Where they are off (``track_counts``), a statement deletes each.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_mwaa_provider.metadata.catalog.schema import text_literal
from airflow_mwaa_provider.metadata.cleaning.deleting.connection import ProtectedRowDeleted
from airflow_mwaa_provider.metadata.cleaning.deleting.statements import Statements, hangs_on_tasks
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.graph import CASCADE, TAKES_ALONG, Path
from airflow_mwaa_provider.metadata.cleaning.scope.rules import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.metadata.cleaning.deleting.connection import Transaction
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit, DependentTable

__all__ = ["Removal"]

log = logging.getLogger(__name__)

# The database plans its references' own queries when they are first asked, and keeps the plans as long as a connection.
# Then a table of a page or none may be read whole, which is quicker than by an index; any other is not.
_PLANNING = "SET LOCAL enable_seqscan TO on; SET LOCAL seq_page_cost TO 0.1; SET LOCAL random_page_cost TO 0.1"


@dataclass
class _Ways:
    """How the rows of each table go.

    :param stated: by a statement that returns what it deletes.
    :param seen: along with their tasks, whose statement looks at them.
    :param cascaded: along with what they refer to, unseen: rows without a date, which nothing keeps.
    """

    stated: list[DependentTable] = field(default_factory=list)
    seen: list[DependentTable] = field(default_factory=list)
    cascaded: list[str] = field(default_factory=list)


class Removal:
    """Deletes rows of a unit; not thread-safe."""

    def __init__(self, unit: CleanupUnit) -> None:
        self._unit = unit
        self._statements = Statements(unit)
        self._filled: set[str] | None = None
        self._is_counted = True
        self._was_missed = False
        self._is_planned = False

    def remove(
        self, transaction: Transaction, rows: Sequence[Sequence[str]], tasks: Sequence[Sequence[str]] | None = None
    ) -> None:
        """Delete what hangs on locked rows of the root, and they themselves; or only these of their tasks.

        :raises ProtectedRowDeleted: something went that must stay, or that wasn't seen.
        """
        parts = list(self._unit.parts) if tasks is None else self._parts_of_tasks()
        if len(parts) == 1:
            transaction.delete(parts[0].table.name, self._statements.delete(parts[0], rows, tasks))
            return
        if not self._is_planned:
            transaction.set(_PLANNING)
            self._is_planned = True
        before = self._counts(transaction, parts)
        ways = self._ways(transaction, parts)
        deleted: dict[str, int] = {}
        seen: dict[str, int] = {}
        for part in ways.stated:
            name = part.table.name
            looked_at = ways.seen if name == TASKS else []
            names = [other.table.name for other in looked_at]
            found = transaction.delete(name, self._statements.delete(part, rows, tasks, looked_at), names)
            deleted[name] = found[0]
            seen.update(zip(names, found[1:], strict=True))
        if self._is_counted:
            after = self._counts(transaction, parts)
            gone = {name: count - before[name] for name, count in after.items()}
            self._check(gone, deleted, seen, ways.cascaded)
            for name in ways.cascaded:
                transaction.deleted.add(name, gone[name], 0.0)

    def _parts_of_tasks(self) -> list[DependentTable]:
        """Give what hangs on tasks, found by them even where it names its run as well."""
        unit = self._unit
        [tasks] = [part for part in unit.parts if part.table.name == TASKS]
        assert tasks.path is not None
        found = []
        for part in unit.parts:
            if hangs_on_tasks(part):
                found.append(part)
                continue
            for reference in part.table.references:
                if reference.table == TASKS and reference.on_delete in TAKES_ALONG:
                    found.append(replace(part, path=Path(part.table.name, (reference, *tasks.path.steps)), direct=None))
                    break
        return found

    def _ways(self, transaction: Transaction, parts: Sequence[DependentTable]) -> _Ways:
        filled = self._with_rows(transaction)
        here = {part.table.name for part in parts}
        ways = _Ways()
        for part in parts:
            name = part.table.name
            goes_along = self._is_counted and _goes_along(part, here)
            if name not in filled and (goes_along or not self._is_counted):
                continue
            if goes_along and part.time_sql() is None:
                ways.cascaded.append(name)
            elif goes_along and TASKS in here and _is_seen_by_task(part):
                ways.seen.append(part)
            else:
                # The short way leads to the same, unless somebody has written into these tables by hand.
                ways.stated.append(replace(part, direct=None) if self._was_missed else part)
        return ways

    def _counts(self, transaction: Transaction, parts: Sequence[DependentTable]) -> dict[str, int]:
        """Ask how many rows of each table this connection has deleted, since some time before the transaction."""
        if not self._is_counted:
            return {}
        names = [part.table.name for part in parts]
        items = ", ".join(f"pg_stat_get_xact_tuples_deleted({self._oid(name)})" for name in names)
        [(is_counted, *counts)] = transaction.rows(f"SELECT current_setting('track_counts') = 'on', {items}")
        self._is_counted = is_counted
        return dict(zip(names, counts, strict=True))

    def _with_rows(self, transaction: Transaction) -> set[str]:
        """Say which tables have any rows: looking for what hangs on each task takes as long in others."""
        if self._filled is None or not self._is_counted:
            [found] = transaction.rows(self._statements.have_rows(self._unit.parts))
            names = [part.table.name for part in self._unit.parts]
            self._filled = {name for name, has_rows in zip(names, found, strict=True) if has_rows}
            if self._is_counted:
                self._is_counted = self._references_work(transaction, names)
        return self._filled

    def _references_work(self, transaction: Transaction, names: Sequence[str]) -> bool:
        """Whether the database heeds references: a restore, or a replica's settings, may have turned that off."""
        oids = ", ".join(map(self._oid, names))
        [(do_they,)] = transaction.rows(
            "SELECT current_setting('session_replication_role') <> 'replica' AND NOT EXISTS (SELECT 1 FROM pg_trigger "
            f"WHERE tgrelid IN ({oids}) AND tgconstraint <> 0 AND tgisinternal AND tgenabled NOT IN ('O', 'A'))"
        )
        return bool(do_they)

    def _oid(self, name: str) -> str:
        return f"{text_literal(self._unit.schema.qualified(name))}::regclass"

    def _check(
        self, gone: dict[str, int], deleted: dict[str, int], seen: dict[str, int], cascaded: Sequence[str]
    ) -> None:
        """Check that no row went along that nobody had looked at."""
        if any(gone[name] < count for name, count in deleted.items()):
            log.warning(
                "The database's statistics do not count what is deleted: a statement deletes each table's rows."
            )
            self._is_counted = False
            raise ProtectedRowDeleted
        expected = {**deleted, **seen}
        if any(count != expected.get(name, 0) for name, count in gone.items() if name not in cascaded):
            # It came, or went, in between; maybe it is the first of its table.
            self._filled = None
            self._was_missed = True
            raise ProtectedRowDeleted
        self._was_missed = False


def _goes_along(part: DependentTable, here: set[str]) -> bool:
    """Whether the database deletes rows of a part along with what they refer to, which goes too."""
    if part.path is None:
        return False
    first = part.path.steps[0]
    return first.on_delete == CASCADE and first.table in here


def _is_seen_by_task(part: DependentTable) -> bool:
    """Whether rows of a part are best looked at with their tasks: by an index, and as they were written once."""
    if part.path is None or part.path.steps[0].table != TASKS or part.direct is not None:
        return False
    columns = part.path.steps[0].columns
    has_index = any(set(index[: len(columns)]) == set(columns) for index in part.table.indexes)
    return has_index and part.table.name in rules.WRITTEN_ONCE
