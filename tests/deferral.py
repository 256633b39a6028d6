# SPDX-License-Identifier: Apache-2.0
"""Run a deferred task as Airflow does, in one process: through real serialization, and back into the task."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from airflow_mwaa_provider._compat import BaseTrigger


@dataclass
class TaskInstance:
    """The parts of a task instance that operators and sensors read."""

    dag_id: str = "d"
    run_id: str = "r"
    task_id: str = "t"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 2
    task: Any = field(default_factory=lambda: SimpleNamespace(retries=2))
    rescheduled_first: datetime | None = None

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.rescheduled_first

    def xcom_push(self, key: str, value: Any) -> None:
        json.dumps(value)


def context() -> Any:
    """Create the context of a first try."""
    return {"ti": TaskInstance()}


def serialized(trigger: BaseTrigger) -> BaseTrigger:
    """Pass a trigger through the database, as Airflow stores it."""
    serialization = import_module("airflow.serialization.serialized_objects").BaseSerialization
    path, kwargs = trigger.serialize()
    stored = json.dumps(serialization.serialize(kwargs))
    module, _, name = path.rpartition(".")
    made: BaseTrigger = getattr(import_module(module), name)(**serialization.deserialize(json.loads(stored)))
    assert made.serialize() == (path, kwargs)
    return made


async def first_event(trigger: BaseTrigger) -> Any:
    """Run a trigger until it fires."""
    async for event in trigger.run():
        return json.loads(json.dumps(event.payload))
    raise AssertionError("it fired no event")


def deferred(execute: Callable[[], Any]) -> Any:
    """Call a function that must defer; return Airflow's exception, with the trigger and the resume method."""
    with pytest.raises(BaseException, match=r".*") as caught:
        execute()
    assert type(caught.value).__name__ == "TaskDeferred", caught.value
    return caught.value


def carry_through(operator: Any, *, meanwhile: Callable[[], None] = lambda: None) -> Any:
    """Execute a deferrable operator until it defers, in the triggerer, and until it ends.

    :param meanwhile: called while only the triggerer waits.
    """
    given = context()
    waiting = deferred(lambda: operator.execute(given))
    trigger = serialized(waiting.trigger)

    async def run() -> Any:
        event = asyncio.create_task(first_event(trigger))
        await asyncio.to_thread(meanwhile)
        return await asyncio.wait_for(event, 30)

    event = asyncio.run(run())
    return operator.resume_execution(waiting.method_name, {**(waiting.kwargs or {}), "event": event}, given)
