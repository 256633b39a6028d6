# SPDX-License-Identifier: Apache-2.0
"""Publish metrics of a pipeline: the duration and row count of a step, and what another task returned."""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

from airflow_mwaa_provider.operators.cloudwatch import CloudWatchMetricsOperator

NAMESPACE = "Sales"


@dag(
    dag_id="pipeline_metrics",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(hours=1),
    tags=["mwaa", "cloudwatch"],
)
def pipeline_metrics() -> None:
    # [START task]
    @task
    def load_orders() -> list[dict[str, object]]:
        # Imported here so that parsing this file does not load boto3.
        from airflow_mwaa_provider.hooks.cloudwatch import count_metric, task_metrics, timed_metric

        with task_metrics(NAMESPACE, dimensions={"Table": "orders"}):
            with timed_metric("load_time"):
                rows = [{"region": "north", "total": 12.5}, {"region": "south", "total": 7.25}]
            count_metric("rows_loaded", len(rows))
        return [{"name": "order_total", "value": row["total"], "dimensions": {"Region": row["region"]}} for row in rows]

    # [END task]

    # [START hook]
    @task
    def publish_answers() -> None:
        from airflow_mwaa_provider.hooks.cloudwatch import CloudWatchMetricsHook, Metric, StatisticSet

        CloudWatchMetricsHook().put_metrics(
            NAMESPACE,
            [
                Metric("order_total", 19.75, dimensions={"Region": "east"}),
                Metric("response_time", unit="Milliseconds", values=[10, 12, 90], counts=[5, 3, 1]),
                Metric("row_bytes", unit="Bytes", statistics=StatisticSet(1000, 52_000, 12, 340)),
            ],
        )

    # [END hook]

    CloudWatchMetricsOperator(task_id="publish_totals", namespace=NAMESPACE, metrics=load_orders())
    publish_answers()


pipeline_metrics()
