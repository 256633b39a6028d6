# SPDX-License-Identifier: Apache-2.0
"""Triggers survive the database, fire events that the task understands, and stop the remote run if requested."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider._compat import AIRFLOW_V_3, deferral_settles_s, triggers_are_told_of_kills
from airflow_mwaa_provider.client.models import DagRun, DagRunState, TaskState
from airflow_mwaa_provider.client.texts import storable
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed
from airflow_mwaa_provider.exceptions import DagRunFailed, MwaaError, MwaaInputError
from airflow_mwaa_provider.hooks.settings import HookSettings
from airflow_mwaa_provider.triggers import dag_run as triggers
from airflow_mwaa_provider.triggers.dag_run import MwaaDagRunTrigger, MwaaTaskTrigger
from airflow_mwaa_provider.triggers.events import event_of, outcome_of
from tests.client.world import TRANSPORTS
from tests.deferral import TaskInstance, first_event, serialized

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

pytestmark = pytest.mark.usefixtures("looks_soon")

SETTINGS = HookSettings("mwaa", "eu-west-1", "/ca.pem", {"read_timeout": 7, "retries": {"mode": "standard"}}, "cli", 2)


def run_trigger(**more: Any) -> MwaaDagRunTrigger:
    ids = {"env_name": "env3", "dag_id": "etl", "run_id": "run_1"}
    return MwaaDagRunTrigger(**{**ids, "hook": HookSettings("mwaa").serialize(), **more})


def test_a_run_trigger_survives_the_database() -> None:
    given: dict[str, Any] = {
        "allowed_states": ["failed", "success"],
        "failed_states": ["queued"],
        "waiter_delay": 7.5,
        "started_at": 1_000.5,
        "deadline_s": 60.0,
        "created_at": 999.0,
        "may_appear": True,
        "cancel_on_kill": True,
    }
    made = serialized(run_trigger(hook=SETTINGS.serialize(), **given))
    assert isinstance(made, MwaaDagRunTrigger)
    assert made.hook == SETTINGS
    wait = made.waits_for()
    assert (wait.env_name, wait.dag_id, wait.run_id) == ("env3", "etl", "run_1")
    assert wait.allowed_states == {DagRunState.SUCCESS, DagRunState.FAILED}
    assert wait.failed_states == {DagRunState.QUEUED}
    assert (wait.interval.fixed_s, wait.started_at, wait.deadline_s, wait.may_appear) == (7.5, 1_000.5, 60.0, True)


def test_a_task_trigger_survives_the_database() -> None:
    made = serialized(
        MwaaTaskTrigger(
            env_name="env3",
            dag_id="etl",
            run_id="run_1",
            hook=SETTINGS.serialize(),
            task_ids=["load_*", "report"],
            map_index=3,
            success_states=["skipped"],
            failed_states=["success"],
            skipped_states=[],
        )
    )
    assert isinstance(made, MwaaTaskTrigger)
    wait = made.waits_for()
    assert (wait.tasks.patterns, wait.tasks.map_index) == (("load_*", "report"), 3)
    assert (wait.success_states, wait.failed_states) == ({TaskState.SKIPPED}, {TaskState.SUCCESS})
    assert wait.skipped_states == frozenset()


def test_the_deadline_goes_on_while_the_triggerer_is_away() -> None:
    trigger = run_trigger(deadline_s=60.0)
    assert serialized(trigger).waits_for() == trigger.waits_for()  # type: ignore[attr-defined]


def test_settings_that_cannot_be_stored_are_refused() -> None:
    with pytest.raises(MwaaInputError, match="botocore_config cannot be written as JSON"):
        HookSettings(botocore_config={"when": datetime(2026, 1, 1, tzinfo=UTC)}).serialize()


# -- events ----------------------------------------------------------------------------------------------

RUN = DagRun("etl", "run_1", DagRunState.FAILED, start_date=datetime(2026, 1, 1, tzinfo=UTC), note="ü")


@pytest.mark.parametrize("name", exceptions.__all__)
def test_every_error_arrives_as_what_it_was(name: str) -> None:
    kind = getattr(exceptions, name)
    error = kind("it failed", env_name="env3", transient=True, retry_after_s=3.0)
    outcome = outcome_of(json.loads(json.dumps(event_of(Failed(error, RUN)))))
    assert isinstance(outcome, Failed)
    assert outcome.run == RUN
    assert type(outcome.error) is kind
    assert str(outcome.error) == "it failed"
    assert (outcome.error.env_name, outcome.error.transient, outcome.error.retry_after_s) == ("env3", True, 3.0)


def test_an_event_can_be_stored_whatever_the_environment_said() -> None:
    """PostgreSQL accepts neither NUL nor half a surrogate pair: the trigger would be lost, its task wait forever."""
    error = DagRunFailed("a\x00b \ud83d", dag_id="etl", run_id="run\x00", state="failed", failed_task_ids=("\udfff",))
    run = dataclasses.replace(RUN, note="\x00", run_id="\ud800")
    for end in (Failed(error, run), Done(run)):
        written = json.dumps(event_of(end))
        assert "\\u0000" not in written
        assert not re.search(r"\\ud[89a-f]", written)
    outcome = outcome_of(event_of(Failed(error, run)))
    assert isinstance(outcome, Failed)
    assert str(outcome.error) == "a b \ufffd"
    assert storable({"\x00": ["\x00ü😀", 1, None]}) == {"\ufffd": ["\ufffdü😀", 1, None]}


def test_a_failed_run_arrives_with_its_ids() -> None:
    error = DagRunFailed("no", dag_id="etl", run_id="run_1", state="failed", failed_task_ids=("load[3]",))
    outcome = outcome_of(json.loads(json.dumps(event_of(Failed(error)))))
    assert isinstance(outcome, Failed)
    assert vars(outcome.error) == vars(error)


def test_good_ends_arrive() -> None:
    for done in (Done(RUN), Done(), Done(skipped=True)):
        assert outcome_of(json.loads(json.dumps(event_of(done)))) == done


@pytest.mark.parametrize("event", [None, {}, {"status": "odd"}, {"status": "failed", "error": {"type": "os"}}])
def test_a_strange_event_is_no_success(event: Any) -> None:
    outcome = outcome_of(event)
    assert isinstance(outcome, Failed)
    assert type(outcome.error) is MwaaError


async def until_it_was_looked(world: World, times: int = 2) -> None:
    """Wait until the environment has received that many requests."""

    def looked() -> bool:
        calls = [call["target"] for call in world.mwaa.calls.last()]
        return sum(target in ("invoke_rest_api", "rest", "cli") for target in calls) >= times

    await asyncio.to_thread(world.until, looked, 30)


# -- running ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("state", ["success", "failed"])
def test_it_fires_when_the_run_ends(world: World, connection: Callable[..., str], transport: str, state: str) -> None:
    world.do(world.airflow().create, "etl", "run_1")
    settings = HookSettings(connection(), transport=transport)

    async def wait() -> Any:
        event = asyncio.create_task(first_event(run_trigger(hook=settings.serialize(), waiter_delay=0.05)))
        await until_it_was_looked(world, times=3)
        assert not event.done()
        await asyncio.to_thread(world.do, world.airflow().end, "etl", "run_1", state)
        return await asyncio.wait_for(event, 20)

    event = asyncio.run(wait())
    assert event["status"] == state
    assert event["run"]["run_id"] == "run_1"


def test_a_triggerer_that_starts_again_goes_on(world: World, connection: Callable[..., str]) -> None:
    world.do(world.airflow().create, "etl", "run_1")
    settings = HookSettings(connection(), transport=TRANSPORTS[0])
    trigger = run_trigger(hook=settings.serialize(), waiter_delay=0.05)

    async def die() -> None:
        event = asyncio.create_task(first_event(trigger))
        await until_it_was_looked(world)
        event.cancel()

    asyncio.run(die())
    world.do(world.airflow().end, "etl", "run_1")
    event = asyncio.run(asyncio.wait_for(first_event(serialized(trigger)), 20))
    assert event["status"] == "success"


@pytest.mark.parametrize(("asked", "state"), [(True, "failed"), (False, "queued")])
def test_a_killed_task_stops_the_remote_run_if_asked(
    world: World, connection: Callable[..., str], asked: bool, state: str
) -> None:
    world.do(world.airflow().create, "etl", "run_1")
    settings = HookSettings(connection(), transport=TRANSPORTS[0])
    asyncio.run(run_trigger(hook=settings.serialize(), cancel_on_kill=asked).on_kill())
    run = world.airflow().run("etl", "run_1")
    assert run is not None
    assert run["state"] == state


def test_a_killed_task_leaves_a_run_that_has_ended(world: World, connection: Callable[..., str]) -> None:
    world.airflow().create("etl", "run_1")
    world.airflow().end("etl", "run_1")
    settings = HookSettings(connection(), transport=TRANSPORTS[0])
    asyncio.run(run_trigger(hook=settings.serialize(), cancel_on_kill=True).on_kill())
    run = world.airflow().run("etl", "run_1")
    assert run is not None
    assert run["state"] == "success"


@pytest.mark.skipif(triggers_are_told_of_kills(), reason="this Airflow tells a trigger that it was killed")
@pytest.mark.parametrize(("ti_state", "state"), [("failed", "failed"), ("deferred", "queued"), (None, "failed")])
def test_older_airflows_only_cancel_so_the_task_is_asked_about(
    world: World, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch, ti_state: str, state: str
) -> None:
    world.do(world.airflow().create, "etl", "run_1")
    settings = HookSettings(connection(), transport=TRANSPORTS[0])
    trigger = run_trigger(hook=settings.serialize(), cancel_on_kill=True)
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]

    async def still_deferred(_: Any) -> bool:
        return ti_state == "deferred"

    # That needs a database; the integration tests have one.
    monkeypatch.setattr(triggers, "is_still_deferred", still_deferred)

    async def cancel() -> None:
        event = asyncio.create_task(first_event(trigger))
        await until_it_was_looked(world)
        event.cancel()
        await asyncio.gather(event, return_exceptions=True)

    asyncio.run(cancel())
    run = world.airflow().run("etl", "run_1")
    assert run is not None
    assert run["state"] == state


def test_no_event_comes_while_airflow_may_not_know_that_the_task_has_deferred(
    world: World, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection()
    world.airflow().create("etl", "run_1")
    world.airflow().end("etl", "run_1")
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(triggers, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    monkeypatch.setattr(triggers, "deferral_settles_s", lambda: 1_000.0)
    asyncio.run(first_event(run_trigger()))
    assert len(slept) == 1
    assert 900 < slept[0] <= 1_000


def test_the_time_that_airflow_takes_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "7")
    assert deferral_settles_s() == (8.0 if AIRFLOW_V_3 else 0.0)
