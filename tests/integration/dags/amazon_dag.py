# SPDX-License-Identifier: Apache-2.0
"""A DAG written for the amazon provider; the tests run it unchanged, and with only its import lines changed."""

from __future__ import annotations

import importlib.util
from datetime import datetime
from pathlib import Path

if importlib.util.find_spec("airflow.providers.amazon.aws.sensors.mwaa") is not None:
    from airflow.providers.amazon.aws.operators.mwaa import MwaaTriggerDagRunOperator
    from airflow.providers.amazon.aws.sensors.mwaa import MwaaDagRunSensor, MwaaTaskSensor
    from airflow.sdk import dag

    @dag(
        dag_id=Path(__file__).stem,
        schedule=None,
        start_date=datetime(2026, 1, 1),
        is_paused_upon_creation=False,
        params={"env_name": "", "logical_date": "", "run_id": ""},
    )
    def made() -> None:
        triggered = MwaaTriggerDagRunOperator(
            task_id="trigger",
            env_name="{{ params.env_name }}",
            trigger_dag_id="echo",
            # Short, because their sensor's path must fit into the 64 characters of InvokeRestApi.
            trigger_run_id="{{ params.run_id }}",
            logical_date="{{ params.logical_date }}",
            conf={"by": "{{ dag.dag_id }}"},
            wait_for_completion=True,
            waiter_delay=2,
            waiter_max_attempts=60,
        )
        run_id = "{{ ti.xcom_pull(task_ids='trigger')['RestApiResponse']['dag_run_id'] }}"
        run_ended = MwaaDagRunSensor(
            task_id="run_ended",
            external_env_name="{{ params.env_name }}",
            external_dag_id="echo",
            external_dag_run_id=run_id,
            poke_interval=2,
        )
        task_ended = MwaaTaskSensor(
            task_id="task_ended",
            external_env_name="{{ params.env_name }}",
            external_dag_id="echo",
            external_dag_run_id=run_id,
            external_task_id="answer",
            poke_interval=2,
        )
        triggered >> [run_ended, task_ended]

    made()
