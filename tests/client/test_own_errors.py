# SPDX-License-Identifier: Apache-2.0
"""An error of one wait is raised in that wait only, and the others of the same poll continue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.client.models import DagRun, DagRunState
from airflow_mwaa_provider.client.waits.bisect import Batch
from airflow_mwaa_provider.client.waits.run_wait import Failed, RunWait, Wait
from airflow_mwaa_provider.client.waits.task_wait import TaskSelection, TasksSeen, TaskWait
from airflow_mwaa_provider.client.waits.watcher import Watcher
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AirflowError,
    CallTimeout,
    DagRunNotFound,
    MwaaError,
    Throttled,
    UnsupportedByTransport,
    WebServerUnreachable,
)
from tests.client.world import HAS_INVOKE_REST_API, TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.client.stub_airflow import StubAirflow
    from tests.client.world import World

REST = [transport for transport in TRANSPORTS if transport != "cli"]
LONG_RUN = "manual__2026-01-31T00:00:00.123456+00:00"
LONG_DAG = "ingest_orders_hourly"

needs_invoke_rest_api = pytest.mark.skipif(not HAS_INVOKE_REST_API, reason="the botocore of old images")


class Clock:
    """The real time, plus what a test adds."""

    def __init__(self) -> None:
        self.added_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.added_s


def run_wait(dag_id: str, run_id: str) -> RunWait:
    return RunWait("env3", dag_id, run_id, started_at=time.time(), deadline_s=3600)


def make_run(airflow: StubAirflow, dag_id: str, run_id: str) -> RunWait:
    airflow.dags[dag_id] = False
    airflow.create(dag_id, run_id)
    airflow.runs[-1]["state"] = "running"
    return run_wait(dag_id, run_id)


def make_newer_runs(airflow: StubAirflow, dag_id: str, count: int) -> None:
    for number in range(count):
        airflow.create(dag_id, f"newer_{number}")
        airflow.runs[-1]["state"] = "running"


@pytest.mark.parametrize("name", ["env3", "env2"])
@pytest.mark.parametrize("transport", REST)
@pytest.mark.parametrize("newer_runs", [0, 250])
def test_a_dag_that_the_role_may_not_see_any_more(world: World, transport: str, name: str, newer_runs: int) -> None:
    airflow, clock = world.airflow(name), Clock()
    waits = [make_run(airflow, "lost", "run_0"), make_run(airflow, "etl", "run_1")]
    watcher = Watcher(world.environment(name, transport, airflow_major=int(name[-1])), clock)
    watcher.look(waits)
    airflow.hidden.add("lost")
    make_newer_runs(airflow, "etl", newer_runs)
    assert watcher.look(waits) == [None, None]  # Airflow omits what the role may not see
    clock.added_s = 301
    lost, seen = watcher.look(waits)
    assert isinstance(seen, DagRun)
    step = waits[0].step(lost, clock())  # type: ignore[arg-type]
    assert isinstance(step, Failed)
    # With many newer runs, it is requested individually, and Airflow returns the reason.
    assert isinstance(step.error, AccessDenied if newer_runs else DagRunNotFound)
    assert ("Forbidden" if newer_runs else "or the role may no longer see it") in str(step.error)


@pytest.mark.parametrize("name", ["env3", "env2"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_dag_that_is_deleted(world: World, transport: str, name: str) -> None:
    airflow, clock = world.airflow(name), Clock()
    waits = [make_run(airflow, "deleted", "run_0"), make_run(airflow, "etl", "run_1")]
    watcher = Watcher(world.environment(name, transport, airflow_major=int(name[-1])), clock)
    watcher.look(waits)
    del airflow.dags["deleted"], airflow.runs[0]
    assert watcher.look(waits) == [None, None]
    clock.added_s = 301
    deleted, seen = watcher.look(waits)
    assert isinstance(deleted, DagRunNotFound)
    assert isinstance(seen, DagRun)


@pytest.mark.parametrize("name", ["env3", "env2"])
@pytest.mark.parametrize("transport", REST)
def test_tasks_of_a_dag_that_the_role_may_not_see(world: World, transport: str, name: str) -> None:
    airflow = world.airflow(name)
    for dag_id in ("lost", "etl"):
        make_run(airflow, dag_id, "run_0")
        airflow.tasks.append({"dag_id": dag_id, "dag_run_id": "run_0", "task_id": "load", "state": "running"})
    waits = [
        TaskWait("env3", dag_id, "run_0", started_at=time.time(), deadline_s=60, tasks=TaskSelection(("load",)))
        for dag_id in ("lost", "etl")
    ]
    airflow.hidden.add("lost")
    watcher = Watcher(world.environment(name, transport, airflow_major=int(name[-1])))
    lost, seen = watcher.look(waits)
    assert isinstance(lost, AccessDenied)
    assert isinstance(seen, TasksSeen)
    assert isinstance(waits[1].step(seen, time.time()), Wait)


@needs_invoke_rest_api
def test_a_run_that_the_transport_cannot_ask_for(world: World) -> None:
    airflow, clock = world.airflow(), Clock()
    waits = [make_run(airflow, LONG_DAG, LONG_RUN), make_run(airflow, "etl", "run_1")]
    watcher = Watcher(world.environment("env3", "rest_api"), clock)
    watcher.look(waits)
    make_newer_runs(airflow, LONG_DAG, 1_000)
    clock.added_s = 301
    unsupported, seen = watcher.look(waits)
    assert isinstance(unsupported, UnsupportedByTransport)
    assert isinstance(seen, DagRun)


@needs_invoke_rest_api
@pytest.mark.parametrize("why", ["no permission", "no route"])
def test_a_run_that_needs_another_transport_which_is_closed(world: World, why: str) -> None:
    airflow, clock = world.airflow(), Clock()
    waits = [make_run(airflow, LONG_DAG, LONG_RUN), make_run(airflow, "etl", "run_1"), make_run(airflow, "etl", "r2")]
    watcher = Watcher(world.environment(retry=RetryPolicy(deadline_s=0.0)), clock)
    watcher.look(waits)
    make_newer_runs(airflow, LONG_DAG, 1_000)
    if why == "no permission":
        world.deny("CreateWebLoginToken", "CreateCliToken")
    else:
        world.fault("login", "status", status=503)
    clock.added_s = 301
    failed, seen, other = watcher.look(waits)
    assert isinstance(failed, MwaaError)
    assert failed.transient == (why == "no route")
    assert isinstance(seen, DagRun)
    assert isinstance(other, DagRun)
    airflow.end("etl", "run_1")
    world.calls()
    failed, seen, other = watcher.look(waits)
    assert len(world.calls()) == 1  # no sweep, although the last one partly failed
    assert (failed, other) == (None, None)
    assert isinstance(seen, DagRun)
    assert seen.state is DagRunState.SUCCESS


# -- whose error it is -----------------------------------------------------------------------------------


class Store:
    """Numbers, some of which cannot be read."""

    def __init__(self, errors: dict[int, MwaaError]) -> None:
        self.errors = errors
        self.asked: list[list[int]] = []

    def read(self, keys: Sequence[int]) -> list[int]:
        self.asked.append(list(keys))
        for key in keys:
            if key in self.errors:
                raise self.errors[key]
        return list(keys)


def test_few_calls_find_what_fails() -> None:
    refused = AirflowError("refused", status=400)
    store = Store({700: refused})
    found, errors = Batch[int]().read(range(1_000), store.read)
    assert errors == {700: refused}
    assert set(found) == set(range(1_000)) - {700}
    assert len(store.asked) <= 21


def test_everything_may_have_an_error_of_its_own() -> None:
    errors: dict[int, MwaaError] = {key: AirflowError(f"{key}", status=400) for key in range(50)}
    assert Batch[int]().read(range(50), Store(errors).read) == ([], errors)


@pytest.mark.parametrize("error", [WebServerUnreachable("away", transient=True), CallTimeout("late")])
def test_what_fails_for_a_time_is_asked_for_by_itself_until_it_succeeds(error: MwaaError) -> None:
    store, batch = Store({3: error}), Batch[int]()
    for _ in range(2):
        found, errors = batch.read(range(8), store.read)
        assert errors == {3: error}
        assert error.transient
        assert len(found) == 7
    assert store.asked[-2:] == [[0, 1, 2, 4, 5, 6, 7], [3]]
    store.errors.clear()
    for _ in range(2):
        assert len(batch.read(range(8), store.read)[0]) == 8
    assert store.asked[-1] == list(range(8))


def test_an_environment_that_is_away_is_searched_for_a_few_calls_only() -> None:
    away = WebServerUnreachable("away", transient=True)
    store, batch = Store(dict.fromkeys(range(1_000), away)), Batch[int]()
    found, errors = batch.read(range(1_000), store.read)
    assert not found
    assert set(errors) == set(range(1_000))
    assert len(store.asked) <= 20
    store.errors.clear()
    store.asked.clear()
    for _ in range(2):
        assert len(batch.read(range(1_000), store.read)[0]) == 1_000
    assert len(store.asked) <= 20
    assert store.asked[-1] == list(range(1_000))


def test_many_that_fail_are_each_asked_for_in_turn() -> None:
    away: Any = WebServerUnreachable("away", transient=True)
    store, batch = Store(dict.fromkeys(range(100), away)), Batch[int]()
    for _ in range(60):
        batch.read(range(1_000), store.read)
    recovered = set(range(0, 100, 7))
    for key in recovered:
        del store.errors[key]
    read: set[int] = set()
    for _ in range(20):
        read.update(batch.read(range(1_000), store.read)[0])
    assert read == set(range(100, 1_000)) | recovered


@pytest.mark.parametrize(
    "error", [AccessDenied("no", action="airflow:InvokeRestApi"), Throttled("slow", transient=True)]
)
def test_what_concerns_everyone_is_not_searched_for(error: MwaaError) -> None:
    store = Store({0: error})
    with pytest.raises(type(error)):
        Batch[int]().read(range(10), store.read)
    assert len(store.asked) == 1
