# SPDX-License-Identifier: Apache-2.0
"""A history with everything that a report must distinguish, and exports of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.manifest import Manifest
from airflow_mwaa_provider.metadata.reading.export import Export, open_export
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests.metadata.history import BEGIN, DAG, DAG_RUN, TASK_INSTANCE, fill, insert
from tests.metadata.lab import Lab

EVIL = "<script>alert('1')</script>\"&amp;\n\té"
LONG, VERY_LONG = 300_000, 10_000_000
VARIETY = """
SELECT setseed(0.5);
UPDATE dag_run SET end_date = start_date + make_interval(secs => 20 + exp(random() * 9) + (id % 12) * 40),
  state = CASE WHEN random() < 0.03 + 0.02 * (id % 5) THEN 'failed' ELSE 'success' END;
UPDATE dag_run SET end_date = NULL, state = 'running' WHERE id % 61 = 0;
UPDATE dag_run SET start_date = NULL, end_date = NULL, state = 'queued' WHERE id % 97 = 0;
UPDATE task_instance SET
  queued_dttm = start_date - make_interval(secs => 0.2 + exp(random() * 4) + extract(month FROM start_date)::int * 2),
  end_date = start_date + make_interval(secs => (abs(hashtext(dag_id || task_id)) % 300) / 10.0 * exp(random() * 3)),
  state = CASE WHEN random() < 0.06 THEN 'failed' WHEN random() < 0.05 THEN 'skipped' ELSE 'success' END;
UPDATE task_instance SET queued_dttm = start_date + interval '1 s' WHERE random() < 0.02;
UPDATE task_instance SET queued_dttm = NULL WHERE random() < 0.02;
UPDATE task_instance SET start_date = NULL, end_date = NULL, queued_dttm = NULL, state = 'upstream_failed'
  WHERE random() < 0.03;
UPDATE task_instance SET end_date = NULL, state = 'running' WHERE random() < 0.01 AND start_date IS NOT NULL;
UPDATE task_instance SET start_date = NULL, queued_dttm = NULL, end_date = NULL, state = NULL WHERE random() < 0.005;
UPDATE task_instance SET end_date = 'infinity', state = 'failed' WHERE random() < 0.002;
"""


def fill_varied(
    lab: Lab, name: str, *, days: int, runs: int = 400, tasks: int = 6, dags: int = 12, longest: int = LONG
) -> None:
    """Fill a database with a number of days from 20 January 2025, and a few hours of March.

    Each day becomes a partition, and each of its files costs calls, so more days take minutes. So does the longest
    value, which every export sends to S3 and back.
    """
    connection = lab.connect(name)
    with connection.cursor() as cursor:
        fill(cursor, runs=runs, tasks=tasks, dags=dags)
        add_runs(cursor, EVIL, runs=3)
        _brought_together(cursor, days)
        cursor.execute(VARIETY)
        # Line breaks, quotes and NULLs in columns that the report skips, and a long value.
        cursor.execute("UPDATE log SET extra = E'a,\"b\"\\r\\n\\\\.\\n' WHERE id % 3 = 0")
    connection.close()
    lengthen(lab, name, longest)


def lengthen(lab: Lab, name: str, longest: int = VERY_LONG) -> None:
    """Add a value of a number of characters to the log, half of them quotes."""
    extra = f"repeat('x\"', {longest // 2})"
    lab.execute(name, f"UPDATE log SET extra = {extra} WHERE id = (SELECT min(id) FROM log)")


def _brought_together(cursor: Any, days: int) -> None:
    """Compress the history's year, and move it into the past regardless of the clock."""
    cursor.execute(
        """SELECT relname, array_agg(attname::text) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
           WHERE relname IN ('dag_run', 'task_instance', 'log') AND relkind = 'r' AND attnum > 0
           AND atttypid = 'timestamptz'::regtype AND NOT attisdropped GROUP BY 1"""
    )
    for table, names in cursor.fetchall():
        begin = "timestamptz '2025-01-20 00:00:00+00'"
        items = ", ".join(f"{name} = {begin} + ({name} - {BEGIN}) * {days / 365}" for name in names)
        cursor.execute(f"UPDATE {table} SET {items}")


def add_runs(
    cursor: Any, dag_id: str, *, runs: int, tasks: int = 2, first: int = 1_000_000, updated: str = "2025-04-01"
) -> None:
    """Create runs of another DAG, with any string as its ID."""
    literal = "'" + dag_id.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'"
    sizes = {"n": 900, "dags": 1, "tasks": tasks}
    cursor.execute("SELECT count(*) FROM dag WHERE dag_id = %s", (dag_id,))
    if not cursor.fetchone()[0]:
        insert(cursor, "dag", {**DAG, "dag_id": literal}, "generate_series(1, 1) i", **sizes)
    at = f"to_char(i + {first}, 'FM00000000')"
    moment = "('2025-03-01 00:00:00+00'::timestamptz + i * interval '1 hour')"
    times = dict.fromkeys(("execution_date", "logical_date", "run_after", "queued_at", "start_date"), moment)
    own = {"dag_id": literal, "run_id": f"'extra__' || {at}", **times, "end_date": f"{moment} + interval '90 s'"}
    own["updated_at"] = f"timestamptz '{updated} 00:00:00+00'"
    # Airflow 2 requires a distinct logical date for every run of a DAG.
    for name in ("execution_date", "logical_date"):
        own[name] = f"({moment} + {first} * interval '1 s')"
    insert(cursor, "dag_run", {**DAG_RUN, **own}, f"generate_series(1, {runs}) i", **sizes)
    tis = {name: own[name] for name in ("dag_id", "run_id", "start_date", "updated_at")}
    tis |= {"queued_dttm": f"{moment} - interval '7 s'", "end_date": f"{moment} + interval '60 s'", "state": "'failed'"}
    tis["task_id"] = f"'t<' || j || left({literal}, 40)"
    every = f"generate_series(1, {runs}) i, generate_series(1, {tasks}) j"
    insert(cursor, "task_instance", {**TASK_INSTANCE, **tis}, every, **sizes)


def export(lab: Lab, name: str, bucket: str, **options: Any) -> Manifest:
    with (
        DatabaseSource(lab.database(name)) as source,
        Storage(lab.s3(), bucket) as storage,
    ):
        return export_metadata(source, storage, ExportOptions(**{"prefix": "files/export", **options}))


def opened(lab: Lab, bucket: str, prefix: str = "files/export") -> Export:
    return open_export(f"s3://{bucket}/{prefix}", lab.s3)


def downloaded(lab: Lab, bucket: str, folder: Path, prefix: str = "files/export") -> Path:
    s3 = lab.s3()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for found in page.get("Contents", ()):
            path = folder / found["Key"].removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
    return folder


def rows(lab: Lab, name: str, query: str) -> list[tuple[Any, ...]]:
    connection = lab.connect(name)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(query)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found
    finally:
        connection.close()
