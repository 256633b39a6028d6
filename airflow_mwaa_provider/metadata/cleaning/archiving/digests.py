# SPDX-License-Identifier: Apache-2.0
"""The archived rows of a unit, root by root, with a digest of all their values, which shows later changes."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.metadata.catalog.schema import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit, DependentTable

__all__ = ["SETTINGS", "WINDOW_ROWS", "Digests", "Key", "Roots", "Spool", "Window"]

Key = tuple[str, ...]
Roots = dict[Key, int]
"""Keys of root rows, as strings, and the digest of each with all its dependents."""

WINDOW_ROWS = 1000
"""Rows of a window, all tables together: even a slow database deletes them in a fraction of a second."""
SETTINGS = (
    "SET LOCAL TimeZone TO 'UTC'; SET LOCAL DateStyle TO 'ISO, YMD'; SET LOCAL IntervalStyle TO 'iso_8601'; "
    "SET LOCAL extra_float_digits TO 1; SET LOCAL bytea_output TO 'hex'"
)
"""With these settings a value has the same text, and so the same digest, in every transaction."""
_FORGETS = "nd"
_FETCHED = 5000
_MODULUS = 1 << 64


@dataclass(frozen=True)
class Window:
    """Some root rows, in the order of their keys, and where they are in the spool.

    :param rows: how many, all tables together.
    """

    roots: int
    rows: int
    place: int
    size: int


class Spool:
    """A temporary file of windows, so that their keys take no memory; a context. Some 10 to 30 bytes per root row."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="airflow-mwaa-archive.")  # noqa: SIM115 - closed by __exit__
        self._end = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, roots: Roots, rows: int) -> Window:
        """Write a window."""
        packed = zlib.compress(json.dumps([[*key, digest] for key, digest in roots.items()]).encode(), 1)
        window = Window(len(roots), rows, self._end, len(packed))
        self._file.write(packed)
        self._file.flush()
        self._end += len(packed)
        return window

    def read(self, window: Window) -> Roots:
        """Read a window; from any thread."""
        packed = os.pread(self._file.fileno(), window.size, window.place)
        return {tuple(key): digest for *key, digest in json.loads(zlib.decompress(packed))}


