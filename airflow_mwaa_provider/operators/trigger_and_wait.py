# SPDX-License-Identifier: Apache-2.0
"""Run a DAG of another environment from the body of a TaskFlow task."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider._compat import current_context
from airflow_mwaa_provider.client.parameters import check_duration, check_transport
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.settings import HookSettings
from airflow_mwaa_provider.operators.results import result_of, url_of
from airflow_mwaa_provider.operators.run_ids import derived_run_id, former_run_id, was_tried

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["trigger_and_wait"]


def trigger_and_wait(
    env_name: str,
    dag_id: str,
    *,
    conf: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    note: str | None = None,
    wait_timeout: timedelta = timedelta(hours=12),
    result_task_id: str | None = None,
    result_key: str = "return_value",
    transport: str | None = None,
    aws_conn_id: str | None = "aws_default",
    region_name: str | None = None,
    verify: bool | str | None = None,
    botocore_config: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Trigger a run in another MWAA environment, exactly once, and wait for it in this task's worker slot.

    Call it from a running task. By default the run id is derived from the source environment and run, the task
    instance, the target environment, the DAG and the conf. A retry of the task, and a second call with the same
    arguments, therefore find the existing run and wait for it instead of creating another. Clearing the task creates
    new runs.

    :param conf: configuration of the run, JSON-serializable.
    :param run_id: id of the run. Required to run the same DAG with the same conf twice in one task.
    :param wait_timeout: stop waiting after this time. The remote run continues.
    :param result_task_id: a task of the remote run whose XCom is added to the return value as ``result``.
    :return: that of :class:`~airflow_mwaa_provider.operators.dag_run.MwaaTriggerDagRunOperator`.
    :raises DagRunFailed: the run failed; names the tasks that failed.
    :raises DagRunAlreadyExists: the run with the given id has another conf.
    :raises MwaaInputError: the conf is not JSON-serializable. Nothing was triggered.
    """
    check_transport(transport)
    check_duration(wait_timeout, "wait_timeout")
    try:
        written = json.dumps(conf or {}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise MwaaInputError(f"conf cannot be written as JSON: {error}.") from error
    former = None
    if not run_id:
        context = current_context()
        run_id = derived_run_id(context, env_name, dag_id, written)
        former = former_run_id(context, env_name, dag_id, written) if was_tried(context) else None
    settings = HookSettings(aws_conn_id, region_name, verify, botocore_config, transport)
    environment = settings.environment(env_name)
    run = environment.trigger_dag_run(dag_id, run_id, conf=conf, note=note, former_run_id=former)
    run = environment.wait_for_dag_run(dag_id, run.run_id, timeout_s=wait_timeout.total_seconds(), seen=run)
    result = result_of(env_name, run, url_of(environment, run))
    if result_task_id:
        result["result"] = environment.get_xcom(dag_id, run.run_id, result_task_id, result_key)
    return result
