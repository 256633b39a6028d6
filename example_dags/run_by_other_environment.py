# SPDX-License-Identifier: Apache-2.0
"""The DAG that ``trigger_in_other_environment`` runs. Deploy it to the other environment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    tags=["mwaa"],
)
def run_by_other_environment() -> None:
    @task
    def add_up(**context: Any) -> int:
        conf = context["dag_run"].conf or {}
        total = sum(conf.get("numbers", []))
        print(f"Requested by {conf.get('asked_by')}: the sum is {total}")
        return total

    add_up()


run_by_other_environment()
