# SPDX-License-Identifier: Apache-2.0
"""Read an Airflow variable from Secrets Manager: the secret ``airflow/variables/test-variable``.

This file does not name Secrets Manager: the environment's secrets backend finds the secret. If there is no such secret,
Airflow's own variable of that name is read, and if that does not exist, the default is used.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import Variable, dag, task

    DEFAULT = "default"
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.models import Variable

    DEFAULT = "default_var"


@dag(
    dag_id="secrets-manager-var",
    schedule="@once",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(hours=2),
    tags=["mwaa", "secrets"],
)
def secrets_manager_var() -> None:
    @task
    def get_variable() -> None:
        # Not at the top of the file, where every parse would read it. Not returned, because XComs are not encrypted.
        value = Variable.get("test-variable", **{DEFAULT: "undefined"})
        print("test-variable has", len(value), "characters")

    get_variable()


secrets_manager_var()
