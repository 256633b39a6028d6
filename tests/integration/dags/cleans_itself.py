# SPDX-License-Identifier: Apache-2.0
"""A DAG that cleans some tables of its own environment, by any route."""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.metadata import MetadataCleanupOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    render_template_as_native_obj=True,
    params={"route": "auto"},
)
def cleans_itself() -> None:
    MetadataCleanupOperator(
        task_id="clean",
        retention=timedelta(days=20 * 365),
        tables=["dag_run", "log"],
        route="{{ params.route }}",
        retries=0,
    )


cleans_itself()
