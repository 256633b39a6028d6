# SPDX-License-Identifier: Apache-2.0
"""Tasks that an earlier release deferred: their triggers still run, and their events are still understood."""

from __future__ import annotations

import ast
import asyncio
import json
import time
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor, MwaaTaskSensor
from tests.deferral import context, first_event, serialized
from tests.golden import cases, files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

pytestmark = pytest.mark.usefixtures("looks_soon")

TRIGGERS = files.read("triggers.json")
EVENTS = files.read("events.json")
DEFERRED = files.read("deferred.json")
ENDS = [end for end in EVENTS if end["event"]["status"] != "failed"]
FAILURES = [end for end in EVENTS if end["event"]["status"] == "failed"]
OPERATOR = {"env_name": "env3", "trigger_dag_id": "etl", "deferrable": True}
SENSOR = {"external_env_name": "env3", "external_dag_id": "etl", "external_dag_run_id": "run_1", "deferrable": True}
# The tasks of a failed run are requested and reported.
ASKED_FOR = {"DagRunFailed": {"failed_task_ids", "transient", "ambiguous", "retry_after_s"}}


def find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def name_of(case: dict[str, Any]) -> str:
    return str(case.get("what") or case.get("classpath") or case["operator"]).rpartition(".")[2].replace(" ", "-")


def is_skip(error: BaseException) -> bool:
    return type(error).__name__ == "AirflowSkipException"


@pytest.mark.parametrize("stored", TRIGGERS, ids=name_of)
def test_a_stored_trigger_is_made_again_and_stored_the_same(stored: dict[str, Any]) -> None:
    trigger = from_a_row(stored)
    assert trigger.serialize() == (stored["classpath"], stored["kwargs"])
    serialized(trigger)


def test_triggers_and_events_are_written_as_they_were() -> None:
    """A triggerer and a worker may have different releases of this package for a while."""
    assert travelled(cases.triggers()) == TRIGGERS
    known = {end["what"] for end in EVENTS}
    assert [end for end in travelled(cases.events()) if end["what"] in known] == EVENTS


