# SPDX-License-Identifier: Apache-2.0
"""Command-line arguments arrive unchanged, or are refused."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mwaa_provider.client.cli.endpoint import command_line, json_argument, last_words, parse_json_output
from airflow_mwaa_provider.client.models import CliResult
from airflow_mwaa_provider.exceptions import UnexpectedAnswer, UnsendableCommand

pytestmark = pytest.mark.once

any_text = st.text(st.characters(exclude_categories=())) | st.text("'\"\\$` \n\r\t-!#*?;&|<>~=()[]{}a")
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(any_text, children, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)  # the machine may be busy with others
@given(st.lists(any_text, min_size=1, max_size=6))
def test_arguments_survive_or_are_refused(argv: list[str]) -> None:
    try:
        line = command_line(argv)
    except UnsendableCommand:
        text = "".join(argv)
        assert any(c == "\x00" or 0xD800 <= ord(c) < 0xE000 for c in text)
        return
    assert shlex.split(line) == argv
    assert shlex.split(line.encode().decode()) == argv


@pytest.mark.parametrize("argv", [[], [1], ["a", b"x"], ["a", None], ["\x00"], ["\ud800"]])
def test_what_cannot_travel_is_refused_without_showing_it(argv: list[Any]) -> None:
    with pytest.raises(UnsendableCommand):
        command_line(argv)
    with pytest.raises(UnsendableCommand) as caught:
        command_line(["variables", "set", "key", "hush-hush\x00"])
    assert "hush" not in str(caught.value)


@settings(deadline=None)  # the machine may be busy with others
@given(any_json)
def test_json_is_read_alike_by_every_splitter(value: Any) -> None:
    text = json_argument(value)
    assert json.loads(text) == value
    assert all("!" <= character <= "~" for character in text)
    assert not set(text) & set(" '$`")
    for words in (["x", text], ["dags", "trigger", "--conf", text, "--", "dag"]):
        line = command_line(words)
        assert shlex.split(line) == words
        # The others keep the quotes, and read the same words between them.
        assert [word.strip("'") for word in shlex.split(line, posix=False)] == words
        assert [word.strip("'") for word in line.split()] == words


@pytest.mark.parametrize("value", [float("nan"), {"x": float("inf")}, object(), {(1, 2): 3}])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(UnsendableCommand, match="JSON"):
        json_argument(value)


noise = st.lists(
    st.text("abc {}\"'0:\t\x1bü", max_size=12)
    | st.sampled_from(["[2026-01-01T00:00:00.000] {x.py:1} INFO - y", "[1]", "[info] [x]", '{"event": "x"}', "[]x"]),
    max_size=4,
)


@settings(deadline=None)  # the machine may be busy with others
@given(noise, st.lists(st.dictionaries(st.text("abc[]{}\n\"'", max_size=5), st.text(max_size=9), max_size=3)), noise)
def test_rows_are_found_among_logs(before: list[str], rows: list[dict[str, str]], after: list[str]) -> None:
    out = "\n".join([*before, json.dumps(rows), *after])
    assert parse_json_output(CliResult(out, "", 0), "env", "dags list") == rows


@pytest.mark.parametrize("out", ["", "nothing here", '{"a": 1}', "[1, 2]", '[{"a": 1}] and more', '[{"a": '])
def test_output_without_rows_is_told(out: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=r"dags list.*last words"):
        parse_json_output(CliResult(out, "\n last words \n", 0), "env", "dags list")
    assert parse_json_output(CliResult("No data found\n", "", 0), "env", "dags list") == []


def test_the_reason_is_the_error_and_not_what_sqlalchemy_adds() -> None:
    error = """Traceback (most recent call last):
  File "dag_command.py", line 1, in dag_trigger
sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection to server at "db" failed: Connection refused
\tIs the server running on that host?

[SQL: SELECT dag.dag_id FROM dag WHERE dag.dag_id = %(dag_id)s]
[parameters: {'dag_id': 'etl'}]
(Background on this error at: https://sqlalche.me/e/14/e3q8)
"""
    assert last_words(CliResult("", error, 1)) == (
        'sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection to server at "db" failed: Connection '
        "refused"
    )
    background = "(Background on this error at: https://sqlalche.me/e/14/e3q8)"
    assert last_words(CliResult("", background, 1)) == background


def test_last_words_hide_what_was_set() -> None:
    result = CliResult("", "usage\nerror: unrecognized arguments: s3cret-value\n", 1)
    assert last_words(result, ["variables", "set", "key", "s3cret-value"]) == "error: unrecognized arguments: ***"
    assert last_words(result, ["dags", "trigger", "--conf", "s3cret-value"]).endswith("***")
    assert last_words(CliResult("only out", " ", 1)) == "only out"
    assert last_words(CliResult("", "", 1)) == "it printed nothing"
    assert len(last_words(CliResult("x" * 999, "", 1))) == 300
