# SPDX-License-Identifier: Apache-2.0
"""Columns of every kind of type in a plugin's table: no export fails halfway, and no value changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.reading.export import open_export
from airflow_mwaa_provider.metadata.reading.sql_views import Dialect, statements
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests.metadata.api import Server
from tests.metadata.exports import body, copied, export
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.varied import downloaded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.metadata.lab import Lab

pytestmark = KNOWS_NO_AIRFLOW

duckdb = pytest.importorskip("duckdb")

UNTILS = [datetime(2030, 1, day, tzinfo=UTC) for day in (1, 2)]
# By PostgreSQL type: values, and what a reader returns for each if it differs from the value's text.
NUMBERS: dict[str, list[tuple[str, Any]]] = {
    "bool": [("true", True), ("false", False)],
    "flag_of_flag": [("true", True), ("false", False)],
    "int8": [("-9223372036854775808", -(1 << 63)), ("9223372036854775807", (1 << 63) - 1)],
    "number_of_number": [("7", 7), ("9", 9)],
    "float8": [("Infinity", float("inf")), ("-Infinity", float("-inf"))],
    "float4": [("1e-30", 1e-30), ("0.1", 0.1)],
    "timestamptz": [("infinity", None), ("1970-01-01 00:00:10.5+00", 10.5)],
    "timestamp": [("-infinity", None), ("1970-01-01 00:00:10.25", 10.25)],
}
TEXTS: dict[str, list[str]] = {
    "numeric": ["NaN", "Infinity", "-Infinity", "0.10", "123456789012345678901234567890.000000001"],
    "interval": ["P-10M-3DT-4H", "PT0S", "P1DT0.000001S"],
    "time": ["00:00:00", "23:59:59.999999", "12:30:00", "12:30:00.5"],
    "timetz": ["24:00:00+00", "12:30:00.5+05:30"],
    "date": ["2026-11-22", "0001-01-01"],
    "json": ["null", '{"a": null, "b": "x,\\"y\\""}', '""', "[]"],
    "jsonb": ["null", '{"a": null}', '""'],
    "bytea": ["\\x00ff22", "\\x0a0d2c"],
    "int4[]": ["{}", "{1,NULL,3}", "{{1,2},{3,4}}"],
    "text[]": ['{NULL,"NULL","","a,b","q\\"q"}', "{}"],
    "bool[]": ["{t,f,NULL}"],
    "mood": ["fine", "so, so"],
    "mood[]": ['{fine,"so, so"}'],
    "mood_of_mood": ["fine"],
    "inet": ["192.168.0.1", "10.0.0.0/8", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "bit(3)": ["101"],
    "varbit": ["10", "1"],
    "money": ["$1,234.50", "-$0.01"],
    "int4range": ["[1,5)", "empty", "(,)"],
    "tstzrange": ['["2026-11-22 00:00:00+00",infinity)'],
    "int4multirange": ["{[1,3),[5,8)}"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "point": ["(1,2)"],
    "tsvector": ["'a':1 'b':2"],
    "pair": ['(1,"x, y")', "(,)"],
    "pg_lsn": ["16/B374D848"],
    "varchar(5)": ["a\nb", "NULL", "\\N", "\\."],
    "bpchar": ["x"],
    '"char"': ["c"],
    "name": ["n"],
    "word": ["a b"],
}
TYPES = {kind: [(text, text) for text in texts] for kind, texts in TEXTS.items()} | NUMBERS


@pytest.fixture
def plugin(lab: Lab, database: str) -> str:
    lab.execute(
        database,
        "CREATE TYPE mood AS ENUM ('fine', 'so, so')",
        "CREATE TYPE pair AS (number int, word text)",
        *(
            f"CREATE DOMAIN {name} AS {base}"
            for name, base in (
                ("flag", "bool"), ("flag_of_flag", "flag"), ("number", "int4"), ("number_of_number", "number"),
                ("feeling", "mood"), ("mood_of_mood", "feeling"), ("word", "text CHECK (length(value) < 9)"),
            )
        ),
    )  # fmt: skip
    columns = ", ".join(f"c{place} {kind}" for place, kind in enumerate(TYPES))
    lab.execute(database, f"CREATE TABLE plugin_types (id int PRIMARY KEY, {columns})")
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("SET lc_monetary TO 'C'; INSERT INTO plugin_types (id) VALUES (0)")
        for number in range(1, max(map(len, TYPES.values())) + 1):
            given = {f"c{place}": values[number - 1][0] for place, values in enumerate(TYPES.values())
                     if number <= len(values)}  # fmt: skip
            marks = ", ".join(["%s"] * len(given))
            cursor.execute(
                f"INSERT INTO plugin_types (id, {', '.join(given)}) VALUES ({number}, {marks})", list(given.values())
            )
    connection.close()
    return database


def expected(kind: str) -> list[Any]:
    values = [value for _, value in TYPES[kind]]
    return [None, *values, *[None] * (max(map(len, TYPES.values())) - len(values))]


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_every_type_is_read_back_as_it_was(lab: Lab, plugin: str, bucket: str, file_format: str) -> None:
    written = export(lab, plugin, bucket, tables=["plugin_types"], file_format=file_format)
    found = open_export(f"s3://{bucket}/files/export", lab.s3)
    names = ["id", *(f"c{place}" for place in range(len(TYPES)))]
    [batch] = found.batches("plugin_types", names)
    order = sorted(range(len(batch[0])), key=lambda place: batch[0][place])
    assert batch[0] == list(range(len(order)))
    wrong = {}
    for kind, values in zip(TYPES, batch[1:], strict=True):
        got = [values[place] for place in order]
        if kind == "float4":
            got = [None if value is None else float(f"{value:.4g}") for value in got]
        if repr(got) != repr(expected(kind)):
            wrong[kind] = (got, expected(kind))
    assert wrong == {}
    if file_format == "csv":
        [key] = written.keys
        text = body(lab, bucket, key)
        listed = ", ".join(
            f"{name}::text AS {name}" if kind in {"bool", "flag_of_flag"} else name
            for name, kind in zip(names, ["int4", *TYPES], strict=True)
        )
        query = f"SELECT {listed} FROM plugin_types"
        assert text == copied(lab, plugin, query, IntervalStyle="iso_8601")


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_duckdb_reads_every_type(lab: Lab, plugin: str, bucket: str, tmp_path: Path, file_format: str) -> None:
    lab.execute(plugin, "UPDATE plugin_types SET c0 = c0")
    export(lab, plugin, bucket, tables=["plugin_types"], file_format=file_format)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for statement in statements(open_export(str(downloaded(lab, bucket, tmp_path)), lab.s3), Dialect.DUCKDB):
        connection.execute(statement)
    wrong = {}
    for place, kind in enumerate(TYPES):
        got = [
            row[0] for row in connection.execute(f"SELECT c{place}::VARCHAR FROM plugin_types ORDER BY id").fetchall()
        ]
        texts = [None if value is None else str(value) for value in expected(kind)]
        if kind == "time":  # older releases of pyarrow mark it as UTC
            got = [value and value.removesuffix("+00") for value in got]
        if kind in TEXTS and got != texts:
            wrong[kind] = (got, texts)
    wrong.pop("bytea")  # DuckDB writes it differently
    assert wrong == {}


def test_a_table_of_every_type_is_exported_in_pieces(lab: Lab, plugin: str, bucket: str) -> None:
    """By route api, whose pieces end according to the sizes of long values, and in increments, which use keys."""
    lab.execute(plugin, "ALTER TABLE plugin_types DROP CONSTRAINT plugin_types_pkey, ADD UNIQUE (id)")
    lab.execute(
        plugin, "ALTER TABLE plugin_types ADD COLUMN word word, ADD COLUMN created_at timestamptz DEFAULT '2020-01-01'",
        "UPDATE plugin_types SET word = id::text", "ALTER TABLE plugin_types ADD PRIMARY KEY (id, word)",
    )  # fmt: skip
    options: dict[str, Any] = {"tables": ["plugin_types"], "incremental": True}
    count = max(map(len, TYPES.values())) + 1
    with Storage(lab.s3(), bucket) as storage:
        for file_format, until, rows in (("csv", UNTILS[0], count), ("parquet", UNTILS[1], 1)):
            with Server(lab, plugin, f"s3://{bucket}/files").source() as source:
                written = export_metadata(
                    source, storage, ExportOptions(**options, file_format=file_format, until=until)
                )
            assert written.tables["plugin_types"].rows == rows
            lab.execute(plugin, "UPDATE plugin_types SET created_at = '2020-01-02' WHERE id = 1")
    found = open_export(f"s3://{bucket}/files/export", lab.s3)
    ids = [value for batch in found.batches("plugin_types", ["id"]) for value in batch[0]]
    assert sorted(ids) == list(range(count))


@pytest.mark.parametrize("kind", ["date", "time", "bytea", "numeric"])
def test_a_key_of_any_type_tells_rows_of_both_formats(lab: Lab, database: str, bucket: str, kind: str) -> None:
    values = {"date": "2026-11-22", "time": "12:30:00.5", "bytea": "\\x00ff", "numeric": "1.50"}
    lab.execute(
        database,
        f"CREATE TABLE plugin_keys (key {kind} PRIMARY KEY, created_at timestamptz DEFAULT now(), n int)",
        f"INSERT INTO plugin_keys VALUES ('{values[kind]}', now(), 1)",
    )
    options: dict[str, Any] = {"tables": ["plugin_keys"], "incremental": True}
    export(lab, database, bucket, **options, until=UNTILS[0])
    lab.execute(database, "UPDATE plugin_keys SET n = 2")
    export(lab, database, bucket, **options, until=UNTILS[1], file_format="parquet")
    found = open_export(f"s3://{bucket}/files/export", lab.s3)
    assert [value for batch in found.batches("plugin_keys", ["n"]) for value in batch[0]] == [2]
