# SPDX-License-Identifier: Apache-2.0
"""Sensors without a run ID: the latest run at the time when the task began, however they wait."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.exceptions import DagRunNotFound, EnvironmentUnavailable
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor
from tests.client.world import TRANSPORTS
from tests.deferral import TaskInstance, context, deferred, first_event, serialized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.client.world import World

pytestmark = pytest.mark.usefixtures("looks_soon")

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def sensor(connection: Callable[..., str]) -> Callable[..., MwaaDagRunSensor]:
    def make(**more: Any) -> MwaaDagRunSensor:
        ids = {"task_id": "t", "external_env_name": "env3", "external_dag_id": "etl", "aws_conn_id": connection()}
        return MwaaDagRunSensor(**{**ids, "poke_interval": 0.05, "timeout": 10**9, **more})

    return make


def run_at(world: World, run_id: str, moment: datetime, env_name: str = "env3") -> None:
    """Create a run with a date."""
    world.do(world.airflow(env_name).create, "etl", run_id, None, moment.isoformat())


@pytest.fixture
def rescheduled() -> Iterator[TaskInstance]:
    """Return a task instance whose current try began at :data:`BEGAN`, as Airflow stores it between two pokes."""
    ti = TaskInstance(rescheduled_first=BEGAN)
    if AIRFLOW_V_3:
        yield ti
        return
    settings = import_module("airflow.settings")
    if settings.engine is None or settings.Session is None:
        settings.configure_orm()
    model = import_module("airflow.models.taskreschedule").TaskReschedule
    model.__table__.create(settings.engine, checkfirst=True)
    ids = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
    later = BEGAN + timedelta(minutes=5)
    with settings.engine.begin() as connected:
        # The rows that it refers to belong to a whole DAG.
        connected.exec_driver_sql("PRAGMA foreign_keys=OFF")
        for start in (BEGAN, later):
            times = {"start_date": start, "end_date": start, "reschedule_date": later, "duration": 0}
            connected.execute(model.__table__.insert().values(**ids, **times, try_number=ti.try_number))
    yield ti
    with settings.engine.begin() as connected:
        connected.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connected.execute(model.__table__.delete())


@pytest.mark.parametrize(("env_name", "version"), [("env3", 3), ("env2", 2)])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_rescheduled_sensor_stays_with_its_run(
    sensor: Callable[..., Any], world: World, rescheduled: TaskInstance, transport: str, env_name: str, version: int
) -> None:
    for minutes in range(-2, 60):
        run_at(world, f"run_{minutes}", BEGAN + timedelta(minutes=minutes, seconds=30), env_name)
    made = sensor(external_env_name=env_name, airflow_version=version, transport=transport, mode="reschedule")
    with pytest.raises(Exception, match=r".*") as caught:
        made.execute({"ti": rescheduled})
    assert type(caught.value).__name__ == "AirflowRescheduleException", caught.value
    assert made.external_dag_run_id == "run_-1"


def test_a_rescheduled_sensor_without_a_run_of_its_time(
    sensor: Callable[..., Any], world: World, rescheduled: TaskInstance
) -> None:
    run_at(world, "run_1", BEGAN + timedelta(hours=1))
    with pytest.raises(DagRunNotFound, match="has no run yet"):
        sensor(mode="reschedule").execute({"ti": rescheduled})


def test_over_the_cli_of_airflow_2_a_scheduled_run_counts_from_its_start(world: World) -> None:
    for run_id, start in (
        ("scheduled__1", BEGAN),
        ("scheduled__2", BEGAN + timedelta(hours=1)),
        ("scheduled__3", None),
    ):
        # Its logical date is that of the interval's begin: long before the run was made.
        run_at(world, run_id, BEGAN - timedelta(hours=24 - int(run_id[-1])), "env2")
        if start is not None:
            world.airflow("env2").runs[-1]["start_date"] = start.isoformat()
    environment = world.environment("env2", "cli", airflow_major=2)
    assert [run.run_id for run in environment.get_recent_dag_runs("etl", 5, until=BEGAN)] == ["scheduled__1"]


# -- an environment that is unreachable while the run is looked up ---------------------------------------


def away(times: int, **more: Any) -> Any:
    """Make the environment unreachable for some polls, then available again."""
    look, left = MwaaEnvironment.get_recent_dag_runs, [None] * times

    def once(self: MwaaEnvironment, *arguments: Any, **filters: Any) -> Any:
        if left:
            left.pop()
            raise EnvironmentUnavailable("Environment 'env3' is UPDATING", **{"transient": True, **more})
        return look(self, *arguments, **filters)

    return patch.object(MwaaEnvironment, "get_recent_dag_runs", once)


def test_a_poke_waits_until_the_environment_is_back(sensor: Callable[..., Any], world: World) -> None:
    run_at(world, "run_1", BEGAN)
    world.do(world.airflow().end, "etl", "run_1")
    made = sensor()
    with away(1):
        assert made.poke(context()) is False
        made.execute(context())
    assert made.external_dag_run_id == "run_1"


def test_a_deferrable_sensor_pauses_until_the_environment_is_back(sensor: Callable[..., Any], world: World) -> None:
    run_at(world, "run_1", BEGAN)
    given = context()
    with away(2):
        waiting = deferred(lambda: sensor(deferrable=True).execute(given))
        for _ in range(2):
            event = asyncio.run(first_event(serialized(waiting.trigger)))
            # Another process continues, with only what Airflow has stored.
            fresh, kept = sensor(deferrable=True), {**waiting.kwargs, "event": event}
            waiting = deferred(lambda f=fresh, k=kept, m=waiting.method_name: f.resume_execution(m, k, given))  # type: ignore[misc]
    assert waiting.trigger.parameters["run_id"] == "run_1"


def test_the_time_is_up_before_the_environment_is_back(sensor: Callable[..., Any]) -> None:
    given = context()
    with away(9):
        waiting = deferred(lambda: sensor(deferrable=True, timeout=60).execute(given))
        kept = {**waiting.kwargs, "began_at": waiting.kwargs["began_at"] - 60}
        with pytest.raises(Exception, match=r"not found within 60 s.*is UPDATING") as caught:
            sensor(deferrable=True, timeout=60).resume_execution(waiting.method_name, {**kept, "event": {}}, given)
    assert type(caught.value).__name__ == "AirflowSensorTimeout"


@pytest.mark.parametrize("deferrable", [False, True])
def test_what_does_not_pass_fails_at_once(sensor: Callable[..., Any], deferrable: bool) -> None:
    with away(9, transient=False), pytest.raises(EnvironmentUnavailable, match="is UPDATING"):
        sensor(deferrable=deferrable).execute(context())
