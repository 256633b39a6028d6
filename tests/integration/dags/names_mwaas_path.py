# SPDX-License-Identifier: Apache-2.0
"""A DAG written for MWAA, with the path of the containers."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, is_paused_upon_creation=False)
def names_mwaas_path() -> None:
    @task(retries=0)
    def read() -> str:
        found = {"data": Path("/usr/local/airflow/dags/data.txt").read_text(), "file": __file__, "cwd": str(Path.cwd())}
        return json.dumps(found)  # Airflow 2's API returns an XCom as a string

    read()


names_mwaas_path()
