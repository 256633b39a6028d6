# SPDX-License-Identifier: Apache-2.0
"""The cache's counters arrive as StatsD metrics from a real task."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from tests.secrets.conftest import SecretsService, environment
from tests.secrets.mistakes import CLASS

ROOT = Path(__file__).resolve().parents[2]
DAG = """
try:
    from airflow.sdk import DAG, Variable, task
except ImportError:
    from airflow.decorators import task
    from airflow.models import Variable
    from airflow.models.dag import DAG
from datetime import datetime
with DAG("d", start_date=datetime(2026, 1, 1), schedule=None):
    @task
    def t():
        for _ in range(3):
            assert Variable.get("v") == "value"
        assert Variable.get("nope", default_var=None) is None
    t()
"""


def commands() -> list[list[str]]:
    if AIRFLOW_V_3:
        return [[sys.executable, str(Path(__file__).with_name("task_of_airflow_3.py"))]]
    airflow = [sys.executable, "-m", "airflow"]
    return [[*airflow, "db", "migrate"], [*airflow, "tasks", "test", "d", "t"]]


@pytest.mark.timeout(300)
def test_metrics_of_a_task_arrive(service: SecretsService, tmp_path: Path) -> None:
    if AIRFLOW_V_3 and not hasattr(import_module("airflow.sdk.execution_time.supervisor"), "supervise_task"):
        pytest.skip("a task of this Airflow is not started so")
    service.put("airflow/variables/v", "value")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "d.py").write_text(DAG.replace("default_var", "default") if AIRFLOW_V_3 else DAG)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        variables = {
            **os.environ,
            **environment(service),
            "PYTHONPATH": str(ROOT),
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(listener.getsockname()[1]),
            "AIRFLOW__SECRETS__BACKEND": CLASS,
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"cache_dir": str(tmp_path / "cache")}),
        }
        for command in commands():
            done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=250, check=False)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        received = Counter[str]()
        listener.setblocking(False)
        while True:
            try:
                name, _, value = listener.recv(4096).decode().partition(":")
            except BlockingIOError:
                break
            if name.startswith("airflow.mwaa_secrets."):
                assert value.endswith("|c")
                received[name.removeprefix("airflow.mwaa_secrets.")] += int(value.partition("|")[0])
    assert received == {"hits": 2, "misses": 2, "calls": 2}
