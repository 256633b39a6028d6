# SPDX-License-Identifier: Apache-2.0
"""The cost of the plugins when an Airflow process loads plugins, with their options unset and set.

It is measured in new processes that have imported what Airflow has imported by then: the cost to import the modules of
the three plugins and call them as Airflow does. The total cost of loading plugins, mostly Airflow's own, is beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

PROCESS = """
import json, sys, time
from importlib import import_module

import airflow.plugins_manager
from airflow.configuration import conf

conf.get("core", "plugins_folder")
names = ("timezone:TimezonePlugin", "env_vars:EnvironmentVariablesPlugin", "virtualenv:VirtualenvPlugin")
cpu_s = time.process_time()
for name in names:
    module, _, plugin = name.partition(":")
    getattr(import_module(f"airflow_mwaa_provider.plugins.{module}"), plugin).on_load()
ours_s = time.process_time() - cpu_s
cpu_s = time.process_time()
airflow.plugins_manager.ensure_plugins_loaded()
print("RESULT", json.dumps({"ours": ours_s * 1000, "all": (time.process_time() - cpu_s + ours_s) * 1000}))
"""
ON = {
    "AIRFLOW__MWAA_PROVIDER__TASK_TIMEZONE": "America/Los_Angeles",
    "AIRFLOW__MWAA_ENV__JAVA_HOME": "/usr/lib/jvm/jre",
    "AIRFLOW__MWAA_ENV__PATH": "${PATH}:${JAVA_HOME}/bin",
    "AIRFLOW__MWAA_ENV__STAGE": "production",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=15, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="5 processes")
    given = parser.parse_args()
    print(json.dumps(show(measure(5 if given.quick else given.processes))))


def measure(processes: int) -> dict[str, dict[str, float]]:
    """Return median milliseconds of CPU with the plugins off and on: ``ours``, and ``all`` of the loading."""
    found = {}
    with tempfile.TemporaryDirectory() as home:
        for name, options in (("off", {}), ("on", ON)):
            runs = [_run(home, options) for _ in range(processes)]
            found[name] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return found


def show(measured: dict[str, dict[str, float]]) -> dict[str, float]:
    """Print a table of the measurements; return them in the form of the benchmark's last line."""
    print(f"{'ms of CPU, when plugins are loaded':38}{'these plugins':>16}{'all plugins':>14}")
    for name, row in measured.items():
        print(f"{name:38}{row['ours']:16.2f}{row['all']:14.1f}")
    return {f"plugins_{name}_ms": round(row["ours"], 2) for name, row in measured.items()}


def _run(home: str, options: dict[str, str]) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables = {**kept, "AIRFLOW_HOME": home, **options}
    command = [sys.executable, "-W", "ignore", "-c", PROCESS]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return dict(json.loads(line.removeprefix("RESULT ")))


if __name__ == "__main__":
    main()
