# SPDX-License-Identifier: Apache-2.0
"""Call the REST API of another MWAA environment: the client logs in, keeps the session, and retries reading calls.

To run a DAG there, ``MwaaTriggerDagRunOperator`` is better: it waits, and never starts a second run. This is for
everything that no operator does. The paths are those of the environment's own Airflow, without ``/api/v1`` or
``/api/v2``.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(minutes=30),
    params={"env_name": "target", "dag_id": "run_by_other_environment"},
    tags=["mwaa"],
)
def rest_api() -> None:
    # [START request]
    @task
    def trigger_dag(params: dict[str, str] | None = None, run_id: str | None = None) -> str:
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

        environment = MwaaEnvironmentHook().environment(params["env_name"])
        # The run's id is that of this run: a retry finds the run, and starts no second one.
        run = environment.trigger_dag_run(params["dag_id"], f"rest_api__{run_id}", conf={"numbers": [19, 23]})
        return run.run_id

    @task
    def read_tasks(remote_run_id: str, params: dict[str, str] | None = None) -> dict[str, str]:
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

        environment = MwaaEnvironmentHook().environment(params["env_name"])
        environment.wait_for_dag_run(params["dag_id"], remote_run_id, timeout_s=600)
        path = f"/dags/{params['dag_id']}/dagRuns/{remote_run_id}/taskInstances"
        return {each["task_id"]: each["state"] for each in environment.request("GET", path)["task_instances"]}

    # [END request]
    read_tasks(trigger_dag())


rest_api()
