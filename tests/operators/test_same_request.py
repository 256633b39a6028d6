# SPDX-License-Identifier: Apache-2.0
"""Ownership of runs: an ID belongs to one task of one source run of one Airflow, and a run to one request."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import DagRunAlreadyExists
from airflow_mwaa_provider.operators import trigger_and_wait as function
from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator
from airflow_mwaa_provider.operators.run_ids import former_run_id
from tests.client.world import TRANSPORTS
from tests.deferral import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

BEGAN = datetime(2026, 11, 28, 0, 0, 5, 123456, UTC)
FIRST, RETRY = TaskInstance(), TaskInstance(try_number=2)
ASKS = ["operator", "function"]


def in_run(ti: TaskInstance, *, began: datetime | None = BEGAN, **more: Any) -> Any:
    return {"ti": ti, "dag_run": SimpleNamespace(start_date=began, **more)}


@pytest.fixture
def trigger(
    request: pytest.FixtureRequest, world: World, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Request a run of ``etl``, with the operator, or with the function, which also waits for its end."""

    create = world.airflow().create

    def ended(dag_id: str, run_id: str, *more: Any) -> Any:
        answer = create(dag_id, run_id, *more)
        if answer[0] == 200:
            world.airflow().end(dag_id, run_id)
        return answer

    def ask(context: Any, conf: dict[str, Any], *, source: str = "eu-prod", **more: Any) -> dict[str, Any]:
        monkeypatch.setenv("AIRFLOW_ENV_NAME", source)
        how = {"transport": TRANSPORTS[0], "conf": conf, "aws_conn_id": connection(), **more}
        if getattr(request, "param", "operator") == "function":
            monkeypatch.setattr(function, "current_context", lambda: context)
            return function.trigger_and_wait("env3", "etl", wait_timeout=timedelta(seconds=5), **how)
        made = MwaaTriggerDagRunOperator(task_id="t", env_name="env3", trigger_dag_id="etl", **how)
        return made.execute(context)

    monkeypatch.setattr(world.airflow(), "create", ended)
    return ask


def confs(world: World) -> list[dict[str, Any]]:
    return [run["conf"] for run in world.airflow().runs]


@pytest.mark.parametrize("trigger", ASKS, indirect=True)
def test_one_dag_in_two_environments_asks_for_two_runs(trigger: Callable[..., Any], world: World) -> None:
    trigger({"ti": FIRST}, {"n": 1}, source="eu-prod")
    trigger({"ti": FIRST}, {"n": 1}, source="us-prod")
    assert confs(world) == [{"n": 1}, {"n": 1}]


