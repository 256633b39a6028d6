# SPDX-License-Identifier: Apache-2.0
"""A trigger through each transport: HTTP requests and time, against the amazon provider's MwaaHook.

It runs over the local MWAA with a real Airflow, which counts the requests.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._local_environment import (  # noqa: E402
    DAG_ID,
    ENV_NAME,
    admin,
    calls_made,
    environment,
    local_environment,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def measure(trigger: Callable[[], Any], triggers: int) -> tuple[float, list[float]]:
    """Trigger once to warm up, then measure requests and time of the following ones."""
    trigger()
    admin("DELETE", "calls")
    times = []
    for _ in range(triggers):
        began = time.perf_counter()
        trigger()
        times.append(time.perf_counter() - began)
    return calls_made() / triggers, times


def rivals(major: int) -> dict[str, Callable[[], Any]]:
    try:
        from airflow.providers.amazon.aws.hooks.mwaa import MwaaHook
    except ImportError:
        return {}
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = "aws://"

    def call(local_token: bool) -> Any:
        # As their operator does, with a new hook for every task, but with the date that Airflow 3 requires.
        date = f"2{time.time_ns() % 1000:03d}-01-01T00:00:00.{time.time_ns() % 10**6:06d}+00:00"
        return MwaaHook().invoke_rest_api(
            env_name=ENV_NAME,
            path=f"/dags/{DAG_ID}/dagRuns",
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

    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane

    with local_environment() as major:
        ways: dict[str, Callable[[], Any]] = {}
        for name in ("rest_api", "web_session", "cli"):
            if name != "rest_api" or ControlPlane().supports_invoke_rest_api:
                ways[f"ours {name}"] = functools.partial(environment(name).trigger_dag_run, DAG_ID)
        ways |= rivals(major)
        found = {name: measure(trigger, triggers) for name, trigger in ways.items()}

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
