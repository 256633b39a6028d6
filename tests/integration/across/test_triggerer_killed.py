# SPDX-License-Identifier: Apache-2.0
"""Deferred waits outlive their triggerer: a real one, killed twice without warning. AIRFLOW_MWAA_TEST_FULL=1: 1,000."""

from __future__ import annotations

import os
import signal
import time

import pytest

from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.models import DagRunState, TaskInstance, TaskState
from tests.integration.conftest import ENVIRONMENTS
from tests.integration.world import World, until

FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
WAITS = int(os.environ.get("AIRFLOW_MWAA_TEST_WAITS") or (1000 if FULL else 20))
TIMEOUT_S = 120 + 6 * WAITS
DAG_ID = "calls_other_many_times"
NAMES = sorted(ENVIRONMENTS)
# The newest Airflow waits; with FULL, the other one waits, too.
PAIRS = [(NAMES[-1], NAMES[0]), (NAMES[0], NAMES[-1])] if FULL and len(NAMES) > 1 else [(NAMES[-1], NAMES[0])]
ENDED = {TaskState.SUCCESS, TaskState.FAILED}


@pytest.mark.timeout(3 * TIMEOUT_S)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_waits_survive_two_kills_of_the_triggerer(world: World, source: str, target: str) -> None:
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    began = time.monotonic()
    world.admin("DELETE", "calls")
    there.request("PATCH", "/dags/empty", json={"is_paused": True})
    asked = here.trigger_dag_run(DAG_ID, conf={"env_name": target, "count": WAITS})

    # Killed while tasks still begin to wait for queued runs.
    until(
        lambda: len(in_state(world, source, asked.run_id, {TaskState.DEFERRED})) >= WAITS // 2,
        timeout_s=TIMEOUT_S,
        what="half of the waits",
    )
    waiting = in_state(world, source, asked.run_id, {TaskState.DEFERRED})
    kill_triggerer(world, source)
    until(
        lambda: len(in_state(world, source, asked.run_id, {TaskState.DEFERRED})) == WAITS,
        timeout_s=TIMEOUT_S,
        what="all waits",
    )

    # A quarter of the runs is marked as failed. The next triggerer reports it to the tasks that the first one left.
    marked = {run["conf"]["number"] for run in world.runs_asked_by(target, "empty", asked.run_id)[::4]}
    for run in world.runs_asked_by(target, "empty", asked.run_id):
        if run["conf"]["number"] in marked:
            there.set_dag_run_state("empty", run["dag_run_id"], DagRunState.FAILED)
    until(
        lambda: bool(waiting & marked & in_state(world, source, asked.run_id, ENDED)),
        timeout_s=TIMEOUT_S,
        what="the first end",
    )
    # Killed halfway: the other runs end while nothing waits for them.
    kill_triggerer(world, source)
    there.request("PATCH", "/dags/empty", json={"is_paused": False})
    try:
        until(lambda: here.get_dag_run(DAG_ID, asked.run_id).state.is_final, timeout_s=TIMEOUT_S, what="the end of all")
    finally:
        there.request("PATCH", "/dags/empty", json={"is_paused": True})

    states = {task.map_index: task.state for task in tasks(here, asked.run_id)}
    assert states == {number: TaskState.FAILED if number in marked else TaskState.SUCCESS for number in range(WAITS)}
    assert len(marked) == -(-WAITS // 4)
    assert {task.try_number for task in tasks(here, asked.run_id)} == {1}
    runs = world.runs_asked_by(target, "empty", asked.run_id)
    assert sorted(run["conf"]["number"] for run in runs) == list(range(WAITS))
    assert len({run["dag_run_id"] for run in runs}) == WAITS
    assert {run["conf"]["number"] for run in runs if run["state"] == "failed"} == marked
    assert {run["state"] for run in runs} == {"success", "failed"}
    until(lambda: triggers(world, source) == 0, timeout_s=60, what="an empty table of triggers")
    assert world.status(source)["restarts"]["triggerer"] >= 2
    calls = world.admin("GET", "calls")["counts"][target]
    print(f"{source} -> {target}: {WAITS} waits in {time.monotonic() - began:.0f} s, calls to the target {calls}")


def tasks(environment: MwaaEnvironment, run_id: str) -> list[TaskInstance]:
    return [task for task in environment.get_task_instances(DAG_ID, run_id) if task.task_id == "trigger"]


def in_state(world: World, env_name: str, run_id: str, states: set[TaskState]) -> set[int]:
    """Return the map indexes of the tasks in one of the states; through the API, 1,000 tasks take 10 pages per poll."""
    with world.metadata(env_name) as cursor:
        cursor.execute(
            "SELECT map_index FROM task_instance WHERE run_id = %s AND task_id = 'trigger' AND state = ANY(%s)",
            (run_id, [state.value for state in states]),
        )
        return {map_index for (map_index,) in cursor.fetchall()}


def triggers(world: World, env_name: str) -> int:
    with world.metadata(env_name) as cursor:
        cursor.execute("SELECT count(*) FROM trigger")
        return int(cursor.fetchone()[0])


def kill_triggerer(world: World, env_name: str) -> None:
    """Kill it without warning, and wait for the next one."""
    before = world.status(env_name)["pids"]["triggerer"]
    os.kill(before, signal.SIGKILL)
    if not FULL:
        # Airflow considers a triggerer dead 30 s after its last heartbeat, which this moves back.
        with world.metadata(env_name) as cursor:
            cursor.execute(
                "UPDATE job SET latest_heartbeat = latest_heartbeat - interval '1 hour' WHERE job_type = 'TriggererJob'"
            )
            assert cursor.rowcount > 0
    until(
        lambda: world.status(env_name)["pids"].get("triggerer", before) != before, timeout_s=60, what="a new triggerer"
    )
