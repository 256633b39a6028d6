# SPDX-License-Identifier: Apache-2.0
"""Move the connections and variables of this environment to Secrets Manager."""

from __future__ import annotations

from datetime import datetime

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

# [START imports]
from airflow_mwaa_provider.operators.secrets import MigrateToSecretsManagerOperator

# [END imports]


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    params={"connections": ["example_db"], "variables": ["example_*"]},
    render_template_as_native_obj=True,
    tags=["mwaa"],
)
def migrate_to_secrets_manager() -> None:
    # [START migrate]
    plan = MigrateToSecretsManagerOperator(
        task_id="plan",
        connections="{{ params.connections }}",
        variables="{{ params.variables }}",
        dry_run=True,
    )
    move = MigrateToSecretsManagerOperator(
        task_id="move",
        connections="{{ params.connections }}",
        variables="{{ params.variables }}",
        tags={"moved_by": "airflow"},
        retries=2,
    )
    # [END migrate]
    plan >> move


migrate_to_secrets_manager()
