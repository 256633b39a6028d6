# SPDX-License-Identifier: Apache-2.0
"""The operator in the triggerer: the same results as in a worker's slot."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import DagRunFailed, DagRunNotFound, UnsupportedByTransport, WaitTimeout
from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator
from airflow_mwaa_provider.operators.run_ids import derived_run_id
from tests.client.world import TRANSPORTS
from tests.deferral import carry_through, context, deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

pytestmark = pytest.mark.usefixtures("looks_soon")

RUN_ID = derived_run_id(context())


@pytest.fixture
def operator(connection: Callable[..., str]) -> Callable[..., MwaaTriggerDagRunOperator]:
    """Create an operator that waits, by default in the triggerer."""

    def make(**more: Any) -> MwaaTriggerDagRunOperator:
        ids = {"task_id": "t", "env_name": "env3", "trigger_dag_id": "etl", "aws_conn_id": connection()}
        return MwaaTriggerDagRunOperator(**{**ids, "deferrable": True, "waiter_delay": 0.05, **more})

    return make


def carry_out(world: World, made: MwaaTriggerDagRunOperator, meanwhile: Callable[[], Any]) -> Any:
    """Wait as the operator is configured, while something happens."""
    if made.deferrable:
        return carry_through(made, meanwhile=meanwhile)

    # A wait in the same thread sees what happens before its first poll.
    def once(*arguments: Any) -> Any:
        answer = create(*arguments)
        meanwhile()
        return answer

    airflow = world.airflow()
    create, airflow.create = airflow.create, once  # type: ignore[method-assign]
    try:
        return made.execute(context())
    finally:
        airflow.create = create  # type: ignore[method-assign]


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_run_that_ends_well(world: World, operator: Callable[..., Any], transport: str, deferrable: bool) -> None:
    made = operator(transport=transport, deferrable=deferrable, wait_for_completion=True)
    result = carry_out(world, made, lambda: world.airflow().end("etl", RUN_ID))
    assert json.loads(json.dumps(result)) == result
    assert (result["run_id"], result["state"]) == (RUN_ID, "success")
    assert result["url"].endswith(f"/dags/etl/runs/{RUN_ID}")
    assert result["RestApiResponse"]["dag_run_id"] == RUN_ID
    assert len(world.airflow().runs) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_that_ends_badly(world: World, operator: Callable[..., Any], deferrable: bool) -> None:
    def end() -> None:
        row = {"dag_id": "etl", "dag_run_id": RUN_ID, "task_id": "load", "state": "failed", "try_number": 1}
        world.airflow().tasks = [row]
        world.airflow().end("etl", RUN_ID, "failed")

    with pytest.raises(DagRunFailed, match="Failed tasks: load") as caught:
        carry_out(world, operator(deferrable=deferrable, wait_for_completion=True), end)
    assert caught.value.failed_task_ids == ("load",)


@pytest.mark.parametrize("deferrable", [False, True])
def test_other_states_may_be_wanted(world: World, operator: Callable[..., Any], deferrable: bool) -> None:
    made = operator(deferrable=deferrable, wait_for_completion=True, allowed_states=["failed"])
    assert carry_out(world, made, lambda: world.airflow().end("etl", RUN_ID, "failed"))["state"] == "failed"


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_that_is_deleted(world: World, operator: Callable[..., Any], deferrable: bool) -> None:
    with pytest.raises(DagRunNotFound, match="was deleted while it was waited for"):
        carry_out(
            world,
            operator(deferrable=deferrable, wait_for_completion=True),
            lambda: world.airflow().runs.clear(),
        )


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(("cancel", "state"), [(True, "failed"), (False, "queued")])
def test_the_time_is_up(world: World, operator: Callable[..., Any], deferrable: bool, cancel: bool, state: str) -> None:
    how = {"wait_timeout": timedelta(seconds=0.3), "cancel_on_timeout": cancel, "wait_for_completion": True}
    with pytest.raises(WaitTimeout, match=r"did not end within 0\.3 s"):
        carry_out(world, operator(deferrable=deferrable, **how), lambda: None)
    run = world.airflow().run("etl", RUN_ID)
    assert run is not None
    assert run["state"] == state


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_result_of_a_remote_task(world: World, operator: Callable[..., Any], deferrable: bool) -> None:
    world.airflow().xcoms["etl", RUN_ID, "last", -1, "rows"] = {"written": 42}
    how = {"result_task_id": "last", "result_key": "rows", "wait_for_completion": True}
    result = carry_out(world, operator(deferrable=deferrable, **how), lambda: world.airflow().end("etl", RUN_ID))
    assert result["result"] == {"written": 42}


def test_a_result_that_the_transport_cannot_carry_is_refused_early(operator: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedByTransport, match="result_task_id"):
        operator(transport="cli", result_task_id="last")


def test_a_run_that_has_ended_already_needs_no_triggerer(world: World, operator: Callable[..., Any]) -> None:
    world.airflow().create("etl", RUN_ID)
    world.airflow().end("etl", RUN_ID)
    assert operator().execute(context())["state"] == "success"


def test_a_retry_waits_for_the_run_of_the_try_before(world: World, operator: Callable[..., Any]) -> None:
    deferred(lambda: operator().execute(context()))
    result = carry_through(operator(), meanwhile=lambda: world.airflow().end("etl", RUN_ID))
    assert result["run_id"] == RUN_ID
    assert len(world.airflow().runs) == 1


@pytest.mark.parametrize(("cancel", "state"), [(True, "failed"), (False, "queued")])
def test_a_deferral_that_airflow_ends(world: World, operator: Callable[..., Any], cancel: bool, state: str) -> None:
    made = operator(cancel_on_kill=cancel)
    deferred(lambda: made.execute(context()))
    with pytest.raises(Exception, match="Trigger timeout"):
        made.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    run = world.airflow().run("etl", RUN_ID)
    assert run is not None
    assert run["state"] == state


def test_a_strange_event_fails_the_task(operator: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="unexpected event"):
        operator().execute_complete(context(), {"status": "odd"})


def test_airflows_own_default(monkeypatch: pytest.MonkeyPatch, operator: Callable[..., Any]) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert operator(deferrable=None).deferrable is True
    assert operator(deferrable=False).deferrable is False
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "False")
    assert operator(deferrable=None).deferrable is False
