# SPDX-License-Identifier: Apache-2.0
"""The plugins in running Airflows: options alone set local time, environment variables, virtual environments."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_mwaa_provider.client.environment import MwaaEnvironment
from tests.integration.world import JAVA_HOME, LOG_TIMEZONE, TASK_TIMEZONE, World

HERE = ZoneInfo(TASK_TIMEZONE)
RECENTLY_S = 900.0


DAG_IDS = ("tz_test", "environment_variables", "uses_plugins", "virtualenv_test")


@pytest.fixture(scope="module")
def runs_by_environment() -> dict[str, dict[str, str]]:
    return {}


@pytest.fixture
def runs(world: World, env_name: str, runs_by_environment: dict[str, dict[str, str]]) -> dict[str, str]:
    """A successful run of each DAG, by DAG ID; they run in parallel, once in each environment."""
    if env_name not in runs_by_environment:
        client = world.environment(env_name, "web_session")
        client.request("PATCH", "/dags/tz_test", json={"is_paused": False})
        found = {dag_id: str(client.trigger_dag_run(dag_id).run_id) for dag_id in DAG_IDS}
        for dag_id, run_id in found.items():
            client.wait_for_dag_run(dag_id, run_id, timeout_s=240)
        client.request("PATCH", "/dags/tz_test", json={"is_paused": True})
        runs_by_environment[env_name] = found
    return runs_by_environment[env_name]


def _result(client: MwaaEnvironment, dag_id: str, run_id: str, task_id: str) -> Any:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    value = client.request("GET", path)["value"]
    return ast.literal_eval(value) if isinstance(value, str) and value[:1] in "[{" else value


def _logs(world: World, env_name: str) -> dict[Path, str]:
    """Return the logs of an environment's processes, by file."""
    return {
        path: path.read_text(encoding="utf-8", errors="replace")
        for path in world.folder.rglob("*.log")
        if env_name in path.parts
    }


def _task_log(world: World, env_name: str, run_id: str, task_id: str) -> str:
    folders = {f"run_id={run_id}", f"task_id={task_id}"}
    return "\n".join(text for path, text in _logs(world, env_name).items() if folders <= set(path.parts))


def test_tasks_have_local_time_and_schedules_do_not(world: World, env_name: str, runs: dict[str, str]) -> None:
    client, run_id = world.environment(env_name, "web_session"), runs["tz_test"]
    texts = _result(client, "tz_test", run_id, "local_time")
    naive, aware, by_pendulum = map(datetime.fromisoformat, texts)
    assert abs((naive.replace(tzinfo=HERE) - datetime.now(UTC)).total_seconds()) < RECENTLY_S
    for moment in (aware, by_pendulum):
        assert moment.utcoffset() == moment.astimezone(HERE).utcoffset()
    log = _task_log(world, env_name, run_id, "tz_aware_task")
    assert re.search(r"\b\d\d:\d\d:\d\d( [AP]M)? P[SD]T 20\d\d\b", log), log  # as date prints it
    noons = _result(client, "tz_test", run_id, "noon_before_and_after_summer_time")
    assert noons == [
        "2026-03-07T12:00:00-08:00",
        "2026-03-08T12:00:00-07:00",
        "2026-03-08T13:00:00-07:00",
        "2026-03-08T19:00:00+00:00",
    ]
    found = client.request("GET", "/dags/tz_test/dagRuns")["dag_runs"]
    scheduled = [datetime.fromisoformat(run["logical_date"]) for run in found if run["run_type"] == "scheduled"]
    assert scheduled
    for moment in scheduled:
        assert moment.utcoffset() == datetime.now(UTC).utcoffset()
        assert (moment.astimezone(HERE).hour, moment.minute) == (12, 0)


def test_logs_have_a_zone_of_their_own_where_airflow_can(world: World, env_name: str, runs: dict[str, str]) -> None:
    log = _task_log(world, env_name, runs["environment_variables"], "in_bash")
    if world.environment(env_name).airflow_version.startswith("2."):
        stamps = re.findall(r"(?m)^\[(20\d\d-\d\d-\d\dT[\d:.]+[+-]\d{4})\]", log)
        expected = datetime.now(ZoneInfo(LOG_TIMEZONE)).utcoffset()
    else:
        stamps = re.findall(r'"timestamp":"([^"]+)"', log)
        expected = datetime.now(UTC).utcoffset()
    moments = [datetime.fromisoformat(stamp) for stamp in stamps]
    assert {moment.utcoffset() for moment in moments} == {expected}
    assert all(abs((moment - datetime.now(UTC)).total_seconds()) < RECENTLY_S for moment in moments)


def test_variables_are_seen_by_bash_by_python_and_by_triggers(
    world: World, env_name: str, runs: dict[str, str]
) -> None:
    client, run_id = world.environment(env_name, "web_session"), runs["environment_variables"]
    in_python = _result(client, "environment_variables", run_id, "in_python")
    assert in_python["JAVA_HOME"] == JAVA_HOME
    assert in_python["PATH"].endswith(f":{JAVA_HOME}/bin")
    assert in_python["PATH"].count(f"{JAVA_HOME}/bin") == 1  # regardless of the number of parent processes
    expected = f"JAVA_HOME is {JAVA_HOME}, PATH ends with {JAVA_HOME}/bin"
    assert expected in _task_log(world, env_name, run_id, "in_bash")
    seen = _result(client, "uses_plugins", runs["uses_plugins"], "deferred")
    # By the triggerer, by the task after it, and by the task's process when it parsed the DAG file.
    assert seen == [{"local": "2026-06-01T05:00:00", "zone": "PDT", "java_home": JAVA_HOME}] * 3
    tags = client.request("GET", "/dags/uses_plugins")["tags"]
    assert [tag["name"] for tag in tags] == [f"PDT {JAVA_HOME}"]  # by the DAG processor


def test_a_task_in_a_virtual_environment(world: World, env_name: str, runs: dict[str, str]) -> None:
    run_id = runs["virtualenv_test"]
    result = _result(world.environment(env_name, "web_session"), "virtualenv_test", run_id, "virtualenv_task")
    assert result == "1.99.0"
    assert "boto3 version 1.99.0" in _task_log(world, env_name, run_id, "virtualenv_task")


@pytest.mark.usefixtures("runs")
def test_plugins_are_shown_and_what_is_said_once_is_said_once(world: World, env_name: str) -> None:
    client = world.environment(env_name, "web_session")
    shown = client.request("GET", "/plugins", params={"limit": 50})["plugins"]
    assert {"mwaa_timezone", "mwaa_env_vars", "mwaa_virtualenv"} <= {each["name"] for each in shown}
    logs = _logs(world, env_name)
    for line in ("mwaa_provider.patch_virtualenv: not needed.", "mwaa_provider.log_timezone: Airflow 3 writes"):
        is_expected = "Airflow 3" not in line or not client.airflow_version.startswith("2.")
        told = [path for path, text in logs.items() for _ in range(text.count(line))]
        assert len(told) == int(is_expected), told
        assert all("scheduler" in path.name for path in told)
