# SPDX-License-Identifier: Apache-2.0
"""Export the runs and tasks of the last thirty days from Airflow's metadata database to CSV files in S3."""

from __future__ import annotations

from datetime import datetime

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.metadata import MetadataToS3Operator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    # On Airflow 3 "auto" is the metadata API of the environment's web server, where it is turned on for this bucket.
    params={"bucket": "your-new-export-bucket", "route": "auto"},
    tags=["mwaa"],
)
def export_metadata() -> None:
    # [START operator]
    MetadataToS3Operator(
        task_id="export",
        bucket="{{ params.bucket }}",
        prefix="files/export",
        tables=["dag_run", "task_instance", "log"],
        since="{{ ti.start_date - macros.timedelta(days=30) }}",
        route="{{ params.route }}",
    )
    # [END operator]


export_metadata()
