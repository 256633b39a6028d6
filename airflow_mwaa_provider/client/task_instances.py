# SPDX-License-Identifier: Apache-2.0
"""The calls of a remote environment that are about tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import TaskState, TasksToClear
from airflow_mwaa_provider.exceptions import DagRunNotFound, TaskInstanceNotFound, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.client.access import TransportSelector
    from airflow_mwaa_provider.client.models import TaskInstance


_FAILED = (TaskState.FAILED, TaskState.UPSTREAM_FAILED)


class TaskCalls:
    """Read and clear task instances; read their logs and XComs."""

    name: str
    _access: TransportSelector

    def get_task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance:
        """Read one task instance.

        :raises TaskInstanceNotFound: it does not exist.
        """
        for instance in self.get_task_instances(dag_id, run_id, task_ids=[task_id]):
            if instance.map_index == map_index:
                return instance
        label = task_id if map_index < 0 else f"{task_id}[{map_index}]"
        raise TaskInstanceNotFound(
            f"Environment {self.name!r}: run {run_id!r} of DAG {dag_id!r} has no task {label!r}. Check the ids.",
            env_name=self.name,
            status=404,
        )

    def get_task_instances(
        self,
        dag_id: str,
        run_id: str,
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of a run, mapped ones one by one; by default all of them."""
        return self.get_tasks_of_runs([(dag_id, run_id)], task_ids=task_ids, states=states)

    def get_tasks_of_runs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of many runs; one call per hundred runs, and per hundred tasks of them.

        :param pairs: (dag_id, run_id) of each run; those that do not exist have no tasks.
        """
        if not pairs:
            return []
        return self._access.call(lambda backend: backend.get_tasks_of_runs(pairs, task_ids=task_ids, states=states))

    def clear_tasks(
        self,
        dag_id: str,
        run_id: str,
        *,
        task_ids: Sequence[str] | None = None,
        downstream: bool = False,
        only_failed: bool = False,
        dry_run: bool = False,
    ) -> list[TaskInstance]:
        """Clear task instances of a run, so that they run again; the run is queued again. The CLI has no such call.

        Nothing is cleared before everything was checked, and the call that clears is not repeated if its outcome is
        unknown. A running task that is cleared is stopped, and starts again.

        :param task_ids: the tasks, each with all of its mapped instances; ``None`` for all of the run.
        :param downstream: also the tasks that depend on them.
        :param only_failed: only those that failed, or whose upstream did.
        :param dry_run: change nothing.
        :return: the task instances, as they were before, mapped ones sorted by index.
        :raises DagRunNotFound: the run does not exist.
        :raises TaskInstanceNotFound: the run has no such task.
        :raises UnexpectedAnswer: Airflow would clear tasks of other runs too; nothing was cleared.
        """
        instances = self.get_task_instances(dag_id, run_id)
        missing = sorted(set(task_ids or ()) - {instance.task_id for instance in instances})
        if missing and instances:
            raise TaskInstanceNotFound(
                f"Environment {self.name!r}: run {run_id!r} of DAG {dag_id!r} has no task "
                f"{', '.join(map(repr, missing))}; nothing was cleared. Check the ids.",
                env_name=self.name,
                status=404,
            )

        selection = TasksToClear(task_ids, downstream, only_failed)

        def clear(*, dry_run: bool) -> list[tuple[str, str, int | None]]:
            return self._access.call(
                lambda backend: backend.clear_tasks(dag_id, run_id, selection, dry_run=dry_run), idempotent=dry_run
            )

        planned = clear(dry_run=True)
        if not instances and not planned:
            raise DagRunNotFound(
                f"Environment {self.name!r}: DAG {dag_id!r} has no run {run_id!r} with tasks; nothing was cleared. "
                "Check both ids.",
                env_name=self.name,
                status=404,
            )
        if others := sorted({of_run for of_run, _, _ in planned} - {run_id}):
            raise UnexpectedAnswer(
                f"Environment {self.name!r}: its Airflow would also clear tasks of run {others[0]!r} with those of "
                f"run {run_id!r}; nothing was cleared. Clear it in the Airflow UI.",
                env_name=self.name,
            )
        if planned and not dry_run:
            clear(dry_run=False)
        # Airflow 2 returns no map index; it clears the instances of a mapped task that pass the filter.
        wanted = {(task_id, map_index) for _, task_id, map_index in planned}
        found = [
            instance
            for instance in instances
            if (instance.task_id, instance.map_index) in wanted
            or ((instance.task_id, None) in wanted and (not only_failed or instance.state in _FAILED))
        ]
        # The database returns mapped instances in any order; tasks keep their order.
        order = {task_id: number for number, task_id in enumerate(dict.fromkeys(each.task_id for each in found))}
        return sorted(found, key=lambda instance: (order[instance.task_id], instance.map_index))

    def get_xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1
    ) -> Any:
        """Read an XCom. The CLI transport has no such call.

        Airflow before 2.10 returns a string, in which anything but a string is written as Python writes it.

        :raises TaskInstanceNotFound: the task has no XCom of that name.
        """
        return self._access.call(lambda backend: backend.get_xcom(dag_id, run_id, task_id, key, map_index=map_index))

    def get_task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Read the log of one try of a task. The CLI transport has no such call.

        :param try_number: 1 for the first try.
        :raises TaskInstanceNotFound: the task instance does not exist.
        """
        return self._access.call(
            lambda backend: backend.get_task_log(dag_id, run_id, task_id, try_number=try_number, map_index=map_index)
        )
