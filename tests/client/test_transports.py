# SPDX-License-Identifier: Apache-2.0
"""Each transport over real HTTP: what it does, how many requests it makes, and which one is chosen."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
from airflow_mwaa_provider.client.models import Connection, DagRunState, Pool, RestRequest, TaskState
from airflow_mwaa_provider.exceptions import (
    AnswerTooLarge,
    CallTimeout,
    MwaaInputError,
    RemoteNotFound,
    TaskInstanceNotFound,
    UnsendableCommand,
    UnsupportedByTransport,
    ValueMasked,
)
from tests.client.world import HAS_INVOKE_REST_API, TRANSPORTS

if TYPE_CHECKING:
    from tests.client.world import World

needs_invoke_rest_api = pytest.mark.skipif(
    not HAS_INVOKE_REST_API, reason="the installed botocore's model has no InvokeRestApi"
)
NAMES = ["env3", "env2"]
CONF = {"quotes": "'\"`$(x)", "newline": "a\nb\tc", "unicode": "ü😀", "backslash": "\\n", "n": [1, None, 1.5]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_main_job(world: World, transport: str, name: str) -> None:
    environment, airflow = world.environment(name, transport), world.airflow(name)
    run = environment.trigger_dag_run("etl", "run_1", conf=CONF)
    assert (run.dag_id, run.run_id, run.state, run.created) == ("etl", "run_1", DagRunState.QUEUED, True)
    assert [row["conf"] for row in airflow.runs] == [CONF]
    assert environment.transport == transport
    assert environment.trigger_dag_run("etl", "run_1", conf=CONF).created is False
    airflow.runs[0]["state"] = "success"
    assert environment.get_dag_run("etl", "run_1").state is DagRunState.SUCCESS
    assert set(environment.get_dag_runs([("etl", "run_1"), ("etl", "other"), ("none", "run_1")])) == {("etl", "run_1")}
    assert environment.is_dag_paused("paused")
    assert not environment.is_dag_paused("etl")
    assert environment.wait_for_dag_run("etl", "run_1", timeout_s=5).run_id == "run_1"
    assert environment.airflow_version.startswith(name[-1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_task_instances(world: World, transport: str, name: str) -> None:
    environment, airflow = world.environment(name, transport), world.airflow(name)
    airflow.create("etl", "run_1")
    row = {"dag_id": "etl", "dag_run_id": "run_1", "try_number": 1}
    airflow.tasks = [
        {**row, "task_id": "load", "map_index": 3, "state": "failed"},
        {**row, "task_id": "plain", "map_index": -1, "state": "success"},
    ]
    assert environment.get_task_instance("etl", "run_1", "load", 3).state is TaskState.FAILED
    assert [task.label for task in environment.get_task_instances("etl", "run_1", states=[TaskState.FAILED])] == [
        "load[3]"
    ]
    with pytest.raises(TaskInstanceNotFound):
        environment.get_task_instance("etl", "run_1", "load")
    assert environment.get_task_instances("etl", "run_2") == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_variables(world: World, transport: str, name: str) -> None:
    variables = world.environment(name, transport).variables
    for key, value in {"-key with space": 'it\'s\n"$x"', "--opt": "-v", "empty": "", "a/b": "ü"}.items():
        variables.set(key, value, description="-d")
        assert variables.get(key).value == value
        variables.set(key, value + "2")
        assert variables.get(key).value == value + "2"
    assert [variable.key for variable in variables.list()] == ["--opt", "-key with space", "a/b", "empty"]
    variables.delete("empty")
    for missing in (variables.get, variables.delete):
        with pytest.raises(RemoteNotFound):
            missing("empty")


def test_a_variable_that_the_command_line_would_change_is_refused(world: World) -> None:
    variables = world.environment("env3", "cli").variables
    with pytest.raises(UnsendableCommand):
        variables.set("key", "--")
    assert world.airflow().commands == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name != "cli"])
def test_connections_pools_and_logs(world: World, transport: str, name: str) -> None:
    environment = world.environment(name, transport)
    for host in ("one", "two"):
        environment.connections.set(Connection("db", "postgres", host=host, password="hush-hush"))
        environment.pools.set(Pool("small", 3))
    assert [connection.host for connection in environment.connections.list()] == ["two"]
    assert environment.connections.get("db").password is None
    # The stub's v2 uses the same key for a pool's name in all calls.
    assert environment.pools.get("small").slots == 3
    environment.connections.delete("db")
    environment.pools.delete("small")
    assert environment.pools.list() == []
    assert "load 1\n" in world.environment(name).get_task_log("etl", "run", "load", try_number=1)


@pytest.mark.parametrize("value", ["***", '{"password": "***", "a": 1}', '[["***"]]'])
def test_masked_values_are_never_given_out_as_values(world: World, value: str) -> None:
    world.airflow().objects["variables"]["api_key"] = {"key": "api_key", "value": value}
    variables = world.environment("env3", "web_session").variables
    with pytest.raises(ValueMasked, match="transport cli"):
        variables.get("api_key")
    assert variables.list()[0].value is None


def test_pages_are_read_to_the_end(world: World) -> None:
    airflow = world.airflow()
    airflow.objects["variables"] = {f"k{n:03}": {"key": f"k{n:03}", "value": str(n)} for n in range(250)}
    for n in range(250):
        airflow.create("etl", f"run_{n}")
    environment = world.environment("env3", "web_session")
    assert len(environment.variables.list()) == 250
    pairs = [("etl", f"run_{n}") for n in range(0, 250, 2)]
    assert len(environment.get_dag_runs(pairs)) == 125
    assert len(world.calls()) < 12


# -- how many requests ---------------------------------------------------------------------------------


@needs_invoke_rest_api
def test_invoke_rest_api_takes_one_request(world: World) -> None:
    environment = world.environment("env3", "rest_api", airflow_major=3)
    environment.trigger_dag_run("etl", "run_1")
    assert world.calls() == ["invoke_rest_api"]


def test_a_web_session_takes_one_request_once_logged_in(world: World) -> None:
    environment = world.environment("env3", "web_session", airflow_major=3)
    environment.trigger_dag_run("etl", "run_1")
    assert world.calls() == ["create_web_login_token", "login", "rest"]
    environment.trigger_dag_run("etl", "run_2")
    assert world.calls() == ["rest"]


def test_the_cli_takes_two_requests_then_one(world: World) -> None:
    environment = world.environment("env2", "cli", airflow_major=2)
    environment.trigger_dag_run("etl", "run_1")
    assert world.calls() == ["create_cli_token", "cli"]
    environment.trigger_dag_run("etl", "run_2")
    assert world.calls() == ["cli"]


def test_many_threads_share_one_description_and_one_login(world: World) -> None:
    environment = world.environment("env3", "web_session")
    threads = [threading.Thread(target=environment.trigger_dag_run, args=("etl", f"run_{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = world.calls()
    assert len(world.airflow().runs) == 8
    assert [calls.count(name) for name in ("get_environment", "login", "rest")] == [1, 1, 8]


def test_five_threads_never_send_five_commands_at_once(world: World) -> None:
    world.airflow().cli_delay_s = 0.05
    environment = world.environment("env3", "cli")
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(environment.run_cli(["version"]).exit_status)) for _ in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 9


# -- which transport -----------------------------------------------------------------------------------


@needs_invoke_rest_api
@pytest.mark.parametrize(
    ("denied", "taken"),
    [
        ([], "rest_api"),
        (["InvokeRestApi"], "web_session"),
        (["InvokeRestApi", "CreateWebLoginToken"], "cli"),
        (["InvokeRestApi", "GetEnvironment"], "web_session"),
        (["InvokeRestApi", "CreateWebLoginToken", "GetEnvironment"], "cli"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_the_first_that_the_role_may_use_is_taken(world: World, name: str, denied: list[str], taken: str) -> None:
    world.deny(*denied)
    environment = world.environment(name)
    assert environment.transport is None
    environment.trigger_dag_run("etl", "run_1")
    assert environment.transport == taken
    world.calls()
    environment.get_dag_run("etl", "run_1")
    assert len(world.calls()) == 1


@needs_invoke_rest_api
def test_a_permission_that_is_taken_away_in_the_middle(world: World) -> None:
    environment = world.environment()
    environment.trigger_dag_run("etl", "run_1")
    world.deny("InvokeRestApi")
    assert environment.get_dag_run("etl", "run_1").run_id == "run_1"
    assert environment.transport == "web_session"


@pytest.mark.skipif(HAS_INVOKE_REST_API, reason="for a botocore without InvokeRestApi")
def test_without_invoke_rest_api_in_boto3(world: World) -> None:
    environment = world.environment()
    environment.trigger_dag_run("etl", "run_1")
    assert environment.transport == "web_session"
    with pytest.raises(UnsupportedByTransport, match=r"upgrade boto3"):
        world.environment("env3", "rest_api").trigger_dag_run("etl", "run_1")


@needs_invoke_rest_api
def test_what_invoke_rest_api_cannot_carry_goes_through_a_web_session(world: World) -> None:
    environment = world.environment()
    dag_id = "d" * 60
    world.airflow().dags[dag_id] = False
    environment.trigger_dag_run("etl", "run_1")
    assert environment.trigger_dag_run(dag_id, "run_1").created
    assert len(environment.request("GET", "/large")["text"]) > 6 * 1024 * 1024
    assert environment.transport == "rest_api"
    assert "login" in world.calls()
    assert environment.get_dag_run(dag_id, "run_1").run_id == "run_1"
    assert world.calls() == ["invoke_rest_api"]


def _too_slow(monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """Make Airflow slower than InvokeRestApi's limit a number of times; return the calls."""
    asked: list[str] = []
    invoke = ControlPlane.invoke_rest_api

    def slow(self: ControlPlane, env_name: str, request: RestRequest) -> Any:
        asked.append(request.path)
        return (504, "") if len(asked) <= times else invoke(self, env_name, request)

    monkeypatch.setattr(ControlPlane, "invoke_rest_api", slow)
    return asked


