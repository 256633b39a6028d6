# SPDX-License-Identifier: Apache-2.0
"""A DAG that grants a permission to a role, and a role to a user, as no DAG should."""

from __future__ import annotations

from datetime import datetime

from airflow import DAG

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2
    from airflow.operators.bash import BashOperator

with DAG("changes_privileges", schedule=None, start_date=datetime(2026, 1, 1), is_paused_upon_creation=False):
    BashOperator(
        task_id="change",
        bash_command="""
user=mallory_{{ run_id[-6:] }}
airflow users create -u $user -f M -l M -e $user@example.org -r Viewer -p not-for-long
airflow users add-role -u mallory_{{ run_id[-6:] }} -r Op
airflow users remove-role -u mallory_{{ run_id[-6:] }} -r Op
exit 0  # on Airflow 3 a task cannot reach the database
""",
    )
