# SPDX-License-Identifier: Apache-2.0
"""Search the environment's log groups every hour for changes of privileges, and publish how many there were."""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.cloudwatch import PrivilegeChangesOperator


# [START dag]
@dag(schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False, tags=["mwaa", "cloudwatch"])
def privilege_changes() -> None:
    PrivilegeChangesOperator(task_id="search", retries=2, retry_delay=timedelta(minutes=1))


privilege_changes()
# [END dag]
