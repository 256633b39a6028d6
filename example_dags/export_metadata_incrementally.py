# SPDX-License-Identifier: Apache-2.0
"""Export every hour what is new or has changed in Airflow's metadata database since the last export."""

from __future__ import annotations

from datetime import datetime

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.metadata import MetadataToS3Operator


# [START operator]
@dag(
    schedule="@hourly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,  # each export goes on where the one before has ended
    params={"bucket": "your-new-export-bucket", "route": "auto"},
    tags=["mwaa"],
)
def export_metadata_incrementally() -> None:
    MetadataToS3Operator(
        task_id="export",
        bucket="{{ params.bucket }}",
        prefix="files/increments",
        tables=["dag_run", "task_instance", "log"],
        incremental=True,
        compression="gzip",
        route="{{ params.route }}",
    )


export_metadata_incrementally()
# [END operator]
