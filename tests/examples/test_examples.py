# SPDX-License-Identifier: Apache-2.0
"""Example DAGs import by themselves: no database, no connection, no boto3 at parse time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "example_dags").glob("*.py"))

PROGRAM = """
import json, runpy, sys
try:
    from airflow.sdk import DAG, BaseHook, task
except ImportError:
    from airflow.hooks.base import BaseHook
    from airflow.models.dag import DAG
    from airflow.decorators import task
def refuse(*args, **kwargs):
    raise AssertionError("a connection is looked up at parse time")
BaseHook.get_connection = refuse
before = set(sys.modules)
found = runpy.run_path(sys.argv[1])
loaded = set(sys.modules) - before
print("RESULT" + json.dumps([
    sorted({type(value).__name__ for value in found.values()}),
    sorted(name for name in loaded if name.split(".")[0] in ("boto3", "botocore", "psycopg2", "pandas")),
]))
"""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_imports_light(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error:::__main__", "-c", PROGRAM, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            # No such folder: whoever opens the database fails.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////no/such/folder/airflow.db",
        },
    )
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    _, heavy = json.loads(line.removeprefix("RESULT"))
    assert heavy == []


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {
        "trigger_in_other_environment",
        "run_by_other_environment",
        "fan_out",
        "work_with_other_environment",
    }
