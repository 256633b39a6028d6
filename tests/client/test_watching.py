# SPDX-License-Identifier: Apache-2.0
"""Many waits on one environment cost few calls, and none of them misses its end."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.models import DagRunState, TaskState
from airflow_mwaa_provider.client.waits.blocking import wait_until_done
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed, PollInterval, RunWait, Wait
from airflow_mwaa_provider.client.waits.task_wait import TaskSelection, TasksSeen, TaskWait
from airflow_mwaa_provider.client.waits.watcher import Watcher
from airflow_mwaa_provider.exceptions import AccessDenied, DagRunFailed, DagRunNotFound, MwaaError
from tests.client.world import TRANSPORTS, FakeTime

if TYPE_CHECKING:
    from tests.client.stub_airflow import StubAirflow
    from tests.client.world import World

REST = [transport for transport in TRANSPORTS if transport != "cli"]


class Clock:
    """The real time, plus what a test adds."""

    def __init__(self) -> None:
        self.added_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.added_s


def run_wait(run_id: str, **more: Any) -> RunWait:
    return RunWait("env3", "etl", run_id, started_at=time.time(), deadline_s=3600, **more)


def make_runs(airflow: StubAirflow, count: int) -> list[str]:
    run_ids = [f"run_{number}" for number in range(count)]
    for run_id in run_ids:
        airflow.create("etl", run_id)
        airflow.runs[-1]["state"] = "running"
    return run_ids


def look(watcher: Watcher, waits: list[Any]) -> dict[str, Any]:
    return dict(zip([wait.run_id for wait in waits], watcher.look(waits), strict=True))


@pytest.mark.parametrize("name", ["env3", "env2"])
@pytest.mark.parametrize("transport", REST)
def test_a_thousand_waits_cost_one_call_a_look(world: World, transport: str, name: str) -> None:
    airflow = world.airflow(name)
    run_ids = make_runs(airflow, 1000)
    waits = [run_wait(run_id) for run_id in run_ids]
    watcher = Watcher(world.environment(name, transport, airflow_major=int(name[-1])))
    calls = {"rest_api": "invoke_rest_api", "web_session": "rest"}[transport]
    look(watcher, waits)
    assert world.calls().count(calls) == 10  # a hundred runs per call, while nothing is known
    assert set(look(watcher, waits).values()) == {None}
    assert world.calls().count(calls) == 1
    for run_id in run_ids[:3]:
        airflow.end("etl", run_id, "failed")
    seen = look(watcher, waits)
    assert world.calls().count(calls) == 1
    assert [run_id for run_id, run in seen.items() if run is not None] == run_ids[:3]
    assert {run.state for run in seen.values() if run} == {DagRunState.FAILED}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_was_just_made_needs_no_first_look(world: World, transport: str) -> None:
    make_runs(world.airflow(), 3)
    watcher = Watcher(world.environment("env3", transport))
    waits = [run_wait(f"run_{number}") for number in range(3)]
    for wait in waits:
        watcher.created("etl", wait.run_id, time.time())
    world.airflow().end("etl", "run_1")
    seen = look(watcher, waits)
    assert seen["run_0"] is None
    assert seen["run_1"].state is DagRunState.SUCCESS


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_deleted_run_and_an_end_by_a_wrong_clock_are_found_by_the_sweep(world: World, transport: str) -> None:
    airflow, clock = world.airflow(), Clock()
    make_runs(airflow, 4)
    waits = [run_wait(f"run_{number}") for number in range(4)]
    watcher = Watcher(world.environment("env3", transport), clock)
    look(watcher, waits)
    airflow.end("etl", "run_1", ago_s=3000)
    airflow.runs.remove(airflow.run("etl", "run_2"))  # type: ignore[arg-type]
    clock.added_s = 301
    seen = look(watcher, waits)
    assert seen["run_0"].state is DagRunState.RUNNING
    assert seen["run_1"].state is DagRunState.SUCCESS
    assert isinstance(seen["run_2"], DagRunNotFound)
    step = waits[2].step(seen["run_2"], clock())
    assert isinstance(step, Failed)
    assert "was deleted" in str(step.error)


def test_a_wait_that_was_forgotten_for_hours_is_looked_up_itself(world: World) -> None:
    make_runs(world.airflow(), 2)
    watcher = Watcher(world.environment("env3", REST[0]))
    waits = [run_wait("run_0"), run_wait("run_1")]
    for wait in waits:
        watcher.created("etl", wait.run_id, time.time() - 7200)
    world.airflow().end("etl", "run_0", ago_s=3600)
    assert [run.state.value for run in watcher.look(waits)] == ["success", "running"]  # type: ignore[union-attr]


def test_a_state_that_ends_early_is_told(world: World) -> None:
    make_runs(world.airflow(), 3)
    watcher = Watcher(world.environment("env3", REST[0]))
    waits = [run_wait("run_0", allowed_states=frozenset({DagRunState.RUNNING})), run_wait("run_1"), run_wait("run_2")]
    for _ in range(2):
        seen = look(watcher, waits)
    assert isinstance(waits[0].step(seen["run_0"], time.time()), Done)
    assert seen["run_1"] is None


def test_an_error_of_the_environment_is_one_error_for_all(world: World) -> None:
    world.deny("GetEnvironment", "CreateCliToken", "CreateWebLoginToken", "InvokeRestApi")
    watcher = Watcher(world.environment("env3", REST[0], airflow_major=3))
    with pytest.raises(AccessDenied):
        watcher.look([run_wait("run_0"), run_wait("run_1")])


# -- tasks -----------------------------------------------------------------------------------------------


def task_row(run_id: str, task_id: str, state: str | None, map_index: int = -1) -> dict[str, Any]:
    names = {"dag_id": "etl", "dag_run_id": run_id, "task_id": task_id, "map_index": map_index}
    return {**names, "state": state, "try_number": 1}


def task_wait(run_id: str, *patterns: str) -> TaskWait:
    return TaskWait("env3", "etl", run_id, started_at=time.time(), deadline_s=3600, tasks=TaskSelection(patterns))


@pytest.mark.parametrize("name", ["env3", "env2"])
@pytest.mark.parametrize("transport", REST)
def test_tasks_of_many_runs_are_read_a_hundred_runs_a_call(world: World, transport: str, name: str) -> None:
    airflow = world.airflow(name)
    run_ids = make_runs(airflow, 250)
    airflow.tasks = [task_row(run_id, "load", "running") for run_id in run_ids]
    airflow.tasks[7]["state"] = "upstream_failed"
    watcher = Watcher(world.environment(name, transport, airflow_major=int(name[-1])))
    waits = [task_wait(run_id, "load") for run_id in run_ids]
    world.calls()
    seen = watcher.look(waits)
    # Three pages, two of them full, so each of these is followed by a request for more.
    assert world.calls().count({"rest_api": "invoke_rest_api", "web_session": "rest"}[transport]) <= 5
    steps = [wait.step(one, time.time()) for wait, one in zip(waits, seen, strict=True)]  # type: ignore[arg-type]
    assert [number for number, step in enumerate(steps) if not isinstance(step, Wait)] == [7]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_run_decides_where_the_tasks_do_not(world: World, transport: str) -> None:
    airflow = world.airflow()
    make_runs(airflow, 2)
    airflow.tasks = [task_row("run_0", "load", None)]
    watcher = Watcher(world.environment("env3", transport))
    waits = [task_wait("run_0", "load")]
    (seen,) = watcher.look(waits)
    assert isinstance(seen, TasksSeen)
    assert [instance.state for instance in seen.instances] == [TaskState.NONE]
    assert seen.run is not None
    assert seen.run.state is DagRunState.RUNNING
    airflow.end("etl", "run_0")
    (seen,) = watcher.look(waits)
    assert isinstance(waits[0].step(seen, time.time()), Failed)  # type: ignore[arg-type]
    (seen,) = watcher.look([task_wait("run_9", "load")])
    assert isinstance(seen, DagRunNotFound)


# -- pace ------------------------------------------------------------------------------------------------


def test_looks_come_closer_near_the_expected_end() -> None:
    interval = PollInterval()
    assert interval.delay_s(300) == 30
    assert interval.delay_s(300, expected_s=310) == 6  # at least a fiftieth of the age
    assert interval.delay_s(300, expected_s=320) == 10
    assert interval.delay_s(300, expected_s=3000) == 30
    assert interval.delay_s(400, expected_s=320) == 40
    assert PollInterval(fixed_s=7).delay_s(300, expected_s=300) == 7


def test_the_end_is_expected_from_earlier_runs(world: World) -> None:
    airflow, environment = world.airflow(), world.environment("env3", REST[0], airflow_major=3)
    make_runs(airflow, 5)
    watcher, wait, fixed = Watcher(environment), run_wait("run_4"), run_wait("run_4", interval=PollInterval(fixed_s=7))
    watcher.learn([wait], wait.started_at + 5)
    watcher.learn([fixed], wait.started_at + 60)
    assert world.calls() == []  # a wait that is too new to ask, and one with a fixed interval
    for number, seconds in enumerate((50, 60, 400)):
        airflow.end("etl", f"run_{number}")
        run = airflow.run("etl", f"run_{number}")
        assert run is not None
        began = datetime(2026, 1, 1, tzinfo=UTC)
        run.update(start_date=began.isoformat(), end_date=(began + timedelta(seconds=seconds)).isoformat())
    watcher.learn([wait, fixed], wait.started_at + 60)
    assert world.calls()
    watcher.learn([wait], wait.started_at + 90)
    assert watcher.expected_s(wait, wait.started_at + 90) == 60
    assert watcher.expected_s(wait, wait.started_at + 5) is None
    assert watcher.expected_s(fixed, wait.started_at + 90) is None
    assert world.calls() == []  # requested once
    nowhere = RunWait("env3", "nothing_there", "run_0", wait.started_at, 3600)
    watcher.learn([nowhere], wait.started_at + 90)
    assert watcher.expected_s(nowhere, wait.started_at + 90) is None


def test_durations_of_many_dags_are_asked_for_a_few_at_a_time(world: World) -> None:
    waits = [RunWait("env3", f"dag_{number}", "run_0", time.time() - 60, 3600) for number in range(8)]
    watcher = Watcher(world.environment("env2", "web_session", airflow_major=2))
    world.calls()
    asked = []
    for _ in range(4):
        watcher.learn(waits, time.time())
        asked.append(sum(body.count(b"execution_date") for body in world.airflow("env2").bodies))
        world.airflow("env2").bodies.clear()
    assert asked == [3, 3, 2, 0]


# -- waits in a thread -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["env3", "env2"])
def test_a_failed_run_says_why(world: World, name: str, caplog: pytest.LogCaptureFixture) -> None:
    airflow = world.airflow(name)
    make_runs(airflow, 1)
    airflow.tasks = [task_row("run_0", "load", "failed", 3), task_row("run_0", "report", "success")]
    airflow.end("etl", "run_0", "failed")
    fake = FakeTime()
    with caplog.at_level("INFO"), pytest.raises(DagRunFailed, match=r"Failed tasks: load\[3\]") as caught:
        world.environment(name, REST[0]).wait_for_dag_run(
            "etl", "run_0", timeout_s=60, sleep=fake.sleep, clock=fake.clock
        )
    assert caught.value.failed_task_ids == ("load[3]",)
    assert "The end of the log of task load[3]" in caplog.text
    assert "line 2" in caplog.text


def test_a_run_that_stays_queued_because_its_dag_is_paused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    airflow, fake = world.airflow(), FakeTime()
    airflow.create("paused", "run_1")
    with caplog.at_level("INFO"), pytest.raises(MwaaError, match="did not end within 200 s; it is queued"):
        world.environment("env3", REST[0]).wait_for_dag_run(
            "paused", "run_1", timeout_s=200, sleep=fake.sleep, clock=fake.clock
        )
    assert caplog.text.count("DAG 'paused' is paused, so that its run stays queued. Unpause it there.") == 1


def test_tasks_of_a_run_that_stays_queued_because_its_dag_is_paused(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    airflow, fake = world.airflow(), FakeTime()
    airflow.create("paused", "run_1")
    wait = TaskWait("env3", "paused", "run_1", fake.clock(), 200, tasks=TaskSelection(("load",)))
    with caplog.at_level("INFO"), pytest.raises(MwaaError, match="did not end within 200 s"):
        wait_until_done(world.environment("env3", REST[0]), wait, sleep=fake.sleep, clock=fake.clock)
    assert caplog.text.count("DAG 'paused' is paused, so that its run stays queued. Unpause it there.") == 1


def test_a_run_that_was_just_seen_is_not_looked_at_at_once(world: World) -> None:
    environment, fake = world.environment("env3", REST[0]), FakeTime()
    run = environment.trigger_dag_run("etl", "run_1")
    world.calls()

    def sleep(seconds: float) -> None:
        assert world.calls() == []
        world.airflow().end("etl", "run_1")
        fake.sleep(seconds)

    ended = environment.wait_for_dag_run("etl", "run_1", timeout_s=60, seen=run, sleep=sleep, clock=fake.clock)
    assert ended.state is DagRunState.SUCCESS
    assert len(world.calls()) == 1


# -- the latest run and its results ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["env3", "env2"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_latest_run_is_the_latest_by_date(world: World, transport: str, name: str) -> None:
    airflow = world.airflow(name)
    for day in (3, 9, 1):
        airflow.create("etl", f"run_{day}", date=f"2026-01-{day:02}T00:00:00+00:00")
    environment = world.environment(name, transport, airflow_major=int(name[-1]))
    assert [run.run_id for run in environment.get_recent_dag_runs("etl")] == ["run_9"]
    assert [run.run_id for run in environment.get_recent_dag_runs("etl", 5)] == ["run_9", "run_3", "run_1"]
    assert environment.get_recent_dag_runs("etl", states=[DagRunState.FAILED]) == []


@pytest.mark.parametrize("name", ["env3", "env2"])
def test_what_a_task_left_behind(world: World, name: str) -> None:
    # Without a forced transport: these paths are too long for InvokeRestApi.
    environment = world.environment(name, airflow_major=int(name[-1]))
    world.airflow(name).xcoms["etl", "run_1", "load", -1, "return_value"] = {"rows": [1, "ü\n'\""]}
    world.airflow(name).xcoms["etl", "run_1", "load", 2, "count"] = 0
    assert environment.get_xcom("etl", "run_1", "load") == {"rows": [1, "ü\n'\""]}
    assert environment.get_xcom("etl", "run_1", "load", "count", map_index=2) == 0
    with pytest.raises(MwaaError, match=r"XCom 'other' of task 'load\[1\]' of run 'run_1'.* not found"):
        environment.get_xcom("etl", "run_1", "load", "other", map_index=1)
