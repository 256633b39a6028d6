# SPDX-License-Identifier: Apache-2.0
"""A task in a separate process, for tests: it runs given Python code, and its measurements are printed."""

from __future__ import annotations

import json
import logging
import sys
import time

from airflow_mwaa_provider.monitoring.task_resources import TaskTry, TaskWatch
from airflow_mwaa_provider.monitoring.task_results import TaskResults


def main(folder: str, temporary: str, code: str) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    results = TaskResults(folder) if folder else None
    watch = TaskWatch(TaskTry("dag", "task", "run"), results, temporary_folders=[temporary])
    exec(code, {"temporary": temporary, "__name__": "task"})
    began = time.perf_counter()
    result = watch.end("success")
    print(json.dumps({**(result or {}), "ending_s": time.perf_counter() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
