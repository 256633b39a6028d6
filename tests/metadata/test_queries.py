# SPDX-License-Identifier: Apache-2.0
"""The SQL for an export: DuckDB runs its own, and also the views for Athena."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.manifest import Manifest, TableExport
from airflow_mwaa_provider.metadata.reading.export import Export, open_export
from airflow_mwaa_provider.metadata.reading.files import FolderFiles
from airflow_mwaa_provider.metadata.reading.sql_views import Dialect, statements
from airflow_mwaa_provider.metadata.storage.bucket import StoredFile
from tests.metadata.lab import Lab
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.varied import VERY_LONG, add_runs, downloaded, export, fill_varied, rows

pytestmark = KNOWS_NO_AIRFLOW

duckdb = pytest.importorskip("duckdb")
TABLES = ["dag_run", "task_instance", "log", "xcom", "slot_pool"]
WAYS = [
    {"file_format": "csv"},
    {"file_format": "csv", "compression": "gzip", "layout": "hive"},
    {"file_format": "parquet"},
    {"file_format": "parquet", "layout": "hive"},
]


def never() -> Any:
    raise AssertionError("a folder needs no S3")


@pytest.fixture(scope="module")
def varied(lab: Lab) -> str:
    name = lab.copy()
    fill_varied(lab, name, days=20, runs=150, tasks=3)
    return name


def run(lab: Lab, name: str, bucket: str, folder: Path, **options: Any) -> tuple[Any, Export]:
    """Export, copy the files, and return a DuckDB with the views."""
    export(lab, name, bucket, tables=TABLES, **options)
    found = open_export(str(downloaded(lab, bucket, folder)), never)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for statement in statements(found, Dialect.DUCKDB):
        connection.execute(statement)
    return connection, found


def check(lab: Lab, name: str, connection: Any, found: Export) -> None:
    """Every value of every row is the database's."""
    for table in found.tables:
        columns = found.columns(table)
        ours, theirs = [], []
        for column, kind in columns.items():
            if kind in {"timestamptz", "timestamp"}:
                # Parquet has no infinity; it is stored as the latest possible time.
                far = f"\"{column}\" > '9000-01-01'"
                ours.append(f'CASE WHEN {far} THEN -1 ELSE epoch_us("{column}") END')
                theirs.append(f'CASE WHEN {far} THEN -1 ELSE (extract(epoch FROM "{column}") * 1000000)::bigint END')
            elif kind == "bytea":
                ours.append(f'lower(hex("{column}"))')
                theirs.append(f"encode(\"{column}\", 'hex')")
            elif kind in {"bool", "int2", "int4", "int8", "float8"}:
                ours.append(f'"{column}"')
                theirs.append(f'"{column}"')
            else:
                ours.append(f'md5("{column}")')
                theirs.append(f'md5("{column}"::text)')
        expected = rows(lab, name, f'SELECT {", ".join(theirs)} FROM "{table}"')
        got = connection.execute(f'SELECT {", ".join(ours)} FROM "{table}"').fetchall()
        assert sorted(map(repr, got)) == sorted(map(repr, expected)), table


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way.values()))
def test_duckdb_gives_the_databases_rows(lab: Lab, varied: str, tmp_path: Path, way: dict[str, Any]) -> None:
    connection, found = run(lab, varied, lab.bucket(), tmp_path, **way)
    check(lab, varied, connection, found)
    kinds = {name: kind for name, kind, *_ in connection.execute("DESCRIBE task_instance").fetchall()}
    assert kinds["start_date"] == "TIMESTAMP WITH TIME ZONE"
    assert kinds["executor_config"] == "BLOB"
    assert kinds["duration"] == "DOUBLE"
    assert kinds.get("date") == ("DATE" if way.get("layout") else None)


@pytest.mark.parametrize("layout", ["table", "hive"])
@pytest.mark.parametrize(("name", "other"), [("ex[12]", "ex1"), ("a*b", "axb"), ("q?r", "qxr"), ("[!x]", "a")])
def test_the_views_read_files_and_no_patterns(
    lab: Lab, database: str, bucket: str, tmp_path: Path, name: str, other: str, layout: str
) -> None:
    """The name of a folder is literal, although as a pattern it matches another export's."""
    options = {"layout": layout, "tables": ["log"], "until": datetime(2026, 1, 1, tzinfo=UTC)}
    for prefix in (name, other):
        lab.execute(database, f"INSERT INTO log (dttm, event) VALUES ('2025-12-01', '{prefix}')")
        export(lab, database, bucket, prefix=prefix, **options)
        downloaded(lab, bucket, tmp_path / prefix, prefix)
        lab.execute(database, "DELETE FROM log")
    found = open_export(str(tmp_path / name), never)
    connection = duckdb.connect()
    for statement in statements(found, Dialect.DUCKDB):
        connection.execute(statement)
    assert connection.execute("SELECT event FROM log").fetchall() == [(name,)]


