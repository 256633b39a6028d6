# SPDX-License-Identifier: Apache-2.0
"""Routes rest and database of a metadata export return the same rows, on a real Airflow 2 and a real Airflow 3."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psutil
import pytest

from airflow_mwaa_provider.client.models import DagRunState
from airflow_mwaa_provider.metadata.catalog.selection import Window, by_change, select_tables
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.metadata.export.formats import FileFormat
from airflow_mwaa_provider.metadata.export.source import RowSource
from airflow_mwaa_provider.metadata.rest_source import RestSource
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from tests.integration.world import World
from tests.metadata import history

FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
RUNS, TASKS, DAGS = 400 if FULL else 150, 6, 20
STARTED = datetime.fromisoformat("2025-11-22T00:00:00+00:00")

# What no list ever shows, and what changes while the test runs.
ODDITIES = """
UPDATE task_instance SET start_date = NULL, end_date = NULL, duration = NULL, state = NULL
 WHERE dag_id LIKE 'dag\\_%' AND task_id = 'task_2' AND dag_id IN ('dag_003', 'dag_004');
UPDATE task_instance SET start_date = NULL WHERE dag_id = 'dag_005' AND task_id = 'task_1';
UPDATE task_instance SET updated_at = NULL WHERE dag_id = 'dag_006' AND task_id = 'task_3';
UPDATE task_instance SET hostname = '', duration = 1e-7 WHERE dag_id = 'dag_007';
UPDATE task_instance SET duration = 123456789012345, queue = E'a "b", \\n ünï🚀' WHERE dag_id = 'dag_008';
UPDATE dag_run SET start_date = NULL, end_date = NULL, state = 'queued' WHERE dag_id = 'dag_009';
UPDATE dag_run SET updated_at = NULL WHERE dag_id = 'dag_010';
UPDATE log SET extra = E'line\\n"quoted", \\\\.', owner = '' WHERE dag_id = 'dag_011';
UPDATE log SET extra = '\\.' WHERE dag_id = 'dag_012';
"""
# One time shared by many DAGs, and one by a single run with more than a page of tasks.
MIDNIGHT = "'2025-01-01 00:00:00.123+00'::timestamptz"


def fill(cursor: Any) -> None:
    """Create a history in addition to that of the environment's own DAGs, on which the scheduler does not act."""
    sizes = {"n": RUNS, "dags": DAGS, "tasks": TASKS}
    dag = {
        **history.DAG, "is_paused": "true", "is_subdag": "false", "is_active": "false", "is_stale": "true",
        "fileloc": "'/dags/it''s.py'", "description": "E'of \\n two \"lines\"'", "max_active_tasks": "16",
        "has_import_errors": "false", "last_expired": MIDNIGHT, "max_consecutive_failed_dag_runs": "0",
    }  # fmt: skip
    history.insert(cursor, "dag", dag, f"generate_series(0, {DAGS - 1}) i", **sizes)
    by = "CASE i % 3 WHEN 0 THEN 'REST_API' WHEN 1 THEN 'TIMETABLE' END"
    triggered = {**history.DAG_RUN, "triggered_by": by, "external_trigger": "i % 2 = 0"}
    history.insert(cursor, "dag_run", triggered, f"generate_series(1, {RUNS}) i", **sizes)
    every = f"generate_series(1, {RUNS}) i, generate_series(1, {TASKS}) j"
    history.insert(cursor, "task_instance", history.TASK_INSTANCE, every, **sizes)
    history.insert(cursor, "log", history.LOG, every, **sizes)
    same = dict.fromkeys(
        ("execution_date", "logical_date", "run_after", "start_date", "end_date", "updated_at", "queued_at"), MIDNIGHT
    )
    run = {**triggered, **same, "run_id": "'midnight'", "dag_id": "'dag_' || lpad(i::text, 3, '0')"}
    history.insert(cursor, "dag_run", run, "generate_series(0, 19) i", **sizes)
    times = dict.fromkeys(("start_date", "end_date", "updated_at"), MIDNIGHT)
    task = {**history.TASK_INSTANCE, **times, "run_id": "'midnight'", "dag_id": run["dag_id"], "map_index": "j"}
    source = "generate_series(0, 19) i, generate_series(0, CASE WHEN i = 0 THEN 149 ELSE 11 END) j"
    history.insert(cursor, "task_instance", task | {"task_id": "'t'"}, source, **sizes)
    pool = {"pool": "'pool ' || i", "slots": "i", "description": "NULLIF('d', 'd')", "include_deferred": "i % 2 = 0"}
    history.insert(cursor, "slot_pool", pool, "generate_series(1, 150) i", **sizes)
    warning = {"dag_id": "'dag_001'", "warning_type": "'non-existent pool'", "message": "''", "timestamp": MIDNIGHT}
    history.insert(cursor, "dag_warning", warning, "generate_series(1, 1) i", **sizes)
    cursor.execute("SELECT to_regclass('asset_event') IS NOT NULL")
    if cursor.fetchone()[0]:
        asset = {"id": "900", "name": "'a'", "uri": "'s3://a'", "group": "'asset'"}
        history.insert(cursor, "asset", asset, "generate_series(1, 1) i", **sizes)
        event = {"asset_id": "900", "timestamp": f"{history.BEGIN} + (i / 2) * interval '1 day'"}
        history.insert(cursor, "asset_event", event, "generate_series(1, 300) i", **sizes)
    for statement in filter(str.strip, ODDITIES.split(";")):
        cursor.execute(statement)


