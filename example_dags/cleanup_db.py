# SPDX-License-Identifier: Apache-2.0
"""Delete a window between two ages from given tables, as the user guide's sample of that name wants it."""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.metadata import MetadataCleanupOperator


@dag(
    schedule="@weekly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params={"route": "auto"},
    tags=["mwaa"],
)
def cleanup_db() -> None:
    # [START window]
    MetadataCleanupOperator(
        task_id="clean",
        retention=timedelta(days=30),
        max_age=timedelta(days=60),
        tables=["job", "dag_run", "task_instance", "task_reschedule", "import_error", "log", "xcom"],
        route="{{ params.route }}",
    )
    # [END window]


cleanup_db()
