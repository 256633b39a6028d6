# SPDX-License-Identifier: Apache-2.0
"""The objects that the golden files were written from, created again to compare with them."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor, MwaaTaskSensor
from airflow_mwaa_provider.triggers.dag_run import MwaaDagRunTrigger, MwaaTaskTrigger
from airflow_mwaa_provider.triggers.pause import PauseTrigger
from tests.deferral import context, deferred
from tests.golden import rooms

if TYPE_CHECKING:
    import pytest

    from tests.client.world import World

NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)
CREATED_AT, STARTED_AT = 1_790_000_000.25, 1_790_000_001.5
HOOK = {
    "aws_conn_id": "mwaa",
    "region_name": "eu-west-1",
    "verify": "/ca.pem",
    "botocore_config": {"read_timeout": 7, "retries": {"mode": "standard"}},
    "transport": "web_session",
    "airflow_major": 2,
}
IDS = {"env_name": "env3", "dag_id": "etl", "run_id": "run_1"}
FIELDS: dict[str, Any] = {
    "env_name": "env3", "transient": True, "ambiguous": True, "retry_after_s": 3.5, "action": "airflow:InvokeRestApi",
    "detail": "its own words", "dag_id": "etl", "run_id": "run_1", "state": "failed",
    "failed_task_ids": ("load[3]", "ü"), "task_ids": ("load[3]",), "table": "dag_run", "sqlstate": "57014",
    "failures": {"log": "why"}, "code": "SlowDown", "bucket": "bucket", "key": "files/x.csv", "sent": 3,
    "fix": "do this", "secret": "airflow/variables/x", "keys": ("a", "b"), "restored": True, "left": ("c",),
}  # fmt: skip


def moment(hours: float) -> datetime:
    """Return a time a number of hours after the fixed current time."""
    return NOW + timedelta(hours=hours)


def task_row(run_id: str, task_id: str, state: str) -> dict[str, Any]:
    """Return a task instance as the stub Airflow stores it."""
    names = {"dag_id": "etl", "dag_run_id": run_id, "task_id": task_id, "map_index": -1}
    return {**names, "state": state, "try_number": 1}


def triggers() -> list[dict[str, Any]]:
    """Return every trigger class as it is stored: with its defaults, and with all parameters set."""
    everything = {"waiter_delay": 7.5, "started_at": STARTED_AT, "deadline_s": 60.0, "may_appear": True}
    made = [
        MwaaDagRunTrigger(**IDS, hook={}, started_at=STARTED_AT),
        MwaaDagRunTrigger(
            **IDS, **everything, hook=HOOK, allowed_states=["success", "failed"], failed_states=["queued"],
            created_at=CREATED_AT, cancel_on_kill=True,
        ),
        MwaaTaskTrigger(**IDS, hook={}, started_at=STARTED_AT),
        MwaaTaskTrigger(
            **IDS, **everything, hook=HOOK, task_ids=["load_*", "report"], map_index=3, success_states=["skipped"],
            failed_states=["success"], skipped_states=[],
        ),
        PauseTrigger(until=STARTED_AT),
    ]  # fmt: skip
    serialized = [trigger.serialize() for trigger in made]
    return [{"classpath": path, "kwargs": kwargs} for path, kwargs in serialized]


def events() -> list[dict[str, Any]]:
    """Return the events of all ends of a wait: success, skipped, and each of our errors, bare and with all fields."""
    at = moment
    run = rooms.DagRun(
        "etl", "run_1", rooms.DagRunState.FAILED, logical_date=at(1), start_date=at(2), end_date=at(3), note="ü 😀"
    )
    plain = rooms.DagRun("etl", "run_1", rooms.DagRunState.SUCCESS)
    found = [
        {"what": "the run succeeded", "event": rooms.event_of(rooms.Done(plain))},
        {"what": "the run ended in another allowed state", "event": rooms.event_of(rooms.Done(run))},
        {"what": "tasks succeeded", "event": rooms.event_of(rooms.Done())},
        {"what": "tasks were skipped", "event": rooms.event_of(rooms.Done(skipped=True))},
    ]
    for name in exceptions.__all__:
        kind = getattr(exceptions, name)
        bases = [base for base in kind.__mro__ if issubclass(base, exceptions.MwaaError)]
        known = {parameter for base in bases for parameter in inspect.signature(base).parameters}
        fields = {field: value for field, value in FIELDS.items() if field in known}
        if "status" in known:
            fields["status"] = "UPDATING" if issubclass(kind, exceptions.EnvironmentUnavailable) else 404
        for error, of in ((kind("It failed. Do this."), None), (kind("It failed. Do this.", **fields), run)):
            event = rooms.event_of(rooms.Failed(error, of))
            kept = {field: value for field, value in vars(error).items() if field in event["error"]["fields"]}
            found.append({"what": name, "event": event, "fields": kept})
    return found


def deferrals(world: World, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return deferred tasks: each operator and sensor, its parameters, and what Airflow stores of its deferral."""
    world.airflow().create("etl", "run_1")
    operator: dict[str, Any] = {"env_name": "env3", "trigger_dag_id": "etl", "deferrable": True}
    sensor = {"external_env_name": "env3", "external_dag_id": "etl", "deferrable": True, "timeout": 3600.0}
    of_run = {**sensor, "external_dag_run_id": "run_1"}
    tasks: list[tuple[Any, dict[str, Any]]] = [
        (MwaaTriggerDagRunOperator, operator),
        (MwaaTriggerDagRunOperator, {**operator, "trigger_run_id": "given", "cancel_on_kill": True, "waiter_delay": 9}),
        (MwaaDagRunSensor, of_run),
        (MwaaDagRunSensor, {**of_run, "success_states": ["success", "failed"], "failure_states": ["running"]}),
        (MwaaTaskSensor, {**of_run, "external_task_id": "load"}),
        (MwaaTaskSensor, {**of_run, "external_task_id": None}),
        (MwaaDagRunSensor, sensor),
    ]  # fmt: skip

    def refuse(*arguments: Any, **more: Any) -> Any:
        raise exceptions.Throttled("Slow down.", transient=True)

    world.airflow().tasks = [task_row("run_1", "load", "running")]
    found = []
    for kind, given in tasks:
        kwargs = {**given, "task_id": "t", "aws_conn_id": "mwaa"}
        if given is sensor:
            monkeypatch.setattr(MwaaEnvironment, "get_recent_dag_runs", refuse)
        made = kind(**kwargs)
        waiting = deferred(lambda made=made: made.execute(context()))
        path, trigger = waiting.trigger.serialize()
        for name, fixed in (("started_at", STARTED_AT), ("created_at", CREATED_AT), ("until", STARTED_AT)):
            if trigger.get(name) is not None:
                trigger[name] = fixed
        next_kwargs = dict(waiting.kwargs or {})
        if "url" in next_kwargs:
            next_kwargs["url"] = f"https://example.com/dags/etl/runs/{trigger['run_id']}"
        if "began_at" in next_kwargs:
            next_kwargs["began_at"] = STARTED_AT
        found.append(
            {
                "operator": f"{kind.__module__}.{kind.__name__}",
                "kwargs": kwargs,
                "trigger": {"classpath": path, "kwargs": trigger},
                "method": waiting.method_name,
                "next_kwargs": next_kwargs,
            }
        )
    return found
