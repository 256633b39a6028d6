# SPDX-License-Identifier: Apache-2.0
"""Histories for any Airflow's metadata database: runs, tasks, and their dependent rows, created by the database itself.

Columns are looked up, so that one definition works for the schemas of all versions. A NOT NULL column that is not named
here gets the simplest value of its type.
"""

from __future__ import annotations

from typing import Any

_SIMPLEST = {
    "bool": "false",
    "bytea": r"'\x80057d942e'::bytea",
    "json": "'{}'",
    "jsonb": "'{}'",
    "timestamptz": "now()",
    "timestamp": "now()",
    "uuid": "gen_random_uuid()",
}
BEGIN = "'2025-11-22 00:00:00+00'::timestamptz"

# {n} runs over a year, {dags} DAGs, {tasks} tasks per run; i counts runs, j tasks.
_DAG_ID = "'dag_' || lpad((i % {dags})::text, 3, '0')"
_RUN_ID = f"'scheduled__' || to_char({BEGIN} + i * interval '365 days' / {{n}}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
_STARTED = f"({BEGIN} + i * interval '365 days' / {{n}})"
DAG = {"dag_id": _DAG_ID, "is_paused": "false", "bundle_name": "'dags-folder'"}
DAG_RUN = {
    "dag_id": _DAG_ID,
    "run_id": _RUN_ID,
    "execution_date": _STARTED,
    "logical_date": _STARTED,
    "run_after": _STARTED,
    "queued_at": _STARTED,
    "start_date": _STARTED,
    "end_date": f"{_STARTED} + interval '90 seconds'",
    "updated_at": f"{_STARTED} + interval '90 seconds'",
    "state": "CASE WHEN i % 17 = 0 THEN 'failed' ELSE 'success' END",
    "run_type": "'scheduled'",
}
TASK_INSTANCE = {
    "id": "gen_random_uuid()",
    "dag_id": _DAG_ID,
    "run_id": _RUN_ID,
    "task_id": "'task_' || j",
    "map_index": "-1",
    "start_date": f"{_STARTED} + j * interval '3.25 seconds'",
    "end_date": f"{_STARTED} + j * interval '3.25 seconds' + interval '2.5 seconds'",
    "updated_at": f"{_STARTED} + j * interval '3.25 seconds' + interval '2.6 seconds'",
    "queued_dttm": f"{_STARTED} + j * interval '3 seconds'",
    "duration": "2.5 + random()",
    "state": "CASE WHEN i % 17 = 0 AND j = {tasks} THEN 'failed' ELSE 'success' END",
    "try_number": "1",
    "max_tries": "2",
    "hostname": "'ip-10-0-' || i % 200 || '-' || j || '.eu-west-1.compute.internal'",
    "unixname": "'airflow'",
    "pool": "'default_pool'",
    "pool_slots": "1",
    "queue": "'default'",
    "priority_weight": "1",
    "operator": "CASE j % 3 WHEN 0 THEN 'PythonOperator' WHEN 1 THEN 'BashOperator' ELSE 'S3KeySensor' END",
    "executor_config": r"'\x80057d942e'::bytea",
    "external_executor_id": "md5(i::text || j)",
    "pid": "100 + i % 30000",
}
LOG = {
    "dttm": f"{_STARTED} + j * interval '3.5 seconds'",
    "dag_id": _DAG_ID,
    "task_id": "'task_' || j",
    "run_id": _RUN_ID,
    "event": "CASE j % 3 WHEN 0 THEN 'running' WHEN 1 THEN 'success' ELSE 'cli_task_run' END",
    "owner": "'airflow'",
    "extra": """'{{"host_name": "ip-10-0-1-1", "full_command": "[''airflow'', ''tasks'', ''run'']"}}'""",
}
XCOM = {
    "dag_run_id": "r.id",
    "dag_id": "r.dag_id",
    "run_id": "r.run_id",
    "task_id": "t.task_id",
    "map_index": "-1",
    "key": "'return_value'",
    "value": None,
    "timestamp": "t.end_date",
}


def fill(cursor: Any, *, runs: int, tasks: int, dags: int = 20) -> None:
    """Create ``runs`` runs of ``dags`` DAGs over a year, with ``tasks`` tasks each, and one log line per task."""
    sizes = {"n": runs, "dags": dags, "tasks": tasks}
    cursor.execute("SELECT to_regclass('dag_bundle') IS NOT NULL")
    if cursor.fetchone()[0]:
        insert(cursor, "dag_bundle", {"name": "'dags-folder'"}, "generate_series(1, 1) i")
    insert(cursor, "dag", DAG, f"generate_series(0, {dags - 1}) i", **sizes)
    insert(cursor, "dag_run", DAG_RUN, f"generate_series(1, {runs}) i", **sizes)
    every = f"generate_series(1, {runs}) i, generate_series(1, {tasks}) j"
    insert(cursor, "task_instance", TASK_INSTANCE, every, **sizes)
    insert(cursor, "log", LOG, every, **sizes)


def insert(cursor: Any, table: str, values: dict[str, Any], source: str, **sizes: Any) -> None:
    """Insert a row for each of the source's, without the columns that this version lacks."""
    cursor.execute(
        """SELECT a.attname, y.typname, a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' FROM pg_attribute a
           JOIN pg_type y ON y.oid = a.atttypid
           WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped""",
        (table,),
    )
    chosen = {}
    for name, kind, is_needed in cursor.fetchall():
        if values.get(name) is not None:
            chosen[name] = values[name].format(**sizes)
        elif is_needed:
            chosen[name] = _SIMPLEST.get(kind, "0" if kind.startswith(("int", "float")) else "'x'")
    columns, items = ", ".join(f'"{name}"' for name in chosen), ", ".join(chosen.values())
    cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {items} FROM {source}")


def clear(cursor: Any) -> None:
    """Delete what was inserted for these DAGs, in a database that others use, too."""
    for table in ("task_instance", "log", "dag_warning", "dag_run", "dag"):
        cursor.execute(f"DELETE FROM {table} WHERE dag_id LIKE 'dag\\_%'")


def endless(table: str, rows: int, when: str = "true") -> list[str]:
    """Make each statement that deletes more than a number of rows of a table hang, without slowing down others."""
    return [
        f"""CREATE FUNCTION endless() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF (SELECT count(*) > {rows} FROM gone WHERE {when}) THEN PERFORM pg_sleep(3600); END IF;
            RETURN NULL; END $$""",
        f"""CREATE TRIGGER endless AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone
            FOR EACH STATEMENT EXECUTE FUNCTION endless()""",
    ]
