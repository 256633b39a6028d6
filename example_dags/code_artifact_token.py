# SPDX-License-Identifier: Apache-2.0
"""Renew a CodeArtifact token in Secrets Manager, twice in the lifetime of a token.

This is for clients elsewhere that may read the secret, but may not call CodeArtifact. pip in the environment's own
containers gets tokens automatically: ``airflow-mwaa startup codeartifact`` writes the startup script for that.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.code_artifact import CodeArtifactTokenOperator


@dag(
    dag_id="code_artifact_token",
    schedule=timedelta(hours=6),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    tags=["mwaa", "codeartifact"],
)
def code_artifact_token() -> None:
    # [START renew]
    CodeArtifactTokenOperator(
        task_id="renew",
        domain="amazon",
        domain_owner="112233445566",
        domain_region="us-west-2",
        token_lifetime=timedelta(hours=12),
        retries=3,
        retry_delay=timedelta(minutes=5),
    )
    # [END renew]


code_artifact_token()
