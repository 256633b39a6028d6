# SPDX-License-Identifier: Apache-2.0
"""The SQL of a transaction that deletes rows of a unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.metadata.catalog.schema import quoted, text_literal, time_literal
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.graph import Path
from airflow_mwaa_provider.metadata.cleaning.scope.rules import TASKS
from airflow_mwaa_provider.metadata.cleaning.scope.unit import array_literal, values_table_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.metadata.catalog.selection import KeyRange
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit, DependentTable

__all__ = ["Statements", "depends_on_tasks"]


@dataclass(frozen=True)
class Statements:
    """The SQL for a unit. Root rows are given as strings of :attr:`CleanupUnit.columns`."""

    unit: CleanupUnit

    @property
    def _root(self) -> str:
        return self.unit.schema.qualified(self.unit.root_table.name)

    @property
    def _key(self) -> str:
        return ", ".join(f"t.{quoted(column.name)}" for column in self.unit.key)

    def boundary(self, keys: KeyRange, rows: int) -> str:
        """Find the key of the row that is so many rows further, deleted or not."""
        items = ", ".join(f"t.{quoted(column.name)}::text" for column in self.unit.key)
        return (
            f"SELECT {items} FROM {self._root} t WHERE {keys.condition()} ORDER BY {self._key} "
            f"OFFSET {max(0, rows - 1)} LIMIT 1"
        )

    def lock(self, keys: KeyRange, limit: int | None = None) -> str:
        """Lock the rows of a range that meet the row condition, except those that others have locked."""
        items = ", ".join(f"t.{quoted(name)}::text" for name in self.unit.columns)
        return (
            f"SELECT {items} FROM {self._root} t WHERE {keys.condition()} AND {self.unit.row_condition_sql} "
            f"ORDER BY {self._key} {f'LIMIT {int(limit)} ' if limit is not None else ''}FOR UPDATE OF t SKIP LOCKED"
        )

    def count_matching(self, keys: KeyRange) -> str:
        """Count what :meth:`lock` would return if others had locked none."""
        return f"SELECT count(*) FROM {self._root} t WHERE {keys.condition()} AND {self.unit.row_condition_sql}"

    def blocked(self, rows: Sequence[Sequence[str]], *, unseen: bool = False) -> str:
        """Find the locked rows that other rows keep, by number from 0.

        :param unseen: check only what the deletion itself does not show.
        """
        guards = [guard for guard in self.unit.guards if guard.reads_other_rows and not guard.is_precomputed]
        guards = [guard for guard in guards if not (unseen and guard.is_seen)]
        kept = " OR ".join(f"({self.unit.kept_sql(guard)})" for guard in guards) or "false"
        same = " AND ".join(f"t.{quoted(c.name)} = k.{quoted(c.name)}" for c in self.unit.key)
        return f"SELECT k.number FROM {self.unit.keys_sql(rows)} k JOIN {self._root} t ON {same} WHERE {kept}"

    def lock_referred(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """Lock dependents of locked rows that keep them if another row refers to them, so that no new one can.

        The rows themselves are already locked.
        """
        schema, statements = self.unit.schema, {}
        for guard in self.unit.guards:
            if guard.path is None or len(guard.path.steps) == 1:
                continue
            parent = guard.path.steps[0].table
            between, ends = Path(parent, guard.path.steps[1:]).joins(schema)
            on = " AND ".join(f"{ours} = k.{quoted(theirs)}" for ours, theirs in ends)
            source = " ".join([f"{schema.qualified(parent)} t", *map(str, between)])
            statements[parent] = f"SELECT 1 FROM {source} JOIN {self._given(rows)} k ON {on} FOR UPDATE OF t"
        return list(statements.values())

    def have_rows(self, parts: Sequence[DependentTable]) -> str:
        """Find out which of these tables have any rows."""
        tables = (self.unit.schema.qualified(part.table.name) for part in parts)
        return f"SELECT {', '.join(f'EXISTS (SELECT 1 FROM {table})' for table in tables)}"

    def delete(
        self,
        part: DependentTable,
        rows: Sequence[Sequence[str]],
        tasks: Sequence[Sequence[str]] | None = None,
        cascaded: Sequence[DependentTable] = (),
    ) -> str:
        """Delete the rows of a part that depend on locked rows; return how many, and how many of them must be kept.

        :param tasks: only dependents of these tasks, by primary key.
        :param cascaded: tables that refer to this one, whose rows the database deletes with its rows: also counted.
        """
        schema = self.unit.schema
        table = schema.qualified(part.table.name)
        if part.path is None:
            same = [f"t.{quoted(c.name)} = k.{quoted(c.name)}" for c in self.unit.key]
            using = [f"{self._given(rows)} k"]
        else:
            steps = (part.direct if part.direct and tasks is None else part.path).steps
            same, using = [], [f"{self._given(rows)} k"]
            here = "t"
            for number, step in enumerate(steps):
                there = f"t{number + 1}" if number < len(steps) - 1 else "k"
                same += [
                    f"{here}.{quoted(ours)} = {there}.{quoted(theirs)}"
                    for ours, theirs in zip(step.columns, step.foreign_columns, strict=True)
                ]
                if there != "k":
                    using.append(f"{schema.qualified(step.table)} {there}")
                here = there
        if tasks is not None:
            alias = _alias_of_tasks(part)
            key = [schema.tables[TASKS].column(name) for name in schema.tables[TASKS].key]
            columns = [(column.name, column.type) for column in key]
            using.append(f"{values_table_sql(columns, tasks)} w")
            same += [f"{alias}.{quoted(name)} = w.{quoted(name)}" for name, _ in columns]
        counts = ["(SELECT count(*), count(*) FILTER (WHERE forbidden) FROM gone) g"]
        referred: dict[str, str] = {}
        for number, other in enumerate(cascaded):
            assert other.path is not None
            step = other.path.steps[0]
            referred.update((name, f"t.{quoted(name)}") for name in step.foreign_columns)
            on = " AND ".join(
                f"t.{quoted(ours)} = gone.{quoted(theirs)}"
                for ours, theirs in zip(step.columns, step.foreign_columns, strict=True)
            )
            counts.append(
                f"(SELECT count(*), count(*) FILTER (WHERE {self._forbidden(other)}) "
                f"FROM gone JOIN {schema.qualified(other.table.name)} t ON {on}) g{number}"
            )
        returned = ", ".join([f"({self._forbidden(part)}) AS forbidden", *referred.values()])
        return (
            f"WITH gone AS (DELETE FROM {table} t USING {', '.join(using)} WHERE {' AND '.join(same)} "
            f"RETURNING {returned}) SELECT * FROM {', '.join(counts)}"
        )

    def delete_plain(self, keys: KeyRange) -> str:
        """Delete rows without dependents that no other row keeps, without locking them first."""
        return f"DELETE FROM {self._root} t WHERE {keys.condition()} AND {self.unit.row_condition_sql}"

    def tasks(self, row: Sequence[str], limit: int) -> str:
        """Find some tasks of a run, by primary key."""
        table = self.unit.schema.tables[TASKS]
        key = ", ".join(f"t.{quoted(name)}::text" for name in table.key)
        run = dict(zip(self.unit.columns, row, strict=True))
        return (
            f"SELECT {key} FROM {self.unit.schema.qualified(TASKS)} t WHERE t.dag_id = {text_literal(run['dag_id'])} "
            f"AND t.run_id = {text_literal(run['run_id'])} LIMIT {int(limit)}"
        )

    def _forbidden(self, part: DependentTable) -> str:
        terms = []
        time = part.time_sql()
        if part.path is not None and time is not None:
            terms.append(f"{time} >= {time_literal(self.unit.cutoff)}")
        if part.table.name == TASKS:
            terms.append(f"t.state IN ({', '.join(map(text_literal, rules.ACTIVE_TASK_STATES))})")
        return " OR ".join(terms) or "false"

    def _given(self, rows: Sequence[Sequence[str]]) -> str:
        """Return locked rows as a table: if the key is one column, by key alone, because the rest cannot change."""
        if len(self.unit.key) == 1:
            [key] = self.unit.key
            keys = f"{array_literal([row[0] for row in rows])}::{key.type}[]"
            items = ", ".join(map(quoted, self.unit.columns))
            return f"(SELECT {items} FROM {self._root} WHERE {quoted(key.name)} = ANY ({keys}))"
        return self.unit.values_table_sql(rows)


def depends_on_tasks(part: DependentTable) -> bool:
    """Return whether rows of a part depend on tasks, or are tasks."""
    return part.path is not None and (part.table.name == TASKS or any(s.table == TASKS for s in part.path.steps))


def _alias_of_tasks(part: DependentTable) -> str:
    if part.table.name == TASKS:
        return "t"
    assert part.path is not None
    return next(f"t{number + 1}" for number, step in enumerate(part.path.steps) if step.table == TASKS)
