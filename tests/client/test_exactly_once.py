# SPDX-License-Identifier: Apache-2.0
"""A trigger creates exactly one run, despite every kind of fault on every transport."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests
from aiohttp import web

from airflow_mwaa_provider.exceptions import (
    AirflowError,
    CallTimeout,
    DagNotFound,
    MwaaError,
    RemoteConflict,
    Throttled,
    UnexpectedAnswer,
    WebServerUnreachable,
)
from tests.client.world import TRANSPORTS, FakeTime

if TYPE_CHECKING:
    from tests.client.world import World

TARGETS = {"rest_api": "invoke_rest_api", "web_session": "rest", "cli": "cli"}
FAULTS: dict[str, dict[str, Any]] = {
    "reset_before": {"kind": "reset_before"},
    "reset_after": {"kind": "reset_after"},
    "status_after_502": {"kind": "status_after", "status": 502},
    "status_after_503": {"kind": "status_after", "status": 503},
    "status_after_504": {"kind": "status_after", "status": 504},
    "html_502": {"kind": "html", "status": 502},
    "html_503": {"kind": "html", "status": 503},
    "status_500": {"kind": "status", "status": 500},
    "status_503": {"kind": "status", "status": 503},
    "status_429": {"kind": "status", "status": 429},
    "delay": {"kind": "delay", "delay_s": 0.7},
}


def the_runs(world: World, name: str = "env3") -> list[str]:
    return [run["dag_run_id"] for run in world.airflow(name).runs]


@pytest.mark.parametrize("name", ["env3", "env2"])
@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_one_run_in_spite_of_a_fault(world: World, transport: str, fault: str, name: str) -> None:
    # Long enough for a warm-up on a busy machine, where the delay must exceed it.
    read_timeout_s = 0.4 if fault == "delay" else 10.0
    environment = world.environment(name, transport, read_timeout_s=read_timeout_s, airflow_major=int(name[-1]))
    environment.trigger_dag_run("etl", "earlier")
    world.fault(TARGETS[transport], times=1, **FAULTS[fault])
    run = environment.trigger_dag_run("etl", "run_1")
    assert run.created is True
    if fault == "delay":
        world.until(lambda: any(call["fault"] == "delay" for call in world.mwaa.calls.last()))  # it arrives late
    assert the_runs(world, name) == ["earlier", "run_1"]
    assert world.mwaa.faults.all()[0].fired == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_question_itself_may_fail(world: World, transport: str) -> None:
    environment = world.environment("env3", transport)
    for kind in ("reset_after", "reset_before", "html", "status_after", "reset_after"):
        world.fault(TARGETS[transport], kind, times=1)
    assert environment.trigger_dag_run("etl", "run_1").created
    assert the_runs(world) == ["run_1"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_many_triggers_with_seeded_faults(world: World, transport: str) -> None:
    chances = random.Random(20261122)
    for kind in ("reset_before", "reset_after", "status_after", "html"):
        world.fault(TARGETS[transport], kind, probability=0.12, seed=chances.randrange(1000))
    environment = world.environment("env3", transport, retry=FakeTime().policy(deadline_s=10_000))
    for n in range(40):
        environment.trigger_dag_run("etl", f"run_{n}", conf={"n": n})
    assert the_runs(world) == [f"run_{n}" for n in range(40)]
    assert sum(fault.fired for fault in world.mwaa.faults.all()) > 10


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "reset_after"}, MwaaError),
        ({"kind": "status_after", "status": 502}, (UnexpectedAnswer, AirflowError)),
        ({"kind": "html", "status": 502}, (UnexpectedAnswer, AirflowError)),
    ],
)
def test_a_doubt_that_outlives_the_deadline_is_told(
    world: World, transport: str, fault: dict[str, Any], expected: Any
) -> None:
    time = FakeTime()
    environment = world.environment("env3", transport, retry=time.policy(deadline_s=30), airflow_major=3)
    world.fault(TARGETS[transport], **fault)
    with pytest.raises(expected) as caught:
        environment.trigger_dag_run("etl", "run_1")
    assert caught.value.ambiguous
    assert len(the_runs(world)) <= 1
    assert 30 <= sum(time.slept) < 31


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_doubt_is_told_although_the_last_error_is_about_asking(world: World, transport: str) -> None:
    environment = world.environment("env3", transport, airflow_major=3)
    world.fault(TARGETS[transport], "reset_after", times=1)
    world.fault(TARGETS[transport], "status", status=429)
    with pytest.raises(Throttled) as caught:
        environment.trigger_dag_run("etl", "run_1")
    assert caught.value.ambiguous


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_definite_is_neither_repeated_nor_doubted(world: World, transport: str) -> None:
    environment = world.environment("env3", transport)
    with pytest.raises(DagNotFound) as caught:
        environment.trigger_dag_run("missing", "run_1")
    assert not caught.value.ambiguous
    if transport != "cli":
        environment.trigger_dag_run("etl", "run_1")
        world.airflow().runs[0]["logical_date"] = "2026-01-01T00:00:00+00:00"
        with pytest.raises(RemoteConflict):
            environment.trigger_dag_run("etl", "run_2", logical_date=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name != "cli"])
@pytest.mark.parametrize("kind", ["reset_after", "status_after", "html"])
def test_an_unknown_call_is_never_sent_twice(world: World, transport: str, kind: str) -> None:
    environment = world.environment("env3", transport)
    environment.request("GET", "/version")
    world.calls()
    world.fault(TARGETS[transport], kind, times=1)
    with pytest.raises(MwaaError) as caught:
        environment.request("POST", "/echo", json={"a": 1})
    assert caught.value.ambiguous
    assert [call for call in world.calls() if call == TARGETS[transport]] == [TARGETS[transport]]
    # A throttled request was not carried out, and is sent again.
    world.fault(TARGETS[transport], "status", status=429, times=2)
    assert environment.request("POST", "/echo", json={"a": 1})["echo"] == {"a": 1}


def test_a_command_is_repeated_only_when_that_is_harmless(world: World) -> None:
    environment = world.environment("env3")
    world.fault("cli", "html", status=503, times=1)
    with pytest.raises(UnexpectedAnswer) as caught:
        environment.run_cli(["version"])
    assert caught.value.ambiguous
    world.fault("cli", "status", status=503, times=2)
    assert environment.run_cli(["version"], idempotent=True).stdout.strip() == "3.3.1"
    world.fault("create_cli_token", "status", status=429, times=2)
    world.fault("create_cli_token", "reset_before", times=1)
    world.expire(tokens=True)
    # Getting a token has no effect, so it can be requested again.
    assert environment.run_cli(["version"]).exit_status == 0


@pytest.mark.parametrize("status", [200, 201])
def test_a_cut_or_foreign_success_is_a_doubt(world: World, status: int) -> None:
    environment = world.environment("env3", "web_session")
    for text, kind in (
        ('{"dag_run_id": "ru', "application/json"),
        ("<html>welcome</html>", "text/html"),
        ("{}", "x/y"),
    ):
        world.airflow().special["/dags/etl/dagRuns"] = web.Response(
            status=status, text=text, headers={"Content-Type": kind}
        )
        with pytest.raises(UnexpectedAnswer) as caught:
            environment.trigger_dag_run("etl", "run_1")
        assert caught.value.ambiguous


# -- time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_throttling_backs_off_until_the_deadline(world: World, transport: str) -> None:
    time = FakeTime()
    environment = world.environment("env3", transport, retry=time.policy(deadline_s=20), airflow_major=3)
    world.fault(TARGETS[transport], "status", status=429)
    with pytest.raises(Throttled):
        environment.get_dag_run("etl", "run_1")
    assert time.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 4.5]


def test_the_services_own_throttling_is_waited_out(world: World) -> None:
    time = FakeTime()
    environment = world.environment("env3", "web_session", retry=time.policy())
    for target in ("get_environment", "create_web_login_token", "login"):
        world.fault(target, "status", status=429, times=2)
    assert environment.trigger_dag_run("etl", "run_1").created
    assert len(time.slept) == 6
    assert the_runs(world) == ["run_1"]


@pytest.mark.parametrize(("asked", "attempts"), [("7", 2), ("600", 1)])
def test_a_server_that_says_when_to_come_back_is_obeyed(world: World, asked: str, attempts: int) -> None:
    time = FakeTime()
    environment = world.environment("env3", "web_session", retry=time.policy(deadline_s=10))
    world.airflow().special["/version"] = web.Response(status=429, headers={"Retry-After": asked})
    with pytest.raises(Throttled) as caught:
        environment.request("GET", "/version")
    assert caught.value.retry_after_s == float(asked)
    assert time.slept == [7.0] * (attempts - 1)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_wait_gives_up_in_time_although_nothing_answers(world: World, transport: str) -> None:
    time = FakeTime()
    environment = world.environment("env3", transport, retry=time.policy(), airflow_major=3)
    world.fault(TARGETS[transport], "html", status=502)
    with pytest.raises(MwaaError, match="did not end within 5 s"):
        environment.wait_for_dag_run("etl", "run_1", timeout_s=5, sleep=time.sleep, clock=time.clock)
    assert sum(time.slept) == pytest.approx(5)


def test_time_outs_shrink_with_the_deadline(world: World) -> None:
    time = FakeTime()
    environment = world.environment("env3", "web_session", retry=time.policy(deadline_s=30), read_timeout_s=60)
    timeouts: list[float] = []
    true_request = requests.Session.request

    def request(self: Any, *arguments: Any, **keywords: Any) -> Any:
        timeouts.append(keywords["timeout"][1])
        time.now += 11
        raise requests.exceptions.ReadTimeout

    environment.request("GET", "/version")
    requests.Session.request = request  # type: ignore[method-assign]
    try:
        with pytest.raises(CallTimeout):
            environment.request("GET", "/version")
    finally:
        requests.Session.request = true_request  # type: ignore[method-assign]
    assert timeouts == [30, 18.5, 6.5]


def test_a_web_server_that_is_gone_is_named_with_the_environments_status(world: World) -> None:
    time = FakeTime()
    environment = world.environment("env3", "web_session", retry=time.policy(), proxy="http://127.0.0.1:9")
    with pytest.raises(WebServerUnreachable, match="The environment is AVAILABLE") as caught:
        environment.trigger_dag_run("etl", "run_1")
    assert caught.value.status == "AVAILABLE"
    assert not caught.value.ambiguous
    assert world.calls().count("get_environment") == 2
