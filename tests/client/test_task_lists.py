# SPDX-License-Identifier: Apache-2.0
"""Lists of more than a page of task instances: each one once, even if the remote pages are inconsistent."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.models import TaskState
from airflow_mwaa_provider.exceptions import UnexpectedAnswer
from tests.client.world import TRANSPORTS

if TYPE_CHECKING:
    from tests.client.world import World


def task(run_id: str, task_id: str, map_index: int = -1, state: str = "success", dag_id: str = "etl") -> dict[str, Any]:
    return {
        "dag_id": dag_id, "dag_run_id": run_id, "task_id": task_id, "map_index": map_index, "state": state,
        "try_number": 1,
    }  # fmt: skip


def calls(airflow: Any) -> int:
    return len([body for body in airflow.bodies if b"page_limit" in body or not body])


@pytest.mark.parametrize("page_limit", [100, 50])
@pytest.mark.parametrize("name", ["env3", "env2"])
@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name != "cli"])
def test_every_task_instance_is_there_once(world: World, transport: str, name: str, page_limit: int) -> None:
    environment, airflow = world.environment(name, transport), world.airflow(name)
    airflow.page_limit = page_limit
    airflow.create("etl", "mapped")
    airflow.create("etl", "wide")
    airflow.tasks = [task("mapped", "load", number, "failed" if number % 3 else "success") for number in range(730)]
    airflow.tasks += [task("mapped", "begin"), task("mapped", "end")]
    airflow.tasks += [task("wide", f"task_{number}") for number in range(250)]
    airflow.tasks += [task("wide", "gone", number) for number in range(130)]  # a task that is no longer in the DAG
    airflow.tasks_of_dags["etl"] = ["load", "begin", "end", *(f"task_{number}" for number in range(250))]
    random.Random(20261127).shuffle(airflow.tasks)
    for run_id, count in (("mapped", 732), ("wide", 380)):
        found = environment.get_task_instances("etl", run_id)
        assert len({(row.task_id, row.map_index) for row in found}) == len(found) == count
    failed = environment.get_task_instances("etl", "mapped", states=[TaskState.FAILED])
    assert {row.map_index for row in failed} == {number for number in range(730) if number % 3}
    some = environment.get_task_instances("etl", "wide", task_ids=["task_7", "gone", "nothing"])
    assert len(some) == 131


@pytest.mark.parametrize("name", ["env3", "env2"])
def test_tasks_of_many_runs_take_few_calls(world: World, name: str) -> None:
    environment, airflow = world.environment(name, "web_session"), world.airflow(name)
    airflow.tasks = [task(f"run_{run}", f"task_{number}") for run in range(90) for number in range(10)]
    airflow.tasks_of_dags["etl"] = [f"task_{number}" for number in range(10)]
    random.Random(20261127).shuffle(airflow.tasks)
    pairs = [("etl", f"run_{run}") for run in range(90)]
    before = calls(airflow)
    found = environment._access.call(lambda backend: backend.get_tasks_of_runs(pairs))
    assert len({(row.run_id, row.task_id) for row in found}) == len(found) == 900
    assert calls(airflow) - before <= {"env3": 10, "env2": 16}[name]
    before = calls(airflow)
    few = environment._access.call(lambda backend: backend.get_tasks_of_runs(pairs, task_ids=["task_3"]))
    assert len(few) == 90
    assert calls(airflow) - before == 1


def test_a_task_that_runs_again_meanwhile_costs_no_other(world: World) -> None:
    """Airflow 3 gives it another ID: it moves to the last page, and one moves up from the next page."""
    environment, airflow = world.environment("env3", "web_session"), world.airflow("env3")
    airflow.tasks = [task("wide", f"task_{number}") for number in range(250)]
    honest, moves = airflow._tasks_of, iter(range(3))

    def tasks_of(body: Any) -> list[dict[str, Any]]:
        found = honest(body)
        if body["page_offset"] == 0 and next(moves, None) is not None:
            airflow.tasks.append(airflow.tasks.pop(7))
        return found

    airflow._tasks_of = tasks_of
    found = environment.get_task_instances("etl", "wide")
    del airflow._tasks_of
    assert len({row.task_id for row in found}) == len(found) == 250


def test_what_cannot_be_listed_as_a_whole_is_an_error(world: World) -> None:
    """Tasks that are no longer in the DAG and on no page: no answer is better than a wrong one; a wait polls again."""
    environment, airflow = world.environment("env2", "web_session"), world.airflow("env2")
    airflow.tasks = [task("wide", f"task_{number}") for number in range(250)]
    honest = airflow._tasks_of
    airflow._tasks_of = lambda body: honest(body) + ([] if "task_ids" in body else [task("wide", "task_0")] * 5)
    airflow.tasks_of_dags["etl"] = [f"task_{number}" for number in range(250)]
    with pytest.raises(UnexpectedAnswer, match="counts 255 task instances and listed only 250") as caught:
        environment._access.backend(environment._access._candidates()[0]).get_tasks_of_runs([("etl", "wide")])
    assert caught.value.transient
    assert "\n" not in str(caught.value)
    del airflow._tasks_of
    assert json.loads(airflow.bodies[-1])["dag_run_ids"] == ["wide"]
