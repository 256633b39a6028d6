# SPDX-License-Identifier: Apache-2.0
"""The tables of a metadata database, from its own catalog; no models, no class per version."""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import NotAirflowMetadata, TableNotFound
from airflow_mwaa_provider.metadata.catalog import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = [
    "Column",
    "OutsideTable",
    "Reference",
    "Schema",
    "Table",
    "quoted",
    "read_schema",
    "text_literal",
    "time_literal",
    "timestamp_sql",
]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    :param type: PostgreSQL's short name of its type: ``int4``, ``timestamptz``, ``bytea``; for a domain, its base type.
    :param category: PostgreSQL's letter for the kind of type: ``E`` an enum, ``A`` an array, ``U`` a user-defined type.
    """

    name: str
    type: str
    category: str = ""
    is_nullable: bool = True


@dataclass(frozen=True)
class Reference:
    """A foreign key.

    A reference to a partition, or to a table that inherits from another, is also one to its parent tables, because they
    have its rows.

    :param on_delete: what happens when the other row is deleted: ``a`` or ``r`` it cannot be, ``c`` this row is deleted
        too, ``n`` or ``d`` this row loses the reference.
    """

    columns: tuple[str, ...]
    table: str
    foreign_columns: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True)
class Table:
    """A table, with PostgreSQL's estimates.

    :param key: columns of its primary key; empty if it has none.
    :param indexes: columns of each index, in their order; only of indexes with all rows.
    :param estimated_rows: at the last ANALYZE; ``None`` before the first.
    :param heap_bytes: size of its rows on disk, without indexes and without large values stored apart.
    :param total_bytes: its whole size on disk.
    :param is_row_security_active: whether policies may hide rows from this user.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    estimated_rows: int | None = None
    heap_bytes: int = 0
    total_bytes: int = 0
    is_row_security_active: bool = False

    def column(self, name: str) -> Column:
        """Return a column.

        :raises TableNotFound: the table has no column of that name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        names = [column.name for column in self.columns]
        raise TableNotFound(
            f"Table {self.name} has no column {name!r}{near(name, names)}; it has {', '.join(names)}.", table=self.name
        )

    def has(self, name: str) -> bool:
        """Return whether it has a column of that name."""
        return any(column.name == name for column in self.columns)

    @property
    def identity(self) -> tuple[str, ...]:
        """Columns that identify a row as long as it exists: usually the primary key."""
        names = registry.facts_of(self.name).identity
        return names if names and all(map(self.has, names)) else self.key

    def first_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the names that are columns of it, in the same order."""
        return tuple(name for name in names if self.has(name))