@pytest.mark.parametrize("folder", ["date=2020-01-01", "Event=x", "until=2030"])
def test_folders_that_duckdb_would_take_for_columns_are_refused(
    lab: Lab, database: str, bucket: str, tmp_path: Path, folder: str
) -> None:
    lab.execute(database, "INSERT INTO log (dttm, event) VALUES ('2025-12-01', 'x')")
    until = datetime(2026, 1, 1, tzinfo=UTC)
    exported = export(lab, database, bucket, prefix=folder, incremental=True, until=until, tables=["log"])
    downloaded(lab, bucket, tmp_path / folder, folder)
    place = re.escape(folder)
    with pytest.raises(MwaaInputError, match=rf"/{place}: DuckDB takes {place} .* Copy the export"):
        statements(open_export(str(tmp_path / folder), never), Dialect.DUCKDB)
    assert exported.tables["log"].rows == 1
    (tmp_path / folder).rename(tmp_path / "env=prod")
    assert statements(open_export(str(tmp_path / "env=prod"), never), Dialect.DUCKDB)


def test_what_duckdb_takes_for_the_end_of_a_key_is_refused(lab: Lab, database: str, bucket: str) -> None:
    export(lab, database, bucket, prefix="why?", tables=["log"])
    with pytest.raises(MwaaInputError, match=r"s3://.*/why\?.*: DuckDB .* Copy the export"):
        statements(open_export(f"s3://{bucket}/why?", lab.s3), Dialect.DUCKDB)


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_of_an_incremental_export_each_row_is_there_once(
    lab: Lab, database: str, tmp_path: Path, file_format: str
) -> None:
    fill_varied(lab, database, days=20, runs=60, tasks=2, longest=VERY_LONG)
    lab.execute(
        database,
        "UPDATE dag_run SET updated_at = NULL",
        "UPDATE task_instance SET updated_at = NULL",
    )
    bucket = lab.bucket()
    options = {"file_format": file_format, "incremental": True}
    run(lab, database, bucket, tmp_path / "first", until=datetime(2025, 6, 1, tzinfo=UTC), **options)
    lab.execute(database, "UPDATE dag_run SET state = 'failed', updated_at = '2025-06-15' WHERE id % 3 = 0")
    lab.execute(database, "UPDATE slot_pool SET slots = 7")
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        add_runs(cursor, "new", runs=5, updated="2025-06-15")
    connection.close()
    until = datetime(2025, 7, 1, tzinfo=UTC)
    views, found = run(lab, database, bucket, tmp_path / "second", until=until, **options)
    assert found.rows_written("dag_run") > views.execute("SELECT count(*) FROM dag_run").fetchone()[0]
    check(lab, database, views, found)
    as_athena_would(tmp_path / "second", found, views)
    check_athena(lab, database, views, found)


def test_athenas_views_mean_what_they_should(lab: Lab, varied: str, tmp_path: Path) -> None:
    connection, found = run(lab, varied, lab.bucket(), tmp_path, layout="hive")
    as_athena_would(tmp_path, found, connection)
    check_athena(lab, varied, connection, found)


def as_athena_would(folder: Path, found: Export, connection: Any) -> None:
    """Create what CREATE EXTERNAL TABLE would, as strings; then run the views unchanged."""
    form = found.last.file_format
    for table in found.tables:
        files = str(folder / f"table={table}" / "**" / f"*.{form}")
        options = (
            "all_varchar = true, nullstr = '\\0', max_line_size = 67108864" if form == "csv" else "union_by_name = true"
        )
        if list((folder / f"table={table}").rglob(f"*.{form}")):
            connection.execute(
                f"CREATE TABLE {table}_files AS SELECT * FROM read_{form}('{files}', hive_partitioning = true, "
                f"hive_types_autocast = false, {options})"
            )
    for statement in statements(found, Dialect.ATHENA):
        if statement.startswith("CREATE OR REPLACE VIEW"):
            name = re.findall('VIEW "([a-z_]+)"', statement)[0]
            if list((folder / f"table={name}").rglob(f"*.{form}")):
                connection.execute(statement.rstrip(";"))


