# SPDX-License-Identifier: Apache-2.0
"""Which rows and columns of which tables are read: the request, checked against the schema, and its SQL."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError, TableNotFound
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.catalog.schema import Column, Schema, Table, quoted, text_literal, time_literal
from airflow_mwaa_provider.metadata.catalog.snapshot import written_since_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

__all__ = [
    "MASK",
    "KeyRange",
    "TableRows",
    "Window",
    "by_change",
    "has_readable_key",
    "next_range",
    "rows_of",
    "select_tables",
]

log = logging.getLogger(__name__)

MASK = "***"
"""Replaces a value that is secret and not encrypted."""

# The beginning of Fernet tokens: the first byte is the version, 0x80, and the next ones are a time of this century.
_FERNET = "gAAAA%"

# Types whose text, with the settings of a snapshot, is read back as the same value.
_READABLE = {
    "bool", "bpchar", "date", "int2", "int4", "int8", "oid", "text", "timestamp", "timestamptz", "uuid", "varchar",
}  # fmt: skip
# Values of these types have no fixed size.
_LONG = {"bytea", "json", "jsonb", "text", "varchar", "bpchar", "xml"}

Key = tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """A time window that includes its beginning, but not its end; ``None`` leaves a side open."""

    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        for name, time in (("since", self.since), ("until", self.until)):
            if time is not None and time.tzinfo is None:
                raise MwaaInputError(f"{name}={time} has no time zone. Write {time.isoformat()}+00:00.")
        if self.since and self.until and self.since >= self.until:
            raise MwaaInputError(f"since={self.since.isoformat()} must be before until={self.until.isoformat()}.")

    @property
    def is_open(self) -> bool:
        """Whether both sides are open."""
        return self.since is None and self.until is None

    def condition(self, expression: str) -> str:
        """Return the condition that a point in time lies in the window. NULL does if its beginning is open."""
        terms = []
        if self.since is not None:
            terms.append(f"{expression} >= {time_literal(self.since)}")
        if self.until is not None:
            before = f"{expression} < {time_literal(self.until)}"
            terms.append(before if self.since is not None else f"({before} OR {expression} IS NULL)")
        return " AND ".join(terms)


@dataclass(frozen=True)
class KeyRange:
    """Rows whose key lies after one key, and up to and including another.

    A key never changes, so a row that exists while all ranges of a table are read is in exactly one of them. The rows
    of a range depend on the rows alone: if it is read again, it is the same.

    :param columns: the columns of the key, in their order.
    :param after: the values of a key as strings; ``None``: from the first row.
    :param last: the same; ``None``: to the last row.
    :param first: instead of ``after``: from this key, included.
    """

    columns: tuple[Column, ...]
    after: Key | None = None
    last: Key | None = None
    first: Key | None = None

    def condition(self) -> str:
        """Return the condition as SQL; the table is called ``t``."""
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


@dataclass(frozen=True)
class TableRows:
    """The rows and columns of one table to read.

    :param masked: its columns with secret values.
    :param time_sql: expression for a row's time; ``None`` for a table that is always read whole.
    :param changed_sql: expression for the time of its last change, if rows are chosen by that.
    :param window: the time of the rows; with ``changed_sql``, of their last change.
    :param written_since: with ``changed_sql``: also rows that this transaction or a later one wrote, with any time
        before the window's end.
    :param keys: only rows in this range, ordered by key.
    :param with_sql: common table expressions, ``WITH ...``, that ``condition`` uses.
    :param condition: only rows that meet it; the row is called ``t``.
    """

    schema: Schema
    table: Table
    columns: tuple[Column, ...]
    masked: frozenset[str] = frozenset()
    time_sql: str | None = None
    changed_sql: str | None = None
    window: Window = Window()
    written_since: int | None = None
    keys: KeyRange | None = None
    with_sql: str = ""
    condition: str = ""

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name

    @property
    def column_names(self) -> list[str]:
        """The names of the columns, in the table's order."""
        return [column.name for column in self.columns]

    @property
    def is_whole(self) -> bool:
        """Whether rows of any time are read."""
        return self.window.is_open or self.time_sql is None

    @property
    def may_lack_rows(self) -> bool:
        """Whether policies may hide its rows from this user, or the rows that give their times."""
        looked_at = [self.table, *([] if self.is_whole else self.schema.parents(self.table))]
        return any(table.is_row_security_active for table in looked_at)

    @property
    def where(self) -> str:
        """The condition on rows as SQL, ``true`` for all rows; the table is called ``t``."""
        terms = [] if self.keys is None else [self.keys.condition()]
        if not self.is_whole:
            within = self.window.condition(self.time_sql or "NULL")
            terms.append(self._is_changed(self.changed_sql) if self.changed_sql else within)
        if self.condition:
            terms.append(self.condition)
        return " AND ".join(terms) or "true"

    def _is_changed(self, changed: str) -> str:
        # A row without a time, or with one in the future, is read now: it might never be in a later window.
        until = self.window.until
        due = f"({changed} < {time_literal(until)} OR {changed} IS NULL OR {changed} > now())" if until else "true"
        if self.window.since is None:
            return due
        within = self.window.condition(changed)
        if self.written_since is None:
            return f"({within} OR {changed} IS NULL)"
        return f"({within} OR {written_since_sql(self.written_since)} AND {due})"

    def select(self, value: Callable[[str, Column], str], *, first: str | None = None) -> str:
        """Return the query.

        :param value: returns the SQL for the value of a column, from the SQL of the column and the column.
        :param first: an expression before the columns, by which the rows are then sorted.
        """
        values = [value(self._written(column), column) for column in self.columns]
        items = ", ".join(
            f"{written} AS {quoted(column.name)}" for written, column in zip(values, self.columns, strict=True)
        )
        query = f"FROM {self.schema.qualified(self.name)} t WHERE {self.where}"
        order = [f"t.{quoted(name)}" for name in self.table.key]
        select = f"{self.with_sql} SELECT".lstrip()
        if first is not None:
            return f"{select} {first}, {items} {query} ORDER BY {', '.join(['1', *order])}"
        if self.keys is not None and order:
            return f"{select} {items} {query} ORDER BY {', '.join(order)}"
        return f"{select} {items} {query}"

    def _written(self, column: Column) -> str:
        written = f"t.{quoted(column.name)}"
        if column.name not in self.masked:
            return written
        # Airflow encrypts with Fernet if it has a key. Any value that isn't encrypted is masked.
        as_text = f"{written}::text"  # a bytea's is hexadecimal, and so masked
        return (
            f"CASE WHEN {written} IS NULL THEN NULL WHEN {as_text} LIKE {text_literal(_FERNET)} THEN {as_text} "
            f"ELSE {text_literal(MASK)} END"
        )


