# SPDX-License-Identifier: Apache-2.0
"""Exports of a whole metadata database: rows, checksums, types, partitions, what is omitted."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from datetime import UTC, date, datetime, time, timedelta

import duckdb
import pandas as pd
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mwaa_provider.exceptions import TableNotFound
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.catalog.schema import read_schema
from airflow_mwaa_provider.metadata.storage.bucket import PART_BYTES
from tests.metadata import history
from tests.metadata.exports import body, copied, export, keys, manifest, rows, uploads
from tests.metadata.once import KNOWS_NO_AIRFLOW

NASTY = (
    'a "quoted", thing',
    "two\nlines\r\nand a tab\t",
    "",
    "NULL",
    "\\N",
    "\\.",
    "😀 Ünïcode ʘ‿ʘ",
    "'; DROP TABLE dag_run; --",
    " space around ",
    ",",
)
INSTANTS = (
    "infinity",
    "-infinity",
    "0044-03-15 12:00:00+00 BC",
    "12026-01-01 00:00:00+00",
    "2026-11-22 03:15:00.000001+05",
)


@pytest.fixture(scope="module")
def template(lab):
    """A small history with everything that breaks exports."""
    database = lab.copy()
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=40, tasks=5, dags=3)
        for number, text in enumerate(NASTY):
            cursor.execute(
                "UPDATE task_instance SET operator = %s, hostname = %s WHERE task_id = 'task_1' AND run_id = "
                "(SELECT run_id FROM dag_run ORDER BY id OFFSET %s LIMIT 1)",
                (text, text[::-1], number),
            )
            cursor.execute(
                "UPDATE log SET extra = %s WHERE id = (SELECT id FROM log ORDER BY id OFFSET %s LIMIT 1)",
                (text, number),
            )
        for number, instant in enumerate(INSTANTS):
            cursor.execute(
                "UPDATE dag_run SET end_date = %s WHERE id = (SELECT id FROM dag_run ORDER BY id OFFSET %s LIMIT 1)",
                (instant, number),
            )
        # Some text, and every possible byte as binary.
        cursor.execute("UPDATE log SET extra = repeat('x\"y\n', 75000) WHERE id = (SELECT max(id) FROM log)")
        first_run = "run_id = (SELECT min(run_id) FROM dag_run)"
        every_byte = psycopg2.Binary(bytes(range(256)) * 100)
        cursor.execute(
            f"UPDATE task_instance SET executor_config = %s WHERE task_id = 'task_2' AND {first_run}", (every_byte,)
        )
        cursor.execute(f"UPDATE task_instance SET duration = 'NaN' WHERE task_id = 'task_3' AND {first_run}")
        cursor.execute(f"UPDATE task_instance SET duration = 'Infinity' WHERE task_id = 'task_4' AND {first_run}")
        cursor.execute(
            "INSERT INTO slot_pool (pool, slots, description, include_deferred) "
            "VALUES ('a', 1, NULL, true), ('b', 2, '', false)"
        )
        cursor.execute(
            "INSERT INTO celery_taskmeta (id, task_id, result, date_done) VALUES (1, 'x', %s, '2026-01-02 03:04:05')",
            (psycopg2.Binary(b"\x80\x00\xff"),),
        )
    connection.close()
    return database


def schema_of(lab, database):
    connection = lab.connect(database)
    try:
        return read_schema(connection)
    finally:
        connection.close()


def plain(value):
    """Return a value in a form that compares equal for all libraries."""
    if isinstance(value, memoryview):
        return bytes(value)
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


def text_query(schema, table, columns):
    """Return the table as an export must contain it, written independently, with true and false spelled out."""
    items = [f'"{name}"::text' if schema.tables[table].column(name).type == "bool" else f'"{name}"' for name in columns]
    named = ", ".join(f'{item} AS "{name}"' for item, name in zip(items, columns, strict=True))
    return f'SELECT {named} FROM "{table}"'


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_every_table_leaves_as_the_database_would_copy_it(lab, filled, bucket, compression) -> None:
    # A value of 10 MB.
    lab.execute(filled, "UPDATE log SET extra = repeat('x\"y\n', 2500000) WHERE id = (SELECT max(id) FROM log)")
    export(lab, filled, bucket, compression=compression)
    written = manifest(lab, bucket)
    schema = schema_of(lab, filled)
    wanted = {
        name for name in schema.tables if not registry.is_bookkeeping(name) and not registry.facts_of(name).is_private
    }
    assert set(written["tables"]) == wanted
    assert {"dag_run", "task_instance", "log", "slot_pool", "celery_taskmeta"} <= wanted
    for name, table in written["tables"].items():
        (file,) = table["files"]
        stored = lab.s3().get_object(Bucket=bucket, Key=file["key"])["Body"].read()
        assert file["key"] == f"files/export/{name}.csv{'.gz' if compression else ''}"
        assert table["sha256"] == file["sha256"] == hashlib.sha256(stored).hexdigest()
        assert table["bytes"] == file["bytes"] == len(stored)
        content = gzip.decompress(stored) if compression else stored
        assert content == copied(lab, filled, text_query(schema, name, table["columns"])), name
        assert table["rows"] == len(list(csv.DictReader(io.StringIO(content.decode(), newline="")))), name
    assert written["tables"]["task_instance"]["rows"] == 200


def test_parquet_holds_what_the_database_holds(lab, template, bucket) -> None:
    export(lab, template, bucket, file_format="parquet")
    written = manifest(lab, bucket)
    connection = lab.connect(template)
    cursor = connection.cursor()
    cursor.execute("SET TimeZone TO 'UTC'")
    for name, table in written["tables"].items():
        (file,) = table["files"]
        content = pq.read_table(io.BytesIO(body(lab, bucket, file["key"])))
        assert content.column_names == list(table["columns"])
        assert content.num_rows == table["rows"] == file["rows"]
        items = []
        for column, kind in table["columns"].items():
            if kind.startswith("timestamp"):
                zone = "+00" if kind == "timestamptz" else ""
                most, least = (f"'{text}{zone}'::{kind}" for text in ("9999-12-31 23:59:59.999999", "0001-01-01"))
                items.append(
                    f'CASE WHEN "{column}" IS NULL THEN NULL ELSE LEAST(GREATEST("{column}", {least}), {most}) END'
                )
            elif kind in {"bool", "bytea", "int2", "int4", "int8", "float4", "float8", "date", "time"}:
                items.append(f'"{column}"')
            else:
                items.append(f'"{column}"::text')
        cursor.execute(f'SELECT {", ".join(items)} FROM "{name}"')
        expected = [[plain(value) for value in row] for row in cursor.fetchall()]
        columns = [content.column(index).to_pylist() for index in range(content.num_columns)]
        found = [[plain(value) for value in row] for row in zip(*columns, strict=True)]
        assert repr(found) == repr(expected), name  # repr: a NaN is not equal to itself
    connection.close()
    types = {
        field.name: field.type
        for field in pq.read_schema(io.BytesIO(body(lab, bucket, "files/export/task_instance.parquet")))
    }
    assert types["start_date"] == pa.timestamp("us", tz="UTC")
    assert types["executor_config"] == pa.binary()
    assert types["map_index"] == pa.int32()
    assert types["duration"] == pa.float64()


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_duckdb_and_pandas_read_it_by_its_name_alone(lab, database, bucket, tmp_path, file_format, compression) -> None:
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=30, tasks=4, dags=2)
        cursor.execute("UPDATE task_instance SET operator = E'two\\nlines, \"quoted\"' WHERE task_id = 'task_1'")
        cursor.execute("UPDATE dag SET is_paused = true WHERE dag_id = 'dag_001'")
    connection.close()
    written = export(
        lab, database, bucket, file_format=file_format, compression=compression, tables=["task_instance", "dag"]
    )
    paths = {}
    for name, table in written.tables.items():
        path = tmp_path / table.files[0].key.rpartition("/")[2]
        path.write_bytes(lab.s3().get_object(Bucket=bucket, Key=table.files[0].key)["Body"].read())
        paths[name] = str(path)

    types = {row[0]: row[1] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{paths['task_instance']}'").fetchall()}
    integer = "INTEGER" if file_format == "parquet" else "BIGINT"
    # Older DuckDBs read a time with a zone in CSV as one in UTC without a zone.
    times = {"TIMESTAMP WITH TIME ZONE"} | ({"TIMESTAMP"} if file_format == "csv" else set())
    assert {types["start_date"], types["end_date"]} <= times
    assert types["try_number"] == types["map_index"] == integer
    assert types["duration"] == "DOUBLE"
    assert types["task_id"] == "VARCHAR"
    where = f"FROM '{paths['task_instance']}'"
    counted = f"SELECT count(*), count(DISTINCT task_id), min(epoch_ms(start_date)), sum(try_number) {where}"
    first = datetime(2025, 11, 22, tzinfo=UTC) + timedelta(days=365) / 30 + timedelta(seconds=3.25)
    assert duckdb.sql(counted).fetchall() == [(120, 4, int(first.timestamp() * 1000), 120)]
    assert duckdb.sql(f"SELECT count(*) FROM '{paths['task_instance']}' WHERE operator LIKE E'two\\n%'").fetchall() == [
        (30,)
    ]
    assert duckdb.sql(f"SELECT dag_id FROM '{paths['dag']}' WHERE is_paused").fetchall() == [("dag_001",)]

    read = pd.read_parquet if file_format == "parquet" else pd.read_csv
    frame = read(paths["task_instance"])
    assert len(frame) == 120
    assert frame["try_number"].dtype.kind == "i"
    assert frame["duration"].dtype.kind == "f"
    assert (frame["operator"] == 'two\nlines, "quoted"').sum() == 30
    # CSV has no types: pandas reads times as strings unless told otherwise. It can parse their format.
    assert pd.to_datetime(frame["start_date"], format="ISO8601").min() == first
    assert read(paths["dag"]).set_index("dag_id")["is_paused"].to_dict() == {"dag_000": False, "dag_001": True}
    assert read(paths["dag"])["is_paused"].dtype.kind == "b"


def test_a_repeated_export_writes_the_same_objects(lab, template, bucket) -> None:
    first = export(lab, template, bucket)
    objects = {key: body(lab, bucket, key) for key in keys(lab, bucket)}
    second = export(lab, template, bucket)
    assert first.tables == second.tables
    del objects["files/export/manifest.json"]  # it contains the time
    assert {key: body(lab, bucket, key) for key in objects} == objects
    assert keys(lab, bucket) == [*sorted([*objects, "files/export/manifest.json"])]
    assert uploads(lab, bucket) == []


def test_rows_of_a_window_and_those_that_never_began(lab, database, bucket) -> None:
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=365, tasks=1, dags=1)
        cursor.execute("UPDATE task_instance SET start_date = NULL, end_date = NULL WHERE run_id LIKE '%2026-02-1%'")
    since, until = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    written = export(lab, database, bucket, since=since, until=until, tables=["dag_run", "task_instance", "dag"])
    assert {name: table.rows for name, table in written.tables.items()} == {
        "dag_run": 28,
        "task_instance": 28,
        "dag": 1,
    }
    assert sum(row["start_date"] == "" for row in rows(lab, bucket, "files/export/task_instance.csv")) == 10
    assert manifest(lab, bucket)["since"] == "2026-02-01T00:00:00+00:00"
    # An export without a beginning and one without an end together contain every row exactly once.
    before = export(lab, database, bucket, prefix="a", until=since, tables=["task_instance"])
    after = export(lab, database, bucket, prefix="b", since=until, tables=["task_instance"])
    assert before.tables["task_instance"].rows + 28 + after.tables["task_instance"].rows == 365
    connection.close()


def test_partitions_by_date(lab, database, bucket, tmp_path) -> None:
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=40, tasks=3, dags=2)
        cursor.execute("UPDATE task_instance SET start_date = 'infinity' WHERE task_id = 'task_1'")
    connection.close()
    written = export(lab, database, bucket, layout="hive", tables=["task_instance", "dag"], prefix="/x/y/")
    files = written.tables["task_instance"].files
    assert len(files) == 41
    assert sum(file.rows for file in files) == 120
    assert all(file.key.startswith("x/y/table=task_instance/date=") for file in files)
    assert {file.partition["date"] for file in files if file.rows == 40} == {"__HIVE_DEFAULT_PARTITION__"}
    assert [file.key for file in written.tables["dag"].files] == ["x/y/table=dag/part-00000.csv"]
    for file in files:
        path = tmp_path / file.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body(lab, bucket, file.key))
    found = duckdb.sql(
        f"SELECT count(*), count(DISTINCT date) FROM read_csv_auto('{tmp_path}/x/y/table=task_instance/*/*.csv', "
        "hive_partitioning = true, hive_types_autocast = false, types = {'start_date': 'VARCHAR'}) "
        "WHERE start_date <> 'infinity' AND CAST(date AS VARCHAR) = left(start_date, 10)"
    ).fetchall()
    assert found == [(80, 40)]


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_dates_that_no_folder_can_have_share_one_and_lose_nothing(lab, short_history, bucket, file_format) -> None:
    times = ["'12026-01-01'", "'infinity'", "'0044-03-15 BC'", "'-infinity'", "NULL", "'10000-01-01'"]
    normal = ["'0044-03-15'", "'9999-12-31 23:59:59.999999'", "'0001-01-01'"]
    for moment in times + normal:
        lab.execute(short_history, "SET TimeZone TO 'UTC'", f"INSERT INTO log (dttm, event) VALUES ({moment}, 'odd')")
    exported = export(lab, short_history, bucket, layout="hive", file_format=file_format, tables=["log"])
    files = exported.tables["log"].files
    assert len({file.key for file in files}) == len(files)
    count = copied(lab, short_history, "SELECT count(*) FROM log").split()[1].decode()
    assert sum(file.rows for file in files) == int(count)
    of_no_date = [file for file in files if "date=__HIVE_DEFAULT_PARTITION__" in file.key]
    assert [file.rows for file in of_no_date] == [len(times)]
    for day in ("0044-03-15", "9999-12-31", "0001-01-01"):
        assert [file.rows for file in files if f"date={day}" in file.key] == [1]
    if file_format == "csv":
        assert sum(len(rows(lab, bucket, file.key)) for file in files) == int(count)


def test_files_of_a_chosen_size(lab, database, bucket) -> None:
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=10, tasks=10, dags=1)
        cursor.execute("UPDATE log SET extra = repeat(md5(id::text), 12500)")  # 400 KB each
    connection.close()
    whole = export(lab, database, bucket, tables=["log"], prefix="whole")
    divided = export(lab, database, bucket, tables=["log"], prefix="parts", file_bytes=PART_BYTES)
    files = divided.tables["log"].files
    assert [file.key for file in files] == [f"parts/log-{number:05d}.csv" for number in range(len(files))]
    assert len(files) > 3
    assert all(PART_BYTES <= file.bytes < PART_BYTES * 2 for file in files[:-1])
    header, _, content = body(lab, bucket, whole.tables["log"].files[0].key).partition(b"\n")
    parts = [body(lab, bucket, file.key) for file in files]
    assert all(part.startswith(header + b"\n") for part in parts)
    assert b"".join(part.partition(b"\n")[2] for part in parts) == content
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    assert divided.tables["log"].sha256 == hashlib.sha256(digests).hexdigest()


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_a_table_of_secrets_alone_is_left_out(lab, short_history, bucket, file_format, caplog) -> None:
    lab.execute(
        short_history,
        "CREATE TABLE plugin_tokens (api_token text PRIMARY KEY, password text)",
        "CREATE TABLE plugin_nothing ()",
    )
    with caplog.at_level("INFO"):
        exported = export(lab, short_history, bucket, file_format=file_format, exclude=["log"])
    assert {"dag_run", "task_instance"} < set(exported.tables)
    assert {"plugin_tokens", "plugin_nothing", "log"}.isdisjoint(exported.tables)
    assert "plugin_tokens" in caplog.text
    # Requested by name, it is refused by name; with one of its columns, that is exported masked.
    with pytest.raises(TableNotFound, match=r"plugin_tokens .* tables=\['plugin_tokens.api_token'\]"):
        export(lab, short_history, bucket, tables=["plugin_tokens"])
    lab.execute(short_history, "INSERT INTO plugin_tokens VALUES ('open sesame')")
    written = export(lab, short_history, bucket, prefix="one", tables=["plugin_tokens.api_token"])
    assert [row for file in written.tables["plugin_tokens"].files for row in rows(lab, bucket, file.key)] == [
        {"api_token": "***"}
    ]


@KNOWS_NO_AIRFLOW
def test_parquet_has_a_value_for_all_that_python_has_none_for(lab, database, bucket) -> None:
    lab.execute(
        database,
        "CREATE TABLE plugin_odd (id int PRIMARY KEY, d date, t time, f float8, r float4, n numeric, i interval)",
        "INSERT INTO plugin_odd VALUES (1, 'infinity', '24:00:00', 'Infinity', '-Infinity', 'NaN', '1 day'), "
        "(2, '-infinity', '00:00', 'NaN', '1e-40', 'Infinity', '-1 year'), "
        "(3, '0044-03-15 BC', NULL, '5e-324', 'NaN', NULL, NULL), (4, '20000-01-01', '23:59:59.999999', 0, 0, 0, NULL)",
        "INSERT INTO plugin_odd VALUES (5, '2026-11-22')",
    )
    exported = export(lab, database, bucket, file_format="parquet", tables=["plugin_odd"])
    (file,) = exported.tables["plugin_odd"].files
    found = pq.read_table(io.BytesIO(body(lab, bucket, file.key))).sort_by("id").to_pydict()
    least, greatest = date(1, 1, 1), date(9999, 12, 31)
    assert found["d"] == [greatest, least, least, greatest, date(2026, 11, 22)]
    assert found["t"] == [time(23, 59, 59, 999_999), time(0), None, time(23, 59, 59, 999_999), None]
    assert [found["f"][0], str(found["f"][1]), found["r"][0]] == [float("inf"), "nan", float("-inf")]
    assert found["n"][:2] == ["NaN", "Infinity"]


DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 5)]


def test_windows_in_one_prefix_do_not_take_the_place_of_rows_without_a_date(lab, database, bucket) -> None:
    """Both have rows in the folder for rows without a date: NULL in the first, infinity in the second."""
    moments = {"a": "2026-03-01", "b": "2026-03-03", "bc": "0044-01-01 BC", "inf": "infinity", "far": "12000-01-01"}
    for event, moment in moments.items():
        lab.execute(database, f"INSERT INTO log (dttm, event) VALUES ('{moment}', '{event}')")
    lab.execute(database, "INSERT INTO log (dttm, event) VALUES (NULL, 'none')")
    how = {"layout": "hive", "tables": ["log"]}
    counts = [
        export(lab, database, bucket, until=DAYS[1], **how).tables["log"].rows,
        export(lab, database, bucket, since=DAYS[1], **how).tables["log"].rows,
    ]
    found = [row["event"] for key in keys(lab, bucket) if "table=" in key for row in rows(lab, bucket, key)]
    assert counts == [3, 3]
    assert sorted(found) == sorted([*moments, "none"])


def test_the_databases_own_way_to_read_a_backslash_does_not_matter(lab, database, bucket) -> None:
    lab.execute(
        database,
        "INSERT INTO log (dttm, event) VALUES ('2026-03-01', 'a')",
        f"ALTER DATABASE {database} SET standard_conforming_strings TO off",
    )
    export(lab, database, bucket, layout="hive", tables=["log"])
    assert [key for key in keys(lab, bucket) if "date=2026-03-01" in key]
