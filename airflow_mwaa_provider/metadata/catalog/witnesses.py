# SPDX-License-Identifier: Apache-2.0
"""Detect that a database was restored to an earlier state since an increment was exported.

A database that was restored from an image of its disk keeps its system identifier and its timeline, and uses the same
numbers of transactions again. Facts from the time of the export show the difference: sequences never go back, and a row
keeps its id, its time and its transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.metadata.catalog.schema import quoted, text_literal
from airflow_mwaa_provider.metadata.database import ask_if_it_can

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_mwaa_provider.metadata.catalog.schema import Schema

__all__ = ["RowWitness", "TableWitness", "find_contradiction", "read_witnesses"]

_TIMES = {
    "log": "dttm",
    "asset_event": "timestamp",
    "dataset_event": "timestamp",
    "task_fail": "start_date",
    "task_reschedule": "start_date",
    "job": None,
    "dag_run": None,
    "dag_version": None,
    "import_error": None,
    "log_template": None,
    "ab_permission_view": None,
}
"""Tables with keys from a sequence, the busiest first, and a time of their rows that never changes."""
_NEVER_UPDATED = {"log", "asset_event", "dataset_event", "task_fail"}
_TABLES = 6
_ROWS = 3
_NUMBERS = 1 << 32
_FIRST_NORMAL = 3
_IS_LOCKED = ("55P03", "57014")
"""Another session holds a lock on the table, or the query takes too long."""


@dataclass(frozen=True)
class RowWitness:
    """A row that existed.

    :param key: its id.
    :param transaction: the transaction that wrote it, its ``xmin``, in 32 bits.
    :param time: its time, as PostgreSQL writes it in UTC; ``None`` if it has none that never changes.
    """

    key: int
    transaction: int
    time: str | None = None


@dataclass(frozen=True)
class TableWitness:
    """The state of a table.

    :param sequence: the last id that its sequence gave; ``None`` if this user may not see it, or there was none.
    :param rows: the newest rows.
    """

    table: str
    sequence: int | None = None
    rows: tuple[RowWitness, ...] = ()

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> TableWitness:
        """Return the witness of a JSON object; unknown fields are ignored.

        :raises KeyError, TypeError, ValueError: it is not such an object.
        """
        sequence = fields["sequence"]
        rows = (RowWitness(int(row["key"]), int(row["transaction"]), row["time"]) for row in fields["rows"])
        return cls(str(fields["table"]), None if sequence is None else int(sequence), tuple(rows))


def read_witnesses(connection: Any, schema: Schema) -> tuple[TableWitness, ...]:
    """Read what a later state of the database is compared with, by a few fast queries on primary keys.

    :param connection: a psycopg2 connection in a transaction with a snapshot.
    """
    found = []
    [is_standby] = ask_if_it_can(connection, "SELECT pg_is_in_recovery()") or [False]
    for name, (sequence, key, may_read) in _sequences(connection, schema, _TIMES).items():
        rows = _rows(connection, schema, name, key, f"ORDER BY {quoted(key)} DESC LIMIT {_ROWS}") if may_read else ()
        if is_standby and sequence is not None:
            # A standby already has the next ids that the primary may give: up to 32 that may never be given.
            sequence = min(sequence, rows[0].key) if rows else None
        if sequence is not None or rows:
            found.append(TableWitness(name, sequence, tuple(rows)))
        if len(found) == _TABLES:
            break
    return tuple(found)


def find_contradiction(connection: Any, schema: Schema, witnesses: Iterable[TableWitness]) -> str | None:
    """Return what shows that the database was restored to an earlier state, in words; ``None`` if nothing does.

    Rows that were deleted, and tables that this user may not read, show nothing.

    :param connection: a psycopg2 connection in a transaction with a snapshot.
    """
    before = {witness.table: witness for witness in witnesses if witness.table in schema.tables}
    for name, (sequence, key, may_read) in _sequences(connection, schema, before).items():
        witness = before[name]
        if sequence is not None and witness.sequence is not None and sequence < witness.sequence:
            return f"table {name}: the last {key} is {sequence}, and was {witness.sequence}"
        if not may_read or not witness.rows:
            continue
        numbers = ", ".join(str(row.key) for row in witness.rows)
        now = {row.key: row for row in _rows(connection, schema, name, key, f"WHERE {quoted(key)} IN ({numbers})")}
        for row in witness.rows:
            if row.key in now and (what := _difference(name, row, now[row.key])):
                return f"table {name}: the row with {key}={row.key} {what}"
    return None


def _difference(table: str, before: RowWitness, now: RowWitness) -> str | None:
    if before.time is not None and now.time != before.time:
        return f"is of {now.time}, and was of {before.time}"
    if min(before.transaction, now.transaction) < _FIRST_NORMAL or before.transaction == now.transaction:
        return None
    is_older = (now.transaction - before.transaction) % _NUMBERS > _NUMBERS // 2
    if is_older or table in _NEVER_UPDATED:
        return f"was written by transaction {now.transaction}, and before by {before.transaction}"
    return None


def _sequences(connection: Any, schema: Schema, names: Iterable[str]) -> dict[str, tuple[int | None, str, bool]]:
    """Return for each table, in the given order, its last id, its key, and whether its rows may be read."""
    wanted = [name for name in names if name in schema.tables and len(schema.tables[name].key) == 1]
    listed = ", ".join(map(text_literal, wanted))
    query = _SEQUENCES.format(schema=text_literal(schema.name), tables=listed)
    [rows] = (ask_if_it_can(connection, query) if wanted else None) or [None]
    found = {
        name: (None if last is None else int(last), key, may_read)
        for name, key, last, may_read in rows or ()
        if schema.tables[name].key == (key,)
    }
    return {name: found[name] for name in wanted if name in found}


def _rows(connection: Any, schema: Schema, name: str, key: str, which: str) -> list[RowWitness]:
    time = _TIMES.get(name)
    time_sql = f"{quoted(time)}::text" if time is not None and schema.tables[name].has(time) else "NULL"
    query = (
        f"SELECT json_agg(json_build_array(key, transaction, time)) FROM (SELECT {quoted(key)} AS key, "
        f"xmin::text AS transaction, {time_sql} AS time FROM {schema.qualified(name)} {which}) t"
    )
    [rows] = ask_if_it_can(connection, query, excused=_IS_LOCKED) or [None]
    return [RowWitness(int(number), int(transaction), time_text) for number, transaction, time_text in rows or ()]


# Rows of a table with a policy are not read: to find that none is visible can take a scan of the whole table.
_SEQUENCES = """
SELECT json_agg(json_build_array(
    c.relname, a.attname,
    CASE WHEN has_sequence_privilege(s.oid, 'SELECT, USAGE') THEN pg_sequence_last_value(s.oid) END,
    has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid)))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.classid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i')
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement > 0 AND NOT q.seqcycle
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
WHERE n.nspname = {schema} AND c.relname IN ({tables})
"""
