# SPDX-License-Identifier: Apache-2.0
"""A table in pieces of bounded size, by its primary key: each is read by a query, and a transaction, of its own.

A key never changes, so that a row which is there before and after all pieces were read is in exactly one of them. Which
rows a piece has depends on the rows alone: read again, it is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog.schema import Column, quoted, text_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.metadata.catalog.selection import TableRows

__all__ = ["KeyRange", "has_readable_key", "next_range"]

# Types whose text, in the settings of a snapshot, is read back as the same value.
_READABLE = {
    "bool", "bpchar", "date", "int2", "int4", "int8", "oid", "text", "timestamp", "timestamptz", "uuid", "varchar",
}  # fmt: skip
# Values of these types have no fixed size.
_LONG = {"bytea", "json", "jsonb", "text", "varchar", "bpchar", "xml"}

Key = tuple[str, ...]


@dataclass(frozen=True)
class KeyRange:
    """Rows whose key lies after one and up to, and with, another.

    :param columns: of the key, in its order.
    :param after: the values of a key as text; ``None``: from the first row on.
    :param last: likewise; ``None``: to the end.
    :param first: instead of ``after``: from this key on, and with it.
    """

    columns: tuple[Column, ...]
    after: Key | None = None
    last: Key | None = None
    first: Key | None = None

    def condition(self) -> str:
        """Write it as SQL; the table is called ``t``."""
        terms = [self._compared(">", self.after)] if self.after is not None else []
        terms += [self._compared(">=", self.first)] if self.first is not None else []
        terms += [self._compared("<=", self.last)] if self.last is not None else []
        return " AND ".join(terms) or "true"

    def _compared(self, how: str, key: Key) -> str:
        names = ", ".join(f"t.{quoted(column.name)}" for column in self.columns)
        values = ", ".join(
            f"{text_literal(text)}::{column.type}" for column, text in zip(self.columns, key, strict=True)
        )
        return f"({names}) {how} ({values})"


def has_readable_key(rows: TableRows) -> bool:
    """Whether a table can be read in pieces: it has a key, of types that can be written as text and read back."""
    table = rows.table
    return bool(table.key) and all(table.column(name).type in _READABLE for name in table.key)


def next_range(
    connection: Any, rows: TableRows, after: Sequence[str] | None, *, max_rows: int, max_bytes: int
) -> tuple[KeyRange, bool]:
    """Find the next piece of a table: so many rows, whether they are asked for or not, that it stays in bounds.

    :param connection: of a snapshot.
    :param after: the last key of the piece before; ``None`` for the first one.
    :param max_rows: rows of a piece, at least one.
    :param max_bytes: what their long values take in the table, compressed as PostgreSQL stores them; a single row may
        have more.
    :return: the piece, and whether it is the last one. A table without a key that can be read is one piece.
    :raises MwaaInputError: ``after`` is no key of this table.
    """
    table = rows.table
    if not has_readable_key(rows):
        return KeyRange(()), True
    columns = tuple(table.column(name) for name in table.key)
    if after is not None and len(after) != len(columns):
        raise MwaaInputError(f"A key of table {table.name} has {len(columns)} values, and not {len(after)}.")
    begin = KeyRange(columns, tuple(after) if after is not None else None)
    key = ", ".join(f"t.{quoted(column.name)}" for column in columns)
    sizes = [f"COALESCE(pg_column_size(t.{quoted(c.name)}), 0)" for c in rows.columns if c.type in _LONG]
    # The size of a large value is that of a pointer's target: it isn't read for it.
    numbered = (
        f"SELECT {', '.join(f't.{quoted(c.name)}::text AS k{i}' for i, c in enumerate(columns))}, "
        f"row_number() OVER (ORDER BY {key}) AS n, "
        f"sum({' + '.join(sizes) or '0'}) OVER (ORDER BY {key} ROWS UNBOUNDED PRECEDING) AS bytes "
        f"FROM (SELECT * FROM {rows.schema.qualified(table.name)} t WHERE {begin.condition()} ORDER BY {key} "
        f"LIMIT {int(max_rows)}) t"
    )
    keys = ", ".join(f"k{i}" for i in range(len(columns)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH numbered AS ({numbered}) SELECT {keys}, n, (SELECT count(*) FROM numbered) FROM numbered "
            f"WHERE n = 1 OR bytes <= {int(max_bytes)} ORDER BY n DESC LIMIT 1"
        )
        found = cursor.fetchone()
    if found is None:
        return begin, True
    *last, number, count = found
    is_last = number == count and count < max_rows
    return KeyRange(columns, begin.after, None if is_last else tuple(last)), is_last
