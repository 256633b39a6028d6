# SPDX-License-Identifier: Apache-2.0
"""What people on call need: DAGs and their last runs, broken files, tasks to clear, roles; over every transport."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_mwaa_provider.client.models import Dag, DagFileError, TaskState
from airflow_mwaa_provider.exceptions import (
    AirflowError,
    DagRunNotFound,
    MwaaInputError,
    RemoteNotFound,
    TaskInstanceNotFound,
    UnexpectedAnswer,
    UnsupportedByTransport,
)
from tests.client.world import TRANSPORTS, World

pytestmark = pytest.mark.once

TRACEBACK = 'Traceback (most recent call last):\n  File "etl.py", line 1\nModuleNotFoundError: no pandas\n'
both = pytest.mark.parametrize("env_name", ["env3", "env2"])


def with_tasks(world: World, env_name: str) -> None:
    airflow = world.airflow(env_name)
    airflow.downstream = {"transform": ["load"]}
    for run_id in ("one", "two"):
        airflow.create("etl", run_id)
        for task_id, map_index, state in (
            ("extract", -1, "success"),
            ("transform", 0, "success"),
            ("transform", 1, "failed"),
            ("load", -1, "upstream_failed"),
        ):
            row = {"dag_id": "etl", "dag_run_id": run_id, "task_id": task_id, "map_index": map_index, "state": state}
            airflow.tasks.append({**row, "try_number": 1, "start_date": None, "end_date": None})
        airflow.end("etl", run_id, "failed")


@both
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_dags_and_the_files_that_cannot_be_imported(world: World, env_name: str, transport: str) -> None:
    airflow = world.airflow(env_name)
    airflow.page_limit = 1
    airflow.schedules = {"etl": "0 3 * * *"}
    airflow.file_errors = {"late.py": TRACEBACK, "bad.py": "SyntaxError: x"}
    environment = world.environment(env_name, transport)
    schedule = None if transport == "cli" else "0 3 * * *"
    assert environment.list_dags() == [Dag("etl", is_paused=False, schedule=schedule), Dag("paused", is_paused=True)]
    errors = environment.list_dag_file_errors()
    assert errors == [DagFileError("bad.py", "SyntaxError: x"), DagFileError("late.py", TRACEBACK)]
    assert errors[1].last_line == "ModuleNotFoundError: no pandas"
    airflow.file_errors = {}
    assert environment.list_dag_file_errors() == []


@both
def test_a_dag_that_runs_every_minute_hides_the_last_run_of_no_other(world: World, env_name: str) -> None:
    airflow = world.airflow(env_name)
    airflow.dags |= {"hourly": False, "minutely": False}
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    airflow.create("hourly", "first", date=begin.isoformat())
    for minute in range(1, 130):
        airflow.create("minutely", f"at-{minute}", date=(begin + timedelta(minutes=minute)).isoformat())
    last = world.environment(env_name, "web_session").get_last_dag_runs(["etl", "hourly", "minutely"])
    assert {dag_id: run.run_id for dag_id, run in last.items()} == {"hourly": "first", "minutely": "at-129"}
    assert len([call for call in world.calls() if call.startswith("rest")]) <= 2


@pytest.mark.parametrize(("env_name", "transport"), [("env3", TRANSPORTS[0]), ("env2", "web_session")])
@pytest.mark.parametrize(
    ("options", "cleared"),
    [
        ({}, ["extract", "transform[0]", "transform[1]", "load"]),
        ({"only_failed": True}, ["transform[1]", "load"]),
        ({"task_ids": ["transform"]}, ["transform[0]", "transform[1]"]),
        ({"task_ids": ["transform"], "downstream": True}, ["transform[0]", "transform[1]", "load"]),
        ({"task_ids": ["transform"], "downstream": True, "only_failed": True}, ["transform[1]", "load"]),
        ({"task_ids": ["extract"], "only_failed": True}, []),
    ],
)
def test_what_is_cleared_is_planned_first(
    world: World, env_name: str, transport: str, options: dict[str, object], cleared: list[str]
) -> None:
    with_tasks(world, env_name)
    airflow, environment = world.airflow(env_name), world.environment(env_name, transport)
    before = [task["state"] for task in airflow.tasks]
    planned = environment.clear_tasks("etl", "one", dry_run=True, **options)  # type: ignore[arg-type]
    assert [task["state"] for task in airflow.tasks] == before
    done = environment.clear_tasks("etl", "one", **options)  # type: ignore[arg-type]
    assert done == planned
    assert [instance.label for instance in done] == cleared
    assert all(instance.state is not TaskState.NONE for instance in done)  # as they were
    assert [task["state"] for task in airflow.tasks].count(None) == len(cleared)
    runs = {run["dag_run_id"]: run["state"] for run in airflow.runs}
    assert runs == {"one": "queued" if cleared else "failed", "two": "failed"}


@both
def test_nothing_is_cleared_where_the_input_is_wrong_or_another_run_would_be_hit(world: World, env_name: str) -> None:
    with_tasks(world, env_name)
    airflow, environment = world.airflow(env_name), world.environment(env_name, "web_session")
    before = [task["state"] for task in airflow.tasks]
    with pytest.raises(TaskInstanceNotFound, match="has no task 'nope', 'other'; nothing was cleared"):
        environment.clear_tasks("etl", "one", task_ids=["load", "other", "nope"])
    with pytest.raises(DagRunNotFound):
        environment.clear_tasks("etl", "three")
    airflow.clears_other_runs = True
    with pytest.raises(UnexpectedAnswer, match=r"would also clear tasks of run 'two' .*; nothing was cleared"):
        environment.clear_tasks("etl", "one")
    assert [task["state"] for task in airflow.tasks] == before


@both
def test_a_clearing_of_unknown_fate_is_not_repeated(world: World, env_name: str) -> None:
    with_tasks(world, env_name)
    environment = world.environment(env_name, "web_session")
    world.airflow(env_name).fails_after_clearing = True
    with pytest.raises(AirflowError, match="It may have taken effect") as caught:
        environment.clear_tasks("etl", "one")
    assert caught.value.ambiguous
    clears = [body for body in world.airflow(env_name).bodies if b"only_failed" in body]
    assert [b'"dry_run": true' in body or b'"dry_run":true' in body for body in clears] == [True, False]


@both
def test_roles_are_listed_and_deleted(world: World, env_name: str) -> None:
    airflow = world.airflow(env_name)
    airflow.roles.roles["dag-etl"] = {("can_read", "DAG:etl")}
    for transport in ("web_session", "cli"):
        roles = world.environment(env_name, transport).roles.list()
        assert [role.name for role in roles] == ["Admin", "Public", "User", "dag-etl"]
        assert roles[-1].permissions == {("can_read", "DAG:etl")}
    with pytest.raises(UnsupportedByTransport, match="deleting a role cannot go through"):
        world.environment(env_name, "cli").roles.delete("dag-etl")
    roles = world.environment(env_name).roles
    with pytest.raises(MwaaInputError, match="is one of Airflow's own"):
        roles.delete("User")
    roles.delete("dag-etl")
    assert "dag-etl" not in airflow.roles.roles
    with pytest.raises(RemoteNotFound, match="no role 'dag-etl'"):
        roles.delete("dag-etl")
