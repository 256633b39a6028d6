# SPDX-License-Identifier: Apache-2.0
"""Rows that are deleted together: old rows of a root table and their dependents; and the SQL for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mwaa_provider.metadata.catalog.schema import Column, Schema, Table, quoted, text_literal, timestamp_sql

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_mwaa_provider.metadata.cleaning.scope.graph import Path

__all__ = [
    "CleanupUnit",
    "DependentTable",
    "RetentionGuard",
    "array_literal",
    "first_time_sql",
    "values_table_sql",
]


@dataclass(frozen=True)
class RetentionGuard:
    """A reason to keep rows of any age; the row is called ``t``.

    It is either a condition on the row itself (``sql``), or it reads other rows: by a ``query``, by a ``path``, or by
    the keys of all rows that it keeps (``among``), which may stand beside a query. Which of the two it is follows from
    these fields, never from the SQL in them.

    :param why: a clause about a row that is kept.
    :param sql: a condition on the row's own columns; it must not read other rows.
    :param query: a query on other rows that finds something if they keep the row.
    :param is_lack: the row is kept if the query finds nothing.
    :param path: how a row of another table leads to this one, and so keeps it.
    :param among: a query for the keys of all rows that are kept, which is faster than to ask for each of them.
    :param is_seen: deleting the row's dependents shows whether they keep it, so it is not checked before.
    :param is_precomputed: :class:`~airflow_mwaa_provider.metadata.cleaning.scope.last_runs.LastRuns` finds these rows
        once for the whole cleanup, and checks them again under the lock.
    """

    why: str
    sql: str = ""
    query: str = ""
    is_lack: bool = False
    path: Path | None = None
    among: str = ""
    is_seen: bool = False
    is_precomputed: bool = False

    def __post_init__(self) -> None:
        if bool(self.sql) is bool(self.query or self.path or self.among):
            raise ValueError(f"{self.why}: a guard is a condition on the row itself, or it reads other rows")

    @property
    def reads_other_rows(self) -> bool:
        """Whether the answer depends on other rows: then it is checked again when the row is locked."""
        return not self.sql


@dataclass(frozen=True)
class DependentTable:
    """A table from which rows are deleted: the root table itself, or one whose rows depend on it.

    :param path: how its rows refer to the rows of the root table; ``None`` for the root table itself.
    :param time: columns with the last time of a row.
    :param direct: a shorter path, by an index, to the same rows.
    """

    table: Table
    path: Path | None = None
    time: tuple[str, ...] = ()
    direct: Path | None = None

    def time_sql(self, alias: str = "t") -> str | None:
        """Return the SQL for the last time of a row; ``None`` if the table has no such column."""
        return first_time_sql(self.table, self.time, alias)

    def rows_sql(self, schema: Schema, condition: str, alias: str = "c", end: str = "t") -> str:
        """Return a query that finds something if rows of it depend on a root row and meet a condition."""
        assert self.path is not None
        between, ends = self.path.joins(schema, alias)
        on = " AND ".join(f"{ours} = {end}.{quoted(theirs)}" for ours, theirs in ends)
        source = " ".join([f"{schema.qualified(self.table.name)} {alias}", *map(str, between)])
        return f"SELECT 1 FROM {source} WHERE {on} AND {condition}"


@dataclass(frozen=True, eq=False)
class CleanupUnit:
    """Rows of one table, the root table, and their dependents.

    :param name: the root table, or the only table from which rows are deleted.
    :param parts: tables from which rows are deleted, children first; the root table is the last, if it is one of them.
    :param cutoff: rows that ended before it are old enough.
    :param old_sql: whether a row of the root table, called ``t``, is old enough.
    :param undated_sql: whether a row has no date; empty if each row has one.
    :param guards: what keeps old rows.
    :param without: earlier units that delete rows of the same tables.
    """

    name: str
    schema: Schema = field(repr=False)
    root_table: Table
    parts: tuple[DependentTable, ...]
    cutoff: datetime
    old_sql: str
    undated_sql: str = ""
    guards: tuple[RetentionGuard, ...] = ()
    without: tuple[CleanupUnit, ...] = ()

    @property
    def tables(self) -> list[str]:
        """Tables from which rows are deleted, in their order."""
        return [part.table.name for part in self.parts]

    @property
    def deletes_root_rows(self) -> bool:
        """Whether rows of the root table are deleted."""
        return self.parts[-1].path is None

    @property
    def key(self) -> tuple[Column, ...]:
        """The primary key of the root table."""
        return tuple(self.root_table.column(name) for name in self.root_table.key)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the root table by which dependents are found: the key first."""
        wanted = list(self.root_table.key)
        for part in self.parts:
            wanted += part.path.first_columns if part.path else ()
            wanted += part.direct.first_columns if part.direct else ()
        return tuple(dict.fromkeys(wanted))

    def keys_sql(self, rows: Sequence[Sequence[str]]) -> str:
        """Return the SQL for a table of root keys, the first strings of each row, numbered from 0."""
        count = len(self.key)
        return values_table_sql([(column.name, column.type) for column in self.key], [row[:count] for row in rows])

    def values_table_sql(self, rows: Sequence[Sequence[str]]) -> str:
        """Return the SQL for a table of root rows, as strings of :attr:`columns`, numbered from 0."""
        return values_table_sql([(name, self.root_table.column(name).type) for name in self.columns], rows)

    @property
    def row_condition_sql(self) -> str:
        """The condition for deleting a row, as far as it depends on the row itself."""
        return " AND ".join([self.old_sql, *(_is_not(guard.sql) for guard in self.guards if guard.sql)])

    def kept_sql(self, guard: RetentionGuard, earlier: Sequence[CleanupUnit] = (), *, negated: bool = False) -> str:
        """Return the condition for a guard to keep a row, as if rows of ``earlier`` units were already deleted."""
        if guard.sql:
            return _is_not(guard.sql) if negated else guard.sql
        if not guard.query and guard.path is None:
            return _is_not(self.among_sql(guard)) if negated else self.among_sql(guard)
        query = self._query_of(guard.path, earlier) if guard.path is not None else guard.query
        # PostgreSQL turns these forms into joins.
        return f"{'NOT ' if negated is not guard.is_lack else ''}EXISTS ({query})"

    def _query_of(self, path: Path, earlier: Sequence[CleanupUnit]) -> str:
        between, ends = path.joins(self.schema, "x")
        there = [f"{ours} = t.{quoted(theirs)}" for ours, theirs in ends]
        there += [f"NOT EXISTS ({unit.deleted_with_sql(path.table)})" for unit in earlier if path.table in unit.tables]
        source = " ".join([f"{self.schema.qualified(path.table)} x", *map(str, between)])
        return f"SELECT 1 FROM {source} WHERE {' AND '.join(there)}"

    def expired_condition_sql(self, earlier: Sequence[CleanupUnit] = ()) -> str:
        """Return the condition for deleting a row of the root table, called ``t``."""
        terms = [self.old_sql]
        for guard in self.guards:
            if guard.among:
                terms.append(_is_not(self.among_sql(guard)))
            else:
                terms.append(self.kept_sql(guard, earlier, negated=True))
        return " AND ".join(terms)

    def among_sql(self, guard: RetentionGuard) -> str:
        """Return the condition for a row to be among those that a guard keeps, found for the whole table at once."""
        return f"t.{quoted(self.root_table.key[0])} IN ({guard.among})"

    @property
    def expired_cte(self) -> str:
        """The name of the common table expression with the root rows to delete."""
        return quoted(f"expired rows of {self.name}")

    def expired_cte_sql(self, earlier: Sequence[CleanupUnit] = ()) -> str:
        """Return that expression."""
        columns = ", ".join(f"t.{quoted(name)}" for name in self.columns)
        return (
            f"{self.expired_cte} AS MATERIALIZED (SELECT {columns} "
            f"FROM {self.schema.qualified(self.root_table.name)} t WHERE {self.expired_condition_sql(earlier)})"
        )

    def deleted_with_sql(self, table: str, alias: str = "x") -> str:
        """Return a query that finds something if a row of a table, under an alias, is deleted with this unit."""
        part = next(part for part in self.parts if part.table.name == table)
        if part.path is None:
            same = " AND ".join(f"k.{quoted(name)} = {alias}.{quoted(name)}" for name in self.root_table.key)
            return f"SELECT 1 FROM {self.expired_cte} k WHERE {same}"
        # The first step leads from the alias to another table; the next ones are joined to that.
        between, ends = part.path.joins(self.schema, alias)
        on = " AND ".join(f"k.{quoted(theirs)} = {ours}" for ours, theirs in ends)
        if not between:
            return f"SELECT 1 FROM {self.expired_cte} k WHERE {on}"
        first, *others = between
        source = " ".join([first.source, *map(str, others), f"JOIN {self.expired_cte} k ON {on}"])
        return f"SELECT 1 FROM {source} WHERE {first.condition}"

    def count_sql(self, part: DependentTable) -> str:
        """Return a query that counts the rows of a part to delete; it needs :meth:`expired_cte_sql`."""
        if part.path is None:
            return f"SELECT count(*) FROM {self.expired_cte}"
        between, ends = part.path.joins(self.schema)
        on = " AND ".join(f"k.{quoted(theirs)} = {ours}" for ours, theirs in ends)
        name = part.table.name
        others = [f"NOT EXISTS ({unit.deleted_with_sql(name, 't')})" for unit in self.without if name in unit.tables]
        where = f" WHERE {' AND '.join(others)}" if others else ""
        return (
            f"SELECT count(*) FROM {self.schema.qualified(part.table.name)} t {' '.join(map(str, between))} "
            f"JOIN {self.expired_cte} k ON {on}{where}"
        )


