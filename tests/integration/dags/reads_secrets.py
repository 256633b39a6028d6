# SPDX-License-Identifier: Apache-2.0
"""Read variables through the environment's backend, and report only what is not secret."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

try:  # Airflow 3
    from airflow.sdk import BaseHook, Variable, dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.hooks.base import BaseHook
    from airflow.models import Variable

STOCK = "airflow.providers.amazon.aws.secrets.secrets_manager"


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=4,
    params={"variables": [], "connection": "", "by_stock": False},
)
def reads_secrets() -> None:
    @task(retries=0)
    def read(**context: Any) -> str:
        names, conn_id = context["params"]["variables"], context["params"]["connection"]
        began = (time.perf_counter(), time.process_time())
        if context["params"]["by_stock"]:
            from importlib import import_module

            # As in Airflow 3.3.1: a new one for each lookup.
            found = [import_module(STOCK).SecretsManagerBackend().get_variable(name) for name in names]
        else:
            found = [Variable.get(name) for name in names]
        took = (time.perf_counter() - began[0], time.process_time() - began[1])
        known = BaseHook.get_connection(conn_id) if conn_id else None
        told = {
            "lengths": [len(value) for value in found],
            "host": known.host if known else "",
            "password": len(known.password or "") if known else 0,
            "wall_ms": 1000 * took[0],
            "cpu_ms": 1000 * took[1],
        }
        return json.dumps(told)  # Airflow 2's API returns an XCom as a string

    read()


reads_secrets()