def select_tables(
    schema: Schema,
    tables: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    window: Window | None = None,
) -> list[TableRows]:
    """Check a request, and return the rows and columns to read of each table.

    :param tables: names of tables; ``table.column`` adds a secret column, never in clear. ``None``: every table except
        those with credentials, sessions and people, and those whose columns are all secret.
    :param exclude: tables, or ``table.column``, to leave out.
    :param window: the time of the rows; tables without a history are always read whole.
    :raises TableNotFound: a table does not exist.
    :raises MwaaInputError: nothing is left, or a table is named twice.
    """
    asked, secrets = _asked(schema, tables)
    left_out, columns_left_out = _left_out(schema, exclude)
    asked = [name for name in asked if name not in left_out]
    if tables is None:
        for name in [name for name in asked if not _shown(schema.tables[name], set(), columns_left_out[name])]:
            log.info("Table %s is left out: all its columns are secret, and none was requested", name)
            asked.remove(name)
    if not asked:
        raise MwaaInputError("No table is left to export: tables and exclude name the same tables.")
    return [
        _rows_of(schema, schema.tables[name], secrets[name], columns_left_out[name], window or Window())
        for name in asked
    ]


def rows_of(schema: Schema, table: str, columns: Sequence[str], window: Window) -> TableRows:
    """Return the rows of one table to read, with these columns; secret ones are never in clear.

    :raises TableNotFound: the table or a column does not exist.
    """
    found = schema.table(table)
    wanted = {found.column(name).name for name in columns}
    left_out = {column.name for column in found.columns} - wanted
    return _rows_of(schema, found, wanted, left_out, window)


def by_change(rows: TableRows, window: Window, written_since: int | None = None) -> TableRows:
    """Choose rows by the time of their last change, not by their time.

    :param written_since: also rows that this transaction or a later one has written.
    """
    changed = rows.schema.changed_sql(rows.table) or rows.time_sql
    return replace(rows, window=window, changed_sql=changed, written_since=written_since)