def values_table_sql(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """Return the SQL for a table of these names and types with the given rows of strings, numbered from 0."""
    # One literal per column: the server would take longer to parse one per value than to run many a statement.
    arrays = ", ".join(f"{array_literal([row[place] for row in rows])}::text[]" for place in range(len(columns)))
    names = [f"c{place}" for place in range(len(columns))]
    items = ", ".join(
        f"{name}::{kind} AS {quoted(column)}" for name, (column, kind) in zip(names, columns, strict=True)
    )
    return f"(SELECT {items}, n - 1 AS number FROM unnest({arrays}) WITH ORDINALITY AS u({', '.join(names)}, n))"


def array_literal(texts: Sequence[str]) -> str:
    """Return the SQL for an array of strings, without its type."""
    items = ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts)
    return text_literal(f"{{{items}}}")


def first_time_sql(table: Table, names: Sequence[str], alias: str = "t") -> str | None:
    """Return the SQL for the first of these columns that isn't NULL; ``None`` if the table has none of them."""
    terms = [timestamp_sql(table, alias, name) for name in table.first_of(names)]
    if not terms:
        return None
    return terms[0] if len(terms) == 1 else f"COALESCE({', '.join(terms)})"


def _is_not(condition: str) -> str:
    return f"({condition}) IS NOT TRUE"