@dataclass(frozen=True)
class OutsideTable:
    """A table of another schema of the database that refers to one of Airflow's."""

    schema: str
    name: str
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class Schema:
    """All tables of a metadata database.

    :param name: the PostgreSQL schema that they are in, usually ``public``.
    :param revision: head of Airflow's migrations.
    :param outside: tables of other schemas that refer to these, by ``SCHEMA.TABLE``, in quotes if that is ambiguous.
    """

    name: str
    revision: str
    tables: dict[str, Table] = field(repr=False)
    outside: dict[str, OutsideTable] = field(default_factory=dict, repr=False)

    @property
    def airflow_version(self) -> str | None:
        """The first release of Airflow with this schema; ``None`` if the revision is unknown to this version."""
        return registry.version_of_revision(self.revision)

    def table(self, name: str) -> Table:
        """Return a table.

        :raises TableNotFound: the database has no table of that name; the message suggests similar names.
        """
        if name not in self.tables:
            version = f" of Airflow {self.airflow_version}" if self.airflow_version else ""
            raise TableNotFound(
                f"The metadata database{version} has no table {name!r}{near(name, self.tables)}.", table=name
            )
        return self.tables[name]

    def qualified(self, table: str) -> str:
        """Return the full SQL name of a table, for any search path; of one in :attr:`outside` by its key."""
        if table not in self.tables and table in self.outside:
            found = self.outside[table]
            return f"{quoted(found.schema)}.{quoted(found.name)}"
        return f"{quoted(self.name)}.{quoted(table)}"

    def time_sql(self, table: Table, alias: str = "t") -> str | None:
        """Return the SQL expression for a row's time; ``None`` if rows of the table have none.

        A row that never started has no time of its own: it has that of its parent.
        """
        facts = registry.facts_of(table.name)
        if facts.is_state:
            return None
        return self._first_known(table, alias, facts.time, lambda parent, name: self.time_sql(parent, name))

    def parents(self, table: Table) -> list[Table]:
        """Return the tables that give a row its time if it has none of its own, nearest first."""
        parent = self.tables.get(registry.facts_of(table.name).parent or "")
        return [] if parent is None else [parent, *self.parents(parent)]

    def changed_sql(self, table: Table, alias: str = "t") -> str | None:
        """Return the SQL expression for the time of a row's last change; ``None`` if rows of the table have none."""
        facts = registry.facts_of(table.name)
        if facts.is_state:
            return None
        own = table.first_of(facts.changed or facts.time)
        if not own:
            return self._first_known(table, alias, (), lambda parent, name: self.changed_sql(parent, name))
        # GREATEST ignores NULLs; a row with NULLs alone has not begun, and changes when its parent does.
        latest = f"GREATEST({', '.join(timestamp_sql(table, alias, name) for name in own)})"
        parent = self._through_parent(table, alias, lambda up, name: self.changed_sql(up, name))
        return f"COALESCE({latest}, {parent})" if parent else latest

    def _first_known(self, table: Table, alias: str, names: Sequence[str], of_parent: Any) -> str | None:
        terms = [timestamp_sql(table, alias, name) for name in table.first_of(names)]
        parent = self._through_parent(table, alias, of_parent)
        terms += [parent] if parent else []
        if not terms:
            return None
        return terms[0] if len(terms) == 1 else f"COALESCE({', '.join(terms)})"

    def _through_parent(self, table: Table, alias: str, of_parent: Any) -> str | None:
        wanted = registry.facts_of(table.name).parent
        for reference in table.references:
            if reference.table != wanted or wanted not in self.tables:
                continue
            inner = f"{alias}_{len(alias)}"
            expression = of_parent(self.tables[wanted], inner)
            if expression is None:
                return None
            same = " AND ".join(
                f"{inner}.{quoted(theirs)} = {alias}.{quoted(ours)}"
                for ours, theirs in zip(reference.columns, reference.foreign_columns, strict=True)
            )
            return f"(SELECT {expression} FROM {self.qualified(wanted)} {inner} WHERE {same} LIMIT 1)"
        return None


def quoted(name: str) -> str:
    """Return an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    """Return an SQL string literal; this assumes standard_conforming_strings, PostgreSQL's default since 9.1."""
    return "'" + text.replace("'", "''") + "'"


def time_literal(time: datetime) -> str:
    """Return the SQL for a point in time."""
    return f"{text_literal(time.isoformat())}::timestamptz"


