# SPDX-License-Identifier: Apache-2.0
"""Tables for people, on terminals that are narrower than what they hold."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_mwaa_provider.cli.support.output import moment_text, table_lines

ROWS = [
    ("ENVIRONMENT", "STATUS", "AIRFLOW", "WEB SERVER", "PIDS"),
    (
        *("source", "AVAILABLE", "3.3.1", "https://127.0.0.2:44487"),
        "api-server=7659 scheduler=7660 dag-processor=7661 triggerer=7663",
    ),
]
LONG = "manual__2026-11-29T21:00:00.000000+00:00_of_a_run_with_a_very_long_name"


def test_a_moment_of_long_ago_has_its_year_and_no_minute() -> None:
    now = datetime.now(UTC)
    assert moment_text(now) == f"{now:%m-%d %H:%M}"
    assert moment_text(datetime(2024, 1, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1)))) == "2024-02-01"
    assert moment_text(None) == ""


def test_a_table_that_fits_is_as_wide_as_it_needs():
    assert table_lines([("A", "B"), ("x", 1)], 80) == ["  A  B", "  x  1"]
    assert len(table_lines(ROWS, None)) == 2, "a pipe has no width"


def test_a_table_that_does_not_fit_is_broken_between_words():
    lines = table_lines(ROWS, 80)
    assert all(len(line) <= 80 for line in lines)
    words = " ".join(lines).split()
    for cell in (cell for row in ROWS for cell in row):
        assert set(cell.split()) <= set(words), cell
    assert lines[0].split() == ["ENVIRONMENT", "STATUS", "AIRFLOW", "WEB", "SERVER", "PIDS"]
    assert lines[2].startswith(" " * 50), "the rest stands below its column"


@pytest.mark.parametrize("width", [20, 60, 80])
def test_a_table_whose_words_do_not_fit_beside_each_other_is_a_list(width):
    rows = [("RUN", "DAG", "STATE"), (LONG, "a_dag_with_quite_a_long_name", "success"), ("one", "two", "")]
    lines = table_lines(rows, width)
    assert lines == [
        f"  RUN    {LONG}",
        "  DAG    a_dag_with_quite_a_long_name",
        "  STATE  success",
        "",
        "  RUN    one",
        "  DAG    two",
    ]


def test_a_terminal_has_a_width():
    program = f"from airflow_mwaa_provider.cli.support.output import echo_table; echo_table({ROWS!r})"
    ours, theirs = pty.openpty()
    try:
        variables = {**os.environ, "COLUMNS": "80"}
        subprocess.run([sys.executable, "-c", program], stdout=theirs, env=variables, check=True, timeout=60)
        shown = os.read(ours, 4096).decode()
    finally:
        os.close(theirs)
        os.close(ours)
    assert shown.splitlines() == table_lines(ROWS, 80)
