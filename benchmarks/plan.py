# SPDX-License-Identifier: Apache-2.0
"""The cost of planning a cleanup, option by option, against one full read of the same tables.

All run on the same embedded PostgreSQL, in one process each. Only the time of the queries counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, plan_cleanup  # noqa: E402
from tests.metadata import history  # noqa: E402
from tests.metadata.lab import Lab  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TASKS = 10
TABLES = ("dag_run", "task_instance", "xcom", "rendered_task_instance_fields", "log")
_TASK = {"dag_id": "t.dag_id", "task_id": "t.task_id", "run_id": "t.run_id", "map_index": "-1"}
OPTIONS: dict[str, dict[str, Any]] = {
    "30d": {},
    "30d, xcom=7d": {"retention_by_table": {"xcom": timedelta(days=7)}},
    "30d, task_instance=14d, xcom=7d": {
        "retention_by_table": {"task_instance": timedelta(days=14), "xcom": timedelta(days=7)}
    },
    "1d": {"retention": timedelta(days=1)},
    "300d": {"retention": timedelta(days=300)},
    "only xcom": {"tables": ["xcom"]},
    "only log": {"tables": ["log"]},
    "one DAG": {"dag_ids": ["dag_001"]},
    "30d to 90d": {"max_age": timedelta(days=90)},
    "no last run kept": {"keep_last_run": False},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="task instances (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="30,000 task instances, one round")
    given = parser.parse_args()
    rows, rounds = (30_000, 1) if given.quick else (given.rows, given.rounds)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ["AIRFLOW_HOME"] = folder
        lab = Lab(Path(folder) / "lab")
        lab.start_postgres()
        try:
            found = run(lab, rows, rounds)
        finally:
            lab.stop()
    scan = statistics.median(found.pop("reading the tables once"))
    print(f"\n{rows:,} task instances; reading the tables once takes {scan:.2f} s\n")
    print(f"{'plan with':34} {'s':>7} {'ratio':>6}")
    ratios = {name: statistics.median(times) / scan for name, times in found.items()}
    for name, ratio in ratios.items():
        print(f"{name:34} {statistics.median(found[name]):7.2f} {ratio:6.2f}")
    print(json.dumps({"plan_vs_scan": round(ratios["30d"], 2), "slowest_plan_vs_scan": round(max(ratios.values()), 2)}))


def run(lab: Lab, rows: int, rounds: int) -> dict[str, list[float]]:
    print(f"making {rows:,} task instances ...", file=sys.stderr)
    lab.migrate("benchmark")
    connection = lab.connect("benchmark")
    database = lab.database("benchmark")
    with connection.cursor() as cursor:
        history.fill(cursor, runs=rows // TASKS, tasks=TASKS)
        half = "dag_run r JOIN task_instance t USING (dag_id, run_id) WHERE right(t.task_id, 1) < '5'"
        history.insert(cursor, "xcom", history.XCOM, half)
        history.insert(
            cursor, "rendered_task_instance_fields", {**_TASK, "rendered_fields": "'{{}}'"}, "task_instance t"
        )
        cursor.execute("VACUUM ANALYZE")

        def scan() -> None:
            for table in TABLES:
                cursor.execute(f"SELECT count(*) FROM {table} t WHERE t IS DISTINCT FROM NULL")

        contenders: dict[str, Callable[[], object]] = {"reading the tables once": scan}
        for name, options in OPTIONS.items():
            asked = CleanupOptions(now=NOW, **options)
            contenders[name] = lambda asked=asked: plan_cleanup(database, asked)  # type: ignore[misc]
        found: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, do in contenders.items():
                began = time.perf_counter()
                do()
                found[name].append(time.perf_counter() - began)
                print(f"{name}: {found[name][-1]:.2f} s", file=sys.stderr)
    connection.close()
    return found


if __name__ == "__main__":
    main()
