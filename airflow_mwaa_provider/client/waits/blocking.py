# SPDX-License-Identifier: Apache-2.0
"""Waits that sleep in the caller's thread, and details about a run that failed."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Protocol

from airflow_mwaa_provider.client.http.retrying import within
from airflow_mwaa_provider.client.models import DagRun
from airflow_mwaa_provider.client.states import DagRunState, TaskState
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed, RunWait, Wait
from airflow_mwaa_provider.client.waits.task_wait import TasksSeen
from airflow_mwaa_provider.client.waits.watcher import Watched, Watcher
from airflow_mwaa_provider.exceptions import DagRunFailed, MwaaError, TaskInstanceFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_mwaa_provider.client.models import TaskInstance
    from airflow_mwaa_provider.client.waits.task_wait import TaskWait
    from airflow_mwaa_provider.client.waits.watcher import Seen

__all__ = ["Awaited", "explained", "wait_until_done"]

log = logging.getLogger(__name__)

# A run that is still queued after this time may have a paused DAG.
_QUEUED_FOR_LONG_S = 60.0
_LOGS_OF_TASKS = 3
_LINES_OF_LOG = 15
_MAX_QUOTE_CHARS = 300
_END_OF_TRACEBACK = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Failed|Timeout|Exit|Interrupt)\b")


class Awaited(Watched, Protocol):
    """What a wait reads from an environment: what a watcher reads, and details about a run that failed."""

    def is_dag_paused(self, dag_id: str) -> bool | None:
        """Return whether a DAG is paused; ``None`` if that is unknown."""

    def get_task_instances(
        self, dag_id: str, run_id: str, *, task_ids: Sequence[str] | None = None, states: Sequence[TaskState] = ()
    ) -> list[TaskInstance]:
        """List task instances of a run."""

    def get_task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Read the log of one try of a task."""


def wait_until_done(
    environment: Awaited,
    wait: RunWait | TaskWait,
    *,
    seen: DagRun | None = None,
    on_look: Callable[[str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Done:
    """Look, sleep, and look again until the wait ends.

    :param wait: started at the current time of ``clock``.
    :param seen: the run as just read or created; the first look is postponed then.
    :param on_look: called with what each look saw that did not end the wait: a state, or an error.
    :raises MwaaError: the wait ended without success.
    """
    watcher = Watcher(environment, clock)
    warned = False
    last: Seen = _look(watcher, wait, wait.deadline_s) if seen is None else seen
    while True:
        now = clock()
        step = wait.step(last, now)  # type: ignore[arg-type]  # a look returns what fits the wait
        if isinstance(step, Wait) and not isinstance(last, MwaaError):
            with within(wait.left_s(now)):
                watcher.learn([wait], now)
            step = wait.step(last, now, watcher.expected_s(wait, now))  # type: ignore[arg-type]
        if isinstance(step, Done):
            return step
        if isinstance(step, Failed):
            raise explained(environment, step.error)
        log.info(
            "Environment %r: run %r of DAG %r: %s; next look in %.0f s",
            wait.env_name,
            wait.run_id,
            wait.dag_id,
            step.note,
            step.delay_s,
        )
        if on_look is not None:
            on_look(step.note)
        run = last.run if isinstance(last, TasksSeen) else last
        is_queued = isinstance(run, DagRun) and run.state is DagRunState.QUEUED
        if is_queued and not warned and now - wait.started_at > _QUEUED_FOR_LONG_S:
            warned = True
            _warn_if_paused(environment, wait.dag_id)
        sleep(step.delay_s)
        last = _look(watcher, wait, wait.left_s(clock()))


def _look(watcher: Watcher, wait: RunWait | TaskWait, left_s: float) -> Seen:
    try:
        with within(left_s):
            return watcher.look([wait])[0]
    except MwaaError as error:
        return error


def _warn_if_paused(environment: Awaited, dag_id: str) -> None:
    try:
        paused = environment.is_dag_paused(dag_id)
    except MwaaError as error:
        log.debug("Whether DAG %r is paused is unknown: %s", dag_id, error)
        return
    if paused:
        log.warning(
            "Environment %r: DAG %r is paused, so that its run stays queued. Unpause it there.",
            environment.name,
            dag_id,
        )


def explained(environment: Awaited, error: MwaaError) -> MwaaError:
    """Add details to the error of a wait, as far as they can be read.

    The error of a failed run names the failed tasks; the ends of their logs are written to this process's log.
    """
    if isinstance(error, DagRunFailed):
        return _with_failed_tasks(environment, error)
    if isinstance(error, TaskInstanceFailed) and error.dag_id and error.run_id:
        try:
            instances = environment.get_task_instances(error.dag_id, error.run_id, states=[TaskState.FAILED])
        except MwaaError as unknown:
            log.warning("The logs of run %r cannot be read: %s", error.run_id, unknown)
            return error
        _show_logs(environment, [instance for instance in instances if instance.label in error.task_ids])
    return error


def _with_failed_tasks(environment: Awaited, error: DagRunFailed) -> DagRunFailed:
    if error.dag_id is None or error.run_id is None:
        return error
    try:
        failed = environment.get_task_instances(error.dag_id, error.run_id, states=[TaskState.FAILED])
    except MwaaError as unknown:
        log.warning("The failed tasks of run %r cannot be read: %s", error.run_id, unknown)
        return error
    last_line = _show_logs(environment, failed)
    labels = tuple(instance.label for instance in failed)
    return DagRunFailed(
        f"{error} Failed tasks: {', '.join(labels)}.{f' Error of {failed[0].label}: {last_line}' if last_line else ''}"
        if labels
        else f"{error} None of its tasks failed: it was marked as failed manually, or stopped.",
        dag_id=error.dag_id,
        run_id=error.run_id,
        state=error.state,
        failed_task_ids=labels,
        env_name=environment.name,
    )


def _show_logs(environment: Awaited, failed: list[TaskInstance]) -> str:
    """Log the ends of the first tasks' logs; return the line of the first one that names its error."""
    error_line = ""
    for number, instance in enumerate(failed[:_LOGS_OF_TASKS]):
        if not instance.try_number:
            continue  # the CLI shows neither tries nor logs
        try:
            text = environment.get_task_log(
                instance.dag_id,
                instance.run_id,
                instance.task_id,
                try_number=instance.try_number,
                map_index=instance.map_index,
            )
        except MwaaError as error:
            log.warning("The log of task %s cannot be read: %s", instance.label, error)
            continue
        lines = [line for line in text.splitlines() if line.strip()]
        log.error(
            "The end of the log of task %s, try %s, in environment %r:\n%s",
            instance.label,
            instance.try_number,
            environment.name,
            "\n".join(f"    {line}" for line in lines[-_LINES_OF_LOG:]),
        )
        if number == 0:
            error_line = _error_line(lines)
    return error_line


def _error_line(lines: list[str]) -> str:
    """Return the last line that looks like the end of a traceback, truncated."""
    found = next((line for line in reversed(lines) if _END_OF_TRACEBACK.match(line)), "")
    return found if len(found) <= _MAX_QUOTE_CHARS else f"{found[:_MAX_QUOTE_CHARS]}…"