def clear(cursor: Any) -> None:
    """Delete it again, because other tests use these environments too."""
    history.clear(cursor)
    cursor.execute("DELETE FROM slot_pool WHERE pool LIKE 'pool %'")
    cursor.execute("SELECT to_regclass('asset_event') IS NOT NULL")
    if cursor.fetchone()[0]:
        cursor.execute("DELETE FROM asset_event WHERE asset_id = 900")
        cursor.execute("DELETE FROM asset WHERE id = 900")


@pytest.fixture(scope="module")
def filled(world: World) -> Iterator[set[str]]:
    names: set[str] = set()
    yield names
    for name in names:
        with world.metadata(name) as cursor:
            clear(cursor)


@contextmanager
def sources(world: World, env_name: str) -> Iterator[tuple[DatabaseSource, RestSource]]:
    scheduler = psutil.Process(world.status(env_name)["pids"]["scheduler"])
    database = Database.from_url(scheduler.environ()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    environment = world.environment(env_name)
    rest = RestSource(environment.request, environment.airflow_version)
    with DatabaseSource(database) as source, rest:
        yield source, rest


def rows_of(source: RowSource, table: str, columns: set[str], window: Window, *, changed: bool) -> list[dict[str, str]]:
    full = source.schema.table(table)
    exclude = [f"{table}.{column.name}" for column in full.columns if column.name not in columns]
    rows = select_tables(source.schema, [table], exclude, Window() if changed else window)[0]
    if changed:
        rows = by_change(rows, window)
    with source.chunks(rows, FileFormat.CSV, None) as chunks:
        # Compared as bytes and by line: NULL is not an empty string. They are parsed only if a row has line breaks.
        data = b"".join(chunk.data for chunk in chunks).decode()
    quoted = data.replace('""', "\0")
    return [
        dict(zip(rows.column_names, [value.replace("\0", '""') for value in values], strict=True))
        for values in csv.reader(io.StringIO(quoted, newline=""))
    ]


@pytest.fixture
def world_with_history(world: World, env_name: str, filled: set[str]) -> World:
    if env_name not in filled:
        environment = world.environment(env_name, "web_session")
        for dag_id in ("echo", "mapped"):
            run = environment.trigger_dag_run(dag_id)
            ended = {DagRunState.SUCCESS, DagRunState.FAILED}
            environment.wait_for_dag_run(dag_id, run.run_id, timeout_s=120, allowed_states=ended, failed_states=set())
        with world.metadata(env_name) as cursor:
            cursor.execute("SELECT count(*) FROM dag WHERE dag_id = 'dag_000'")
            if not cursor.fetchone()[0]:  # a local MWAA named by AIRFLOW_MWAA_TEST_FOLDER may have it already
                fill(cursor)
        filled.add(env_name)
    return world


WINDOWS = {
    "whole": Window(),
    "span": Window(STARTED + timedelta(days=50, seconds=7), STARTED + timedelta(days=200)),
    "until": Window(None, STARTED + timedelta(days=100)),
    "changed": Window(STARTED + timedelta(days=50), STARTED + timedelta(days=100)),
    "changed until": Window(None, STARTED + timedelta(days=100)),
}
# The scheduler and the parser constantly write to these; compare their contents, but not when they were last seen.
MOVING = {
    "job": {"latest_heartbeat", "state", "end_date"},
    "dag": {"last_parsed_time", "last_parse_duration", "has_import_errors", "next_dagrun_create_after"},
}


@pytest.mark.parametrize("span", WINDOWS if FULL else ["span"])
def test_both_routes_give_the_same_rows(world_with_history: World, env_name: str, span: str) -> None:
    window = WINDOWS[span]
    with sources(world_with_history, env_name) as (database, rest):
        for name, table in rest.schema.tables.items():
            columns = {column.name for column in table.columns} - MOVING.get(name, set())
            types = {column.name: column.type for column in database.schema.table(name).columns}
            assert {column.name: column.type for column in table.columns}.items() <= types.items()
            changed = span.startswith("changed")
            ours = rows_of(rest, name, columns, window, changed=changed)
            theirs = rows_of(database, name, columns, window, changed=changed)
            if name in ("dag_run", "task_instance", "log"):
                # The environment's own tasks continue meanwhile; only the history must be equal.
                ours, theirs = ([row for row in rows if row["dag_id"].startswith("dag_")] for rows in (ours, theirs))
                assert ours, name
            kept = [column.name for column in table.columns if column.name in columns]
            lines = [sorted(tuple(row[column] for column in kept) for row in rows) for rows in (ours, theirs)]
            if name == "dag_warning" and not lines[0]:
                continue  # the scheduler deletes warnings, and the snapshot is older
            assert lines[0] == lines[1], name


def test_what_the_api_shows_is_nearly_all_that_there_is(world_with_history: World, env_name: str) -> None:
    with sources(world_with_history, env_name) as (database, rest):
        left_out = {
            name: {column.name for column in database.schema.table(name).columns}
            - {column.name for column in table.columns}
            for name, table in rest.schema.tables.items()
        }
    assert "conf" in left_out["dag_run"]
    assert left_out["log"] == {"owner_display_name"}
    assert left_out["slot_pool"] == {"id"}
    assert not left_out["dag_warning"]
