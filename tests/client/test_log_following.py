# SPDX-License-Identifier: Apache-2.0
"""The log of a running task: each line once, whatever the log's reader adds around it, until the end."""

from __future__ import annotations

import dataclasses

import pytest

from airflow_mwaa_provider.client.log_following import follow_task_log, last_begun_try, one_task_instance
from airflow_mwaa_provider.client.models import TaskInstance, TaskState
from airflow_mwaa_provider.exceptions import MwaaInputError, TaskInstanceNotFound
from tests.client.world import FakeTime, World

pytestmark = pytest.mark.once

TASK = TaskInstance("etl", "one", "load", TaskState.RUNNING, try_number=1)


class Scripted:
    """A task at successive polls: its state, its try, and the logs of its tries."""

    name = "env"

    def __init__(self, *looks: tuple[TaskState, int, dict[int, str]]) -> None:
        self.looks = list(looks)
        self.logs: dict[int, str] = {}

    def get_task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance:
        state, number, self.logs = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return dataclasses.replace(TASK, state=state, try_number=number)

    def get_task_instances(
        self, dag_id: str, run_id: str, *, task_ids: object = None
    ) -> list[TaskInstance]:  # pragma: no cover
        raise NotImplementedError

    def get_task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        return self.logs[try_number]

    def follow(self, try_number: int | None = None) -> list[tuple[int, list[str]]]:
        self.time = FakeTime()
        first = self.get_task_instance("etl", "one", "load")
        seen = follow_task_log(
            self, first, try_number=try_number, sleep=self.time.sleep, clock=self.time.clock, interval_s=2
        )
        return [(look.try_number, look.lines) for look in seen if look.lines]


def test_each_line_is_passed_on_once_although_the_log_moves() -> None:
    """The header changes when the log moves from the worker to CloudWatch, and a late line appears above others."""
    found = Scripted(
        (TaskState.QUEUED, 1, {}),
        (TaskState.RUNNING, 1, {1: "*** from the worker\na\nb\nb"}),
        (TaskState.RUNNING, 1, {1: "*** from the worker\na\nlate\nb\nb\nb\nc"}),
        (TaskState.SUCCESS, 1, {1: "*** from CloudWatch\na\nlate\nb\nb\nb\nc\nd"}),
        (TaskState.SUCCESS, 1, {1: "*** from CloudWatch\na\nlate\nb\nb\nb\nc\nd\nthe last one"}),
    )
    assert found.follow() == [
        (1, ["*** from the worker", "a", "b", "b"]),
        (1, ["late", "b", "c"]),
        (1, ["*** from CloudWatch", "d"]),
        (1, ["the last one"]),
    ]
    assert found.time.slept == [2, 2, 2, 2]


def test_an_address_in_the_head_makes_no_new_line() -> None:
    head = "*** Could not read served logs: <urllib3.connection.HTTPConnection object at 0x7f{}>"
    found = Scripted(
        *((TaskState.RUNNING, 1, {1: f"{head.format(look)}\na"}) for look in ("a1", "b2")),
        (TaskState.SUCCESS, 1, {1: f"{head.format('c3')}\na\n<x at 0x7fd4>\n<x at 0x7fe5>"}),
    )
    assert found.follow() == [(1, [head.format("a1"), "a"]), (1, ["<x at 0x7fd4>", "<x at 0x7fe5>"])]


RETRIED = (
    (TaskState.RUNNING, 1, {1: "a"}),
    (TaskState.UP_FOR_RETRY, 1, {1: "a\nfailed"}),
    (TaskState.QUEUED, 2, {1: "a\nfailed\nat last"}),
    (TaskState.RUNNING, 2, {1: "a\nfailed\nat last\nreally", 2: "a"}),
    (TaskState.SUCCESS, 2, {1: "", 2: "a\ndone"}),
)


def test_a_retry_is_followed_too() -> None:
    assert Scripted(*RETRIED).follow() == [
        (1, ["a"]),
        (1, ["failed"]),
        (1, ["at last"]),
        (1, ["really"]),
        (2, ["a"]),
        (2, ["done"]),
    ]


