# SPDX-License-Identifier: Apache-2.0
"""Maintain a role in another MWAA environment that sees and runs only the DAGs of one team."""

from __future__ import annotations

from datetime import datetime

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.roles import MwaaDagRoleOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    params={"env_name": "target"},
    tags=["mwaa"],
)
def restrict_role() -> None:
    # [START operator]
    MwaaDagRoleOperator(
        task_id="restrict",
        env_name="{{ params.env_name }}",
        role_name="Team A",
        dag_ids={"run_by_other_environment": ["read", "edit"], "restrict_role": ["read"]},
        retries=2,
    )
    # [END operator]


restrict_role()
