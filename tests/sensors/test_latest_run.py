# SPDX-License-Identifier: Apache-2.0
"""Sensors without a run id: the latest run of those that were there when the task began, however they wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor
from tests.deferral import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.client.world import World

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def sensor(connection: Callable[..., str]) -> Callable[..., MwaaDagRunSensor]:
    def make(**more: Any) -> MwaaDagRunSensor:
        ids = {"task_id": "t", "external_env_name": "env3", "external_dag_id": "etl", "aws_conn_id": connection()}
        return MwaaDagRunSensor(**{**ids, "poke_interval": 0.2, "timeout": 10**9, **more})

    return make


def run_at(world: World, run_id: str, moment: datetime, env_name: str = "env3") -> None:
    """Make a run of a date."""
    world.do(world.airflow(env_name).create, "etl", run_id, None, moment.isoformat())


@pytest.fixture
def rescheduled() -> Iterator[TaskInstance]:
    """Give a task instance whose present try began at :data:`BEGAN`, as Airflow keeps it between two pokes."""
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
    with settings.engine.connect() as connected:
        # The rows that it refers to belong to a whole DAG.
        connected.exec_driver_sql("PRAGMA foreign_keys=OFF")
        for start in (BEGAN, later):
            times = {"start_date": start, "end_date": start, "reschedule_date": later, "duration": 0}
            connected.execute(model.__table__.insert().values(**ids, **times, try_number=ti.try_number))
    yield ti
    with settings.engine.connect() as connected:
        connected.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connected.execute(model.__table__.delete())


def test_a_rescheduled_sensor_begins(sensor: Callable[..., Any], world: World, rescheduled: TaskInstance) -> None:
    run_at(world, "run_1", BEGAN - timedelta(hours=1))
    with pytest.raises(Exception, match=r".*") as caught:
        sensor(mode="reschedule").execute({"ti": rescheduled})
    assert type(caught.value).__name__ == "AirflowRescheduleException", caught.value