def test_the_only_try_that_is_asked_for() -> None:
    assert Scripted(*RETRIED).follow(1) == [(1, ["a"]), (1, ["failed"]), (1, ["at last"])]
    assert Scripted(*RETRIED).follow(2) == [(2, ["a"]), (2, ["done"])]


@pytest.mark.parametrize("state", [TaskState.SKIPPED, TaskState.UPSTREAM_FAILED])
def test_a_task_that_never_begins_has_no_log(state: TaskState) -> None:
    found = Scripted((TaskState.NONE, 0, {}), (state, 0, {}))
    assert found.follow() == []
    assert len(found.time.slept) == 1


def test_a_log_that_takes_long_to_read_is_read_less_often() -> None:
    found = Scripted((TaskState.SUCCESS, 1, {1: "a"}))
    time = FakeTime()
    read = found.get_task_log

    def slowly(*args: str, **more: int) -> str:
        time.now += 10
        return read(*args, **more)

    found.get_task_log = slowly  # type: ignore[method-assign,assignment]
    first = found.get_task_instance("etl", "one", "load")
    assert len(list(follow_task_log(found, first, sleep=time.sleep, clock=time.clock))) == 2
    assert time.slept == [20]


@pytest.mark.parametrize(
    ("state", "number", "begun"),
    [
        (TaskState.NONE, 0, 0),
        (TaskState.QUEUED, 1, 0),
        (TaskState.RUNNING, 1, 1),
        (TaskState.SCHEDULED, 3, 2),
        (TaskState.UP_FOR_RETRY, 2, 2),
        (TaskState.FAILED, None, 0),
    ],
)
def test_the_last_try_that_has_begun(state: TaskState, number: int | None, begun: int) -> None:
    assert last_begun_try(dataclasses.replace(TASK, state=state, try_number=number)) == begun


@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_a_log_that_grows_is_read_in_full_and_ends(world: World, env_name: str) -> None:
    """A running task's log has a token of Airflow 3 that never ends."""
    airflow = world.airflow(env_name)
    airflow.create("etl", "one")
    row = {"dag_id": "etl", "dag_run_id": "one", "start_date": None, "end_date": None, "try_number": 1}
    airflow.tasks = [{**row, "task_id": "load", "map_index": -1, "state": "running"}]
    airflow.logs = {("load", 1): ["a", "b"]}
    environment = world.environment(env_name, "web_session")
    first = one_task_instance(environment, "etl", "one", "load", None)
    looks = follow_task_log(environment, first, sleep=lambda _: None)
    assert next(looks).lines == ["a", "b"]
    airflow.logs["load", 1].append("c")
    airflow.tasks[0]["state"] = "success"
    assert [look.lines for look in looks] == [["c"], []]


def test_which_of_the_mapped_ones(world: World) -> None:
    airflow = world.airflow()
    airflow.create("etl", "one")
    row = {
        "dag_id": "etl",
        "dag_run_id": "one",
        "task_id": "load",
        "try_number": 1,
        "start_date": None,
        "end_date": None,
    }
    airflow.tasks = [
        {**row, "map_index": index, "state": "failed" if index in (3, 17) else "success"} for index in range(30)
    ]
    environment = world.environment()
    with pytest.raises(MwaaInputError) as caught:
        one_task_instance(environment, "etl", "one", "load", None)
    assert "is mapped: it has 0, 1, 2," in str(caught.value)
    assert "19 and 10 more; failed 3, 17. Choose one with map_index." in str(caught.value)
    assert one_task_instance(environment, "etl", "one", "load", 17).map_index == 17
    with pytest.raises(TaskInstanceNotFound, match="has no map index 40"):
        one_task_instance(environment, "etl", "one", "load", 40)
    with pytest.raises(TaskInstanceNotFound, match="task 'nope' of run 'one' of DAG 'etl' does not exist"):
        one_task_instance(environment, "etl", "one", "nope", None)
