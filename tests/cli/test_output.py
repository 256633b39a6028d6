# SPDX-License-Identifier: Apache-2.0
"""Tables and fields on terminals that are too narrow for them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.cli.support.output import echo_fields, echo_table, echo_text, format_datetime, table_lines
from tests.cli.terminal import runner, without_logging_of_others

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = [
    ("ENVIRONMENT", "STATUS", "AIRFLOW", "WEB SERVER", "PIDS"),
    (
        *("source", "AVAILABLE", "3.3.1", "https://127.0.0.2:44487"),
        "api-server=7659 scheduler=7660 dag-processor=7661 triggerer=7663",
    ),
]
LONG = "manual__2026-11-29T21:00:00.000000+00:00_of_a_run_with_a_very_long_name"


def laid_out(rows: Sequence[Sequence[object]], width: int | None) -> list[str]:
    lines, dropped = table_lines(rows, width)
    assert dropped == []
    return lines


def test_a_moment_of_long_ago_has_its_year_and_no_minute() -> None:
    now = datetime.now(UTC)
    assert format_datetime(now) == f"{now:%m-%d %H:%M}"
    assert format_datetime(datetime(2024, 1, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1)))) == "2024-02-01"
    assert format_datetime(None) == ""


def test_a_table_that_fits_is_as_wide_as_it_needs():
    assert laid_out([("A", "B"), ("x", 1)], 80) == ["  A  B", "  x  1"]
    assert len(laid_out(ROWS, None)) == 2, "a pipe has no width"


def test_a_table_that_does_not_fit_is_broken_between_words():
    lines = laid_out(ROWS, 80)
    assert all(len(line) <= 80 for line in lines)
    words = " ".join(lines).split()
    for cell in (cell for row in ROWS for cell in row):
        assert set(cell.split()) <= set(words), cell
    assert lines[0].split() == ["ENVIRONMENT", "STATUS", "AIRFLOW", "WEB", "SERVER", "PIDS"]
    assert lines[2].startswith(" " * 50), "the rest stands below its column"


RUNS = [
    ("RUN", "STATE", "TYPE", "BEGAN (UTC)", "TOOK"),
    ("manual__2026-11-29T21:00:00.000000+00:00", "success", "scheduled", "11-29 21:00", "1h05m"),
    ("manual__2026-11-29T22:00:00.000000+00:00_a_retry", "running", "manual", "11-29 22:00", "9s"),
]


@pytest.mark.parametrize(("width", "dropped"), [(200, []), (90, []), (80, ["TYPE"]), (78, ["TYPE", "TOOK"]), (60, [])])
def test_columns_are_dropped_by_priority_before_rows_become_lists(width: int, dropped: list[str]) -> None:
    lines, left_out = table_lines(RUNS, width, drop=("TYPE", "TOOK"))
    assert left_out == dropped
    assert max(map(len, lines)) <= max(width, 63), "no line is wider, but for a word that is"
    text = " ".join(lines)
    for row in RUNS[1:]:
        assert row[0] in text, "an id is whole"
        assert row[3] in text, "a time is whole"
    assert ("STATE        success" in text) is (width == 60), "each row is a list there"


def test_cells_that_may_be_shortened_are_before_columns_are_dropped() -> None:
    lines, dropped = table_lines(RUNS, 60, shorten=("RUN",), drop=("TYPE",))
    assert dropped == []
    assert lines[1] == "  manual__2026-11-2…  success  scheduled  11-29 21:00  1h05m"
    lines, _ = table_lines([("A", "B"), ("source (3.3.1)", "x" * 40)], 40, shorten=("B",))
    assert lines[1] == f"  source (3.3.1)  {'x' * 21}…", "before a cell of another column is broken"
    lines, dropped = table_lines(RUNS, 52, shorten=("RUN",), drop=("TYPE",))
    assert dropped == ["TYPE"]
    assert lines[1].split()[1] == "success"


def test_wide_characters_take_two_columns() -> None:
    rows = [("POOL", "SLOTS"), ("資料庫", 8), ("e\u0301t\u00e9 🚀", 16), ("etl", 1)]
    assert laid_out(rows, 80) == ["  POOL    SLOTS", "  資料庫  8", "  e\u0301t\u00e9 🚀  16", "  etl     1"]
    [heading, first, second] = laid_out([("A", "B"), ("資料庫 的 描述", "x")], 14)
    assert (heading, first, second) == ("  A          B", "  資料庫 的  x", "  描述")


def test_what_was_left_out_is_named_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    echo_table(RUNS, drop=("TYPE", "TOOK"))
    shown = capsys.readouterr()
    assert shown.err == "airflow-mwaa: not shown, because the terminal is too narrow: TYPE\n"
    monkeypatch.delenv("COLUMNS")
    echo_table(RUNS, drop=("TYPE", "TOOK"))
    assert capsys.readouterr() == ("".join(f"{line}\n" for line in laid_out(RUNS, None)), ""), "a pipe has no width"
    echo_table(RUNS, shorten=("RUN",), piped_width=60)
    assert "manual__2026-11-2…" in capsys.readouterr().out


def test_values_and_sentences_go_on_below_themselves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    echo_fields([("route", "database"), ("paused", "12.5 s: replicas lag behind; too many connections"), ("no", "")])
    echo_text("Run it where nobody waits, or give --max-duration.")
    assert capsys.readouterr().out.splitlines() == [
        "  route   database",
        "  paused  12.5 s: replicas lag behind;",
        "          too many connections",
        "  Run it where nobody waits, or give",
        "  --max-duration.",
    ]


COPIED = f"{'a  ' * 10}b   c {'d ' * 20}e"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_value_that_people_copy_is_on_one_line(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    echo_fields([("password", COPIED)], wrap=False)
    assert capsys.readouterr().out == f"  password  {COPIED}\n"
    echo_fields([("password", COPIED)])
    echo_text(COPIED)
    assert (capsys.readouterr().out == f"  password  {COPIED}\n  {COPIED}\n") is not is_terminal, "a pipe is unwrapped"
    with without_logging_of_others():
        read = ["secrets", "uri", "--read", "--show-secrets"]
        monkeypatch.setattr("airflow_mwaa_provider.cli.support.output._terminal_width", lambda: 40)
        shown = runner().invoke(main, read, input=json.dumps({"conn_type": "x", "password": COPIED})).stdout
    assert COPIED in shown


def test_spaces_are_kept_within_a_line() -> None:
    assert laid_out([("A",), ("one  two   three four",)], 16) == ["  A", "  one  two", "  three four"]


@pytest.mark.parametrize("width", [20, 60, 80])
def test_a_table_whose_words_do_not_fit_beside_each_other_is_a_list(width):
    rows = [("RUN", "DAG", "STATE"), (LONG, "a_dag_with_quite_a_long_name", "success"), ("one", "two", "")]
    lines = laid_out(rows, width)
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
    assert shown.splitlines() == laid_out(ROWS, 80)
