# SPDX-License-Identifier: Apache-2.0
"""Run the Hive that is in plugins.zip, as the user guide's sample does.

The zip is made by ``airflow-mwaa package plugins --hadoop hadoop-….tar.gz --hive apache-hive-…-bin.tar.gz
--environment-plugin``: PATH and HIVE_HOME are set by a plugin in it.
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
    dag_id="hive_test_dag",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(minutes=30),
    tags=["mwaa", "plugins"],
)
def hive_test_dag() -> None:
    # [START hive]
    BashOperator(task_id="hive_test", bash_command="hive --help")
    # [END hive]


hive_test_dag()