def test_an_environment_of_the_same_name_in_another_region(
    trigger: Callable[..., Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for region in ("eu-west-1", "us-east-1"):
        monkeypatch.setenv("AWS_REGION", region)
        trigger({"ti": FIRST}, {}, region_name="us-east-1")
    assert len(confs(world)) == 2


@pytest.mark.parametrize("trigger", ASKS, indirect=True)
@pytest.mark.parametrize("again", [{"began": BEGAN + timedelta(milliseconds=1)}, {"id": 8}])
def test_a_source_run_that_was_deleted_and_made_again_asks_for_another_run(
    trigger: Callable[..., Any], world: World, again: dict[str, Any]
) -> None:
    trigger(in_run(FIRST, **({"id": 7} if "id" in again else {})), {"n": 1})
    trigger(in_run(FIRST, **again), {"n": 1})
    assert len(confs(world)) == 2


@pytest.mark.parametrize("trigger", ASKS, indirect=True)
def test_a_retry_finds_the_run_in_whatever_zone_the_source_runs_start_is_written(
    trigger: Callable[..., Any], world: World
) -> None:
    zone = datetime.now().astimezone().tzinfo
    assert trigger(in_run(FIRST), {"n": 1}) == trigger(in_run(RETRY, began=BEGAN.astimezone(zone)), {"n": 1})
    assert confs(world) == [{"n": 1}]


DATED = {"logical_date": "2026-11-28T00:00:00Z"}


class Store(dict[str, Any]):
    """What Airflow 3.3 stores for a task of one run across its tries: ``task_state_store``."""

    def set(self, key: str, value: Any) -> None:
        json.dumps(value)
        self[key] = value


@pytest.mark.parametrize("trigger", ASKS, indirect=True)
def test_a_retry_finds_the_run_though_its_own_was_put_back_into_the_queue(
    trigger: Callable[..., Any], world: World
) -> None:
    store = {"task_state_store": Store()}
    made = trigger(in_run(FIRST) | store, {"n": 1})
    later = BEGAN + timedelta(hours=1)
    assert trigger(in_run(RETRY, began=later) | store, {"n": 1})["run_id"] == made["run_id"]
    # Clearing the task starts a new run, and so does a source run that was deleted and recreated.
    cleared = TaskInstance(try_number=3, max_tries=4)
    assert trigger(in_run(cleared, began=later) | store, {"n": 1})["run_id"] != made["run_id"]
    assert trigger(in_run(FIRST, began=later) | {"task_state_store": Store()}, {"n": 1})["run_id"] != made["run_id"]
    assert len(confs(world)) == 3


def test_a_retry_with_a_date_finds_the_run_though_its_own_was_put_back_into_the_queue(
    trigger: Callable[..., Any], world: World
) -> None:
    store = {"task_state_store": Store()}
    trigger(in_run(FIRST) | store, {}, **DATED)
    world.airflow().runs[0]["start_date"] = (BEGAN + timedelta(seconds=5)).isoformat()
    later = BEGAN + timedelta(hours=1)
    assert trigger(in_run(RETRY, began=later) | store, {}, **DATED)["state"] == "success"
    assert len(confs(world)) == 1


def test_a_date_has_one_run_and_that_of_a_deleted_source_run_is_not_taken_up(
    trigger: Callable[..., Any], world: World
) -> None:
    trigger(in_run(FIRST), {}, **DATED)
    world.airflow().runs[0]["start_date"] = (BEGAN + timedelta(seconds=5)).isoformat()
    assert trigger(in_run(FIRST), {}, **DATED)["state"] == "success"
    later = BEGAN + timedelta(hours=1)
    for ti in (FIRST, RETRY):
        with pytest.raises(
            Exception, match=r"created it before its own run was created again, .* and a logical_date can have only one"
        ):
            trigger(in_run(ti, began=later), {}, **DATED)
    assert len(confs(world)) == 1


@pytest.mark.parametrize("trigger", ASKS, indirect=True)
def test_a_retry_after_an_upgrade_finds_the_run_that_was_made_before_it(
    request: pytest.FixtureRequest, trigger: Callable[..., Any], world: World
) -> None:
    more = ("env3", "etl", '{"n": 1}') if "function" in request.node.callspec.id else ()
    before = former_run_id({"ti": RETRY}, *more)  # type: ignore[typeddict-item]
    assert len(before) == len("mwaa__") + 24
    world.airflow().create("etl", before, {"n": 1})
    assert trigger(in_run(RETRY), {"n": 1})["run_id"] == before
    # Only a retry can have created it.
    assert trigger(in_run(FIRST), {"n": 1})["run_id"] != before
    # A newer one takes precedence.
    assert trigger(in_run(RETRY), {"n": 1})["run_id"] != before
    assert len(confs(world)) == 2


def test_the_run_that_another_environment_made_before_an_upgrade_is_left_alone(
    trigger: Callable[..., Any], world: World
) -> None:
    before = former_run_id({"ti": RETRY})  # type: ignore[typeddict-item]
    world.airflow().create("etl", before, {"asked_by": "us-prod"})
    trigger(in_run(RETRY), {"asked_by": "eu-prod"})
    assert confs(world) == [{"asked_by": "us-prod"}, {"asked_by": "eu-prod"}]


def test_a_wait_that_was_deferred_before_an_upgrade_marks_its_run(world: World, connection: Callable[..., str]) -> None:
    made = MwaaTriggerDagRunOperator(
        task_id="t", env_name="env3", trigger_dag_id="etl", deferrable=True, cancel_on_kill=True, conf={"n": 1},
        aws_conn_id=connection("web_session"),
    )  # fmt: skip
    before = former_run_id({"ti": FIRST})  # type: ignore[typeddict-item]
    world.airflow().create("etl", before, {"n": 1})
    with pytest.raises(Exception, match=r"Trigger/execution timeout|Trigger failure|timeout"):
        made.resume_execution("__fail__", {"error": "Trigger/execution timeout"}, in_run(FIRST))
    assert world.airflow().runs[0]["state"] == "failed"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("given", [{}, {"trigger_run_id": "mine_"}])
def test_a_retry_that_asks_for_something_else_fails_and_names_what(
    trigger: Callable[..., Any], world: World, transport: str, given: dict[str, Any]
) -> None:
    trigger(in_run(FIRST), {"day": 1, "secret": "xyzzy", "list": (1, 2)}, transport=transport, **given)
    trigger(in_run(RETRY), {"day": 1, "secret": "xyzzy", "list": [1, 2]}, transport=transport, **given)
    with pytest.raises(Exception, match=r"created for another request.*its conf has another 'day'") as caught:
        trigger(in_run(RETRY), {"day": 2, "secret": "xyzzy", "list": [1, 2]}, transport=transport, **given)
    assert type(caught.value).__name__ == "AirflowFailException"
    assert "xyzzy" not in str(caught.value)
    with pytest.raises(Exception, match="its conf lacks 'late'; only its conf has 'day', 'list', 'secret'"):
        trigger(in_run(RETRY), {"late": 1}, transport=transport, **given)
    assert len(confs(world)) == 1


@pytest.mark.parametrize("trigger", ["function"], indirect=True)
def test_a_run_id_that_is_given_twice_with_another_conf(trigger: Callable[..., Any], world: World) -> None:
    trigger(in_run(FIRST), {"day": 1}, run_id="mine")
    with pytest.raises(Exception, match="already has a run 'mine', created for another request"):
        trigger(in_run(FIRST), {"day": 2}, run_id="mine")
    assert confs(world) == [{"day": 1}]


def test_a_run_of_another_request_is_skipped_where_any_run_of_that_id_is(
    trigger: Callable[..., Any], world: World
) -> None:
    world.airflow().create("etl", "mine", {"day": 1})
    with pytest.raises(Exception, match="Skipping, because skip_when_already_exists") as caught:
        trigger(in_run(FIRST), {"day": 2}, trigger_run_id="mine", skip_when_already_exists=True)
    assert type(caught.value).__name__ == "AirflowSkipException"
    # Clearing it would run the other request again.
    with pytest.raises(Exception, match="created for another request"):
        trigger(in_run(FIRST), {"day": 2}, trigger_run_id="mine", reset_dag_run=True)
    assert world.airflow().runs[0]["state"] == "success"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", ["env3", "env2"])
def test_another_date_under_one_id_names_both(world: World, transport: str, name: str) -> None:
    environment = world.environment(name, transport)
    one, other = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    environment.trigger_dag_run("etl", "run_1", {"n": 1}, one)
    assert environment.trigger_dag_run("etl", "run_1", {"n": 1}, one).created is False
    with pytest.raises(
        Exception, match=r"logical date is 2026-01-01T00:00:00\+00:00, and 2026-01-02T00.* was requested"
    ):
        environment.trigger_dag_run("etl", "run_1", {"n": 1}, other)
    with pytest.raises(Exception, match="its conf has another 'n'"):
        environment.trigger_dag_run("etl", "run_1", {"n": 2}, one)
    assert len(world.airflow(name).runs) == 1


@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name != "cli"])
def test_another_data_interval_under_one_id_names_both(world: World, transport: str) -> None:
    environment = world.environment("env3", transport)
    one, two, three = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3))
    environment.trigger_dag_run("etl", "run_1", data_interval=(one, two))
    assert environment.trigger_dag_run("etl", "run_1", data_interval=(one, two)).created is False
    with pytest.raises(
        DagRunAlreadyExists, match=r"interval is 2026-01-01.* to 2026-01-02.*, and 2026-01-02.* was requested"
    ):
        environment.trigger_dag_run("etl", "run_1", data_interval=(two, three))


