# SPDX-License-Identifier: Apache-2.0
"""Every failure has its own error: one line with the environment, the call and what to do, and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aiohttp import web

from airflow_mwaa_provider.client.cli.airflow_cli import AirflowCli
from airflow_mwaa_provider.client.cli.endpoint import CliEndpoint
from airflow_mwaa_provider.client.models import CliResult, Connection
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AirflowError,
    CallTimeout,
    CliCommandFailed,
    CliCommandNotAllowed,
    DagNotFound,
    DagRunFailed,
    DagRunNotFound,
    EnvironmentNotFound,
    EnvironmentUnavailable,
    MwaaError,
    MwaaInputError,
    RemoteNotFound,
    Throttled,
    TokenExpired,
    UnexpectedAnswer,
    UnsendableCommand,
    UnsupportedByTransport,
    WaitTimeout,
    WebServerUnreachable,
)
from tests.client.failure import HUSH, Failure
from tests.client.world import HAS_INVOKE_REST_API, KEY, REGION, TRANSPORTS, FakeTime

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from tests.client.world import World

PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"
needs_invoke_rest_api = pytest.mark.skipif(
    not HAS_INVOKE_REST_API, reason="the installed botocore's model has no InvokeRestApi"
)
REST = [name for name in TRANSPORTS if name != "cli"]

pytestmark = pytest.mark.usefixtures("no_secret_is_logged")


CALLS: dict[str, Callable[[MwaaEnvironment], object]] = {
    "trigger": lambda environment: environment.trigger_dag_run("etl", "run_1"),
    "read": lambda environment: environment.get_dag_run("etl", "run_1"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("major", [None, 3])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_such_environment(world: World, transport: str, major: int | None, call: str) -> None:
    with Failure(world, EnvironmentNotFound, "the account and the region", env_name="nowhere"):
        CALLS[call](world.environment("nowhere", transport, airflow_major=major))


@pytest.mark.parametrize("status", ["CREATING", "DELETING"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_environment_that_is_not_available(world: World, transport: str, status: str) -> None:
    environment = world.mwaa.environments.get("env3")
    before = environment.status
    environment.status = type(before)(status)
    try:
        with Failure(world, EnvironmentUnavailable, status, "AVAILABLE") as failure:
            world.environment("env3", transport, airflow_major=3).trigger_dag_run("etl", "run_1")
    finally:
        environment.status = before
    assert failure.error.status == status


@pytest.mark.parametrize(
    ("transport", "action"),
    [
        pytest.param("rest_api", "airflow:InvokeRestApi", marks=needs_invoke_rest_api),
        ("web_session", "airflow:CreateWebLoginToken"),
        ("cli", "airflow:CreateCliToken"),
    ],
)
def test_no_permission_in_iam(world: World, transport: str, action: str) -> None:
    world.deny(action.removeprefix("airflow:"))
    with Failure(world, AccessDenied, action, "Allow") as failure:
        world.environment("env3", transport).trigger_dag_run("etl", "run_1")
    assert failure.error.action == action


def test_no_permission_for_anything(world: World) -> None:
    world.deny("*")
    with Failure(world, AccessDenied, "airflow:CreateCliToken"):
        world.environment("env3").trigger_dag_run("etl", "run_1")


def test_wrong_credentials_are_no_missing_permission(world: World) -> None:
    session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key="not-the-key-at-all", region_name=REGION)
    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane

    plane = ControlPlane(session, endpoint_url=world.url)
    with Failure(world, AccessDenied, "credentials were rejected", "Check the AWS connection") as failure:
        world.environment("env3", control_plane=plane, airflow_major=3).trigger_dag_run("etl", "run_1")
    assert failure.error.action is None


@pytest.mark.parametrize("transport", REST)
def test_airflow_itself_refuses(world: World, transport: str) -> None:
    world.airflow().special["/dags/etl"] = web.json_response({"detail": "Forbidden"}, status=403)
    with Failure(world, AccessDenied, "GET /dags/etl", "Forbidden", "roles page") as failure:
        world.environment("env3", transport).is_dag_paused("etl")
    assert failure.error.action is None


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_such_dag_run_or_variable(world: World, transport: str) -> None:
    environment = world.environment("env3", transport)
    with Failure(world, DagNotFound, "missing", "Check the id"):
        environment.trigger_dag_run("missing", "run_1")
    with Failure(world, DagNotFound, "missing", "Check the id"):
        environment.is_dag_paused("missing")
    with Failure(world, DagRunNotFound, "run_9", "Check both ids"):
        environment.get_dag_run("etl", "run_9")
    with Failure(world, RemoteNotFound, "variable 'key'", "Check the name"):
        environment.variables.get("key")


def test_commands_that_do_not_succeed(world: World) -> None:
    environment = world.environment("env3", "cli")
    with Failure(world, CliCommandNotAllowed, "`airflow db reset`", "MWAA allows only some"):
        environment.run_cli(["db", "reset", HUSH])
    result = environment.run_cli(["variables", "get", "missing"])
    assert result.exit_status == 1
    with Failure(world, CliCommandFailed, "variables set", "***"):
        environment._access.cli_endpoint().run(["variables", "set", "--bad", HUSH, HUSH, HUSH], check=True)
    with Failure(world, UnsupportedByTransport, "connections.set", "airflow:InvokeRestApi"):
        environment.connections.set(Connection("db", "postgres", password=HUSH))
    with Failure(world, UnsupportedByTransport, "GET /dags", "airflow:InvokeRestApi"):
        environment.request("GET", "/dags")
    for argument in (f"\x00{HUSH}", f"\ud800{HUSH}"):
        with Failure(world, UnsendableCommand, "variables set", env_name=None):
            environment.variables.set("key", argument)
    assert world.airflow().commands[-1][:2] == ["variables", "set"]


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (200, PAGE, UnexpectedAnswer),
        (302, "", UnexpectedAnswer),
        (404, PAGE, UnexpectedAnswer),
        (413, PAGE, UnsendableCommand),
        (400, '{"message": "no"}', CliCommandNotAllowed),
        (429, PAGE, Throttled),
        (503, PAGE, UnexpectedAnswer),
        (503, '{"message": "busy"}', Throttled),
        (500, '{"message": "Internal error"}', UnexpectedAnswer),
    ],
)
def test_answers_of_the_cli_endpoint(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int, text: str, expected: type[MwaaError]
) -> None:
    from airflow_mwaa_provider.local.aws.cli_endpoint import CliEndpoint

    async def run(*_: object) -> web.Response:
        return web.Response(status=status, text=text)

    monkeypatch.setattr(CliEndpoint, "run", run)
    with Failure(world, expected) as failure:
        world.environment("env3").run_cli(["version"])
    assert failure.error.ambiguous is (status in (200, 500, 503))


def test_tokens_and_sessions_that_are_refused(world: World) -> None:
    world.limit(token_lifetime_s=0.000_001)
    with Failure(world, TokenExpired, "login", "clock"):
        world.environment("env3", "web_session").trigger_dag_run("etl", "run_1")
    with Failure(world, TokenExpired, "new token", "clock"):
        world.environment("env3", "cli").trigger_dag_run("etl", "run_1")
    world.limit(token_lifetime_s=60, session_lifetime_s=0.000_001)
    with Failure(world, TokenExpired, "web session is new"):
        world.environment("env3", "web_session").trigger_dag_run("etl", "run_1")


def test_a_session_that_another_server_signed_is_renewed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_mwaa_provider.client.rest import transports

    environment = world.environment("env3", "web_session")
    environment.trigger_dag_run("etl", "run_1")
    airflow = world.airflow()
    airflow.forbidden_sessions = set(airflow.sessions)
    with Failure(world, AccessDenied, "Invalid JWT token"):
        environment.trigger_dag_run("etl", "run_2")
    monkeypatch.setattr(transports, "_FRESH_S", -1.0)
    assert environment.trigger_dag_run("etl", "run_2").created


@pytest.mark.parametrize("location", ["/login/?next=x", "/aws_mwaa/aws-console-sso"])
def test_a_redirect_to_the_login_renews_the_session(world: World, location: str) -> None:
    environment = world.environment("env2", "web_session")
    world.airflow("env2").special["/version"] = web.Response(status=302, headers={"Location": location})
    with Failure(world, TokenExpired, "GET /version", env_name="env2"):
        environment.request("GET", "/version")
    assert world.calls().count("login") == 2


def test_any_other_redirect_is_no_success(world: World) -> None:
    world.airflow().special["/version"] = web.Response(status=302, headers={"Location": "https://elsewhere/"})
    for transport in REST:
        with Failure(world, UnexpectedAnswer, "GET /version", "HTTP 302"):
            world.environment("env3", transport).request("GET", "/version")


@pytest.mark.parametrize("status", [200, 404, 502])
@pytest.mark.parametrize("transport", REST)
def test_html_instead_of_json(world: World, transport: str, status: int) -> None:
    world.airflow().special["/dags/etl"] = web.Response(status=status, text=PAGE, content_type="text/html")
    with Failure(world, UnexpectedAnswer, "GET /dags/etl", f"HTTP {status}", "Airflow's API") as failure:
        world.environment("env3", transport).is_dag_paused("etl")
    assert failure.error.status == status
    assert failure.error.transient is (status == 502)


@pytest.mark.parametrize("transport", REST)
def test_a_page_with_status_500_may_be_airflows_own(world: World, transport: str) -> None:
    world.airflow().special["/dags/etl"] = web.Response(status=500, text=PAGE, content_type="text/html")
    with Failure(
        world, UnexpectedAnswer, "HTTP 500 with", "instead of JSON", "either Airflow failed", "server's log"
    ) as failure:
        world.environment("env3", transport).is_dag_paused("etl")
    assert failure.error.transient


@pytest.mark.parametrize("text", ["null", "[]", "{}", '"text"', '{"is_paused_no": 1}'])
@pytest.mark.parametrize("transport", REST)
def test_json_of_another_shape(world: World, transport: str, text: str) -> None:
    special = world.airflow().special
    for path in ("/dags/etl", "/dags/etl/dagRuns/run", "/variables", "/dags/~/dagRuns/~/taskInstances/list"):
        special[path] = web.Response(text=text, content_type="application/json")
    environment = world.environment("env3", transport)
    for call in (
        lambda: environment.is_dag_paused("etl"),
        lambda: environment.get_dag_run("etl", "run"),
        environment.variables.list,
        lambda: environment.get_task_instances("etl", "run"),
    ):
        with Failure(world, UnexpectedAnswer, "pgrade airflow-mwaa-provider"):
            call()


@pytest.mark.parametrize("transport", REST)
def test_what_is_no_list_of_rows_is_compared_with_what_was_expected(world: World, transport: str) -> None:
    environment = world.environment("env3", transport)
    special = world.airflow().special
    special["/dags/~/dagRuns/~/taskInstances/list"] = web.json_response({"task_instances": None, "total_entries": 1})
    with Failure(world, UnexpectedAnswer, "described task_instances in", "expected a list, got null"):
        environment.get_task_instances("etl", "run")
    special["/variables"] = web.json_response({"variables": None, "total_entries": 1})
    with Failure(world, UnexpectedAnswer, "described variables in", "expected a list, got null"):
        environment.variables.list()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("x", "expected an object, got str"),
        (None, "expected an object, got null"),
        ({"dag_id": "etl", "state": HUSH}, "expected dag_run_id, got dag_id, state"),
    ],
)
@pytest.mark.parametrize("transport", REST)
def test_a_row_of_another_shape_is_compared_with_what_was_expected(
    world: World, transport: str, row: object, words: str
) -> None:
    answer = {"task_instances": [row], "total_entries": 1}
    world.airflow().special["/dags/~/dagRuns/~/taskInstances/list"] = web.json_response(answer)
    with Failure(world, UnexpectedAnswer, f"described a task instance in a form unknown to this version: {words}."):
        world.environment("env3", transport).get_task_instances("etl", "run")


def test_a_commands_row_without_a_column_is_compared_with_what_was_expected() -> None:
    cli = AirflowCli(CliEndpoint.__new__(CliEndpoint), "env3", 3)
    result = CliResult(stdout='[{"dag_id": "a", "owner": "x"}, {"owner": "x"}]', stderr="", exit_status=0)
    with pytest.raises(UnexpectedAnswer, match=r"rows of `airflow dags list` .*: expected dag_id, got owner\. Upgrade"):
        cli._parse(result, "dags list", "dag_id", "owner")


@pytest.mark.parametrize("noise", ["[2026-01-01] log\n[1] note\n", '{"event": "log"}\n[]x\n', "\x1b[34m[info]\n"])
def test_logs_around_a_commands_rows_are_passed_over(world: World, noise: str) -> None:
    world.airflow().noise = noise
    environment = world.environment("env3", "cli")
    assert environment.trigger_dag_run("etl", "run_1").created
    assert environment.get_dag_run("etl", "run_1").run_id == "run_1"
    assert not environment.is_dag_paused("etl")


@pytest.mark.parametrize("target", ["create_web_login_token", "get_environment", "login", "create_cli_token"])
@pytest.mark.parametrize("kind", ["html", "reset_before", "reset_after"])
def test_a_service_that_is_down(world: World, target: str, kind: str) -> None:
    world.fault(target, kind, status=502)
    transport = "cli" if "cli" in target else "web_session"
    expected = WebServerUnreachable if (target == "login" and kind != "html") else UnexpectedAnswer
    with Failure(
        world, expected, "Environment", "try again later" if kind == "html" and target == "login" else "again"
    ):
        world.environment("env3", transport).trigger_dag_run("etl", "run_1")
    assert world.airflow().runs == []


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("status", "HTTP 502, InternalServerException (injected fault)"), ("html", "HTTP 502 (Bad Gateway)")],
)
def test_an_answer_is_named_once(world: World, kind: str, answer: str) -> None:
    world.fault("get_environment", kind, status=502)
    with Failure(world, UnexpectedAnswer) as failure:
        world.environment("env3", "cli").is_dag_paused("etl")
    assert str(failure.error) == f"Environment 'env3', GetEnvironment in us-east-1 answered {answer}. Try again later."


@pytest.mark.parametrize("target", ["get_environment", "create_web_login_token", "create_cli_token"])
@pytest.mark.parametrize("status", [403, 404, 429, 400])
def test_a_proxys_page_in_place_of_the_service(world: World, target: str, status: int) -> None:
    world.fault(target, "html", status=status)
    with Failure(world, Throttled if status == 429 else UnexpectedAnswer, "Environment"):
        world.environment("env3", "cli" if "cli" in target else "web_session").trigger_dag_run("etl", "run_1")


@needs_invoke_rest_api
@pytest.mark.parametrize("status", [403, 404, 413, 502])
def test_a_proxys_page_in_place_of_invoke_rest_api(world: World, status: int) -> None:
    world.fault("invoke_rest_api", "html", status=status)
    with pytest.raises(MwaaError) as caught:
        world.environment("env3", "rest_api", airflow_major=3).trigger_dag_run("etl", "run_1")
    assert caught.value.ambiguous is (status in (413, 502))
    assert not isinstance(caught.value, DagNotFound)


@needs_invoke_rest_api
def test_invoke_rest_apis_ten_seconds(world: World) -> None:
    world.limit(rest_timeout_s=0.000_001)
    with Failure(world, CallTimeout, "InvokeRestApi's 10 s", "web_session") as failure:
        world.environment("env3", "rest_api", airflow_major=3).trigger_dag_run("etl", "run_1")
    assert failure.error.ambiguous


@pytest.mark.parametrize("transport", REST)
def test_airflows_own_words_are_given_without_what_was_sent(world: World, transport: str) -> None:
    words = {"detail": f"'{HUSH}' is not of type 'integer' - 'value'\nsecond line\x1b[0m"}
    world.airflow().special["/variables/key"] = web.json_response(words, status=400)
    with Failure(world, AirflowError, "'***' is not of type", "PATCH /variables/key") as failure:
        world.environment("env3", transport).variables.set("key", HUSH)
    assert failure.error.status == 400
    several = {"detail": [{"loc": ["body", "conf"], "msg": "bad", "input": HUSH}, "plain"]}
    world.airflow().special["/variables/key"] = web.json_response(several, status=422)
    with Failure(world, AirflowError, "body.conf: bad; plain"):
        world.environment("env3", transport).variables.set("key", HUSH)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_no_json_is_refused_before_it_is_sent(world: World, transport: str) -> None:
    environment = world.environment("env3", transport)
    for conf in ({"x": float("inf")}, {"x": {1, 2}}):
        with Failure(world, MwaaInputError, "JSON", env_name=None):
            environment.trigger_dag_run("etl", "run_1", conf=conf)
    assert world.calls() == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_waits_that_end_badly(world: World, transport: str) -> None:
    environment, time = world.environment("env3", transport), FakeTime()
    environment.trigger_dag_run("etl", "run_1")
    clock: dict[str, Any] = {"sleep": time.sleep, "clock": time.clock}
    with Failure(world, WaitTimeout, "run_1", "queued", "Wait longer"):
        environment.wait_for_dag_run("etl", "run_1", timeout_s=100, **clock)
    airflow = world.airflow()
    airflow.runs[0]["state"] = "failed"
    row = {"dag_id": "etl", "dag_run_id": "run_1", "map_index": 2}
    airflow.tasks = [{**row, "task_id": "load", "state": "failed"}, {**row, "task_id": "x", "state": "success"}]
    with Failure(world, DagRunFailed, "ended as failed", "load[2]") as failure:
        environment.wait_for_dag_run("etl", "run_1", timeout_s=100, **clock)
    assert failure.error.failed_task_ids == ("load[2]",)
    with Failure(world, DagRunNotFound, "deleted"):
        environment.wait_for_dag_run("etl", "run_2", timeout_s=100, **clock)
