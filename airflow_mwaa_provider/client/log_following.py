# SPDX-License-Identifier: Apache-2.0
"""The log of a running task, as it grows.

Every look reads the whole log. Continuation tokens do not help: those of Airflow 2 count what its CloudWatch handler
does not, and a log that moves from the worker to CloudWatch changes above what was read. A line is new if the log
contains it more often than it was returned.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from airflow_mwaa_provider.client.states import TaskState
from airflow_mwaa_provider.exceptions import MwaaInputError, TaskInstanceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.client.models import TaskInstance

__all__ = ["LogLines", "follow_task_log", "last_begun_try", "one_task_instance"]

# Above a log, Airflow may write why it could not also be read from the worker, each time with another object's address.
_ADDRESS = re.compile(r"\b0x[0-9a-f]+")
_NOT_BEGUN = (TaskState.NONE, TaskState.SCHEDULED, TaskState.QUEUED)
_MAX_INDEXES_NAMED = 20
# A log is read again after this many times the duration of reading it.
_REST_FACTOR = 2.0


class _Environment(Protocol):
    name: str

    def get_task_instances(
        self, dag_id: str, run_id: str, *, task_ids: Sequence[str] | None = None
    ) -> list[TaskInstance]: ...

    def get_task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance: ...

    def get_task_log(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1
    ) -> str: ...


class LogLines(NamedTuple):
    """What one look at a task saw.

    :param instance: the task as it was just before its log was read.
    :param try_number: the try of the log; 0 if none has begun.
    :param lines: the new lines of its log.
    """

    instance: TaskInstance
    try_number: int
    lines: list[str]


@dataclass
class _NewLines:
    """Determine which lines of a log that is read again are new."""

    _passed_on: Counter[str] = field(default_factory=Counter)

    def of(self, text: str) -> list[str]:
        new: list[str] = []
        seen: Counter[str] = Counter()
        for line in text.splitlines():
            key = _ADDRESS.sub("0x", line)
            seen[key] += 1
            if seen[key] > self._passed_on[key]:
                new.append(line)
        self._passed_on |= seen
        return new


def one_task_instance(
    environment: _Environment, dag_id: str, run_id: str, task_id: str, map_index: int | None
) -> TaskInstance:
    """Read the task instance that a user names.

    :param map_index: ``None`` for the only one.
    :raises TaskInstanceNotFound: it does not exist.
    :raises MwaaInputError: the task has several mapped instances, and no index was given; names those that failed.
    """
    found = environment.get_task_instances(dag_id, run_id, task_ids=[task_id])
    if map_index is None and len(found) == 1:
        return found[0]
    chosen = [instance for instance in found if instance.map_index == (-1 if map_index is None else map_index)]
    if chosen:
        return chosen[0]
    subject = f"Environment {environment.name!r}: task {task_id!r} of run {run_id!r}"
    if found and map_index is None:
        failed = sorted(instance.map_index for instance in found if instance.state is TaskState.FAILED)
        words = f"; failed {_some(failed)}" if failed else ""
        raise MwaaInputError(
            f"{subject} is mapped: it has {_some(sorted(instance.map_index for instance in found))}{words}.",
            advice="Choose one with {}.",
            parameter="map_index",
            env_name=environment.name,
        )
    what = f"has no map index {map_index}" if found else f"of DAG {dag_id!r} does not exist"
    raise TaskInstanceNotFound(f"{subject} {what}. Check the ids.", env_name=environment.name, status=404)


def _some(indexes: Sequence[int]) -> str:
    more = len(indexes) - _MAX_INDEXES_NAMED
    return ", ".join(map(str, indexes[:_MAX_INDEXES_NAMED])) + (f" and {more} more" if more > 0 else "")


def last_begun_try(instance: TaskInstance) -> int:
    """Return the number of the last try that has begun; 0 if none has."""
    number = instance.try_number or 0
    # From Airflow 2.10 on, a task that is queued for another try already has that try's number.
    return max(number - 1, 0) if instance.state in _NOT_BEGUN else number


def follow_task_log(
    environment: _Environment,
    instance: TaskInstance,
    *,
    try_number: int | None = None,
    interval_s: float = 2.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[LogLines]:
    """Read what a task logs until it has ended, each line once; further tries too, unless one is given.

    After the end the log is read once more, because CloudWatch has the last lines with a delay.

    :param instance: the task as just read.
    :param try_number: the only try to follow.
    :param interval_s: seconds between two looks; more if reading takes long.
    :raises MwaaError: it can no longer be read; calls are repeated as all reading calls are.
    """
    current, new, is_over = try_number or 0, _NewLines(), False
    while True:
        number = try_number or last_begun_try(instance)
        if number > current:
            if current:
                # The lines that the previous try wrote between the last look and its end.
                yield LogLines(instance, current, new.of(_log(environment, instance, current)))
            current, new, is_over = number, _NewLines(), False
        began = clock()
        has_begun = current > 0 and (try_number is None or current <= last_begun_try(instance))
        lines = new.of(_log(environment, instance, current)) if has_begun else []
        yield LogLines(instance, current if has_begun else 0, lines)
        if is_over or (not has_begun and instance.state.is_final):
            return
        is_over = _has_ended(instance, current, try_number)
        sleep(max(interval_s, _REST_FACTOR * (clock() - began)))
        instance = environment.get_task_instance(instance.dag_id, instance.run_id, instance.task_id, instance.map_index)


def _has_ended(instance: TaskInstance, current: int, only_try: int | None) -> bool:
    number = instance.try_number or 0
    waits_for_the_next = instance.state is TaskState.UP_FOR_RETRY and number >= current
    return instance.state.is_final or (only_try is not None and (waits_for_the_next or number > current))


def _log(environment: _Environment, instance: TaskInstance, number: int) -> str:
    return environment.get_task_log(
        instance.dag_id, instance.run_id, instance.task_id, try_number=number, map_index=instance.map_index
    )