def test_tasks_defer_as_they_did(world: World, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    connection()
    assert travelled(cases.deferrals(world, monkeypatch)) == DEFERRED


def travelled(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_every_trigger_class_is_among_the_stored_ones() -> None:
    found = {stored["classpath"] for stored in TRIGGERS}
    for name in ("dag_run", "pause"):
        module = import_module(f"airflow_mwaa_provider.triggers.{name}")
        assert {f"{module.__name__}.{each}" for each in module.__all__} <= found


def test_every_class_that_defers_is_among_the_stored_tasks() -> None:
    """With each trigger and each resume method."""
    package = Path(exceptions.__file__).parent
    defers, methods = set(), set()
    for path in [*package.glob("operators/*.py"), *package.glob("sensors/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "defer":
                defers.add(path.stem)
                methods |= {each.value.value for each in node.keywords if each.arg == "method_name"}  # type: ignore[attr-defined]
    # What EksPodOperator defers with is the cncf.kubernetes provider's, and differs between its releases.
    defers.remove("eks")
    # If you add a class that defers, store its deferral, and name the file here.
    assert defers == {"dag_run", "remote_sensor"}
    assert {stored["method"] for stored in DEFERRED} == methods
    kinds = {MwaaTriggerDagRunOperator, MwaaDagRunSensor, MwaaTaskSensor}
    assert {find(stored["operator"]) for stored in DEFERRED} == kinds
    assert {stored["trigger"]["classpath"] for stored in DEFERRED} == {stored["classpath"] for stored in TRIGGERS}


def from_a_row(stored: dict[str, Any]) -> Any:
    """Create a trigger as a triggerer does: from a row of Airflow's table, which stores the arguments as a string."""
    row = import_module("airflow.models.trigger").Trigger(classpath=stored["classpath"], kwargs=stored["kwargs"])
    assert isinstance(row.encrypted_kwargs, str)
    return find(row.classpath)(**row.kwargs)


def resumed(kind: Any, given: dict[str, Any], event: Any, **more: Any) -> Any:
    made = kind(task_id="t", aws_conn_id="mwaa", **given)
    return made.resume_execution("execute_complete", {**more, "event": event}, context())


@pytest.mark.parametrize("end", ENDS, ids=name_of)
def test_an_event_of_a_good_end_is_understood(
    world: World, connection: Callable[..., str], end: dict[str, Any]
) -> None:
    connection()
    event = end["event"]
    for kind in (MwaaDagRunSensor, MwaaTaskSensor):
        given = {**SENSOR, "external_task_id": None} if kind is MwaaTaskSensor else SENSOR
        if event["status"] == "skipped":
            with pytest.raises(Exception, match="kipped") as caught:
                resumed(kind, given, event)
            assert is_skip(caught.value)
        else:
            resumed(kind, given, event)
    if event["run"] is not None:
        result = resumed(MwaaTriggerDagRunOperator, OPERATOR, event, url="https://example.com")
        told, run = result["RestApiResponse"], event["run"]
        assert (result["run_id"], result["state"], told["dag_run_id"]) == (run["run_id"], run["state"], run["run_id"])
        assert result["url"] == "https://example.com"
        for name in ("start_date", "end_date", "logical_date"):
            assert moment(told.get(name)) == moment(run[name]), name
        assert told.get("note") == run["note"]


def moment(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


@pytest.mark.parametrize("end", FAILURES, ids=name_of)
def test_an_event_of_a_failure_is_the_error_that_it_was(
    world: World, connection: Callable[..., str], end: dict[str, Any]
) -> None:
    connection()
    kind, event = getattr(exceptions, end["what"]), end["event"]
    with pytest.raises(kind) as caught:
        resumed(MwaaTriggerDagRunOperator, OPERATOR, event, url="https://example.com")
    assert type(caught.value) is kind
    assert str(caught.value).startswith(event["error"]["message"])
    found = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(caught.value).items()}
    kept = {name: value for name, value in end["fields"].items() if name not in ASKED_FOR.get(end["what"], ())}
    kept = {name: list(value) if isinstance(value, list | tuple) else value for name, value in kept.items()}
    assert {name: found[name] for name in kept} == kept
    # Airflow handles a sensor's own timeout.
    wanted: Any = kind if end["what"] != "WaitTimeout" else Exception
    with pytest.raises(wanted, match=r"It failed\. Do this\.") as caught:
        resumed(MwaaDagRunSensor, SENSOR, event)
    assert type(caught.value).__name__ == (end["what"] if wanted is kind else "AirflowSensorTimeout")


def test_every_error_is_among_the_stored_events() -> None:
    """Nothing is stored of a newer parameter; omit it here if it is new."""
    assert set(exceptions.__all__) == {end["what"] for end in FAILURES}


def with_time_left(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return a trigger's parameters with its times moved to today: waits end 12 hours after they begin."""
    began, now = kwargs.get("started_at"), time.time()
    moved = {name: kwargs[name] - began + now for name in ("started_at", "created_at") if kwargs.get(name)}
    return {**kwargs, **moved, **({"waiter_delay": 0.05} if "waiter_delay" in kwargs else {})}


@pytest.mark.parametrize("state", ["success", "failed"])
@pytest.mark.parametrize("stored", DEFERRED, ids=name_of)
def test_a_task_that_was_deferred_goes_on(
    world: World, connection: Callable[..., str], stored: dict[str, Any], state: str
) -> None:
    """Its trigger is created from the database's data and waits, and the task accepts the event that it fires."""
    connection()
    airflow, trigger, next_kwargs = world.airflow(), stored["trigger"]["kwargs"], stored["next_kwargs"]
    run_id = trigger.get("run_id", "run_1")
    airflow.create("etl", run_id)
    airflow.tasks = [cases.task_row(run_id, "load", state)]
    airflow.end("etl", run_id, state)
    waiting = from_a_row({**stored["trigger"], "kwargs": with_time_left(trigger)})

    async def wait() -> Any:
        return await asyncio.wait_for(first_event(waiting), 30)

    event = asyncio.run(wait())
    if "began_at" in next_kwargs:
        next_kwargs = {**next_kwargs, "began_at": time.time()}
    operator = find(stored["operator"])(**stored["kwargs"])

    def go_on() -> Any:
        return operator.resume_execution(stored["method"], {**next_kwargs, "event": event}, context())

    allowed = trigger.get("allowed_states", ["success"])
    if state not in allowed:
        with pytest.raises((exceptions.DagRunFailed, exceptions.TaskInstanceFailed)):
            go_on()
        return
    result = go_on()
    if "url" in next_kwargs:
        assert (result["run_id"], result["state"], result["url"]) == (run_id, state, next_kwargs["url"])


def test_a_wait_whose_time_is_up_ends(world: World, connection: Callable[..., str]) -> None:
    """The deadline is relative to when the earlier release began to wait."""
    connection()
    stored = DEFERRED[0]
    run_id = stored["trigger"]["kwargs"]["run_id"]
    world.airflow().create("etl", run_id)
    long_ago = {**stored["trigger"]["kwargs"], "started_at": 1_500_000_000.0, "waiter_delay": 0.05}
    event = asyncio.run(first_event(find(stored["trigger"]["classpath"])(**long_ago)))
    assert event["error"]["type"] == "WaitTimeout"
    operator = find(stored["operator"])(**stored["kwargs"])
    with pytest.raises(exceptions.WaitTimeout):
        operator.resume_execution(stored["method"], {**stored["next_kwargs"], "event": event}, context())
