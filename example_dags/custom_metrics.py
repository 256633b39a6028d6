# SPDX-License-Identifier: Apache-2.0
"""Publish the memory, CPU and disk of a worker to CloudWatch, every five minutes.

The environment's name is read from the worker itself. One request carries all metrics. They include those of the
container, because tasks are killed at the container's memory limit.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.cloudwatch import WorkerMetricsOperator


@dag(
    dag_id="dag-custom-metrics",
    schedule="*/5 * * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=5),
    tags=["mwaa", "cloudwatch"],
)
def custom_metrics() -> None:
    WorkerMetricsOperator(task_id="memory_test", namespace="MWAA-Custom")


custom_metrics()
