# SPDX-License-Identifier: Apache-2.0
"""How a wait interprets the tasks of a poll: pure steps."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mwaa_provider.client.models import DagRun, DagRunState, TaskInstance, TaskState
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed, Step, Wait
from airflow_mwaa_provider.client.waits.task_wait import TaskSelection, TasksSeen, TaskWait
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    DagRunNotFound,
    MwaaError,
    TaskInstanceFailed,
    TaskInstanceNotFound,
    Throttled,
    WaitTimeout,
)

pytestmark = pytest.mark.once

GOING_ON = DagRun("etl", "run_1", DagRunState.RUNNING)
ENDED = DagRun("etl", "run_1", DagRunState.SUCCESS)
FAILED = DagRun("etl", "run_1", DagRunState.FAILED)


def task(label: str, state: str) -> TaskInstance:
    """Make an instance: ``load``, or ``load[3]``."""
    task_id, _, index = label.rstrip("]").partition("[")
    return TaskInstance("etl", "run_1", task_id, TaskState(state), map_index=int(index) if index else -1)


def wait(*patterns: str, map_index: int | None = None, **more: Any) -> TaskWait:
    selection = TaskSelection(patterns, map_index)
    return TaskWait("env", "etl", "run_1", started_at=100.0, deadline_s=50.0, tasks=selection, **more)


def step(waits: TaskWait, run: DagRun | None = None, now: float = 101.0, **tasks: str) -> Step:
    instances = tuple(task(label.replace("__", "["), state) for label, state in tasks.items())
    return waits.step(TasksSeen(instances, run), now)


@pytest.mark.parametrize("state", list(TaskState))
def test_every_state_of_a_task_has_its_step(state: TaskState) -> None:
    found = step(wait("load"), load=state.value)
    if state is TaskState.SUCCESS:
        assert found == Done(None, (task("load", "success"),))
    elif state in (TaskState.SKIPPED, TaskState.REMOVED):
        assert isinstance(found, Done)
        assert found.skipped
    elif state in (TaskState.FAILED, TaskState.UPSTREAM_FAILED):
        assert isinstance(found, Failed)
        assert isinstance(found.error, TaskInstanceFailed)
        assert (found.error.state, found.error.task_ids) == (state.value, ("load",))
    else:
        assert found == Wait(2.0, state.value)


def test_one_bad_end_ends_the_wait_for_all() -> None:
    found = step(wait(), extract="running", load="failed")
    assert isinstance(found, Failed)
    assert "load is failed" in str(found.error)
    assert step(wait(), extract="running", load="success") == Wait(2.0, "running")


def test_skipped_tasks_beside_successful_ones_are_no_skip() -> None:
    found = step(wait(), extract="success", load="skipped")
    assert isinstance(found, Done)
    assert not found.skipped
    assert isinstance(step(wait(skipped_states=frozenset()), load="skipped"), Failed)


@pytest.mark.parametrize("patterns", [(), ("load",), ("lo*",)])
@pytest.mark.parametrize("run", [ENDED, GOING_ON, FAILED])
def test_instances_that_a_smaller_mapping_has_left_are_skipped(patterns: tuple[str, ...], run: DagRun) -> None:
    found = step(wait(*patterns), run, load__0="success", load__1="success", load__2="removed")
    assert isinstance(found, Done)
    assert not found.skipped
    found = step(wait(*patterns), run, load__0="failed", load__1="success", load__2="removed")
    assert isinstance(found, Failed)
    assert "load[2]" not in str(found.error)
    assert step(wait(*patterns), run, load__0="running", load__1="removed") == Wait(2.0, "running")


@pytest.mark.parametrize("map_index", [None, 2])
def test_a_task_that_was_removed_as_a_whole(map_index: int | None) -> None:
    found = step(wait("load", map_index=map_index), ENDED, load__2="removed")
    assert isinstance(found, Done)
    assert found.skipped
    assert wait("load").needs_run([task("load[2]", "removed")])
    found = step(wait("load", map_index=map_index), FAILED, load__2="removed")
    assert isinstance(found, Failed)
    assert "load[2] is removed" in str(found.error)
    beside = {"load__0": "success", "load__2": "removed"}
    assert isinstance(step(wait("load", map_index=2), FAILED, **beside), Done)
    removed = frozenset({TaskState.REMOVED})
    assert isinstance(step(wait("load", failed_states=removed), ENDED, load__2="removed"), Failed)
    assert isinstance(step(wait("load", success_states=removed), FAILED, load__2="removed"), Done)


def test_globs_select() -> None:
    assert isinstance(step(wait("load_*"), load_a="success", load_b="success", report="failed"), Done)
    assert isinstance(step(wait("load_*", "report"), load_a="success", report="running"), Wait)
    assert TaskSelection(("load_*",)).task_ids is None
    assert TaskSelection(("load", "report")).task_ids == ("load", "report")
    assert TaskSelection().task_ids is None


def test_one_instance_of_a_mapped_task() -> None:
    third = wait("load", map_index=3)
    assert isinstance(step(third, load__2="running", load__3="success"), Done)
    assert isinstance(step(third, load__2="failed", load__3="running"), Wait)
    # Not expanded yet, or never, because an upstream task failed.
    assert isinstance(step(third, load="scheduled"), Wait)
    assert isinstance(step(third, load="upstream_failed"), Failed)
    missing = step(third, ENDED, load__0="success")
    assert isinstance(missing, Failed)
    assert isinstance(missing.error, TaskInstanceNotFound)


def test_a_run_that_ended_without_the_task_ends_the_wait() -> None:
    assert wait("load").needs_run([])
    assert wait("load").needs_run([task("load", "none")])
    assert not wait("load").needs_run([task("load", "queued")])
    assert step(wait("load"), GOING_ON) == Wait(2.0, "load not created yet")
    assert step(wait("load"), GOING_ON, load="none") == Wait(2.0, "none")
    for tasks, error in (({}, TaskInstanceNotFound), ({"load": "none"}, TaskInstanceFailed)):
        found = step(wait("load"), ENDED, **tasks)
        assert isinstance(found, Failed)
        assert type(found.error) is error


@pytest.mark.parametrize(
    ("seen", "now", "error"),
    [
        (TasksSeen((task("load", "running"),)), 150.0, WaitTimeout),
        (Throttled("slow", transient=True), 150.0, WaitTimeout),
        (AccessDenied("no"), 100.0, AccessDenied),
        (DagRunNotFound("no"), 100.0, DagRunNotFound),
    ],
)
def test_ends_without_success(seen: Any, now: float, error: type[MwaaError]) -> None:
    found = wait("load").step(seen, now)
    assert isinstance(found, Failed)
    assert type(found.error) is error


def test_trouble_that_passes_is_waited_out_and_a_run_may_appear() -> None:
    assert wait("load").step(Throttled("slow", transient=True, retry_after_s=9), 101.0) == Wait(9, "slow")
    assert wait("load", may_appear=True).step(DagRunNotFound("no"), 101.0) == Wait(2.0, "not created yet")