def read_schema(connection: Any) -> Schema:
    """Read the tables of a database by a psycopg2 connection, with a few fast queries.

    :raises NotAirflowMetadata: the database has no Airflow schema.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMA)
        found = cursor.fetchone()
        if found is None:
            raise NotAirflowMetadata(
                "The database has no tables dag_run and alembic_version in its search path: it is not Airflow's "
                "metadata database, or has not been migrated. Check the connection's database and schema."
            )
        name, alembic = found
        cursor.execute(f"SELECT version_num FROM {quoted(name)}.{quoted(alembic)} ORDER BY 1")
        revisions = [row[0] for row in cursor.fetchall()]
        columns: defaultdict[int, list[Column]] = defaultdict(list)
        cursor.execute(_COLUMNS, (name,))
        for table, column, type_name, category, not_null in cursor.fetchall():
            columns[table].append(Column(column, type_name, category, not not_null))
        cursor.execute(_KEYS, (name,))
        keys = {table: tuple(key) for table, key in cursor.fetchall()}
        references: defaultdict[int, list[Reference]] = defaultdict(list)
        elsewhere: defaultdict[tuple[str, str], list[Reference]] = defaultdict(list)
        cursor.execute(_REFERENCES, (name,))
        for table, schema, from_table, ours, other, theirs, on_delete in cursor.fetchall():
            reference = Reference(tuple(ours), other, tuple(theirs), on_delete)
            (references[table] if schema == name else elsewhere[schema, from_table]).append(reference)
        indexes: defaultdict[int, list[tuple[str, ...]]] = defaultdict(list)
        cursor.execute(_INDEXES, (name,))
        for table, indexed in cursor.fetchall():
            indexes[table].append(tuple(indexed))
        cursor.execute(_TABLES, (name,))
        tables = {
            table_name: Table(
                name=table_name,
                columns=tuple(columns[table]),
                key=keys.get(table, ()),
                references=tuple(references[table]),
                indexes=tuple(indexes[table]),
                estimated_rows=int(rows) if rows >= 0 else None,
                heap_bytes=int(heap or 0),
                total_bytes=int(total or 0),
                is_row_security_active=is_row_security_active,
            )
            for table, table_name, rows, heap, total, is_row_security_active in cursor.fetchall()
        }
    outside = {
        _outside_name(schema, table, tables): OutsideTable(schema, table, tuple(found))
        for (schema, table), found in elsewhere.items()
    }
    return Schema(name=name, revision=",".join(revisions), tables=tables, outside=outside)


def timestamp_sql(table: Table, alias: str, name: str) -> str:
    """Return the SQL for a column as a point in time; one without a time zone (session.expiry) is in UTC."""
    written = f"{alias}.{quoted(name)}"
    return f"({written} AT TIME ZONE 'UTC')" if table.column(name).type == "timestamp" else written


def _outside_name(schema: str, table: str, tables: dict[str, Table]) -> str:
    plain = f"{schema}.{table}"
    return plain if plain.count(".") == 1 and plain not in tables else f"{quoted(schema)}.{quoted(table)}"


def near(name: str, names: Iterable[str]) -> str:
    """Return, for an error, which of these names are similar to an unknown one."""
    near = difflib.get_close_matches(name, list(names), n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


_SCHEMA = """
SELECT n.nspname, 'alembic_version' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass('dag_run')
  AND EXISTS (SELECT 1 FROM pg_class a WHERE a.relnamespace = n.oid AND a.relname = 'alembic_version')
"""
_TABLES = """
SELECT c.oid, c.relname, c.reltuples, pg_relation_size(c.oid), pg_total_relation_size(c.oid),
       row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') ORDER BY c.relname
"""
_COLUMNS = """
SELECT a.attrelid, a.attname, COALESCE(b.typname, y.typname), COALESCE(b.typcategory, y.typcategory), a.attnotnull
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN LATERAL (WITH RECURSIVE base AS (
    SELECT y.typbasetype AS oid WHERE y.typtype = 'd'
    UNION ALL SELECT d.typbasetype FROM base JOIN pg_type d ON d.oid = base.oid AND d.typtype = 'd'
  ) SELECT t.typname, t.typcategory FROM base JOIN pg_type t ON t.oid = base.oid AND t.typtype <> 'd') b ON true
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
_INDEXES = """
SELECT i.indrelid, (SELECT array_agg(a.attname::text ORDER BY u.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY
                    u(number, place) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND i.indpred IS NULL AND i.indisvalid
  AND 0 <> ALL (i.indkey::int2[]) ORDER BY i.indrelid, i.indexrelid
"""
_KEYS = """
SELECT k.conrelid, (SELECT array_agg(a.attname::text ORDER BY u.place) FROM unnest(k.conkey) WITH ORDINALITY
                    u(number, place) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number)
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE n.nspname = %s AND k.contype = 'p'
"""
# From all schemas, to the tables of one. PostgreSQL repeats a partitioned table's references for each partition.
_REFERENCES = """
SELECT c.oid, n.nspname, c.relname,
       (SELECT array_agg(a.attname::text ORDER BY u.place) FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number),
       f.relname,
       (SELECT array_agg(a.attname::text ORDER BY u.place) FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number),
       k.confdeltype
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (WITH RECURSIVE up(oid) AS (SELECT k.confrelid UNION SELECT i.inhparent FROM up JOIN pg_inherits i
                                               ON i.inhrelid = up.oid) SELECT oid FROM up) u
JOIN pg_class f ON f.oid = u.oid JOIN pg_namespace o ON o.oid = f.relnamespace
WHERE o.nspname = %s AND k.contype = 'f' AND k.conparentid = 0
ORDER BY n.nspname, c.relname, k.conname, f.relname
"""
