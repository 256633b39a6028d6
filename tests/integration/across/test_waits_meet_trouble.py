# SPDX-License-Identifier: Apache-2.0
"""Events during a wait, and how it ends then, according to the table in docs/waiting.md."""

from __future__ import annotations

import time
import uuid

import pytest

from airflow_mwaa_provider.client.models import Connection, DagRunState, TaskState
from tests.integration.conftest import ENVIRONMENTS
from tests.integration.world import World, until

NAMES = sorted(ENVIRONMENTS)
PAIRS = [(NAMES[0], NAMES[-1]), (NAMES[-1], NAMES[0])] if len(NAMES) > 1 else [(NAMES[0], NAMES[0])]
DAG_ID = "calls_other_in_both_ways"
WAITING = {"slot": TaskState.RUNNING, "deferred": TaskState.DEFERRED}

pytestmark = pytest.mark.parametrize(("source", "target"), PAIRS)


def states(world: World, source: str, dag_id: str, run_id: str) -> dict[str, TaskState]:
    return {
        task.label: task.state for task in world.environment(source, "web_session").get_task_instances(dag_id, run_id)
    }


def begin(world: World, source: str, target: str, **conf: str) -> tuple[str, dict[str, str]]:
    """One task waits in a worker's slot, one in the triggerer: return their run's ID, and those of the remote runs."""
    asked = world.environment(source, "web_session").trigger_dag_run(DAG_ID, conf={"env_name": target, **conf})
    runs: dict[str, str] = {}

    def both() -> bool:
        found = world.runs_asked_by(target, "empty", asked.run_id)
        runs.update({run["conf"]["task"]: run["dag_run_id"] for run in found})
        return len(found) == 2 and states(world, source, DAG_ID, asked.run_id) == WAITING

    until(both, timeout_s=120, what="two tasks that wait")
    let_processes_end()
    return asked.run_id, runs


def let_processes_end() -> None:
    """Airflow 3 fails a task whose trigger fires before the process that deferred it has ended.

    On a busy machine, that takes longer than the triggers themselves wait with the local MWAA's short heartbeats.
    """
    time.sleep(5)


def ends(world: World, source: str, run_id: str, dag_id: str = DAG_ID) -> dict[str, tuple[TaskState, str]]:
    """Wait for all tasks to end; return each one's state and log."""
    here = world.environment(source, "web_session")
    until(lambda: here.get_dag_run(dag_id, run_id).state.is_final, timeout_s=150, what="the end of the waits")
    return {
        task.label: (task.state, here.get_task_log(dag_id, run_id, task.task_id))
        for task in here.get_task_instances(dag_id, run_id)
    }


def test_a_role_that_loses_its_permission(world: World, source: str, target: str) -> None:
    """At the next call, or with a web session, which AWS does not revoke, when the session has ended."""
    here = world.environment(source, "web_session")
    made = world.admin("POST", "identities", {})
    role = Connection(
        f"role-{uuid.uuid4().hex}", "aws", login=made["access_key_id"], password=made["secret_access_key"]
    )
    here.connections.set(role)
    try:
        run_id, runs = begin(world, source, target, aws_conn_id=role.conn_id)
        world.admin("PATCH", "identities", {"access_key_id": made["access_key_id"], "denied_actions": ["airflow:*"]})
        world.admin("POST", "expire", {"sessions": True, "environment": target})
        ended = ends(world, source, run_id)
    finally:
        here.connections.delete(role.conn_id)
    for state, log in ended.values():
        assert state is TaskState.FAILED
        assert "AccessDenied: " in log
        assert "airflow:CreateCliToken" in log
    there = world.environment(target, "web_session")
    for remote_run_id in runs.values():
        assert there.get_dag_run("empty", remote_run_id).state is DagRunState.QUEUED


def test_a_web_server_that_is_away(world: World, source: str, target: str) -> None:
    """First a load balancer's error pages, then closed connections; then each run ends in a different way."""
    run_id, runs = begin(world, source, target)
    for kind in ("html", "reset_before"):
        for way in ("invoke_rest_api", "rest", "login"):
            world.fault(target=way, environment=target, kind=kind)
        until(
            lambda: sum(fault["fired"] for fault in world.admin("GET", "faults")["faults"]) >= 5,
            timeout_s=120,
            what="calls that go wrong",
        )
        world.admin("DELETE", "faults")
    assert states(world, source, DAG_ID, run_id) == WAITING
    there = world.environment(target, "web_session")
    there.set_dag_run_state("empty", runs["slot"], DagRunState.SUCCESS)
    there.set_dag_run_state("empty", runs["deferred"], DagRunState.FAILED)
    ended = ends(world, source, run_id)
    assert {name: state for name, (state, _) in ended.items()} == {
        "slot": TaskState.SUCCESS,
        "deferred": TaskState.FAILED,
    }
    assert "DagRunFailed: " in ended["deferred"][1]
    assert len(world.runs_asked_by(target, "empty", run_id)) == 2


def test_a_run_that_is_deleted(world: World, source: str, target: str) -> None:
    run_id, runs = begin(world, source, target)
    for remote_run_id in runs.values():
        world.environment(target, "web_session").request("DELETE", f"/dags/empty/dagRuns/{remote_run_id}")
    for state, log in ends(world, source, run_id).values():
        assert state is TaskState.FAILED
        assert "DagRunNotFound: " in log
        assert "is gone: it, or its DAG, was deleted while it was waited for" in log
    assert world.runs_asked_by(target, "empty", run_id) == [], "no wait has made another"


def test_a_dag_that_is_deleted(world: World, source: str, target: str) -> None:
    """Sensors of every kind wait for one of its runs and for the run's tasks."""
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    remote = there.trigger_dag_run("goes_away")
    conf = {"env_name": target, "dag_id": "goes_away", "run_id": remote.run_id}
    run = here.trigger_dag_run("watches_other", conf=conf)
    waiting = {
        f"{what}_by_{how}": state
        for what in ("run", "tasks")
        for how, state in {
            "poke": TaskState.RUNNING,
            "reschedule": TaskState.UP_FOR_RESCHEDULE,
            "deferred": TaskState.DEFERRED,
        }.items()
    }
    seen: set[tuple[str, TaskState]] = set()

    def all_wait() -> bool:
        seen.update(states(world, source, "watches_other", run.run_id).items())
        return seen >= set(waiting.items())

    until(all_wait, timeout_s=120, what="sensors that wait")
    let_processes_end()
    there.request("DELETE", "/dags/goes_away")
    for state, log in ends(world, source, run.run_id, "watches_other").values():
        assert state is TaskState.FAILED
        assert "DagRunNotFound: " in log
