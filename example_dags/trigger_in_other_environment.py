# SPDX-License-Identifier: Apache-2.0
"""Run a DAG of another MWAA environment, wait for it, and read its result.

This is the user guide's sample "Invoking DAGs in different Amazon MWAA environments". It also waits for the run, never
starts a second run when it is retried, and reports why a remote run failed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    params={"env_name": "target", "numbers": [1, 2, 3]},
    render_template_as_native_obj=True,
    tags=["mwaa"],
)
def trigger_in_other_environment() -> None:
    # [START trigger]
    trigger = MwaaTriggerDagRunOperator(
        task_id="trigger",
        env_name="{{ params.env_name }}",
        trigger_dag_id="run_by_other_environment",
        conf={"numbers": "{{ params.numbers }}", "asked_by": "{{ run_id }}"},
        wait_for_completion=True,
        wait_timeout=timedelta(minutes=10),
        retries=2,
        retry_delay=timedelta(seconds=10),
    )
    # [END trigger]

    # [START read_result]
    @task
    def read_result(remote: dict[str, Any]) -> int:
        # Imported here so that parsing this file does not load boto3.
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

        environment = MwaaEnvironmentHook().environment(remote["env_name"])
        run = f"/dags/{remote['dag_id']}/dagRuns/{quote(remote['run_id'])}"
        xcom = environment.request("GET", f"{run}/taskInstances/add_up/xcomEntries/return_value")
        total = int(xcom["value"])
        print(f"The other environment answered: {total}")
        return total

    # [END read_result]

    read_result(trigger.output)


trigger_in_other_environment()
