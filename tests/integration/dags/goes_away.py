# SPDX-License-Identifier: Apache-2.0
"""A DAG that a test deletes; the next parse of this file brings it back, without its runs."""

from __future__ import annotations

from datetime import datetime

try:  # Airflow 3
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag
    from airflow.operators.empty import EmptyOperator


@dag(schedule=None, start_date=datetime(2026, 1, 1), is_paused_upon_creation=True)
def goes_away() -> None:
    EmptyOperator(task_id="nothing")


goes_away()
