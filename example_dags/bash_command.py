# SPDX-License-Identifier: Apache-2.0
"""Run a bash command on a worker, which is the nearest to SSH that MWAA has.

Anyone who may trigger this DAG can do what the environment's execution role can. Restrict it to a role (see
``restrict_role.py``), or delete it when you are done.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag
    from airflow.operators.bash import BashOperator


@dag(
    dag_id="any_bash_command_dag",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(hours=1),
    params={"command": "python --version"},
    tags=["mwaa"],
)
def bash_command() -> None:
    # [START bash]
    BashOperator(task_id="bash_command", bash_command="{{ params.command }}")
    # [END bash]


bash_command()