def test_a_run_that_another_one_made_meanwhile_is_not_taken_for_ours_after_a_lost_answer(world: World) -> None:
    environment = world.environment("env3", "web_session")
    world.airflow().create("etl", "run_1", {"n": 1})
    world.fault("rest", "reset_before", method="POST", times=1)
    with pytest.raises(Exception, match="created for another request"):
        environment.trigger_dag_run("etl", "run_1", {"n": 2})


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", ["env3", "env2"])
def test_a_request_without_a_date_and_a_run_that_has_one(world: World, name: str, transport: str) -> None:
    """Airflow 3 leaves a run without a date if none was requested; Airflow 2 dates every run."""
    environment = world.environment(name, transport)
    undated = environment.trigger_dag_run("etl", "undated", {"n": 1})
    assert undated.created
    assert environment.trigger_dag_run("etl", "undated", {"n": 1}).created is False
    environment.trigger_dag_run("etl", "dated", {"n": 1}, datetime(2026, 1, 1, tzinfo=UTC))
    if name == "env2":  # which does not show whether the date was requested
        assert environment.trigger_dag_run("etl", "dated", {"n": 1}).created is False
        return
    with pytest.raises(
        DagRunAlreadyExists, match=r"its logical date is 2026-01-01T00:00:00\+00:00, and none was requested"
    ):
        environment.trigger_dag_run("etl", "dated", {"n": 1})
    # Nor did an earlier release create one of these for the request.
    assert environment.trigger_dag_run("etl", "new", {"n": 1}, former_run_id="dated").run_id == "new"


@pytest.mark.parametrize("name", ["env3", "env2"])
def test_a_task_that_had_a_date_and_has_none_asks_for_another_run(
    world: World, connection: Callable[..., str], name: str
) -> None:
    """A derived ID shows whether a date was requested, so the two also differ on Airflow 2."""
    for date in (DATED, {}):
        made = MwaaTriggerDagRunOperator(
            task_id="t", env_name=name, trigger_dag_id="etl", aws_conn_id=connection("web_session"), **date
        )
        made.execute(in_run(FIRST))
    assert len(world.airflow(name).runs) == 2
