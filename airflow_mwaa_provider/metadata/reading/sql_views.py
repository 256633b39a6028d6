# SPDX-License-Identifier: Apache-2.0
"""SQL over an export: tables and views under the names of Airflow's own tables, for Athena and for DuckDB.

A view of an incremental export shows each row once, with its latest values.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog.schema import quoted, text_literal
from airflow_mwaa_provider.metadata.export.formats import Compression, FileFormat
from airflow_mwaa_provider.metadata.export.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_mwaa_provider.metadata.manifest import Manifest, TableExport
    from airflow_mwaa_provider.metadata.reading.export import Export

__all__ = ["Dialect", "athena_statements", "duckdb_statements", "statements"]

_MAX_LINE_BYTES = 64 << 20
"""DuckDB refuses a longer row of CSV: one with a value of 10 MB and the quotes in it doubled has a third of that."""
_DUCKDB = {
    "bool": "BOOLEAN", "int2": "SMALLINT", "int4": "INTEGER", "int8": "BIGINT", "oid": "BIGINT", "float4": "FLOAT",
    "float8": "DOUBLE", "date": "DATE", "time": "TIME", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ",
}  # fmt: skip
_HIVE = {
    "bool": "boolean", "int2": "smallint", "int4": "int", "int8": "bigint", "oid": "bigint", "float4": "float",
    "float8": "double", "date": "date", "timestamp": "timestamp", "timestamptz": "timestamp", "bytea": "binary",
}  # fmt: skip
_TRINO = {**_HIVE, "int4": "integer", "float4": "real", "bytea": "varbinary"}
# opencsv takes a backslash for an escape; no text of PostgreSQL's holds this letter, or hardly any.
_NO_ESCAPE = r"\u0001"


class Dialect(StrEnum):
    """The SQL dialect."""

    ATHENA = "athena"
    DUCKDB = "duckdb"


def statements(export: Export, dialect: Dialect) -> list[str]:
    """Write the statements that define an export's tables, in the order in which they must be run.

    They can be run again, and must be after each increment. Comments before a statement describe its limits.

    :raises MwaaInputError: Athena cannot read the layout of the export.
    """
    return athena_statements(export) if dialect is Dialect.ATHENA else duckdb_statements(export)


def duckdb_statements(export: Export) -> list[str]:
    """Write views for DuckDB; they read exactly the files that the manifests name.

    Types correspond to PostgreSQL's, also for CSV, in which NULL differs from an empty string: times with a zone are
    ``TIMESTAMPTZ``, ``bytea`` is ``BLOB``, JSON is text. With the layout hive, partitions are further columns.

    :raises MwaaInputError: in this location, DuckDB would read other files or other values.
    """
    return [
        f"CREATE OR REPLACE VIEW {quoted(table)} AS\n{select};"
        for table in export.tables
        if (select := _duckdb_select(export, table)) is not None
    ]


def _duckdb_select(export: Export, table: str) -> str | None:
    exports = export.exports_of(table)
    columns = export.columns(table)
    parts: list[tuple[tuple[Any, ...], list[str], TableExport]] = []
    for manifest, exported in exports:
        # Increments of the same columns are one part, so that a year of them makes a short view.
        names = [_duckdb_file(export, export.name_of(manifest, file.key), exported) for file in exported.files]
        shape = (manifest.file_format, tuple(exported.columns.items()), tuple(_partitions(exported)))
        if not names:
            continue
        if parts and parts[-1][0] == shape:
            parts[-1][1].extend(names)
        else:
            parts.append((shape, names, exported))
    if not parts:
        # No file was written where no row was found; the view is there, and empty.
        nothing = ", ".join(f"NULL::{_duckdb_type(kind)} AS {quoted(name)}" for name, kind in columns.items())
        return f"SELECT {nothing} WHERE false" if nothing else None
    selects = [_duckdb_read(FileFormat(shape[0]), exported, names, shape[2]) for shape, names, exported in parts]
    rows = "\nUNION ALL BY NAME\n".join(selects)
    key = exports[-1][1].key
    if len(exports) == 1 or not key:
        return rows
    by = ", ".join(map(quoted, key))
    # 20261122T031500.5Z is later than 20261122T031500Z, and sorts so without the Z.
    return (
        f"SELECT * FROM (\n{rows}\n)\n"
        f"QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY rtrim(\"until\", 'Z') DESC) = 1"
    )


def _duckdb_file(export: Export, name: str, exported: TableExport) -> str:
    """Write the location of a file, which DuckDB reads as a pattern, with folders as columns."""
    url = export.files.url(name)
    # It is a query's beginning within s3://.
    taken = ["? and what follows for parameters"] if url.startswith("s3://") and "?" in url else []
    if _partitions(exported):
        columns = {column.lower() for column in [*exported.columns, *_partitions(exported)]}
        folders = url.removesuffix(name).split("/")
        taken += [
            f"{folder} in its path for a column"
            for folder in folders
            if "=" in folder and folder.partition("=")[0].lower() in columns
        ]
    if taken:
        raise MwaaInputError(
            f"{export.label}: DuckDB takes {taken[0]}. Copy the export to a place without it: aws s3 sync "
            "s3://BUCKET/PREFIX DIR."
        )
    return text_literal(re.sub(r"[*?[]", r"[\g<0>]", url))


def _duckdb_read(form: FileFormat, exported: TableExport, names: Sequence[str], partitions: Sequence[str]) -> str:
    files = "[\n  " + ",\n  ".join(names) + "\n]"
    kinds = {name: "DATE" if name == "date" else "VARCHAR" for name in partitions}
    hive = f"hive_partitioning = {'true' if partitions else 'false'}"
    if partitions:
        hive += f", hive_types = {{{', '.join(f'{text_literal(name)}: {kind}' for name, kind in kinds.items())}}}"
    further = "".join(f", {quoted(name)}" for name in partitions)
    if form is FileFormat.PARQUET:
        listed = ", ".join(map(quoted, exported.columns))
        return f"SELECT {listed}{further}\nFROM read_parquet({files}, {hive})"
    listed = ", ".join(
        f"unhex(substr({quoted(name)}, 3)) AS {quoted(name)}" if kind == "bytea" else quoted(name)
        for name, kind in exported.columns.items()
    )
    typed = ",\n  ".join(
        f"{text_literal(name)}: '{'VARCHAR' if kind == 'bytea' else _duckdb_type(kind)}'"
        for name, kind in exported.columns.items()
    )
    return (
        f"SELECT {listed}{further}\nFROM read_csv({files}, {hive},\n"
        "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', new_line = '\\n', nullstr = '', "
        f"allow_quoted_nulls = false, max_line_size = {_MAX_LINE_BYTES},\ncolumns = {{\n  {typed}\n}})"
    )


def _duckdb_type(kind: str) -> str:
    return "BLOB" if kind == "bytea" else _DUCKDB.get(kind, "VARCHAR")


def athena_statements(export: Export) -> list[str]:
    """Write external tables, their partitions, and views for Athena.

    Parquet becomes tables with proper types. CSV becomes ``NAME_files``, in which every column is a string, and a view
    ``NAME`` that casts them. Times are in UTC, without a zone, the only ones that views of Athena support.

    :raises MwaaInputError: the files of all tables are in one folder, which Athena would read as one table.
    """
    return [statement for table in export.tables for statement in _athena_table(export, table)]


def _athena_table(export: Export, table: str) -> Iterator[str]:
    exports = export.exports_of(table)
    every = [(manifest, manifest.tables[table]) for manifest in export.manifests if table in manifest.tables]
    manifest, exported = exports[-1]
    if manifest.layout != Layout.HIVE:
        raise MwaaInputError(
            "Athena reads whole folders, and this export has the files of all tables in one: export again with the "
            "layout hive. DuckDB can read this one."
        )
    columns = export.columns(table)
    is_csv = manifest.file_format == FileFormat.CSV
    if is_csv and len({tuple(older.columns) for _, older in every}) > 1:
        yield (
            f"-- {_one_line(table)} is left out: its columns are not the same in all increments, and CSV is read by "
            "their order.\n-- Export it as Parquet, or to another prefix since the upgrade of Airflow."
        )
        return
    partitions = _partitions(exported) or (["until"] if manifest.incremental else [])
    is_whole = exported.by is None
    needs_view = is_csv or manifest.incremental
    name = f"{table}_files" if needs_view else table
    yield _athena_create(export, manifest, table, name, columns, partitions)
    if partitions:
        yield f"MSCK REPAIR TABLE {_back(name)};"
    if not needs_view:
        return
    values = [f"{_trino_value(column, kind, is_csv)} AS {quoted(column)}" for column, kind in columns.items()]
    values += [quoted(partition) for partition in partitions]
    listed = ",\n  ".join(values)
    view = f"CREATE OR REPLACE VIEW {quoted(table)} AS\n"
    if not manifest.incremental:
        yield f"{view}SELECT\n  {listed}\nFROM {quoted(name)};"
    elif is_whole or not exported.key:
        only = f'\nWHERE "until" = (SELECT max("until") FROM {quoted(name)})' if is_whole else ""
        yield f"{view}SELECT\n  {listed}\nFROM {quoted(name)}{only};"
    else:
        names = ", ".join(map(quoted, [*columns, *partitions]))
        by = ", ".join(map(quoted, exported.key))
        yield (
            f"{view}SELECT {names}\nFROM (\nSELECT\n  {listed},\n"
            f'  row_number() OVER (PARTITION BY {by} ORDER BY rtrim("until", \'Z\') DESC) AS "row_version"\n'
            f'FROM {quoted(name)}\n)\nWHERE "row_version" = 1;'
        )


def _athena_create(
    export: Export, manifest: Manifest, table: str, name: str, columns: dict[str, str], partitions: Sequence[str]
) -> str:
    is_csv = manifest.file_format == FileFormat.CSV
    typed = ",\n".join(
        f"  {_back(column)} {'string' if is_csv else _HIVE.get(kind, 'string')}" for column, kind in columns.items()
    )
    parted = ", ".join(f"{_back(partition)} string" for partition in partitions)
    lines = [*(_csv_limits(manifest) if is_csv else ()), f"CREATE EXTERNAL TABLE IF NOT EXISTS {_back(name)} ("]
    lines += [typed, ")", *([f"PARTITIONED BY ({parted})"] if parted else [])]
    if is_csv:
        lines += [
            "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'",
            f"WITH SERDEPROPERTIES ('separatorChar' = ',', 'quoteChar' = '\"', 'escapeChar' = '{_NO_ESCAPE}')",
            "STORED AS TEXTFILE",
        ]
    else:
        lines.append("STORED AS PARQUET")
    lines.append(f"LOCATION {text_literal(_location(export, manifest, table))}")
    if is_csv:
        lines.append("TBLPROPERTIES ('skip.header.line.count' = '1')")
    return "\n".join(lines) + ";"


def _csv_limits(manifest: Manifest) -> Iterator[str]:
    yield "-- Athena takes a line for a row: a value with a line break in it breaks its row. Parquet has no such limit."
    yield "-- NULL and an empty text are the same here, and come as NULL."
    if manifest.compression == Compression.ZSTD:
        yield "-- Compressed with zstd: needs Athena engine version 3."


def _trino_value(column: str, kind: str, is_csv: bool) -> str:
    written = quoted(column)
    if not is_csv:
        return written
    if kind in {"timestamp", "timestamptz"}:
        return f"TRY_CAST(replace({written}, '+00', '') AS timestamp)"
    if kind == "bytea":
        return f"from_hex(substr(NULLIF({written}, ''), 3))"
    if kind in _TRINO:
        return f"TRY_CAST({written} AS {_TRINO[kind]})"
    return f"NULLIF({written}, '')"


def _location(export: Export, manifest: Manifest, table: str) -> str:
    """Return the location of a table's files in S3; for a copy in a folder, where they were written."""
    folder = f"table={table}/"
    here = export.files.url(folder)
    if here.startswith("s3://"):
        return here
    prefix = manifest.key.rpartition("/")[0]
    if manifest.incremental:
        prefix = prefix.rpartition("/")[0]
    return f"s3://{manifest.bucket}/{f'{prefix}/' if prefix else ''}{folder}"


def _partitions(exported: TableExport) -> list[str]:
    return list(exported.files[0].partition) if exported.files else []


def _back(name: str) -> str:
    """Quote an identifier for Athena's DDL, which is Hive's."""
    return "`" + name.replace("`", "``") + "`"


def _one_line(name: str) -> str:
    return " ".join(name.split())
