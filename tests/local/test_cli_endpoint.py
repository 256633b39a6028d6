# SPDX-License-Identifier: Apache-2.0
"""MWAA's CLI endpoint."""

from __future__ import annotations

import asyncio
import json
import shlex

import pytest

from airflow_mwaa_provider.local.aws.cli_allowlist import command_of
from tests.local.lab import Lab, decoded, until


def test_a_command_runs_and_answers_base64(source: Lab) -> None:
    answer = source.cli("variables list -o json")
    assert answer.status_code == 200
    assert decoded(answer) == ('["variables", "list", "-o", "json"]', "a warning")
    assert source.factory.of("source").commands == [["variables", "list", "-o", "json"]]


@pytest.mark.parametrize("path", ["/aws_mwaa/cli", "/aws_mwaa/cli/"])
def test_the_path_may_end_with_a_slash(source: Lab, path: str) -> None:
    token = source.client().create_cli_token(Name="source")
    with source.web() as web:
        url = f"https://{token['WebServerHostname']}{path}"
        answer = web.post(url, data="version", headers={"Authorization": f"Bearer {token['CliToken']}"}, timeout=5)
        assert answer.status_code == 200
        assert web.get(url, timeout=5).status_code == 405


@pytest.mark.parametrize(
    "value", ['{"a": "b c"}', "it's", '$HOME `x` \\ "', "zwei\nZeilen", "größe ☃", "", "--looks-like-an-option"]
)
def test_words_are_split_like_a_shell_splits_them(source: Lab, value: str) -> None:
    answer = source.cli(f"variables set name {shlex.quote(value)}")
    assert json.loads(decoded(answer)[0]) == ["variables", "set", "name", value]


def test_a_failing_command_answers_its_output_with_400(source: Lab) -> None:
    answer = source.cli("dags trigger fails")
    assert answer.status_code == 400
    assert decoded(answer) == ("", "it failed \ufffd")


@pytest.mark.parametrize(
    "line",
    ["pools list", "variables import x.json", "connections export -", "db reset", "scheduler", "", "dags", "set 'x"],
)
def test_what_is_not_on_the_list_is_refused(source: Lab, line: str) -> None:
    answer = source.cli(line)
    assert answer.status_code == 400
    assert set(answer.json()) == {"message"}
    assert source.factory.of("source").commands == []


@pytest.mark.parametrize(
    ("command", "version", "allowed"),
    [
        ("dags backfill", "2.10.3", True),
        ("dags backfill", "3.3.1", False),
        ("db clean", "3.3.1", True),
        ("db export-archived", "3.3.1", False),
        ("db drop-archived", "2.11.0", False),
        ("connections add", "2.8.1", True),
        ("connections list", "3.0.6", False),
        ("providers notifications", "2.7.2", False),
        ("providers notifications", "2.8.1", True),
        ("version", "3.2.1", True),
        ("dags trigger", "3.2.1", True),
        ("dags next-execution", "3.2.1", True),
        ("tasks run", "2.10.3", False),
    ],
)
def test_the_list_is_that_of_the_airflow_version(command: str, version: str, allowed: bool) -> None:
    assert command_of([*command.split(), "--more"], version) == (command if allowed else None)


@pytest.mark.parametrize("token", ["", "wrong", "WEB", "OTHER"])
def test_a_wrong_token_is_refused_before_anything_else(source: Lab, token: str) -> None:
    if token == "WEB":
        token = source.client().create_web_login_token(Name="source")["WebToken"]
    if token == "OTHER":
        source.environment("target")
        token = source.client().create_cli_token(Name="target")["CliToken"]
    answer = source.cli("pools list", token=token or " ")
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})


def test_a_token_lives_sixty_seconds(source: Lab) -> None:
    token = source.client().create_cli_token(Name="source")["CliToken"]
    source.clock.pass_s(59)
    assert source.cli("version", token=token).status_code == 200
    source.clock.pass_s(1)
    assert source.cli("version", token=token).status_code == 403


def test_four_commands_at_once_and_no_more(source: Lab) -> None:
    runtime = source.factory.of("source")
    runtime.cli_gate = source.call(asyncio.Event)
    waiting = [source.in_background(lambda: source.cli("version").status_code) for _ in range(4)]
    until(lambda: runtime.cli_started == 4)
    assert source.cli("version").status_code == 503
    assert runtime.cli_started == 4
    source.call(runtime.cli_gate.set)
    assert [future.result(5) for future in waiting] == [200] * 4
    assert source.cli("version").status_code == 200


def test_the_number_at_once_is_a_limit(source: Lab) -> None:
    source.admin("PATCH", "limits", {"cli_concurrency": 1})
    runtime = source.factory.of("source")
    runtime.cli_gate = source.call(asyncio.Event)
    waiting = source.in_background(lambda: source.cli("version").status_code)
    until(lambda: runtime.cli_started == 1)
    assert source.cli("version").status_code == 503
    source.call(runtime.cli_gate.set)
    assert waiting.result(5) == 200


def test_a_command_that_takes_too_long(source: Lab) -> None:
    assert source.cli("dags test sleep-too-long").status_code == 504


def test_text_that_is_not_utf_8(source: Lab) -> None:
    token = source.client().create_cli_token(Name="source")
    with source.web() as web:
        answer = web.post(
            f"https://{token['WebServerHostname']}/aws_mwaa/cli",
            data=b"variables set x \xff",
            headers={"Authorization": f"Bearer {token['CliToken']}"},
            timeout=5,
        )
    assert answer.status_code == 400
