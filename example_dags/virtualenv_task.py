# SPDX-License-Identifier: Apache-2.0
"""Run a function in a virtual environment of its own, with another boto3 than Airflow's.

The task installs from PyPI: on an environment without access to the internet, name another index or a folder with
wheels, such as ``mwaa_env.pip_find_links: /usr/local/airflow/plugins`` and ``mwaa_env.pip_no_index: 1``.
"""

from __future__ import annotations

from datetime import datetime

try:  # Airflow 3
    from airflow.providers.standard.operators.python import PythonVirtualenvOperator
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag
    from airflow.operators.python import PythonVirtualenvOperator


# [START virtualenv]
def virtualenv_fn() -> str:
    import boto3

    print("boto3 version", boto3.__version__)
    return str(boto3.__version__)


@dag(
    dag_id="virtualenv_test",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
)
def virtualenv_task() -> None:
    PythonVirtualenvOperator(
        task_id="virtualenv_task",
        python_callable=virtualenv_fn,
        requirements=["boto3>=1.17.43"],
        system_site_packages=False,
    )


virtualenv_task()
# [END virtualenv]
