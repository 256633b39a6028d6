# SPDX-License-Identifier: Apache-2.0
"""Run a dbt project that is in the folder of DAGs, with the dbt that a startup script has installed.

``airflow-mwaa startup dbt`` makes the script. The project is below ``dbt/``, beside this file; dbt writes beside its
project, so that each run works on a copy, in a folder that is removed after the task.
"""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from pathlib import Path

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag
    from airflow.operators.bash import BashOperator

PROJECTS = Path(__file__).parent / "dbt"
CONN_ID = "dbt_warehouse"


@dag(
    dag_id="dbt-installation-test",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(minutes=10),
    tags=["mwaa", "dbt"],
)
def dbt_installation_test() -> None:
    # [START installed]
    BashOperator(task_id="bash_command", bash_command='echo "$DBT_VENV" && dbt --version')
    # [END installed]


@dag(
    dag_id="dbt_tasks",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(hours=1),
    tags=["mwaa", "dbt"],
)
def dbt_tasks() -> None:
    # [START run]
    BashOperator(
        task_id="bash_command",
        bash_command=f"cp -R {shlex.quote(str(PROJECTS))} . && "
        "dbt build --project-dir dbt/mwaa_dbt_test_project --profiles-dir dbt --no-use-colors",
        env={
            "DBT_HOST": f"{{{{ conn.{CONN_ID}.host }}}}",
            "DBT_PORT": f"{{{{ conn.{CONN_ID}.port }}}}",
            "DBT_USER": f"{{{{ conn.{CONN_ID}.login }}}}",
            "DBT_DATABASE": f"{{{{ conn.{CONN_ID}.schema }}}}",
            # Airflow masks it in logs and rendered templates, and dbt in its own log, because of the name.
            "DBT_ENV_SECRET_PASSWORD": f"{{{{ conn.{CONN_ID}.password }}}}",
            # From a private network this call would only time out.
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        },
        append_env=True,
    )
    # [END run]


dbt_installation_test()
dbt_tasks()
