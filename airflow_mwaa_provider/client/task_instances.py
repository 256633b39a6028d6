# SPDX-License-Identifier: Apache-2.0
"""The calls of a remote environment that are about tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import TaskInstanceNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.client.access import Access
    from airflow_mwaa_provider.client.models import TaskInstance, TaskState


class TaskCalls:
    """Read task instances, their logs and what they left behind."""

    name: str
    _access: Access

    def get_task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance:
        """Read one task instance.

        :raises TaskInstanceNotFound: it isn't there.
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
        """List task instances of a run, each mapped one by itself; all of them where nothing narrows it."""
        return self._access.call(
            lambda backend: backend.get_task_instances(dag_id, run_id, task_ids=task_ids, states=states)
        )

    def get_tasks_of_runs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of many runs; one call for a hundred runs, and for a hundred tasks of them.

        :param pairs: (dag_id, run_id) of each run; those that aren't there have no tasks.
        """
        if not pairs:
            return []
        return self._access.call(lambda backend: backend.get_tasks_of_runs(pairs, task_ids=task_ids, states=states))

    def get_xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1
    ) -> Any:
        """Read what a task left behind. The CLI transport has no such call.

        Airflow before 2.10 answers with text, in which anything but text is written as Python writes it.

        :raises TaskInstanceNotFound: the task left nothing of that name.
        """
        return self._access.call(lambda backend: backend.get_xcom(dag_id, run_id, task_id, key, map_index=map_index))

    def get_task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Read the log of one try of a task. The CLI transport has no such call.

        :param try_number: 1 for the first try.
        :raises TaskInstanceNotFound: it isn't there.
        """
        return self._access.call(
            lambda backend: backend.get_task_log(dag_id, run_id, task_id, try_number=try_number, map_index=map_index)
        )
