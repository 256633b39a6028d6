# SPDX-License-Identifier: Apache-2.0
"""Injected faults: what the client sees, and whether the request took effect."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from airflow_mwaa_provider.local.aws.faults import FaultCall, FaultError, FaultKind, FaultPlan
from airflow_mwaa_provider.local.aws.service_model import MwaaServiceModel
from tests.local.lab import Lab, until

RESETS = (ConnectionClosedError, HTTPClientError)
NEEDS_INVOKE = pytest.mark.skipif(
    "InvokeRestApi" not in MwaaServiceModel().operation_names, reason="the installed botocore has no InvokeRestApi"
)
CALL = FaultCall(["cli"], "source", "POST", ["/aws_mwaa/cli", "dags trigger"])


def trigger(lab: Lab) -> Any:
    return lab.client().invoke_rest_api(
        Name="source", Path="/dags/x/dagRuns", Method="POST", Body={"dag_run_id": "one"}
    )


def trigger_by_session(lab: Lab, session: requests.Session) -> requests.Response:
    url = lab.mwaa.environments.get("source").public_url
    return session.post(f"{url}/api/v2/dags/x/dagRuns", json={"dag_run_id": "one"}, timeout=5)


class TestControlPlane:
    @NEEDS_INVOKE
    @pytest.mark.parametrize(("kind", "effect"), [("reset_before", 0), ("reset_after", 1)])
    def test_resets(self, source: Lab, kind: str, effect: int) -> None:
        source.fault("invoke_rest_api", kind, times=1)
        with pytest.raises(RESETS):
            trigger(source)
        assert len(source.factory.of("source").dag_runs) == effect
        assert trigger(source)["RestApiStatusCode"] == 200

    @NEEDS_INVOKE
    @pytest.mark.parametrize(("kind", "effect"), [("html", 0), ("status_after", 1)])
    def test_html(self, source: Lab, kind: str, effect: int) -> None:
        source.fault("invoke_rest_api", kind)
        with pytest.raises(ClientError) as caught:
            trigger(source)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502
        assert len(source.factory.of("source").dag_runs) == effect

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (500, "InternalServerException"),
            (503, "ServiceUnavailableException"),
            (429, "ThrottlingException"),
            (400, "ValidationException"),
        ],
    )
    def test_status(self, source: Lab, status: int, code: str) -> None:
        source.fault("get_environment", "status", status=status)
        with pytest.raises(ClientError) as caught:
            source.client().get_environment(Name="source")
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
        assert source.client().list_environments()

    @pytest.mark.parametrize(
        ("target", "operation"),
        [
            ("create_cli_token", "create_cli_token"),
            ("create_web_login_token", "create_web_login_token"),
            ("control_plane", "get_environment"),
            ("any", "create_cli_token"),
        ],
    )
    def test_targets(self, source: Lab, target: str, operation: str) -> None:
        source.fault(target, "status", status=503, times=1)
        with pytest.raises(ClientError):
            getattr(source.client(), operation)(Name="source")
        assert getattr(source.client(), operation)(Name="source")

    @NEEDS_INVOKE
    def test_method_and_path_are_those_of_airflows_api(self, source: Lab) -> None:
        source.fault("invoke_rest_api", "html", method="POST", path="/dags/*/dagRuns")
        assert source.client().invoke_rest_api(Name="source", Path="/dags/x/dagRuns", Method="GET")
        with pytest.raises(ClientError):
            trigger(source)

    def test_delay(self, source: Lab) -> None:
        source.fault("get_environment", "delay", delay_s=0.3)
        started = time.monotonic()
        assert source.client().get_environment(Name="source")
        assert time.monotonic() - started >= 0.3

    def test_a_request_that_is_refused_draws_no_fault(self, source: Lab) -> None:
        source.fault("any", "reset_before")
        with pytest.raises(ClientError, match="InvalidSignature"):
            source.client(secret="wrong").list_environments()


class TestGateway:
    @pytest.mark.parametrize(("kind", "effect"), [("reset_before", 0), ("reset_after", 1)])
    def test_resets_of_the_rest_api(self, source: Lab, kind: str, effect: int) -> None:
        session = source.login()
        source.fault("rest", kind, times=1)
        with pytest.raises(requests.ConnectionError):
            trigger_by_session(source, session)
        assert len(source.factory.of("source").dag_runs) == effect
        assert trigger_by_session(source, session).status_code == 200

    @pytest.mark.parametrize(("kind", "effect"), [("html", 0), ("status", 0), ("status_after", 1)])
    def test_errors_of_the_rest_api(self, source: Lab, kind: str, effect: int) -> None:
        session = source.login()
        source.fault("rest", kind, status=503)
        answer = trigger_by_session(source, session)
        assert answer.status_code == 503
        assert ("<html>" in answer.text) == (kind != "status")
        assert len(source.factory.of("source").dag_runs) == effect

    @pytest.mark.parametrize(("kind", "effect"), [("reset_before", 0), ("reset_after", 1)])
    def test_resets_of_the_cli(self, source: Lab, kind: str, effect: int) -> None:
        source.fault("cli", kind, times=1)
        with pytest.raises(requests.ConnectionError):
            source.cli("dags trigger x")
        assert len(source.factory.of("source").commands) == effect
        assert source.cli("dags trigger x").status_code == 200

    @pytest.mark.parametrize(("kind", "effect"), [("html", 0), ("status", 0), ("status_after", 1)])
    def test_errors_of_the_cli(self, source: Lab, kind: str, effect: int) -> None:
        source.fault("cli", kind, path="dags *")
        assert source.cli("variables list").status_code == 200
        answer = source.cli("dags trigger x")
        assert answer.status_code == 502
        assert len(source.factory.of("source").commands) == 1 + effect

    @pytest.mark.parametrize(("kind", "effect"), [("reset_before", 0), ("reset_after", 1)])
    def test_resets_of_the_login(self, source: Lab, kind: str, effect: int) -> None:
        source.fault("login", kind, times=1)
        with pytest.raises(requests.ConnectionError):
            source.login()
        assert source.factory.of("source").logins == effect
        assert source.login().cookies

    def test_delay(self, source: Lab) -> None:
        session = source.login()
        source.fault("rest", "delay", delay_s=0.3)
        url = source.mwaa.environments.get("source").public_url
        with pytest.raises(requests.ReadTimeout):
            session.post(f"{url}/api/v2/dags/x/dagRuns", json={}, timeout=0.1)
        started = time.monotonic()
        assert trigger_by_session(source, session).status_code == 200
        assert time.monotonic() - started >= 0.3
        # The request that the client gave up still takes effect, as behind a real load balancer.
        until(lambda: len(source.factory.of("source").dag_runs) == 2)

    def test_only_the_environment_that_is_named(self, source: Lab) -> None:
        source.environment("target")
        source.fault("cli", "html", environment="target")
        assert source.cli("version").status_code == 200
        assert source.cli("version", name="target").status_code == 502

    def test_any_reaches_the_ui_and_rest_does_not(self, source: Lab) -> None:
        url = source.mwaa.environments.get("source").public_url
        source.fault("rest", "html")
        with source.web() as web:
            assert web.get(f"{url}/home", timeout=5).status_code == 200
            source.fault("any", "html")
            assert web.get(f"{url}/home", timeout=5).status_code == 502

    def test_a_large_answer_that_is_thrown_away(self, source: Lab) -> None:
        url = source.mwaa.environments.get("source").public_url
        source.fault("any", "status_after")
        with source.web() as web:
            assert web.get(f"{url}/bytes?mb=20", timeout=5).status_code == 502


class TestPlan:
    def test_times(self) -> None:
        plan = FaultPlan()
        fault = plan.add({"target": "cli", "kind": "html", "times": 2})
        assert [plan.pick(CALL) is fault for _ in range(4)] == [True, True, False, False]
        assert (fault.fired, fault.seen) == (2, 4)

    def test_a_seed_gives_one_sequence(self) -> None:
        def draws(seed: int) -> list[bool]:
            plan = FaultPlan()
            plan.add({"target": "cli", "kind": "html", "probability": 0.3, "seed": seed})
            return [plan.pick(CALL) is not None for _ in range(200)]

        assert draws(7) == draws(7)
        assert draws(7) != draws(8)
        assert 35 < sum(draws(7)) < 85

    def test_the_first_that_fires_wins_and_the_next_take_over(self) -> None:
        plan = FaultPlan()
        first = plan.add({"target": "any", "kind": "html", "times": 1})
        second = plan.add({"target": "cli", "kind": "status", "status": 500})
        assert [plan.pick(CALL), plan.pick(CALL)] == [first, second]
        assert plan.remove(second.fault_id)
        assert not plan.remove(second.fault_id)
        assert plan.pick(CALL) is None

    @pytest.mark.parametrize(
        ("field", "value", "fires"),
        [
            ("environment", "source", True),
            ("environment", "target", False),
            ("method", "POST", True),
            ("method", "GET", False),
            ("path", "/aws_mwaa/*", True),
            ("path", "dags *", True),
            ("path", "variables *", False),
        ],
    )
    def test_conditions(self, field: str, value: str, fires: bool) -> None:
        plan = FaultPlan()
        plan.add({"target": "cli", "kind": "html", field: value})
        assert (plan.pick(CALL) is not None) == fires

    @pytest.mark.parametrize(
        ("description", "words"),
        [
            ({}, "target must be one of"),
            ({"target": "cli"}, "kind must be one of"),
            ({"target": "moto", "kind": "html"}, "target must be one of"),
            ({"target": "cli", "kind": "explode"}, "kind must be one of"),
            ({"target": "cli", "kind": "delay"}, "needs a positive delay_s"),
            ({"target": "cli", "kind": "html", "status": 200}, "status must be"),
            ({"target": "cli", "kind": "html", "times": 0}, "times must be"),
            ({"target": "cli", "kind": "html", "times": 1.5}, "times must be"),
            ({"target": "cli", "kind": "html", "probability": 2}, "probability must be"),
            ({"target": "cli", "kind": "html", "seed": 1}, "seed requires probability"),
            ({"target": "cli", "kind": "html", "path": 1}, "path must be a string"),
            ({"target": "cli", "kind": "html", "colour": "red"}, "unknown fields of a fault: colour"),
        ],
    )
    def test_what_can_not_be_used(self, description: dict[str, Any], words: str) -> None:
        with pytest.raises(FaultError, match=words):
            FaultPlan().add(description)

    def test_only_two_kinds_take_effect_and_lie(self) -> None:
        assert [kind for kind in FaultKind if kind.takes_effect] == [FaultKind.RESET_AFTER, FaultKind.STATUS_AFTER]
