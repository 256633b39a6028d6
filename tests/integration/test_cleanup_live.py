# SPDX-License-Identifier: Apache-2.0
"""The example DAGs clean the metadata of the real Airflow that they run in, while it works."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.world import World, until
from tests.metadata import history

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS, TASKS = 1490, 4  # the last five have succeeded
OLD = "SELECT count(*) FROM dag_run WHERE run_id LIKE 'scheduled\\_\\_2025-%' AND dag_id LIKE 'dag\\_%'"


@pytest.fixture
def old(world: World, env_name: str) -> Iterator[int]:
    """Create runs of a year ago, one unfinished; return its ID. The scheduler ignores it, because it has no DAG."""
    for dag_id in ("clean_metadata", "plan_metadata_cleanup"):
        unpause(world, env_name, dag_id)
    with world.metadata(env_name) as cursor:
        history.clear(cursor)
        _fill(cursor)
        cursor.execute(f"{OLD.replace('count(*)', 'min(id)')}")
        number = int(cursor.fetchone()[0])
        cursor.execute("UPDATE dag_run SET state = 'running', end_date = NULL WHERE id = %s", (number,))
    yield number
    with world.metadata(env_name) as cursor:
        history.clear(cursor)


def _fill(cursor: Any) -> None:
    sizes = {"n": RUNS * 20, "dags": 5, "tasks": TASKS}  # the first weeks of the year
    cursor.execute("SELECT to_regclass('dag_bundle') IS NOT NULL")
    [(has_bundles,)] = cursor.fetchall()
    bundle = {}
    if has_bundles:
        cursor.execute("SELECT min(name) FROM dag_bundle")
        bundle = {"bundle_name": f"'{cursor.fetchone()[0]}'"}
    stale = {"is_stale": "true", "is_active": "false"}
    history.insert(cursor, "dag", {**history.DAG, **bundle, **stale}, "generate_series(0, 4) i", **sizes)
    history.insert(cursor, "dag_run", history.DAG_RUN, f"generate_series(1, {RUNS}) i", **sizes)
    every = f"generate_series(1, {RUNS}) i, generate_series(1, {TASKS}) j"
    history.insert(cursor, "task_instance", history.TASK_INSTANCE, every, **sizes)
    history.insert(cursor, "log", history.LOG, every, **sizes)


def count(world: World, env_name: str, query: str) -> int:
    with world.metadata(env_name) as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])


def unpause(world: World, env_name: str, dag_id: str) -> None:
    """Unpause a DAG that is paused when new, and wait for the run that Airflow schedules at once."""
    environment = world.environment(env_name, "web_session")
    if not environment.is_dag_paused(dag_id):
        return
    environment.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def has_run() -> bool:
        runs = environment.request("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return bool(runs) and all(run["state"] in ("success", "failed") for run in runs)

    until(has_run, timeout_s=120, what=f"the first run of {dag_id}")


def ended(world: World, env_name: str, dag_id: str, run_id: str) -> str:
    environment = world.environment(env_name, "web_session")
    until(lambda: environment.get_dag_run(dag_id, run_id).state.is_final, timeout_s=240, what=f"the end of {dag_id}")
    return environment.get_dag_run(dag_id, run_id).state.value


def test_it_is_cleaned_while_it_works(world: World, env_name: str, old: int) -> None:
    """Runs that are triggered meanwhile end, the scheduler's heartbeat continues, and unfinished runs are kept."""
    environment = world.environment(env_name, "web_session")
    is_2 = environment.airflow_version.startswith("2.")
    before = count(world, env_name, OLD)
    assert before == RUNS
    conf = {"route": "auto" if is_2 else "mwaa_environment", "retention_days": 30}
    run_id = environment.trigger_dag_run("clean_metadata", conf=conf).run_id
    others = []
    while not environment.get_dag_run("clean_metadata", run_id).state.is_final:
        name = f"meanwhile-{uuid.uuid4().hex[:8]}"
        environment.trigger_dag_run("run_by_other_environment", run_id=name, conf={"numbers": [len(others)]})
        others.append(name)
        time.sleep(2)
    assert ended(world, env_name, "clean_metadata", run_id) == "success"
    log = environment.get_task_log("clean_metadata", run_id, "clean")
    assert "task_instance: " in log
    assert "by route " in log
    # The last run of each of the five DAGs is kept, and the running one.
    assert count(world, env_name, OLD) == 5 + 1
    assert count(world, env_name, f"SELECT count(*) FROM dag_run WHERE id = {old}") == 1
    assert count(world, env_name, "SELECT count(*) FROM task_instance WHERE dag_id LIKE 'dag\\_%'") == 6 * TASKS
    assert count(world, env_name, "SELECT count(*) FROM log WHERE dag_id LIKE 'dag\\_%'") == 0
    for name in others:
        assert ended(world, env_name, "run_by_other_environment", name) == "success"
    age = "extract(epoch FROM now() - max(latest_heartbeat))"
    assert count(world, env_name, f"SELECT {age} FROM job WHERE job_type = 'SchedulerJob' AND state = 'running'") < 30


def test_it_is_planned(world: World, env_name: str, old: int) -> None:
    environment = world.environment(env_name, "web_session")
    is_2 = environment.airflow_version.startswith("2.")
    conf = {"route": "auto" if is_2 else "mwaa_environment", "retention_days": 30}
    run_id = environment.trigger_dag_run("plan_metadata_cleanup", conf=conf).run_id
    assert ended(world, env_name, "plan_metadata_cleanup", run_id) == "success"
    log = environment.get_task_log("plan_metadata_cleanup", run_id, "plan")
    assert f"dag_run: {RUNS - 6:,} rows would be deleted" in log
    assert "it is the last run of its DAG" in log
    assert "the run has not ended" in log
    assert count(world, env_name, OLD) == RUNS
