# SPDX-License-Identifier: Apache-2.0
"""Export the whole history on many workers: one task for each table, and the largest by month of a quarter."""

from __future__ import annotations

from datetime import UTC, datetime

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

import itertools

from airflow_mwaa_provider.operators.metadata import MetadataToS3Operator

TABLES = ["dag_run", "task_instance", "job", "xcom"]
MONTHS = [datetime(2026, month, 1, tzinfo=UTC).isoformat() for month in range(9, 13)]


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_tasks=4,
    params={"bucket": "your-new-export-bucket", "route": "auto"},
    tags=["mwaa"],
)
def export_metadata_in_parallel() -> None:
    # [START tables]
    MetadataToS3Operator.partial(
        task_id="export_table",
        bucket="{{ params.bucket }}",
        prefix="files/history",
        layout="hive",
        compression="gzip",
        route="{{ params.route }}",
    ).expand_kwargs([{"tables": [table], "manifest_name": f"{table}.json"} for table in TABLES])
    # [END tables]

    # [START months]
    MetadataToS3Operator.partial(
        task_id="export_month",
        bucket="{{ params.bucket }}",
        prefix="files/history",
        tables=["log"],
        layout="hive",
        compression="gzip",
        route="{{ params.route }}",
    ).expand_kwargs(
        [
            {"since": since, "until": until, "manifest_name": f"log-{since[:7]}.json"}
            for since, until in itertools.pairwise(MONTHS)
        ]
    )
    # [END months]


export_metadata_in_parallel()
