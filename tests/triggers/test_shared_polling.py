# SPDX-License-Identifier: Apache-2.0
"""All waits of one process on one environment share one poller, and none of them disturbs another."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.client.models import DagRun, DagRunState
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed, PollInterval, RunWait
from airflow_mwaa_provider.exceptions import AccessDenied, DagRunNotFound, WaitTimeout
from airflow_mwaa_provider.hooks.settings import HookSettings
from airflow_mwaa_provider.triggers import shared_polling
from airflow_mwaa_provider.triggers.shared_polling import SharedPoller, shared_poller
from tests.client.world import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.client.models import TaskInstance
    from tests.client.world import World

TRANSPORT = TRANSPORTS[0]
TARGET = {"rest_api": "invoke_rest_api", "web_session": "rest"}[TRANSPORT]
FAST = PollInterval(fixed_s=0.2)
IMPATIENT = RetryPolicy(deadline_s=0.0)


def asynchronous(test: Callable[..., Any]) -> Callable[..., None]:
    """Run a test in a separate event loop."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def connect(world: World, name: str = "env3") -> Callable[[], MwaaEnvironment]:
    return lambda: world.environment(name, TRANSPORT, retry=IMPATIENT, airflow_major=int(name[-1]))


def run_wait(run_id: str, deadline_s: float = 60.0, **more: Any) -> RunWait:
    return RunWait("env3", "etl", run_id, time.time(), deadline_s, **{"interval": FAST, **more})


def make_runs(world: World, count: int, name: str = "env3") -> list[str]:
    run_ids = [f"run_{number}" for number in range(count)]
    for run_id in run_ids:
        world.do(world.airflow(name).create, "etl", run_id)
    return run_ids


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await asyncio.to_thread(function, *args, **kwargs)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


@asynchronous
async def test_each_wait_is_told_its_own_end(world: World) -> None:
    run_ids = await in_thread(make_runs, world, 150)
    poller = SharedPoller(connect(world))
    waits = [asyncio.create_task(poller.wait(run_wait(run_id))) for run_id in run_ids]
    await until(lambda: poller.looks >= 2)
    for number, run_id in enumerate(run_ids):
        await in_thread(world.do, world.airflow().end, "etl", run_id, ("success", "failed")[number % 2])
    seen = poller.looks
    outcomes = await asyncio.wait_for(asyncio.gather(*waits), 60)
    assert [type(outcome) for outcome in outcomes] == [(Done, Failed)[number % 2] for number in range(150)]
    assert [outcome.run.run_id for outcome in outcomes if outcome.run] == run_ids
    # One poll serves all: a few calls each, and not one per wait.
    assert len([call for call in await in_thread(world.calls) if call == TARGET]) <= 4 * poller.looks
    # The poll in progress when the last one ended, and the next.
    assert poller.looks <= seen + 2
    assert not poller.is_used
    await poller.close()


@asynchronous
async def test_waits_that_come_and_go_leave_the_others_alone(world: World) -> None:
    await in_thread(make_runs, world, 3)
    poller = SharedPoller(connect(world))
    first, second = (asyncio.create_task(poller.wait(run_wait(run_id))) for run_id in ("run_0", "run_1"))
    await until(lambda: poller.looks >= 1)
    second.cancel()
    third = asyncio.create_task(poller.wait(run_wait("run_2")))
    gone = await asyncio.wait_for(poller.wait(run_wait("never")), 60)
    assert isinstance(gone, Failed)
    assert isinstance(gone.error, DagRunNotFound)
    for run_id in ("run_0", "run_2"):
        await in_thread(world.do, world.airflow().end, "etl", run_id)
    assert all(isinstance(outcome, Done) for outcome in await asyncio.wait_for(asyncio.gather(first, third), 60))
    assert second.cancelled()
    # It starts again with the next wait.
    assert isinstance(await asyncio.wait_for(poller.wait(run_wait("run_0")), 60), Done)
    await poller.close()


@asynchronous
async def test_trouble_is_waited_out_within_each_waits_own_deadline(world: World) -> None:
    await in_thread(make_runs, world, 2)
    await in_thread(world.fault, TARGET, "status", status=503)
    poller = SharedPoller(connect(world))
    short = asyncio.create_task(poller.wait(run_wait("run_0", deadline_s=1.0)))
    long = asyncio.create_task(poller.wait(run_wait("run_1")))
    outcome = await asyncio.wait_for(short, 60)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, WaitTimeout)
    assert not long.done()
    await in_thread(world.do, world.mwaa.faults.clear)
    await in_thread(world.do, world.airflow().end, "etl", "run_1")
    assert isinstance(await asyncio.wait_for(long, 60), Done)
    await poller.close()


