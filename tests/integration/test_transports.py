# SPDX-License-Identifier: Apache-2.0
"""Every transport returns the same for a real Airflow 2 and a real Airflow 3."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from airflow_mwaa_provider.client.models import Connection, DagRunState, Pool, TaskState
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AirflowError,
    CliCommandNotAllowed,
    DagNotFound,
    DagRunFailed,
    DagRunNotFound,
    EnvironmentNotFound,
    MwaaInputError,
    RemoteConflict,
    RemoteNotFound,
    TaskInstanceNotFound,
    UnsupportedByTransport,
    WaitTimeout,
)
from tests.integration.world import World

AWKWARD = 'it\'s "quoted" $HOME `date` \\ %41 ünïcödé 🚀\n second line\ttab'


def short_id() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def test_a_run_from_trigger_to_end(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    run = environment.trigger_dag_run("echo", conf={"text": AWKWARD, "deep": {"list": [1, None, 2.5, True]}})
    assert run.created is True
    assert run.state in (DagRunState.QUEUED, DagRunState.RUNNING)
    ended = environment.wait_for_dag_run("echo", run.run_id, timeout_s=120)
    assert ended.state is DagRunState.SUCCESS
    task = environment.get_task_instance("echo", run.run_id, "answer")
    assert (task.state, task.map_index, task.label) == (TaskState.SUCCESS, -1, "answer")
    assert task.start_date is not None
    assert task.end_date is not None
    # What arrived, read through another transport.
    seen = world.environment(env_name, "web_session").get_dag_run("echo", run.run_id)
    assert seen.conf == {"text": AWKWARD, "deep": {"list": [1, None, 2.5, True]}}
    assert seen.start_date is not None
    assert seen.end_date is not None


def test_the_same_id_gives_the_same_run(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    run_id = short_id()
    first = environment.trigger_dag_run("paused", run_id)
    second = environment.trigger_dag_run("paused", run_id)
    assert (first.created, second.created) == (True, False)
    assert first.run_id == second.run_id == run_id


def test_another_run_of_the_same_date_is_a_conflict(world: World, env_name: str) -> None:
    environment = world.environment(env_name, "web_session")
    date = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=uuid.uuid4().int % 10**8)
    made = environment.trigger_dag_run("paused", short_id(), logical_date=date, note=AWKWARD)
    assert made.logical_date == date
    assert environment.get_dag_run("paused", made.run_id).note == AWKWARD
    with pytest.raises((RemoteConflict, AirflowError), match="already"):
        environment.trigger_dag_run("paused", short_id(), logical_date=date)


def test_a_failed_run_names_its_tasks(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    run = environment.trigger_dag_run("mapped")
    with pytest.raises(DagRunFailed, match=r"Failed tasks: part\[1\]") as caught:
        environment.wait_for_dag_run("mapped", run.run_id, timeout_s=120)
    assert caught.value.failed_task_ids == ("part[1]",)
    states = {task.label: task.state for task in environment.get_task_instances("mapped", run.run_id)}
    assert states == {"part[0]": TaskState.SUCCESS, "part[1]": TaskState.FAILED, "part[2]": TaskState.SUCCESS}


def test_logs(world: World, env_name: str) -> None:
    environment = world.environment(env_name, "web_session")
    run = environment.trigger_dag_run("echo")
    environment.wait_for_dag_run("echo", run.run_id, timeout_s=120)
    log = environment.get_task_log("echo", run.run_id, "answer")
    assert "a line with 'quotes', \"more\" and ünïcödé" in log
    with pytest.raises(TaskInstanceNotFound, match="nobody"):
        environment.get_task_log("echo", run.run_id, "nobody")


def test_many_runs_in_few_calls(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    made = [environment.trigger_dag_run("paused", short_id()).run_id for _ in range(5)]
    world.admin("DELETE", "calls")
    found = environment.get_dag_runs([("paused", run_id) for run_id in [*made, "is-not-there"]])
    assert {run_id for _, run_id in found} == set(made)
    calls = world.admin("GET", "calls")["counts"][env_name]
    assert sum(calls.values()) <= 3


def test_variables(world: World, env_name: str, transport: str) -> None:
    variables = world.environment(env_name, transport).variables
    key = f"plain {short_id()} 'ö'"
    variables.set(key, AWKWARD, "what it is for")
    assert variables.get(key).value == AWKWARD
    assert key in [variable.key for variable in variables.list()]
    variables.set(key, "")
    assert variables.get(key).value == ""
    variables.delete(key)
    with pytest.raises(RemoteNotFound, match=re.escape(repr(key))):
        variables.get(key)


@pytest.mark.parametrize("way", ["rest_api", "web_session"])
def test_connections_and_pools(world: World, env_name: str, way: str) -> None:
    if way == "rest_api" and not world.control_plane().supports_invoke_rest_api:
        pytest.skip("the installed boto3 has no InvokeRestApi")
    environment = world.environment(env_name, way)
    conn = Connection(short_id(), "http", host="h", login="l", password="hidden", port=80, extra='{"k": "v"}')
    environment.connections.set(conn)
    environment.connections.set(conn)
    seen = environment.connections.get(conn.conn_id)
    assert (seen.conn_type, seen.host, seen.login, seen.port) == ("http", "h", "l", 80)
    assert seen.password is None
    assert conn.conn_id in [connection.conn_id for connection in environment.connections.list()]
    environment.connections.delete(conn.conn_id)
    with pytest.raises(RemoteNotFound):
        environment.connections.get(conn.conn_id)

    pool = Pool(short_id(), 3, "three", include_deferred=True)
    environment.pools.set(pool)
    assert environment.pools.get(pool.name) == pool
    environment.pools.set(Pool(pool.name, 4))
    assert environment.pools.get(pool.name).slots == 4
    assert {pool.name, "default_pool"} <= {known.name for known in environment.pools.list()}
    default = environment.pools.get("default_pool")
    environment.pools.set(Pool("default_pool", default.slots + 1, include_deferred=default.include_deferred))
    assert environment.pools.get("default_pool").slots == default.slots + 1
    environment.pools.delete(pool.name)
    with pytest.raises(RemoteNotFound):
        environment.pools.get(pool.name)


def test_marking_and_clearing(world: World, env_name: str) -> None:
    environment = world.environment(env_name, "web_session")
    run = environment.trigger_dag_run("echo")
    environment.wait_for_dag_run("echo", run.run_id, timeout_s=120)
    environment.clear_dag_run("echo", run.run_id)
    assert environment.wait_for_dag_run("echo", run.run_id, timeout_s=120).state is DagRunState.SUCCESS
    assert environment.get_task_instance("echo", run.run_id, "answer").try_number == 2
    queued = environment.trigger_dag_run("paused")
    assert environment.set_dag_run_state("paused", queued.run_id, "failed").state is DagRunState.FAILED
    with pytest.raises(MwaaInputError, match="none of"):
        environment.set_dag_run_state("paused", queued.run_id, "sleeping")


def test_what_is_not_there(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    with pytest.raises(DagNotFound, match="no_such_dag"):
        environment.trigger_dag_run("no_such_dag")
    with pytest.raises((DagRunNotFound, DagNotFound)):
        environment.get_dag_run("no_such_dag", "x")
    with pytest.raises(DagRunNotFound, match="no-such-run"):
        environment.get_dag_run("paused", "no-such-run")
    with pytest.raises(DagRunNotFound):
        environment.get_dag_run("paused", "2026-01-01T00:00:00+00:00")
    with pytest.raises(DagNotFound):
        environment.is_dag_paused("no_such_dag")
    assert environment.is_dag_paused("paused") is True
    assert environment.is_dag_paused("echo") is False
    with pytest.raises(EnvironmentNotFound, match="nowhere"):
        world.environment("nowhere", transport)
    queued = environment.trigger_dag_run("paused")
    with pytest.raises(WaitTimeout, match="it is queued"):
        environment.wait_for_dag_run("paused", queued.run_id, timeout_s=0.5)


def test_a_deleted_run_ends_its_wait(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    run = environment.trigger_dag_run("paused", short_id())
    world.environment(env_name, "web_session").request("DELETE", f"/dags/paused/dagRuns/{run.run_id}")
    with pytest.raises(DagRunNotFound, match="deleted while it was waited for"):
        environment.wait_for_dag_run("paused", run.run_id, timeout_s=20)


def test_cli(world: World, env_name: str) -> None:
    environment = world.environment(env_name)
    result = environment.run_cli(["variables", "set", "from the cli", AWKWARD])
    assert result.exit_status == 0
    assert environment.run_cli(["variables", "get", "from the cli"]).stdout == AWKWARD + "\n"
    failed = environment.run_cli(["variables", "get", "no such variable"])
    assert failed.exit_status != 0
    assert "no such variable" in failed.stderr
    with pytest.raises(CliCommandNotAllowed, match="config list"):
        environment.run_cli(["config", "list"])


def test_what_a_transport_cannot_do_is_refused_by_name(world: World, env_name: str) -> None:
    environment = world.environment(env_name, "cli")
    world.admin("DELETE", "calls")
    assert environment.airflow_version
    for refused in (
        lambda: environment.get_task_log("echo", "x", "answer"),
        lambda: environment.set_dag_run_state("echo", "x", "failed"),
        lambda: environment.pools.list(),
        lambda: environment.connections.list(),
        lambda: environment.request("GET", "/dags"),
        lambda: environment.trigger_dag_run("echo", note="n"),
    ):
        with pytest.raises(UnsupportedByTransport, match="airflow:InvokeRestApi"):
            refused()
    assert set(world.admin("GET", "calls")["counts"].get(env_name, {})) <= {"get_environment"}


def test_the_transport_is_what_the_role_may_use(world: World, env_name: str) -> None:
    plane = world.control_plane()
    expected = ["rest_api"] if plane.supports_invoke_rest_api else []
    denied: list[str] = []
    for name, action in (
        ("rest_api", "airflow:InvokeRestApi"),
        ("web_session", "airflow:CreateWebLoginToken"),
        ("cli", "airflow:CreateCliToken"),
    ):
        made = world.admin("POST", "identities", {"denied_actions": [*denied, "airflow:GetEnvironment"]})
        session = world.session(made["access_key_id"], made["secret_access_key"])
        environment = world.environment(env_name, session=session)
        run = environment.trigger_dag_run("paused", short_id())
        assert environment.get_dag_run("paused", run.run_id).state is DagRunState.QUEUED
        assert environment.transport == (name if name != "rest_api" else (expected or ["web_session"])[0])
        denied.append(action)
    made = world.admin("POST", "identities", {"denied_actions": denied})
    nobody = world.environment(env_name, session=world.session(made["access_key_id"], made["secret_access_key"]))
    with pytest.raises(AccessDenied, match="airflow:CreateCliToken"):
        nobody.trigger_dag_run("paused")


def test_a_path_too_long_for_invoke_rest_api_takes_the_web_session(world: World, env_name: str) -> None:
    if not world.control_plane().supports_invoke_rest_api:
        pytest.skip("the installed boto3 has no InvokeRestApi")
    environment = world.environment(env_name)
    run_id = "long-" + "x" * 80
    environment.trigger_dag_run("paused", run_id)
    world.admin("DELETE", "calls")
    assert environment.set_dag_run_state("paused", run_id, "failed").state is DagRunState.FAILED
    assert environment.transport == "rest_api"
    assert world.admin("GET", "calls")["counts"][env_name] == {"create_web_login_token": 1, "login": 1, "rest": 1}
    environment.request("DELETE", f"/dags/paused/dagRuns/{run_id}")
