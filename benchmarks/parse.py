# SPDX-License-Identifier: Apache-2.0
"""DAG-parse cost of importing our operator against the amazon provider's, each in fresh processes.

It compares the time added to what every DAG file costs anyway: importing Airflow's DAG and BaseOperator. The three
programs take turns, so that a slow phase of the machine affects all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

BASE = """
try:
    from airflow.sdk import DAG, BaseOperator, BaseOperatorLink
except ImportError:
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.baseoperatorlink import BaseOperatorLink
    from airflow.models.dag import DAG
import time
began = time.perf_counter()
{imports}
print("SECONDS", time.perf_counter() - began)
"""
PROGRAMS = {
    "ours": "from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator",
    "amazon provider": "from airflow.providers.amazon.aws.operators.mwaa import MwaaTriggerDagRunOperator",
}


def seconds(imports: str, home: str) -> float:
    """Import in a fresh process, and measure the time added to Airflow's own."""
    # Without .pyc files, only the package from this checkout would be compiled each time.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", BASE.format(imports=imports)],
        capture_output=True,
        text=True,
        check=False,
        env=kept | {"AIRFLOW_HOME": home},
    )
    if done.returncode:
        sys.exit(f"{imports}: {done.stderr.strip().splitlines()[-1]}")
    [line] = [line for line in done.stdout.splitlines() if line.startswith("SECONDS")]
    return float(line.split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 20")
    rounds = 5 if parser.parse_args().quick else 20
    found: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as home:
        for number in range(rounds + 1):
            for name, imports in PROGRAMS.items():
                measured = seconds(imports, home)
                if number:  # the first round only warms the file cache and writes .pyc files
                    found[name].append(measured)
    print(f"Importing MwaaTriggerDagRunOperator, on top of Airflow itself; {rounds} fresh processes each")
    print(f"{'':18}{'min':>10}{'median':>10}{'max':>10}   milliseconds")
    for name, times in found.items():
        low, middle, high = (1000 * pick(times) for pick in (min, statistics.median, max))
        print(f"{name:18}{low:10.1f}{middle:10.1f}{high:10.1f}")
    pairs = [ours / theirs for ours, theirs in zip(*found.values(), strict=True)]
    print(json.dumps({"parse_vs_amazon": round(statistics.median(pairs), 4)}))


if __name__ == "__main__":
    main()