def _asked(schema: Schema, tables: Sequence[str] | None) -> tuple[list[str], defaultdict[str, set[str]]]:
    secrets: defaultdict[str, set[str]] = defaultdict(set)
    if tables is None:
        named = [
            name
            for name in schema.tables
            if not registry.is_bookkeeping(name) and not registry.facts_of(name).is_private
        ]
        return named, secrets
    if isinstance(tables, str):
        raise MwaaInputError(f"tables={tables!r} is a string. Pass a list of names: [{tables!r}].")
    named = []
    for given in tables:
        name, _, column = str(given).partition(".")
        table = schema.table(name)
        if column:
            secrets[name].add(table.column(column).name)
        if name not in named:
            named.append(name)
        elif not column:
            raise MwaaInputError(f"tables names {name!r} twice. Name it once.")
    if not named:
        raise MwaaInputError("tables is empty. Name at least one, or pass None for all.")
    return named, secrets


def _left_out(schema: Schema, exclude: Sequence[str]) -> tuple[set[str], defaultdict[str, set[str]]]:
    if isinstance(exclude, str):
        raise MwaaInputError(f"exclude={exclude!r} is a string. Pass a list of names: [{exclude!r}].")
    tables: set[str] = set()
    columns: defaultdict[str, set[str]] = defaultdict(set)
    for given in exclude:
        name, _, column = str(given).partition(".")
        table = schema.table(name)
        if column:
            columns[name].add(table.column(column).name)
        else:
            tables.add(name)
    return tables, columns


def _rows_of(schema: Schema, table: Table, wanted: set[str], left_out: Iterable[str], window: Window) -> TableRows:
    columns = _shown(table, wanted, set(left_out))
    secret = _secret(table)
    if not columns:
        advice = f" Request its secret columns, masked: tables=['{table.name}.{min(secret)}']." if secret else ""
        raise TableNotFound(f"Table {table.name} has no column left to export.{advice}", table=table.name)
    return TableRows(
        schema=schema,
        table=table,
        columns=columns,
        masked=frozenset(secret & wanted),
        time_sql=schema.time_sql(table),
        window=window,
    )


def _shown(table: Table, wanted: set[str], left_out: set[str]) -> tuple[Column, ...]:
    """Return the columns to read; a masked one becomes text."""
    secret = _secret(table)
    return tuple(
        replace(column, type="text", category="S") if column.name in secret else column
        for column in table.columns
        if column.name not in left_out and (column.name not in secret or column.name in wanted)
    )


def _secret(table: Table) -> set[str]:
    return {column.name for column in table.columns if registry.is_secret(table.name, column.name)}


def has_readable_key(rows: TableRows) -> bool:
    """Return whether a table can be read in pieces: it has a key, whose types can be written as text and read back."""
    table = rows.table
    return bool(table.key) and all(table.column(name).type in _READABLE for name in table.key)


def next_range(
    connection: Any, rows: TableRows, after: Sequence[str] | None, *, max_rows: int, max_bytes: int
) -> tuple[KeyRange, bool]:
    """Find the next piece of a table: as many rows, requested or not, as these limits allow.

    :param connection: a connection with a snapshot.
    :param after: the last key of the previous piece; ``None`` for the first piece.
    :param max_rows: the most rows of a piece, at least one.
    :param max_bytes: the most bytes of their long values, compressed as PostgreSQL stores them; a single row may have
        more.
    :return: the piece, and whether it is the last. A table without a readable key is one piece.
    :raises MwaaInputError: ``after`` is not a key of this table.
    """
    table = rows.table
    if not has_readable_key(rows):
        return KeyRange(()), True
    columns = tuple(table.column(name) for name in table.key)
    if after is not None and len(after) != len(columns):
        raise MwaaInputError(f"A key of table {table.name} has {len(columns)} values, not {len(after)}.")
    begin = KeyRange(columns, tuple(after) if after is not None else None)
    key = ", ".join(f"t.{quoted(column.name)}" for column in columns)
    sizes = [f"COALESCE(pg_column_size(t.{quoted(c.name)}), 0)" for c in rows.columns if c.type in _LONG]
    # The size of a large value is in the pointer to it: the value itself isn't read.
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
