# SPDX-License-Identifier: Apache-2.0
"""Deferred waits for runs, and for tasks, of other environments."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider._compat import (
    BaseTrigger,
    TriggerEvent,
    deferral_settles_s,
    is_still_deferred,
    triggers_are_told_of_kills,
)
from airflow_mwaa_provider.client.parameters import check_seconds
from airflow_mwaa_provider.client.states import DagRunState, TaskState
from airflow_mwaa_provider.client.waits.run_wait import PollInterval, RunWait
from airflow_mwaa_provider.client.waits.task_wait import TaskSelection, TaskWait
from airflow_mwaa_provider.exceptions import MwaaError
from airflow_mwaa_provider.hooks.settings import HookSettings
from airflow_mwaa_provider.triggers.events import event_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

__all__ = ["MwaaDagRunTrigger", "MwaaTaskTrigger"]


class _WaitTrigger(BaseTrigger):
    """A wait that shares its polling with all other waits of this process on the same environment.

    Every parameter has a JSON type, and :meth:`serialize` includes them all. A triggerer that is restarted therefore
    continues the same wait, with its deadline.
    """

    def __init__(self, *, hook: Mapping[str, Any], **parameters: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hook = HookSettings(**hook)
        self.parameters = parameters

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path, and the arguments that make an equal trigger. They hold no secrets."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {"hook": self.hook.serialize(), **self.parameters}

    def waits_for(self) -> RunWait | TaskWait:
        """Return the wait that this trigger performs."""
        raise NotImplementedError

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one event: see :func:`~airflow_mwaa_provider.triggers.events.event_of`."""
        # Imported here, because it imports more than parsing a DAG file may load.
        from airflow_mwaa_provider.triggers.shared_polling import shared_poller

        wait, began = self.waits_for(), time.monotonic()
        poller = await shared_poller(self.hook, wait.env_name)
        outcome = await poller.wait(wait, created_at=self.parameters.get("created_at"))
        await asyncio.sleep(began + deferral_settles_s() - time.monotonic())
        yield TriggerEvent(event_of(outcome))  # type: ignore[no-untyped-call]