@dataclass(frozen=True)
class Digests:
    """The SQL for the digests of a unit's rows.

    :param going: tables from which rows are deleted. A reference to one of them that is set to NULL is not part of a
        row's digest, because it may already be NULL when the row is deleted.
    """

    unit: CleanupUnit
    going: Collection[str]

    def windows(
        self, connection: Any, expressions: str, spool: Spool, counts: list[int], *, window_rows: int = WINDOW_ROWS
    ) -> Iterator[Window]:
        """Read the digests of all rows to delete.

        :param connection: a psycopg2 connection in a transaction with a snapshot.
        :param expressions: ``WITH`` and the root rows to delete.
        :param counts: the rows of each part are added here.
        :param window_rows: rows of a window, all tables together; a single root row may have more.
        """
        width = len(self.unit.key)
        roots: Roots = {}
        rows = 0
        with connection.cursor() as cursor:
            # By default PostgreSQL plans for the first tenth of a cursor's rows.
            cursor.execute(f"{SETTINGS}; SET LOCAL cursor_tuple_fraction TO 1")
            cursor.execute(f"DECLARE digests NO SCROLL CURSOR FOR {self._sql(expressions)}")
            while True:
                cursor.execute(f"FETCH FORWARD {_FETCHED} FROM digests")
                found = cursor.fetchall()
                for row in found:
                    of_parts = row[width + 1 :]
                    size = sum(of_parts)
                    if rows and rows + size > window_rows:
                        yield spool.add(roots, rows)
                        roots, rows = {}, 0
                    roots[tuple(row[:width])] = total(row[width])
                    rows += size
                    for place, count in enumerate(of_parts):
                        counts[place] += count
                if len(found) < _FETCHED:
                    break
            cursor.execute("CLOSE digests")
        if roots:
            yield spool.add(roots, rows)

    def _sql(self, expressions: str) -> str:
        keys = [quoted(column.name) for column in self.unit.key]
        names = [f"key{place}" for place in range(len(keys))]
        items = ", ".join(f"k.{key} AS {name}" for key, name in zip(keys, names, strict=True))
        parts = []
        for number, part in enumerate(self.unit.parts):
            source, where = dependent_rows_sql(self.unit, part, self.unit.expired_cte)
            table = self.unit.schema.qualified(part.table.name)
            conditions = " AND ".join([where, *elsewhere(self.unit, part)])
            parts.append(
                f"SELECT {items}, {number} AS part, {self.of_row(number)} AS digest FROM {table} t, {source} "
                f"WHERE {conditions}"
            )
        counts = ", ".join(f"count(*) FILTER (WHERE part = {number})" for number in range(len(parts)))
        return (
            f"{expressions} SELECT {', '.join(f'{name}::text AS {name}_text' for name in names)}, sum(digest)::text, "
            f"{counts} FROM ({' UNION ALL '.join(parts)}) r GROUP BY {', '.join(names)} ORDER BY {', '.join(names)}"
        )

    def of_row(self, number: int) -> str:
        """Return the SQL for the digest of a row of a part, called ``t``; it depends on the part, too."""
        table = self.unit.parts[number].table
        forgets = {
            name
            for reference in table.references
            if reference.on_delete in _FORGETS and reference.table in self.going
            for name in reference.columns
        }
        items = ", ".join(f"t.{quoted(column.name)}" for column in table.columns if column.name not in forgets)
        return f"hashtextextended(ROW({items})::text, {number})::numeric"

    # The rest is for the transactions that delete; they apply SETTINGS first.

    def lock(self, keys: Sequence[Key]) -> str:
        """Lock the root rows that meet the row condition, except those that others have locked."""
        items = ", ".join(f"t.{quoted(name)}::text" for name in self.unit.columns)
        return (
            f"{SETTINGS}; SELECT {items} FROM {self._these(keys)} AND {self.unit.row_condition_sql} "
            "FOR UPDATE OF t SKIP LOCKED"
        )

    def there(self, keys: Sequence[Key]) -> str:
        """Find the root rows that exist, by number from 0, and whether they meet the row condition."""
        return f"SELECT w.number, ({self.unit.row_condition_sql}) IS TRUE FROM {self._these(keys)}"

    def lock_parents(self, rows: Sequence[Key]) -> Iterator[str]:
        """Lock the rows that other parts refer to, so that no new row can refer to them and be deleted unseen."""
        referred = {reference.table for part in self.unit.parts for reference in part.table.references}
        for part in reversed(self.unit.parts):
            if part.path is not None and part.table.name in referred:
                source, where = dependent_rows_sql(self.unit, part, self.unit.values_table_sql(rows))
                table = self.unit.schema.qualified(part.table.name)
                yield f"SELECT count(*) FROM (SELECT 1 FROM {table} t, {source} WHERE {where} FOR UPDATE OF t) r"

    def delete(self, number: int, rows: Sequence[Key]) -> str:
        """Delete the rows of a part that depend on locked rows; return their count and digest, by number from 0."""
        part = self.unit.parts[number]
        source, where = dependent_rows_sql(self.unit, part, self.unit.values_table_sql(rows))
        return (
            f"WITH gone AS (DELETE FROM {self.unit.schema.qualified(part.table.name)} t USING {source} WHERE {where} "
            f"RETURNING k.number, {self.of_row(number)} AS digest) "
            "SELECT number, count(*), sum(digest)::text FROM gone GROUP BY number"
        )

    def _these(self, keys: Sequence[Key]) -> str:
        same = " AND ".join(f"t.{quoted(column.name)} = w.{quoted(column.name)}" for column in self.unit.key)
        return f"{self.unit.schema.qualified(self.unit.root_table.name)} t, {self.unit.keys_sql(keys)} w WHERE {same}"


def total(digest: str) -> int:
    """Return a sum of digests as a digest."""
    return int(digest) % _MODULUS


def elsewhere(unit: CleanupUnit, part: DependentTable) -> list[str]:
    """Return conditions that a row of a part, called ``t``, is not deleted with an earlier unit."""
    name = part.table.name
    return [f"NOT EXISTS ({other.deleted_with_sql(name, 't')})" for other in unit.without if name in other.tables]


def dependent_rows_sql(unit: CleanupUnit, part: DependentTable, roots: str) -> tuple[str, str]:
    """Return the SQL for the rows of a part, called ``t``, that depend on given root rows.

    :param roots: these root rows, with the unit's columns.
    :return: what to join with ``t``, in which the root rows are called ``k``; and the condition.
    """
    if part.path is None:
        return f"{roots} k", " AND ".join(f"t.{quoted(c.name)} = k.{quoted(c.name)}" for c in unit.key)
    between, ends = part.path.joins(unit.schema)
    on = " AND ".join(f"k.{quoted(theirs)} = {ours}" for ours, theirs in ends)
    if not between:
        return f"{roots} k", on
    # The first is joined by the condition, because the joins in USING cannot refer to t.
    first, *others = between
    return " ".join([first.source, *map(str, others), f"JOIN {roots} k ON {on}"]), first.condition