@asynchronous
async def test_an_environment_that_hangs_holds_up_only_its_own_waits(world: World) -> None:
    await in_thread(make_runs, world, 1)
    is_over = threading.Event()
    hanging = SharedPoller(lambda: is_over.wait(200))  # type: ignore[arg-type, return-value]
    stuck = asyncio.create_task(hanging.wait(run_wait("run_0")))
    await asyncio.sleep(0)
    poller = SharedPoller(connect(world))
    await in_thread(world.do, world.airflow().end, "etl", "run_0")
    assert isinstance(await asyncio.wait_for(poller.wait(run_wait("run_0")), 60), Done)
    assert not stuck.done()
    stuck.cancel()
    await hanging.close()
    is_over.set()
    await poller.close()


@asynchronous
async def test_a_role_that_lost_its_permission_ends_the_waits(world: World) -> None:
    await in_thread(make_runs, world, 2)
    poller = SharedPoller(connect(world))
    waits = [asyncio.create_task(poller.wait(run_wait(run_id))) for run_id in ("run_0", "run_1")]
    await until(lambda: poller.looks >= 2)  # the first poll has logged in
    await in_thread(world.deny, "InvokeRestApi", "CreateWebLoginToken", "CreateCliToken", "GetEnvironment")
    await in_thread(world.expire, sessions=True)
    for outcome in await asyncio.wait_for(asyncio.gather(*waits), 60):
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, AccessDenied)
    await poller.close()


@asynchronous
async def test_what_nobody_foresaw_reaches_the_waits_too() -> None:
    def connect() -> Any:
        raise LookupError("no such connection")

    poller = SharedPoller(connect)
    with pytest.raises(LookupError, match="no such connection"):
        await asyncio.wait_for(poller.wait(run_wait("run_0")), 60)
    await poller.close()


class CountingEnvironment:
    """An environment in which one run has ended; it records the requests."""

    name = "env3"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.told = threading.Event()
        self.told_before_durations: list[bool] = []

    def get_dag_runs(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], DagRun]:
        self.asked.append("runs")
        return {
            pair: DagRun(*pair, DagRunState.SUCCESS if pair[0] == "dag_99" else DagRunState.RUNNING) for pair in pairs
        }

    def get_ended_dag_runs(self, dag_ids: Sequence[str], since: datetime) -> list[DagRun]:
        self.asked.append("ended")
        return []

    def get_recent_dag_runs(self, dag_id: str, limit: int = 1, *, states: Sequence[DagRunState] = ()) -> list[DagRun]:
        self.asked.append("durations")
        self.told_before_durations.append(self.told.wait(60))
        return []

    def get_tasks_of_runs(
        self, pairs: Sequence[tuple[str, str]], *, task_ids: Sequence[str] | None = None
    ) -> list[TaskInstance]:
        return []


@asynchronous
async def test_ends_are_told_before_durations_are_asked_for() -> None:
    environment = CountingEnvironment()
    poller = SharedPoller(lambda: environment)
    waits = [
        asyncio.create_task(poller.wait(RunWait("env3", f"dag_{number}", "run", time.time() - 60, 3600)))
        for number in range(100)
    ]
    assert isinstance(await asyncio.wait_for(waits[99], 60), Done)
    environment.told.set()
    await until(lambda: len(environment.told_before_durations) >= 3)
    assert all(environment.told_before_durations)
    assert environment.asked[:4] == ["runs", "durations", "durations", "durations"]
    for wait in waits:
        wait.cancel()
    await poller.close()


@asynchronous
async def test_no_durations_are_asked_for_where_the_pace_is_fixed() -> None:
    environment = CountingEnvironment()
    poller = SharedPoller(lambda: environment)
    waits = [
        asyncio.create_task(poller.wait(RunWait("env3", f"dag_{number}", "run", time.time() - 60, 3600, interval=FAST)))
        for number in range(10)
    ]
    await until(lambda: poller.looks >= 3)
    assert "durations" not in environment.asked
    for wait in waits:
        wait.cancel()
    await poller.close()


@asynchronous
async def test_the_poller_writes_to_no_tasks_log(world: World) -> None:
    log_of: contextvars.ContextVar[str] = contextvars.ContextVar("log_of", default="the triggerer")
    seen: list[str] = []

    def connecting() -> MwaaEnvironment:
        seen.append(log_of.get())
        return connect(world)()

    poller = SharedPoller(connecting)

    async def trigger() -> Any:
        log_of.set("the first task")
        return await poller.wait(run_wait("run_0"))

    await in_thread(make_runs, world, 1)
    await in_thread(world.do, world.airflow().end, "etl", "run_0")
    assert isinstance(await asyncio.wait_for(asyncio.create_task(trigger()), 60), Done)
    assert seen == ["the triggerer"]
    await poller.close()


@asynchronous
async def test_equal_settings_share_a_poller(monkeypatch: pytest.MonkeyPatch) -> None:
    one = await shared_poller(HookSettings(), "env")
    assert await shared_poller(HookSettings(aws_conn_id="aws_default"), "env") is one
    assert await shared_poller(HookSettings(), "other") is not one
    assert await shared_poller(HookSettings(transport="cli"), "env") is not one
    monkeypatch.setattr(shared_polling, "_FORGET_AFTER_S", -1.0)
    assert await shared_poller(HookSettings(), "env") is not one  # unused for long, and created again
