# SPDX-License-Identifier: Apache-2.0
"""Waits for tasks of a remote run: which tasks, and what a look at them means. Pure, as ``run_wait``."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from airflow_mwaa_provider.client.states import DagRunState, TaskState
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed, Patience, Step
from airflow_mwaa_provider.exceptions import DagRunNotFound, MwaaError, TaskInstanceFailed, TaskInstanceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from airflow_mwaa_provider.client.models import DagRun, TaskInstance

__all__ = ["TaskSelection", "TaskWait", "TasksSeen"]


@dataclass(frozen=True)
class TaskSelection:
    """Tasks of a run.

    :param patterns: task ids, or globs of them (``load_*``); empty selects every task of the run.
    :param map_index: one instance of a mapped task; ``None`` selects all of them.
    """

    patterns: tuple[str, ...] = ()
    map_index: int | None = None

    @property
    def task_ids(self) -> tuple[str, ...] | None:
        """The ids to read, if they are known beforehand; ``None`` for all tasks."""
        return None if not self.patterns or any(map(_is_glob, self.patterns)) else self.patterns

    def select(self, instances: Iterable[TaskInstance]) -> tuple[TaskInstance, ...]:
        """Return the instances that are selected.

        A mapped task before its expansion represents each of its instances.
        """
        return tuple(
            instance
            for instance in instances
            if (not self.patterns or any(fnmatchcase(instance.task_id, pattern) for pattern in self.patterns))
            and (self.map_index is None or instance.map_index in (self.map_index, -1))
        )

    def missing(self, instances: Sequence[TaskInstance]) -> tuple[str, ...]:
        """Return the patterns that match none of these instances."""
        patterns = self.patterns or ("*",)
        return tuple(
            pattern for pattern in patterns if not any(fnmatchcase(instance.task_id, pattern) for instance in instances)
        )

    def __str__(self) -> str:
        names = ", ".join(self.patterns) or "all tasks"
        return names if self.map_index is None else f"{names}[{self.map_index}]"


@dataclass(frozen=True)
class TasksSeen:
    """What one look saw.

    :param instances: the task instances of the run that were requested.
    :param run: the run; ``None`` if it was not needed, because all instances exist and have begun.
    """

    instances: tuple[TaskInstance, ...]
    run: DagRun | None = None


@dataclass(frozen=True)
class TaskWait(Patience):
    """A wait for tasks of one remote run.

    One task that fails ends the wait; otherwise it lasts until all have ended. A task that can no longer run
    (``upstream_failed``, or not begun in a run that has ended) has failed. ``removed`` counts as skipped: the run
    continues without such an instance, which remains of a mapped task that has fewer items after it was cleared. A task
    of which all instances were removed has failed if its run has.

    :param success_states: final states that count as success.
    :param failed_states: states that count as failure; so does any other final state.
    :param skipped_states: final states that are neither success nor failure; if all tasks are in them, the wait is
        skipped.
    """

    tasks: TaskSelection = TaskSelection()
    success_states: AbstractSet[TaskState] = frozenset({TaskState.SUCCESS})
    failed_states: AbstractSet[TaskState] = frozenset({TaskState.FAILED, TaskState.UPSTREAM_FAILED})
    skipped_states: AbstractSet[TaskState] = frozenset({TaskState.SKIPPED})

    def needs_run(self, instances: Sequence[TaskInstance]) -> bool:
        """Return whether the state of the run determines what these instances mean."""
        mine = self.tasks.select(instances)
        unclear = (TaskState.NONE, TaskState.REMOVED)
        return bool(self.tasks.missing(mine)) or any(instance.state in unclear for instance in mine)

    def step(self, seen: TasksSeen | MwaaError, now: float, expected_s: float | None = None) -> Step:
        """Return what one look means; see :meth:`~airflow_mwaa_provider.client.waits.run_wait.RunWait.step`."""
        what = f"task(s) {self.tasks} of run {self.run_id!r} of DAG {self.dag_id!r}"
        if isinstance(seen, DagRunNotFound):
            return self.wait_or_fail(seen, now)
        if isinstance(seen, MwaaError):
            return self.continue_or_time_out(what, str(seen), now, error=seen) if seen.transient else Failed(seen)
        mine = self.tasks.select(seen.instances)
        present = {instance.task_id for instance in seen.instances if instance.state is not TaskState.REMOVED}
        bad = [instance for instance in mine if self._is_bad(instance, seen.run, present)]
        if bad:
            return Failed(self._failure(what, bad), seen.run)
        missing = self.tasks.missing(mine)
        if missing:
            if seen.run is not None and seen.run.state.is_final:
                return Failed(self._not_there(missing, seen.run), seen.run)
            note = f"{', '.join(missing)} not created yet"
            return self.continue_or_time_out(what, note, now, run=seen.run, expected_s=expected_s)
        left = [instance for instance in mine if not self._is_good(instance)]
        if left:
            note = ", ".join(sorted({instance.state.value for instance in left}))
            return self.continue_or_time_out(what, note, now, run=seen.run, expected_s=expected_s)
        skipped = all(instance.state not in self.success_states for instance in mine)
        return Done(seen.run, mine, skipped=skipped)

    def _is_good(self, instance: TaskInstance) -> bool:
        is_left_behind = instance.state is TaskState.REMOVED and TaskState.REMOVED not in self.failed_states
        return instance.state in self.success_states or instance.state in self.skipped_states or is_left_behind

    def _is_bad(self, instance: TaskInstance, run: DagRun | None, present: AbstractSet[str]) -> bool:
        """Return whether a task has failed; ``present`` are the tasks of which an instance was not removed."""
        if self._is_good(instance):
            return (
                instance.state is TaskState.REMOVED
                and not {TaskState.REMOVED} & (self.success_states | self.skipped_states)
                and instance.task_id not in present
                and run is not None
                and run.state is DagRunState.FAILED
            )
        never_begun = instance.state is TaskState.NONE and run is not None and run.state.is_final
        return instance.state in self.failed_states or instance.state.is_final or never_begun

    def _failure(self, what: str, bad: Sequence[TaskInstance]) -> TaskInstanceFailed:
        states = ", ".join(
            f"{instance.label} is {instance.state.value}"
            if instance.state is not TaskState.NONE
            else f"{instance.label} never began, and its run has ended"
            for instance in bad
        )
        return TaskInstanceFailed(
            f"Environment {self.env_name!r}: {what} failed: {states}.",
            env_name=self.env_name,
            dag_id=self.dag_id,
            run_id=self.run_id,
            task_ids=tuple(instance.label for instance in bad),
            state=bad[0].state.value,
        )

    def _not_there(self, missing: Sequence[str], run: DagRun) -> TaskInstanceNotFound:
        return TaskInstanceNotFound(
            f"Environment {self.env_name!r}: run {self.run_id!r} of DAG {self.dag_id!r} ended as {run.state.value} and "
            f"has no task {', '.join(missing)}. Check the task id.",
            env_name=self.env_name,
            status=404,
        )


def _is_glob(pattern: str) -> bool:
    # Task ids consist of letters, digits, dots, dashes and underscores: none of these is in one.
    return any(sign in pattern for sign in "*?[")