class MwaaDagRunTrigger(_WaitTrigger):
    """Wait until a run ends.

    :param env_name: name of the environment.
    :param dag_id: id of the DAG there.
    :param run_id: id of the run.
    :param hook: :meth:`HookSettings.serialize() <airflow_mwaa_provider.hooks.settings.HookSettings.serialize>`.
    :param allowed_states: states of the run that count as success.
    :param failed_states: states that count as failure.
    :param waiter_delay: seconds between two looks. ``None`` adapts to the age of the wait.
    :param started_at: when the wait began, in seconds since 1970. The default is now.
    :param deadline_s: seconds after which the wait ends with an error.
    :param created_at: when the run was created, in seconds since 1970, if it was created for this wait.
    :param may_appear: wait for the run to be created, if it does not exist.
    :param cancel_on_kill: mark the run as failed if somebody ends or clears the deferred task.
    """

    def __init__(
        self,
        *,
        env_name: str,
        dag_id: str,
        run_id: str,
        hook: Mapping[str, Any],
        allowed_states: Sequence[str] = ("success",),
        failed_states: Sequence[str] = ("failed",),
        waiter_delay: float | None = None,
        started_at: float | None = None,
        deadline_s: float = 12 * 3600.0,
        created_at: float | None = None,
        may_appear: bool = False,
        cancel_on_kill: bool = False,
    ) -> None:
        super().__init__(
            hook=hook,
            env_name=env_name,
            dag_id=dag_id,
            run_id=run_id,
            allowed_states=sorted(allowed_states),
            failed_states=sorted(failed_states),
            waiter_delay=waiter_delay,
            started_at=time.time() if started_at is None else started_at,
            deadline_s=deadline_s,
            created_at=created_at,
            may_appear=may_appear,
            cancel_on_kill=cancel_on_kill,
        )
        self.waits_for()  # checks the times
        if created_at is not None:
            check_seconds(created_at, "created_at")

    def waits_for(self) -> RunWait:
        """Return the wait that this trigger performs."""
        return RunWait(
            env_name=self.parameters["env_name"],
            dag_id=self.parameters["dag_id"],
            run_id=self.parameters["run_id"],
            started_at=self.parameters["started_at"],
            deadline_s=self.parameters["deadline_s"],
            may_appear=self.parameters["may_appear"],
            interval=PollInterval(fixed_s=self.parameters["waiter_delay"]),
            allowed_states=frozenset(map(DagRunState, self.parameters["allowed_states"])),
            failed_states=frozenset(map(DagRunState, self.parameters["failed_states"])),
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one event."""
        try:
            async for event in super().run():
                yield event
        except asyncio.CancelledError:
            # Older Airflow versions cancel the trigger both when the task is killed and when the triggerer stops.
            asks = self.parameters["cancel_on_kill"] and not triggers_are_told_of_kills()
            if asks and not await is_still_deferred(self):
                await self.on_kill()
            raise

    async def on_kill(self) -> None:
        """Mark the run as failed, with ``cancel_on_kill``, because somebody ended or cleared the deferred task."""
        if not self.parameters["cancel_on_kill"]:
            return
        env_name, run_id = self.parameters["env_name"], self.parameters["run_id"]
        self.log.info("Killed: marking run %r in environment %r as failed", run_id, env_name)
        try:
            await asyncio.to_thread(self._mark_as_failed)
        except MwaaError as error:
            self.log.error("The remote run continues, because it could not be marked as failed: %s", error)

    def _mark_as_failed(self) -> None:
        environment = self.hook.environment(self.parameters["env_name"])
        environment.stop_dag_run(self.parameters["dag_id"], self.parameters["run_id"])


class MwaaTaskTrigger(_WaitTrigger):
    """Wait until tasks of a run end.

    :param env_name: name of the environment.
    :param dag_id: id of the DAG there.
    :param run_id: id of the run.
    :param hook: :meth:`HookSettings.serialize() <airflow_mwaa_provider.hooks.settings.HookSettings.serialize>`.
    :param task_ids: task ids, or globs. An empty list waits for every task of the run.
    :param map_index: index of one instance of a mapped task. ``None`` waits for all instances.
    :param success_states: states of a task that count as success.
    :param failed_states: states of a task that count as failure. Other final states do, too.
    :param skipped_states: states of a task that count as neither.
    :param waiter_delay: seconds between two looks. ``None`` adapts to the age of the wait.
    :param started_at: when the wait began, in seconds since 1970. The default is now.
    :param deadline_s: seconds after which the wait ends with an error.
    :param may_appear: wait for the run to be created, if it does not exist.
    """

    def __init__(
        self,
        *,
        env_name: str,
        dag_id: str,
        run_id: str,
        hook: Mapping[str, Any],
        task_ids: Sequence[str] = (),
        map_index: int | None = None,
        success_states: Sequence[str] = ("success",),
        failed_states: Sequence[str] = ("failed", "upstream_failed"),
        skipped_states: Sequence[str] = ("skipped",),
        waiter_delay: float | None = None,
        started_at: float | None = None,
        deadline_s: float = 12 * 3600.0,
        may_appear: bool = False,
    ) -> None:
        super().__init__(
            hook=hook,
            env_name=env_name,
            dag_id=dag_id,
            run_id=run_id,
            task_ids=list(task_ids),
            map_index=map_index,
            success_states=sorted(success_states),
            failed_states=sorted(failed_states),
            skipped_states=sorted(skipped_states),
            waiter_delay=waiter_delay,
            started_at=time.time() if started_at is None else started_at,
            deadline_s=deadline_s,
            may_appear=may_appear,
        )
        self.waits_for()  # checks the times

    def waits_for(self) -> TaskWait:
        """Return the wait that this trigger performs."""
        return TaskWait(
            env_name=self.parameters["env_name"],
            dag_id=self.parameters["dag_id"],
            run_id=self.parameters["run_id"],
            started_at=self.parameters["started_at"],
            deadline_s=self.parameters["deadline_s"],
            may_appear=self.parameters["may_appear"],
            interval=PollInterval(fixed_s=self.parameters["waiter_delay"]),
            tasks=TaskSelection(tuple(self.parameters["task_ids"]), self.parameters["map_index"]),
            success_states=frozenset(map(TaskState, self.parameters["success_states"])),
            failed_states=frozenset(map(TaskState, self.parameters["failed_states"])),
            skipped_states=frozenset(map(TaskState, self.parameters["skipped_states"])),
        )
