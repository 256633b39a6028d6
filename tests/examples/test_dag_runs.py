# SPDX-License-Identifier: Apache-2.0
"""The harness of the examples' runs: what succeeds and what fails is told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples import dag_runs

FAILS = """
from datetime import datetime
try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

@dag(schedule=None, start_date=datetime(2026, 1, 1), params={"by": 0})
def divides():
    @task
    def divide(**context):
        return 6 / context["params"]["by"]
    @task
    def after(value):
        return value
    after(divide())

divides()
"""


def test_a_run_that_succeeds_and_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "divides.py").write_text(FAILS, encoding="utf-8")
    monkeypatch.setattr(dag_runs, "EXAMPLES", tmp_path)
    done = dag_runs.run_dag("divides", "divides", {"by": 3})
    assert (done.state, done.tasks, done.returned) == ("success", {"divide": "success", "after": "success"},
                                                       {"divide": 2.0, "after": 2.0})  # fmt: skip
    failed = dag_runs.run_dag("divides", "divides")
    assert (failed.state, failed.tasks["divide"]) == ("failed", "failed")
    assert "ZeroDivisionError" in failed.log
