# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets uri``: builds and parses a URI, and no secret is where others can see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from airflow_mwaa_provider.cli.main import main
from tests.cli.terminal import runner, without_logging_of_others

HOSTILE = "p@/%:?#&+ \n'\"é🚀"
CANARY = "canary-71b0"


def run(*arguments: str, stdin: str | bytes | None = None, status: int = 0) -> Result:
    with without_logging_of_others():
        result = runner().invoke(main, ["secrets", "uri", *arguments], input=stdin)
    assert result.exit_code == status, f"{result.stdout}{result.stderr}{result.exception!r}"
    return result


def failure(*arguments: str, stdin: str | bytes | None = None) -> str:
    """Return the error line, without the usage that click shows above it."""
    *_, line = run(*arguments, stdin=stdin, status=2).stderr.splitlines()
    return line


def read(uri: str, *arguments: str) -> Any:
    return json.loads(run("--read", "--output", "json", *arguments, stdin=uri).stdout)


def test_what_is_built_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "extra.json").write_text(json.dumps({"private_key": HOSTILE, "port": 1}))
    given = [
        "--type",
        "postgres",
        "--login",
        HOSTILE,
        "--host",
        "DB.example.com",
        "--port",
        "5432",
        "--schema",
        HOSTILE,
    ]
    extra = [
        "--extra",
        f"note={HOSTILE}",
        "--extra",
        '{"nested": {"a": [1]}}',
        "--extra-file",
        str(tmp_path / "extra.json"),
    ]
    built = run(*given, *extra, "--password-file", "-", stdin=f"{HOSTILE}\n").stdout
    assert built.isascii()
    assert len(built.splitlines()) == 1
    assert read(built, "--show-secrets") == {
        "conn_type": "postgres",
        "login": HOSTILE,
        "password": HOSTILE,
        "host": "DB.example.com",
        "port": 5432,
        "schema": HOSTILE,
        "extra": {"note": HOSTILE, "private_key": HOSTILE, "port": 1, "nested": {"a": [1]}},
        "description": None,
    }


def test_a_password_is_asked_for_and_not_shown() -> None:
    result = run("--type", "aws", "--ask-password", stdin=f"{CANARY}\n")
    assert result.stdout.splitlines()[-1] == f"aws://:{CANARY}@"  # before it, older clicks show the end of the prompt
    assert CANARY not in result.stderr
    assert json.loads(run("--type", "aws", "--output", "json").stdout) == {"uri": "aws://"}


def test_secrets_are_masked_unless_they_are_asked_for() -> None:
    extra = {
        "region_name": "eu-west-1",
        "aws_secret_access_key": CANARY,
        "outer": {"api_token": [CANARY], "plain": "x", "url": f"http://u:{CANARY}@h"},
        "keyfile_dict": {"inner": CANARY},
    }
    uri = run("--type", "aws", "--password-file", "-", "--extra", json.dumps(extra), stdin=CANARY).stdout
    for arguments in ([], ["--output", "json"]):
        shown = run("--read", *arguments, stdin=uri).stdout
        assert CANARY not in shown
        assert "eu-west-1" in shown
    masked = read(uri)
    assert masked["password"] == "***"
    assert masked["extra"]["outer"] == {"api_token": ["***"], "plain": "x", "url": "***"}
    assert run("--read", "--show-secrets", stdin=uri).stdout.count(CANARY) == 5


def test_a_connection_in_json_is_read_too() -> None:
    assert read('{"conn_type": "aws", "extra": {"region_name": "r"}}')["extra"] == {"region_name": "r"}


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        ([], "", "Give the connection's --type, or --read"),
        (["--read", "--host", "h"], "", "--read takes the connection from stdin, and no other fields"),
        (["--type", "aws", "--show-secrets"], "", "--show-secrets requires --read"),
        (
            ["--type", "aws", "--password-file", "-", "--extra-file", "-"],
            "",
            "Only one of --password-file and --extra-file",
        ),
        (
            ["--type", "aws", "--password-file", "-", "--ask-password"],
            "",
            "Give either --password-file or --ask-password",
        ),
        (["--type", "aws", "--password-file", "/nowhere"], "", "File '/nowhere' cannot be read: No such file"),
        (["--type", "aws", "--extra", CANARY], "", "--extra: a value has no name. Write --extra NAME=VALUE"),
        (["--type", "aws", "--extra", f'{{"{CANARY}'], "", "The extra file of --extra is not JSON"),
        (["--type", "Postgres"], "", "a URI cannot represent the type 'Postgres'"),
        (["--type", "my_type!"], "", "its conn_type is invalid"),
        (["--type", "aws", "--password", CANARY], "", "--password"),
        (["--type", "aws", f"--password={CANARY}"], "", "--password"),
        (["--type", "aws", "--password-file", "-"], b"\xff", "The input on stdin is not UTF-8 text"),
        (["--type", "aws", "--password-file", "-"], "x" * 70_000, "larger than 65,536 bytes"),
        (["--read"], "", "The input on stdin is empty"),
        (["--read"], CANARY, "its URI cannot be read"),
        (["--read"], f"http://h:{CANARY}", "its host or port cannot be read"),
    ],
)
def test_errors_are_one_line_without_a_value(arguments: list[str], stdin: str | bytes, says: str) -> None:
    line = failure(*arguments, stdin=stdin)
    assert says in line
    assert CANARY not in line