def check_athena(lab: Lab, name: str, connection: Any, found: Export) -> None:
    for table in ("dag_run", "task_instance", "slot_pool"):
        columns = found.columns(table)
        chosen = [c for c, k in columns.items() if k in {"varchar", "int4", "bool", "timestamptz", "float8"}]
        far = "CASE WHEN \"{0}\" > '9000-01-01' THEN NULL ELSE {1} END"
        ours = [far.format(c, f'epoch_us("{c}")') if columns[c] == "timestamptz" else f'"{c}"' for c in chosen]
        theirs = [
            far.format(c, f'(extract(epoch FROM "{c}") * 1000000)::bigint') if columns[c] == "timestamptz"
            else f"NULLIF(\"{c}\", '')" if columns[c] == "varchar" and found.last.file_format == "csv" else f'"{c}"'
            for c in chosen
        ]  # fmt: skip
        expected = rows(lab, name, f'SELECT {", ".join(theirs)} FROM "{table}"')
        got = connection.execute(f'SELECT {", ".join(ours)} FROM "{table}"').fetchall()
        assert sorted(map(repr, got)) == sorted(map(repr, expected)), table


def made(folder: Path, **fields: Any) -> Export:
    """An export of one small table, of which only the manifest exists."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    file = StoredFile("p/table=job/date=2026-01-01/part-00000.csv", 1, 9, "0" * 64, {"date": "2026-01-01"})
    table = TableExport(
        (file,), {"id": "int4", "end`s": "timestamptz", "conf": "bytea", "ok": "bool"}, ("id",), by="time"
    )
    defaults = {
        "bucket": "b", "key": "p/manifest.json", "tables": {"job": table}, "schema_version": "x",
        "airflow_version": "3.0.6", "since": None, "until": None, "exported_at": moment, "file_format": "csv",
        "compression": "none", "layout": "hive", "route": "database",
    }  # fmt: skip
    return Export(FolderFiles(folder), [Manifest(**{**defaults, **fields})])


def test_athenas_statements(tmp_path: Path) -> None:
    table, repair, view = statements(made(tmp_path), Dialect.ATHENA)
    assert table == (
        "-- Athena takes a line for a row: a value with a line break in it breaks its row. Parquet has no such limit.\n"
        "-- NULL and an empty text are the same here, and come as NULL.\n"
        "CREATE EXTERNAL TABLE IF NOT EXISTS `job_files` (\n"
        "  `id` string,\n  `end``s` string,\n  `conf` string,\n  `ok` string\n)\n"
        "PARTITIONED BY (`date` string)\n"
        "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'\n"
        "WITH SERDEPROPERTIES ('separatorChar' = ',', 'quoteChar' = '\"', 'escapeChar' = '\\u0001')\n"
        "STORED AS TEXTFILE\n"
        "LOCATION 's3://b/p/table=job/'\n"
        "TBLPROPERTIES ('skip.header.line.count' = '1');"
    )
    assert repair == "MSCK REPAIR TABLE `job_files`;"
    assert view == (
        'CREATE OR REPLACE VIEW "job" AS\nSELECT\n'
        '  TRY_CAST("id" AS integer) AS "id",\n'
        "  TRY_CAST(replace(\"end`s\", '+00', '') AS timestamp) AS \"end`s\",\n"
        '  from_hex(substr(NULLIF("conf", \'\'), 3)) AS "conf",\n'
        '  TRY_CAST("ok" AS boolean) AS "ok",\n'
        '  "date"\nFROM "job_files";'
    )


def test_athenas_statements_for_parquet(tmp_path: Path) -> None:
    table, repair = statements(made(tmp_path, file_format="parquet"), Dialect.ATHENA)
    assert table == (
        "CREATE EXTERNAL TABLE IF NOT EXISTS `job` (\n"
        "  `id` int,\n  `end``s` timestamp,\n  `conf` binary,\n  `ok` boolean\n)\n"
        "PARTITIONED BY (`date` string)\nSTORED AS PARQUET\nLOCATION 's3://b/p/table=job/';"
    )
    assert repair == "MSCK REPAIR TABLE `job`;"


def test_what_athena_cannot_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(MwaaInputError, match="export again with the layout hive"):
        statements(made(tmp_path, layout="table"), Dialect.ATHENA)
    older = made(tmp_path, incremental=True, key="p/manifests/1.json").last
    table = older.tables["job"]
    newer = made(
        tmp_path, incremental=True, key="p/manifests/2.json",
        tables={"job": TableExport(table.files, {"id": "int4"}, ("id",), by="change")},
    ).last  # fmt: skip
    [said] = statements(Export(FolderFiles(tmp_path), [older, newer]), Dialect.ATHENA)
    assert said.startswith("-- job is left out: its columns are not the same in all increments")
