# SPDX-License-Identifier: Apache-2.0
"""Wait for runs, and for tasks, of other MWAA environments."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import DagRunState, TaskState
from airflow_mwaa_provider.client.waits.run_wait import RunWait
from airflow_mwaa_provider.client.waits.task_wait import TaskSelection, TaskWait
from airflow_mwaa_provider.exceptions import (
    MwaaInputError,
)
from airflow_mwaa_provider.hooks.templating import run_states, task_states
from airflow_mwaa_provider.sensors.remote_sensor import POKE_INTERVAL_S, SHARED_FIELDS, RemoteSensor, thawed

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta

    from airflow_mwaa_provider._compat import BaseTrigger

__all__ = ["MwaaDagRunSensor", "MwaaTaskSensor"]


class MwaaDagRunSensor(RemoteSensor):
    """Wait until a run in another environment ends.

    Takes all parameters of the amazon provider's sensor of the same name. An environment that is away for a while, or
    slows down its callers, is waited out within ``timeout``; a run that isn't there, or is deleted meanwhile, ends the
    wait.

    :param external_env_name: name of the environment (templated).
    :param external_dag_id: id of the DAG there (templated).
    :param external_dag_run_id: id of the run (templated); ``None`` takes the latest run of the DAG by date.
    :param success_states: states of the run that count as success (templated); ``["success"]``.
    :param failure_states: states that count as failure (templated); ``["failed"]``.
    :param check_existence: a run that isn't there fails this task; ``False`` waits for it to be made, too.
    :param airflow_version: major version there, 2 or 3 (templated); used only where GetEnvironment isn't permitted.
    :param deferrable: wait in the triggerer, without a worker's slot; all such waits on one environment share their
        calls. ``None`` takes Airflow's ``operators.default_deferrable``.
    :param poke_interval: seconds between two looks (templated); 60.
    :param max_retries: give up a deferred wait after so many times ``poke_interval`` (templated); ``None`` leaves it
        to ``timeout``.
    :param transport: ``"rest_api"``, ``"web_session"`` or ``"cli"``; ``None`` chooses by itself.
    :param aws_conn_id: connection of type ``aws`` or ``mwaa`` (templated).
    :param region_name: region of the environment (templated).
    :param region: older name of ``region_name``.
    :param verify: ``False`` or the path of a CA bundle (templated).
    :param botocore_config: keywords of botocore's ``Config``.
    """

    template_fields: Sequence[str] = (
        "external_env_name",
        "external_dag_id",
        "external_dag_run_id",
        "success_states",
        "failure_states",
        *SHARED_FIELDS,
    )

    def _check_when_parsed(self) -> None:
        self._check_states(run_states, "success_states", "failure_states")

    def _states(self) -> tuple[frozenset[DagRunState], frozenset[DagRunState]]:
        success = run_states(self.success_states, "success_states") or frozenset({DagRunState.SUCCESS})
        failed = run_states(self.failure_states, "failure_states") or frozenset({DagRunState.FAILED}) - success
        _check_apart(success, failed)
        return success, failed

    def _wait(self, run_id: str, began_at: float) -> RunWait:
        success, failed = self._states()
        return RunWait(
            env_name=self.external_env_name,
            dag_id=self.external_dag_id,
            run_id=run_id,
            started_at=began_at,
            deadline_s=self._deadline_s(),
            may_appear=not self.check_existence,
            allowed_states=success,
            failed_states=failed,
        )

    def _trigger(self, wait: RunWait | TaskWait) -> BaseTrigger:
        # Imported here, because parsing a DAG file needs no trigger.
        from airflow_mwaa_provider.triggers.dag_run import MwaaDagRunTrigger

        assert isinstance(wait, RunWait)
        return MwaaDagRunTrigger(
            env_name=wait.env_name,
            dag_id=wait.dag_id,
            run_id=wait.run_id,
            hook=self._settings().serialize(),
            allowed_states=sorted(wait.allowed_states),
            failed_states=sorted(wait.failed_states),
            waiter_delay=float(self.poke_interval),
            started_at=wait.started_at,
            deadline_s=wait.deadline_s,
            may_appear=wait.may_appear,
        )


class MwaaTaskSensor(RemoteSensor):
    """Wait until tasks of a run in another environment end.

    Takes all parameters of the amazon provider's sensor of the same name. One task that ends badly ends the wait;
    otherwise it lasts until all have ended. ``upstream_failed`` is a bad end, as is a task that its run ended without.
    ``removed`` counts as skipped, unless the task was removed as a whole from a run that has failed. When all tasks
    were skipped, this task is skipped as well. Otherwise as :class:`MwaaDagRunSensor`.

    :param external_task_id: id of the task there, or a glob (``load_*``), or a list of those (templated); ``None``
        waits for every task of the run.
    :param map_index: one instance of a mapped task (templated); ``None`` waits for all of them.
    :param success_states: states of a task that count as success (templated); ``["success"]``.
    :param failure_states: states that count as failure (templated); ``["failed", "upstream_failed"]``.
    :param skipped_states: states that count as neither (templated); ``["skipped"]``, without what is in the other two.
    """

    template_fields: Sequence[str] = (
        "external_env_name",
        "external_dag_id",
        "external_dag_run_id",
        "external_task_id",
        "map_index",
        "success_states",
        "failure_states",
        "skipped_states",
        *SHARED_FIELDS,
    )

    # The base's parameters once more, for editors and for a DAG's default_args; their defaults are the base's.
    def __init__(
        self,
        *,
        external_env_name: str,
        external_dag_id: str,
        external_dag_run_id: str | None = None,
        external_task_id: str | Sequence[str] | None,
        map_index: int | str | None = None,
        success_states: Collection[str] | None = None,
        failure_states: Collection[str] | None = None,
        skipped_states: Collection[str] | None = None,
        check_existence: bool = True,
        airflow_version: int | str | None = None,
        deferrable: bool | str | None = None,
        poke_interval: float | timedelta | str = POKE_INTERVAL_S,
        max_retries: int | str | None = None,
        transport: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        region: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # Set first, because the base checks them with its own.
        self.external_task_id = external_task_id
        self.map_index = map_index
        self.skipped_states = thawed(skipped_states)
        super().__init__(
            external_env_name=external_env_name,
            external_dag_id=external_dag_id,
            external_dag_run_id=external_dag_run_id,
            success_states=success_states,
            failure_states=failure_states,
            check_existence=check_existence,
            airflow_version=airflow_version,
            deferrable=deferrable,
            poke_interval=poke_interval,
            max_retries=max_retries,
            transport=transport,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            region=region,
            verify=verify,
            botocore_config=botocore_config,
            **kwargs,
        )

    def _check_when_parsed(self) -> None:
        self._check_states(task_states, "success_states", "failure_states", "skipped_states")

    def _states(self) -> tuple[frozenset[TaskState], frozenset[TaskState], frozenset[TaskState]]:
        success = task_states(self.success_states, "success_states") or frozenset({TaskState.SUCCESS})
        failed = task_states(self.failure_states, "failure_states")
        failed = failed or frozenset({TaskState.FAILED, TaskState.UPSTREAM_FAILED}) - success
        _check_apart(success, failed)
        if self.skipped_states is None:
            return success, failed, frozenset({TaskState.SKIPPED}) - success - failed
        skipped = task_states(self.skipped_states, "skipped_states")
        _check_apart(skipped, success | failed, "skipped_states", "success_states or failure_states")
        return success, failed, skipped

    def _wait(self, run_id: str, began_at: float) -> TaskWait:
        success, failed, skipped = self._states()
        return TaskWait(
            env_name=self.external_env_name,
            dag_id=self.external_dag_id,
            run_id=run_id,
            started_at=began_at,
            deadline_s=self._deadline_s(),
            may_appear=not self.check_existence,
            tasks=TaskSelection(_patterns(self.external_task_id), _index(self.map_index)),
            success_states=success,
            failed_states=failed,
            skipped_states=skipped,
        )

    def _trigger(self, wait: RunWait | TaskWait) -> BaseTrigger:
        # Imported here, because parsing a DAG file needs no trigger.
        from airflow_mwaa_provider.triggers.dag_run import MwaaTaskTrigger

        assert isinstance(wait, TaskWait)
        return MwaaTaskTrigger(
            env_name=wait.env_name,
            dag_id=wait.dag_id,
            run_id=wait.run_id,
            hook=self._settings().serialize(),
            task_ids=wait.tasks.patterns,
            map_index=wait.tasks.map_index,
            success_states=sorted(wait.success_states),
            failed_states=sorted(wait.failed_states),
            skipped_states=sorted(wait.skipped_states),
            waiter_delay=float(self.poke_interval),
            started_at=wait.started_at,
            deadline_s=wait.deadline_s,
            may_appear=wait.may_appear,
        )


def _check_apart(
    one: frozenset[Any], other: frozenset[Any], name: str = "success_states", other_name: str = "failure_states"
) -> None:
    both = sorted(state.value for state in one & other)
    if both:
        raise MwaaInputError(f"{', '.join(both)} is in {name} and in {other_name}: name each state once.")


def _patterns(given: Any) -> tuple[str, ...]:
    """Read task ids, one or several, which may be numbers out of another task."""
    if given is None:
        return ()
    # What all instances of a mapped task have returned is a sequence of Airflow's own.
    several = given if isinstance(given, Sequence | Set) and not isinstance(given, str | bytes) else [given]
    for name in several:
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise MwaaInputError(f"external_task_id has a {type(name).__name__}: give a task's id, or a list of ids.")
    return tuple(str(name) for name in several)


def _index(value: object) -> int | None:
    """Read a map index, which may be text out of a template."""
    if value is None:
        return None
    try:
        return int(str(value))
    except ValueError:
        raise MwaaInputError(f"map_index={value!r} is no whole number.") from None
