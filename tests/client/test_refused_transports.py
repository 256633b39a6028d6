# SPDX-License-Identifier: Apache-2.0
"""A transport that IAM denies is skipped for some minutes, not permanently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mwaa_provider.exceptions import AccessDenied
from tests.client.world import HAS_INVOKE_REST_API, FakeTime

if TYPE_CHECKING:
    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from tests.client.world import World

pytestmark = pytest.mark.skipif(not HAS_INVOKE_REST_API, reason="the botocore of old images")

TIME_TO_TRY_AGAIN_S = 301.0


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


@pytest.fixture
def environment(world: World, fake: FakeTime) -> MwaaEnvironment:
    made = world.environment(retry=fake.policy(), airflow_major=3)
    made.trigger_dag_run("etl", "run_1")
    return made


def read(environment: MwaaEnvironment) -> str | None:
    """Read something; return the transport that was used."""
    assert environment.get_dag_run("etl", "run_1").run_id == "run_1"
    return environment.transport


def test_it_is_used_again_when_it_is_permitted_again(
    world: World, fake: FakeTime, environment: MwaaEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "airflow_mwaa_provider"):
        world.deny("InvokeRestApi")
        assert read(environment) == "web_session"
        world.deny()
        assert read(environment) == "web_session"
        fake.now += TIME_TO_TRY_AGAIN_S
        assert [read(environment) for _ in range(3)] == ["rest_api"] * 3
    assert caplog.text.count("Using web_session instead") == 1
    assert caplog.text.count("rest_api is permitted again") == 1


def test_what_stays_refused_is_asked_for_seldom_and_logged_once(
    world: World, fake: FakeTime, environment: MwaaEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    world.deny("InvokeRestApi")
    read(environment)
    world.calls()
    caplog.clear()
    with caplog.at_level("INFO", "airflow_mwaa_provider"):
        for _ in range(3):
            fake.now += TIME_TO_TRY_AGAIN_S
            assert [read(environment) for _ in range(3)] == ["web_session"] * 3
    assert world.calls().count("control_plane") == 3  # the denied calls
    assert "Using" not in caplog.text


def test_where_nothing_is_left_the_first_is_tried_in_the_same_call(world: World, environment: MwaaEnvironment) -> None:
    world.deny("InvokeRestApi")
    assert read(environment) == "web_session"
    world.deny("CreateWebLoginToken", "CreateCliToken")
    world.expire(sessions=True, tokens=True)
    assert read(environment) == "rest_api"


def test_after_a_refusal_of_all_the_next_call_begins_anew(
    world: World, environment: MwaaEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    world.deny("*")
    with caplog.at_level("INFO", "airflow_mwaa_provider"):
        for _ in range(3):
            with pytest.raises(AccessDenied):
                environment.get_dag_run("etl", "run_1")
    assert caplog.text.count("Using web_session instead") == 1
    world.deny()
    assert read(environment) == "rest_api"


def test_a_forced_transport_stays(world: World) -> None:
    environment = world.environment("env3", "rest_api", airflow_major=3)
    world.deny("InvokeRestApi")
    with pytest.raises(AccessDenied, match="airflow:InvokeRestApi"):
        environment.get_dag_run("etl", "run_1")
    world.deny()
    world.airflow().create("etl", "run_1")
    assert read(environment) == "rest_api"