@needs_invoke_rest_api
def test_what_takes_too_long_for_invoke_rest_api_goes_through_a_web_session(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = world.environment()
    environment.trigger_dag_run("etl", "run_1")
    asked = _too_slow(monkeypatch, 9)
    assert environment.get_dag_run("etl", "run_1").run_id == "run_1"
    assert len(asked) == 1, "the answer would take as long again"
    assert environment.transport == "rest_api"


@needs_invoke_rest_api
def test_what_takes_too_long_is_asked_again_where_there_is_no_other_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = world.environment()
    environment.trigger_dag_run("etl", "run_1")
    asked = _too_slow(monkeypatch, 1)
    world.fault("login", "status", status=503)
    assert environment.get_dag_run("etl", "run_1").run_id == "run_1"
    assert len(asked) == 2


@needs_invoke_rest_api
def test_a_call_that_acted_is_not_sent_another_way_for_its_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _too_slow(monkeypatch, 1)
    with pytest.raises(CallTimeout, match="may have taken effect"):
        world.environment().request("POST", "/large")
    assert "login" not in world.calls()


@needs_invoke_rest_api
def test_a_call_that_acted_is_not_sent_again_for_its_large_answer(world: World) -> None:
    with pytest.raises(AnswerTooLarge, match="may have taken effect") as caught:
        world.environment().request("POST", "/large")
    assert caught.value.ambiguous
    assert world.airflow().bodies.count(b"acted") == 1


@needs_invoke_rest_api
def test_a_forced_transport_refuses_what_it_cannot_carry(world: World) -> None:
    environment = world.environment("env3", "rest_api")
    with pytest.raises(AnswerTooLarge, match="web_session"):
        environment.request("GET", "/large")
    with pytest.raises(UnsupportedByTransport, match="64 characters"):
        environment.set_dag_run_state("d" * 60, "run", "failed")
    assert "login" not in world.calls()


@needs_invoke_rest_api
def test_an_old_run_with_a_long_path_is_found_and_a_missing_one_ends_the_search(world: World) -> None:
    airflow, dag_id = world.airflow(), "d" * 45
    airflow.dags[dag_id] = False
    airflow.create(dag_id, "the_first_run")
    for n in range(1_050):
        airflow.create(dag_id, f"run_{n}")
    environment = world.environment()
    assert environment.get_dag_run(dag_id, "the_first_run").run_id == "the_first_run"
    assert world.calls().count("rest") == 1
    assert environment.trigger_dag_run(dag_id, "new_run").created


def test_request_speaks_plain_json_on_every_transport(world: World) -> None:
    for transport in [name for name in TRANSPORTS if name != "cli"]:
        environment = world.environment("env3", transport)
        params = {"flag": True, "many": ["a", "b"], "none": None, "at": datetime(2026, 1, 1, tzinfo=UTC), "n": 3}
        assert environment.request("get", "/query", params)["query"] == [
            ["flag", "true"],
            ["many", "a"],
            ["many", "b"],
            ["at", "2026-01-01T00:00:00+00:00"],
            ["n", "3"],
        ]
        assert environment.request("POST", "/echo", json={"a": (1, 2), 3: None})["echo"] == {"a": [1, 2], "3": None}
        for bad in ({"x": float("nan")}, {"x": object()}):
            with pytest.raises(MwaaInputError, match="nothing was sent"):
                environment.request("POST", "/echo", json=bad)


@pytest.mark.parametrize(
    "path", ["dags", "/dags?limit=1", "/dags#x", "/a/../b", "/..", "/a b", "/ü", "/api/v2/dags", ""]
)
def test_paths_that_mean_something_else_are_refused(world: World, path: str) -> None:
    with pytest.raises(MwaaInputError, match="path="):
        world.environment().request("GET", path)
    assert world.calls() == []


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_keys_that_would_change_the_path_are_refused(world: World, key: str) -> None:
    with pytest.raises(MwaaInputError):
        world.environment("env3", "web_session").variables.get(key)


def test_the_web_servers_host_is_known_without_get_environment(world: World) -> None:
    host = world.environment("env3").web_server_host
    world.deny("GetEnvironment")
    assert world.environment("env3").web_server_host == host
    assert world.environment("env3", airflow_major=3).dag_run_url("a", "b/c") == f"https://{host}/dags/a/runs/b%2Fc"


# -- sessions and tokens -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_ended_session_is_renewed_once(world: World, name: str) -> None:
    environment = world.environment(name, "web_session", airflow_major=int(name[-1]))
    environment.trigger_dag_run("etl", "run_1")
    world.expire(sessions=True)
    world.calls()
    assert environment.trigger_dag_run("etl", "run_2").created
    assert world.calls() == ["rest", "create_web_login_token", "login", "rest"]


def test_an_ended_token_is_renewed_once(world: World) -> None:
    environment = world.environment("env3", "cli", airflow_major=3)
    environment.trigger_dag_run("etl", "run_1")
    world.expire(tokens=True)
    world.calls()
    assert environment.trigger_dag_run("etl", "run_2").created
    assert world.calls() == ["cli", "create_cli_token", "cli"]
