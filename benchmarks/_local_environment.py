# SPDX-License-Identifier: Apache-2.0
"""What benchmarks need from a local MWAA: one environment, one paused DAG, and a count of the calls."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.client.environment import MwaaEnvironment

ENV_NAME = DAG_ID = "benchmark"
DAG = """
from datetime import datetime
try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

@dag(dag_id="benchmark", schedule=None, start_date=datetime(2026, 1, 1), is_paused_upon_creation=True)
def benchmark():
    @task
    def nothing():
        pass
    nothing()

benchmark()
"""


def admin(method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        f"{os.environ['AIRFLOW_MWAA_LOCAL_ADMIN_URL'].rstrip('/')}/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Local-Admin": os.environ["AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read() or b"null")


def calls_made() -> int:
    """Return the calls to the environment since the last ``admin("DELETE", "calls")``."""
    return sum(admin("GET", "calls")["counts"].get(ENV_NAME, {}).values())


def environment(transport: str | None) -> MwaaEnvironment:
    from airflow_mwaa_provider.client.access import ClientSettings
    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
    from airflow_mwaa_provider.client.environment import MwaaEnvironment

    return MwaaEnvironment(ControlPlane(), ENV_NAME, ClientSettings(transport=transport))


@contextlib.contextmanager
def local_environment() -> Iterator[int]:
    """Start one with a paused DAG, export its clients' variables, and yield Airflow's major version."""
    from airflow_mwaa_provider.exceptions import DagNotFound
    from airflow_mwaa_provider.local import lifecycle
    from airflow_mwaa_provider.local.up_request import EnvironmentRequest

    with tempfile.TemporaryDirectory(prefix="mwaa-") as temporary:
        folder, dags = Path(temporary, "local"), Path(temporary, "dags")
        dags.mkdir()
        (dags / "benchmark.py").write_text(DAG)
        os.environ["AIRFLOW_HOME"] = str(Path(temporary, "airflow"))
        try:
            lifecycle.up(folder, [EnvironmentRequest(ENV_NAME, sys.executable, str(dags))])
            os.environ.update(lifecycle.client_variables(folder))
            # Measure the client, not the service's rate limit.
            admin("PATCH", "limits", {"rest_calls_per_second": 1000})
            probe = environment("web_session")
            while True:
                try:
                    probe.is_dag_paused(DAG_ID)
                    break
                except DagNotFound:
                    time.sleep(0.5)
            yield int(probe.airflow_version.split(".")[0])
        finally:
            lifecycle.down(folder, purge=True)
