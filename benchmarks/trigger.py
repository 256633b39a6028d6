# SPDX-License-Identifier: Apache-2.0
"""A trigger through each transport: HTTP requests made and time, against the amazon provider's MwaaHook.

Over the local MWAA with a real Airflow; what is counted is counted there, not in the client.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import urllib.request
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

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


def measure(trigger: Callable[[], Any], triggers: int) -> tuple[float, list[float]]:
    """Trigger once to warm up, then count requests and time of the following ones."""
    trigger()
    admin("DELETE", "calls")
    times = []
    for _ in range(triggers):
        began = time.perf_counter()
        trigger()
        times.append(time.perf_counter() - began)
    requests = sum(admin("GET", "calls")["counts"].get("benchmark", {}).values())
    return requests / triggers, times


def rivals(major: int) -> dict[str, Callable[[], Any]]:
    try:
        from airflow.providers.amazon.aws.hooks.mwaa import MwaaHook
    except ImportError:
        return {}
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = "aws://"

    def call(local_token: bool) -> Any:
        # As their operator does it, with a new hook for every task; but with the date that Airflow 3 wants.
        date = f"2{time.time_ns() % 1000:03d}-01-01T00:00:00.{time.time_ns() % 10**6:06d}+00:00"
        return MwaaHook().invoke_rest_api(
            env_name="benchmark",
            path="/dags/benchmark/dagRuns",
            method="POST",
            body={"conf": {}, "logical_date": date},
            generate_local_token=local_token,
            airflow_version=major,
        )

    return {"amazon rest_api": lambda: call(False), "amazon local token": lambda: call(True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 triggers each instead of 30")
    triggers = 5 if parser.parse_args().quick else 30
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")

    from airflow_mwaa_provider.client.access import ClientSettings
    from airflow_mwaa_provider.client.control_plane import ControlPlane
    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.exceptions import DagNotFound
    from airflow_mwaa_provider.local import lifecycle
    from airflow_mwaa_provider.local.up_request import EnvironmentRequest

    with tempfile.TemporaryDirectory(prefix="mwaa-") as temporary:
        folder, dags = Path(temporary, "local"), Path(temporary, "dags")
        dags.mkdir()
        (dags / "benchmark.py").write_text(DAG)
        os.environ["AIRFLOW_HOME"] = str(Path(temporary, "airflow"))
        try:
            lifecycle.up(folder, [EnvironmentRequest("benchmark", sys.executable, str(dags))])
            os.environ.update(lifecycle.client_variables(folder))
            # Ours to measure is the client, not the service's brake.
            admin("PATCH", "limits", {"rest_calls_per_second": 1000})

            def environment(transport: str | None) -> MwaaEnvironment:
                return MwaaEnvironment(ControlPlane(), "benchmark", ClientSettings(transport=transport))

            probe = environment("web_session")
            while True:
                try:
                    probe.is_dag_paused("benchmark")
                    break
                except DagNotFound:
                    time.sleep(0.5)
            major = int(probe.airflow_version.split(".")[0])
            ways: dict[str, Callable[[], Any]] = {}
            for name in ("rest_api", "web_session", "cli"):
                if name != "rest_api" or ControlPlane().supports_invoke_rest_api:
                    ways[f"ours {name}"] = functools.partial(environment(name).trigger_dag_run, "benchmark")
            ways |= rivals(major)
            found = {name: measure(trigger, triggers) for name, trigger in ways.items()}
        finally:
            lifecycle.down(folder, purge=True)

    print(f"One trigger, {triggers} times each, Airflow {major}, over the local MWAA")
    print(f"{'':22}{'requests':>10}{'median':>10}{'max':>10}   milliseconds")
    for name, (requests, times) in found.items():
        print(f"{name:22}{requests:10.2f}{1000 * statistics.median(times):10.1f}{1000 * max(times):10.1f}")
    ratios = {f"{name.split()[1]}_requests": requests for name, (requests, _) in found.items() if "ours" in name}
    if "amazon local token" in found:
        theirs, times = found["amazon local token"]
        ours, our_times = found["ours web_session"]
        ratios["web_session_requests_vs_amazon"] = round(ours / theirs, 3)
        ratios["web_session_time_vs_amazon"] = round(statistics.median(our_times) / statistics.median(times), 3)
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
