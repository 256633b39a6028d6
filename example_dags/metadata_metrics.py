# SPDX-License-Identifier: Apache-2.0
"""Publish metrics of Airflow's metadata database to CloudWatch, every hour.

Runs and tasks by state, how long tasks wait in the queue, how late runs start, and the size and age of tables. One
request contains all metrics.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.cloudwatch import MetadataMetricsOperator


@dag(
    schedule="0 * * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=15),
    # On Airflow 3, "auto" is the metadata API of the environment's web server if it is turned on, otherwise its REST
    # API.
    params={"route": "auto"},
    tags=["mwaa", "cloudwatch"],
)
def metadata_metrics() -> None:
    # [START operator]
    MetadataMetricsOperator(task_id="measure", namespace="MWAA-Custom", route="{{ params.route }}")
    # [END operator]


metadata_metrics()
