# SPDX-License-Identifier: Apache-2.0
"""One poller for all waits of a triggerer process on one environment with one credential.

However many triggers wait, one look at a time serves all of them: see
:mod:`~airflow_mwaa_provider.client.waits.watcher` for its cost. Each poller makes its calls in its own thread, so that
    an environment that does not answer delays only its own waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from airflow_mwaa_provider.client.waits.run_wait import Done, Failed, RunWait, Wait
from airflow_mwaa_provider.client.waits.watcher import Watcher
from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.client.waits.task_wait import TaskWait
    from airflow_mwaa_provider.client.waits.watcher import Seen, Watched
    from airflow_mwaa_provider.hooks.settings import HookSettings

__all__ = ["SharedPoller", "shared_poller"]

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

# Triggers arrive one by one, but in bursts: a look waits this long for others to arrive.
_GATHER_S = 0.2
# A look includes waits that are due within this fraction of their pause.
_SLACK = 0.25
# An environment that nothing has waited for this long is forgotten, with its web session and connection settings.
_FORGET_AFTER_S = 600.0


@dataclass(eq=False)
class _Waiting:
    wait: RunWait | TaskWait
    outcome: asyncio.Future[Done | Failed]
    due: float
    pause_s: float = 0.0


class SharedPoller:
    """Polls for all waits on one environment, while there are any.

    :param connect: makes the environment. It is called in the poller's thread, at the first look.
    :param clock: returns the time in seconds since 1970.
    """

    def __init__(self, connect: Callable[[], Watched], clock: Callable[[], float] = time.time) -> None:
        self._connect = connect
        self._clock = clock
        self._watcher: Watcher | None = None
        self._waiting: set[_Waiting] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mwaa-poller")
        self._created: list[tuple[str, str, float]] = []
        self.looks = 0
        """How many looks were made."""
        self.used_at = clock()
        """When a wait last used it."""

    async def wait(self, wait: RunWait | TaskWait, *, created_at: float | None = None) -> Done | Failed:
        """Wait, together with all other waits.

        :param wait: its clock is seconds since 1970.
        :param created_at: when the run was created, if it was created for this wait. It had not ended then.
        :return: how the wait ended, including errors of the environment.
        """
        now = self.used_at = self._clock()
        pause_s = 0.0
        if created_at is not None and isinstance(wait, RunWait):
            self._created.append((wait.dag_id, wait.run_id, created_at))
            pause_s = wait.interval.delay_s(now - wait.started_at)
        waiting = _Waiting(wait, asyncio.get_running_loop().create_future(), now + pause_s, pause_s)
        self._waiting.add(waiting)
        self._changed.set()
        if self._task is None or self._task.done():
            # In its own context, because it outlives this wait, whose context routes log lines to one task's log.
            self._task = asyncio.create_task(
                self._poll(), name=f"mwaa-poller-{wait.env_name}", context=contextvars.Context()
            )
        try:
            return await waiting.outcome
        finally:
            self._waiting.discard(waiting)
            self._changed.set()
            self.used_at = self._clock()

    @property
    def is_used(self) -> bool:
        """Whether any wait uses it."""
        return bool(self._waiting)

    async def close(self) -> None:
        """End the thread. No wait may use the poller any more."""
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False)

    # -- within ------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        while self._waiting:
            await self._until_due()
            batch = self._due()
            if not batch:
                continue
            created, self._created = self._created, []
            try:
                looked = await self._in_thread(self._look, [waiting.wait for waiting in batch], created)
                now = self._clock()
                for waiting, (seen, expected_s) in zip(batch, looked, strict=True):
                    self._report(waiting, seen, expected_s, now)
                continuing = [one.wait for one, (seen, _) in zip(batch, looked, strict=True) if _continues(one, seen)]
                if continuing and self._watcher is not None:
                    await self._in_thread(self._watcher.learn, continuing, now)
            except Exception as error:  # noqa: BLE001 - passed on to the waits
                for waiting in batch:
                    if not waiting.outcome.done():
                        waiting.outcome.set_exception(error)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await sync_to_async(function, thread_sensitive=False, executor=self._thread)(*args, **kwargs)

    async def _until_due(self) -> None:
        """Sleep until the first wait is due, and a little longer, so that others can join."""
        while self._waiting:
            self._changed.clear()
            left_s = min(waiting.due for waiting in self._waiting) - _GATHER_S - self._clock()
            if left_s <= 0:
                break
            try:
                await asyncio.wait_for(self._changed.wait(), left_s)
            except TimeoutError:
                break
        await asyncio.sleep(_GATHER_S)

    def _due(self) -> list[_Waiting]:
        now = self._clock()
        due = [waiting for waiting in self._waiting if waiting.due - _SLACK * waiting.pause_s <= now]
        if any(isinstance(waiting.wait, RunWait) for waiting in due):
            # One call returns what has ended for all runs, so looking at the others as well costs nothing.
            due += [waiting for waiting in self._waiting.difference(due) if isinstance(waiting.wait, RunWait)]
        return due

    def _look(
        self, waits: list[RunWait | TaskWait], created: list[tuple[str, str, float]]
    ) -> list[tuple[Seen, float | None]]:
        """Run in the poller's thread."""
        self.looks += 1
        if self._watcher is None:
            try:
                self._watcher = Watcher(self._connect(), self._clock)
            except MwaaError as error:
                return [(error, None)] * len(waits)
        for dag_id, run_id, at in created:
            self._watcher.created(dag_id, run_id, at)
        try:
            seen = self._watcher.look(waits)
        except MwaaError as error:
            return [(error, None)] * len(waits)
        now = self._clock()
        return [(one, self._watcher.expected_s(wait, now)) for one, wait in zip(seen, waits, strict=True)]

    def _report(self, waiting: _Waiting, seen: Seen, expected_s: float | None, now: float) -> None:
        if waiting.outcome.done():
            return
        step = waiting.wait.step(seen, now, expected_s)  # type: ignore[arg-type]  # a look answers each wait in its kind
        if isinstance(step, Wait):
            waiting.pause_s = step.delay_s
            waiting.due = now + step.delay_s
        else:
            waiting.outcome.set_result(step)


def _continues(waiting: _Waiting, seen: Seen) -> bool:
    """Return whether a wait for a run continues after a look that returned its state."""
    return isinstance(waiting.wait, RunWait) and not isinstance(seen, MwaaError) and not waiting.outcome.done()


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], SharedPoller]]
_pollers = weakref.WeakKeyDictionary()


async def shared_poller(settings: HookSettings, env_name: str) -> SharedPoller:
    """Return the one poller of this process for an environment and its settings."""
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    for key, poller in list(pollers.items()):
        if not poller.is_used and time.time() - poller.used_at > _FORGET_AFTER_S:
            del pollers[key]
            await poller.close()
    key = (env_name, settings.key())
    if key not in pollers:
        pollers[key] = SharedPoller(lambda: settings.environment(env_name))
    return pollers[key]
