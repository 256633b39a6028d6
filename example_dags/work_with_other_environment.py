# SPDX-License-Identifier: Apache-2.0
"""Run a DAG of another MWAA environment from a task, wait for its runs and tasks, and run a CLI command there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

# [START imports]
from airflow_mwaa_provider.operators.cli import MwaaCliOperator
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor, MwaaTaskSensor

# [END imports]


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    params={"env_name": "target", "numbers": [1, 2, 3]},
    tags=["mwaa"],
)
def work_with_other_environment() -> None:
    # [START function]
    @task(retries=2)
    def add_up_there(**context: Any) -> dict[str, Any]:
        # Imported here so that parsing this file does not load it.
        from airflow_mwaa_provider.operators.trigger_and_wait import trigger_and_wait

        remote = trigger_and_wait(
            context["params"]["env_name"],
            "run_by_other_environment",
            conf={"numbers": context["params"]["numbers"], "asked_by": context["run_id"]},
            result_task_id="add_up",
        )
        print(f"The other environment answered: {remote['result']}")
        return remote

    # [END function]

    # [START sensors]
    remote_run_id = "{{ ti.xcom_pull(task_ids='add_up_there')['run_id'] }}"
    their_run = MwaaDagRunSensor(
        task_id="their_run",
        env_name="{{ params.env_name }}",
        external_dag_id="run_by_other_environment",
        external_dag_run_id=remote_run_id,
        deferrable=True,
    )
    their_tasks = MwaaTaskSensor(
        task_id="their_tasks",
        env_name="{{ params.env_name }}",
        external_dag_id="run_by_other_environment",
        external_dag_run_id=remote_run_id,
        external_task_id="add_*",
        mode="reschedule",
    )
    # [END sensors]

    # [START cli]
    their_version = MwaaCliOperator(
        task_id="their_version",
        env_name="{{ params.env_name }}",
        command=["version"],
        idempotent=True,
    )
    # [END cli]

    add_up_there() >> [their_run, their_tasks] >> their_version


work_with_other_environment()
