# SPDX-License-Identifier: Apache-2.0
"""Import variables and pools into another MWAA environment, all or nothing, and export what it has."""

from __future__ import annotations

from datetime import datetime

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

# [START imports]
from airflow_mwaa_provider.operators.connections import MwaaExportConnectionsOperator, MwaaImportConnectionsOperator
from airflow_mwaa_provider.operators.pools import MwaaExportPoolsOperator, MwaaImportPoolsOperator
from airflow_mwaa_provider.operators.variables import MwaaExportVariablesOperator, MwaaImportVariablesOperator

# [END imports]


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    params={"env_name": "target", "folder": "/tmp"},  # noqa: S108 - a folder on the worker; s3://… works as well
    tags=["mwaa"],
)
def import_variables() -> None:
    # [START import_dict]
    settings = MwaaImportVariablesOperator(
        task_id="settings",
        env_name="{{ params.env_name }}",
        variables={
            "example_run": "{{ run_id }}",
            "example_limits": {"rows": 1000, "owners": ["data", "ml"]},
            "example_told": {"value": "on", "description": "Whether the nightly load runs"},
        },
        retries=2,
    )
    # [END import_dict]

    # [START export]
    copy = MwaaExportVariablesOperator(
        task_id="copy",
        env_name="{{ params.env_name }}",
        destination="{{ params.folder }}/variables.json",
        leave_out_hidden=True,
    )
    # [END export]

    # [START import_file]
    compare = MwaaImportVariablesOperator(
        task_id="compare",
        env_name="{{ params.env_name }}",
        variables="{{ params.folder }}/variables.json",
        dry_run=True,
    )
    # [END import_file]

    # [START others]
    connections = MwaaImportConnectionsOperator(
        task_id="connections",
        env_name="{{ params.env_name }}",
        connections={"example_db": {"conn_type": "postgres", "host": "db.example.com", "port": 5432}},
    )
    pools = MwaaImportPoolsOperator(
        task_id="pools",
        env_name="{{ params.env_name }}",
        pools={"example_pool": {"slots": 4, "description": "Four at once"}},
        on_conflict="skip",
    )
    # [END others]
    copies = [
        MwaaExportConnectionsOperator(
            task_id="copy_connections",
            env_name="{{ params.env_name }}",
            destination="{{ params.folder }}/connections.json",
            leave_out_hidden=True,
        ),
        MwaaExportPoolsOperator(
            task_id="copy_pools", env_name="{{ params.env_name }}", destination="{{ params.folder }}/pools.json"
        ),
    ]

    settings >> copy >> compare
    [connections, pools] >> copies[0]
    pools >> copies[1]


import_variables()
