# SPDX-License-Identifier: Apache-2.0
"""Keep the metadata database small: plan every day, clean every week, archive every month."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.metadata import MetadataCleanupOperator

SHARED: dict[str, Any] = {
    "start_date": datetime(2026, 1, 1),
    "catchup": False,
    "max_active_runs": 1,
    "render_template_as_native_obj": True,
    "tags": ["mwaa"],
}
# On Airflow 3 "auto" uses the metadata API of the environment's web server, if its cleanup is turned on.
PARAMS = {"retention_days": 30, "route": "auto"}
RETENTION = "{{ macros.timedelta(days=params.retention_days) }}"


@dag(**SHARED, schedule="@daily", params=PARAMS)
def plan_metadata_cleanup() -> None:
    # [START plan]
    MetadataCleanupOperator(task_id="plan", retention=RETENTION, dry_run=True, route="{{ params.route }}")
    # [END plan]


@dag(**SHARED, schedule="@weekly", params=PARAMS)
def clean_metadata() -> None:
    # [START clean]
    MetadataCleanupOperator(
        task_id="clean",
        retention=RETENTION,
        max_duration=timedelta(hours=2),
        wait_timeout=timedelta(minutes=10),
        route="{{ params.route }}",
    )
    # [END clean]


@dag(**SHARED, schedule="@monthly", params={**PARAMS, "retention_days": 90, "archive_to": "s3://your-bucket/archive"})
def archive_metadata() -> None:
    # [START archive]
    MetadataCleanupOperator(
        task_id="archive",
        retention=RETENTION,
        tables=["dag_run", "log", "job"],
        archive_to="{{ params.archive_to }}",
        route="{{ params.route }}",
    )
    # [END archive]


plan_metadata_cleanup()
clean_metadata()
archive_metadata()
