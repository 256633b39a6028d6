# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa variables``, ``connections`` and ``pools``: one at a time."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.cli.main import main
from tests.cli.terminal import AWKWARD, REST_WAYS, WAYS, Terminal, runner
from tests.client.failure import HUSH
from tests.client.world import World

KINDS = ("variables", "connections", "pools")


def stored(world: World, env_name: str, nouns: str) -> dict[str, dict[str, Any]]:
    return world.airflow(env_name).objects[nouns]


@pytest.mark.parametrize(("env_name", "transport"), WAYS)
def test_a_variable_comes_back_as_it_was(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    way = (env_name, "--transport", transport)
    assert terminal.run("variables", "set", *way, "--description", "what for", "it's", AWKWARD).stdout == (
        f'variable "it\'s" set in {env_name}\n'
    )
    assert stored(world, env_name, "variables")["it's"]["value"] == AWKWARD
    assert terminal.run("variables", "get", *way, "it's").stdout == f"{AWKWARD}\n"
    assert terminal.json("variables", "get", *way, "it's")["value"] == AWKWARD
    [row] = terminal.json("variables", "list", *way)
    assert row == {"key": "it's", "description": None if transport == "cli" else "what for"}
    assert AWKWARD not in terminal.run("variables", "list", *way).stdout
    assert terminal.json("variables", "delete", *way, "it's") == {
        "env_name": env_name,
        "deleted": ["it's"],
        "failed": {},
    }
    assert stored(world, env_name, "variables") == {}
    assert terminal.run("variables", "list", *way).stderr == f"There are no variables in {env_name}.\n"
    assert terminal.json("variables", "list", *way) == []


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n", "a\r\n", "a\n\n", AWKWARD, " -"])
def test_what_get_prints_set_takes(terminal: Terminal, world: World, tmp_path: Path, text: str) -> None:
    stored(world, "env3", "variables")["k"] = {"key": "k", "value": text, "description": "stays"}
    printed = terminal.run("variables", "get", "env3", "k").stdout_bytes
    path = tmp_path / "value"
    path.write_bytes(printed)
    for arguments, stdin in ((["-"], printed), (["--from-file", str(path)], None), (["--from-file", "-"], printed)):
        stored(world, "env3", "variables")["k"]["value"] = "other"
        terminal.run("variables", "set", "env3", "k", *arguments, stdin=stdin)
        assert stored(world, "env3", "variables")["k"]["value"] == text
    assert stored(world, "env3", "variables")["k"]["description"] == "stays"


@pytest.mark.parametrize(("env_name", "transport"), REST_WAYS)
def test_a_connection_keeps_its_secrets_to_itself(
    terminal: Terminal, world: World, env_name: str, transport: str
) -> None:
    way = (env_name, "--transport", transport)
    terminal.run("connections", "set", *way, "db", "-", stdin=f"postgres://me:{HUSH}@h:5432/s?sslmode=require\n")
    row = stored(world, env_name, "connections")["db"]
    assert (row["password"], row["port"], row["schema"]) == (HUSH, 5432, "s")
    fields = json.dumps({"conn_type": "http", "description": AWKWARD, "login": AWKWARD})
    terminal.run("connections", "set", *way, "db", fields)
    row = stored(world, env_name, "connections")["db"]
    assert (row["password"], row["conn_type"], row["description"]) == (HUSH, "http", AWKWARD)
    shown = terminal.run("connections", "get", *way, "db").stdout
    shown += terminal.run("connections", "list", *way).stdout
    assert HUSH not in shown
    assert len(shown.splitlines()) == 6  # no value breaks a line
    for document in (terminal.json("connections", "get", *way, "db"), *terminal.json("connections", "list", *way)):
        assert HUSH not in str(document)
        assert "password" not in document
        assert document["login"] == AWKWARD
    terminal.run("connections", "delete", *way, "db")
    assert stored(world, env_name, "connections") == {}


@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_a_pool_is_a_number_or_a_document(terminal: Terminal, world: World, env_name: str) -> None:
    document = {"slots": 2, "description": AWKWARD, "include_deferred": True}
    terminal.run("pools", "set", env_name, "p", json.dumps(document))
    terminal.run("pools", "set", env_name, "p", "8")
    shown = {**document, "slots": 8, "name": "p"}
    assert terminal.json("pools", "get", env_name, "p") == shown
    assert terminal.json("pools", "list", env_name) == [shown]
    terminal.run("pools", "set", env_name, "p", "9", "--description", "other")
    assert terminal.json("pools", "get", env_name, "p") == {**shown, "slots": 9, "description": "other"}
    assert "slots" in terminal.run("pools", "get", env_name, "p").stdout
    terminal.run("pools", "set", env_name, "p", "--", "-1", status=2 if env_name == "env2" else 0)
    terminal.run("pools", "delete", env_name, "p")
    assert stored(world, env_name, "pools") == {}


def test_of_several_the_others_are_deleted(terminal: Terminal, world: World) -> None:
    for key in "abc":
        stored(world, "env3", "variables")[key] = {"key": key, "value": "v", "description": None}
    result = terminal.run("variables", "delete", "env3", "a", "no", "b", "a", status=1)
    assert result.stdout == "variable 'a' deleted in env3\nvariable 'b' deleted in env3\n"
    assert result.stderr.count("\n") == 1
    assert "`no` was not found" in result.stderr
    answer = terminal.json("variables", "delete", "env3", "no", "c", status=1)
    assert (answer["deleted"], list(answer["failed"])) == (["c"], ["no"])


@pytest.mark.usefixtures("no_waiting")
def test_an_environment_that_is_away_ends_the_deleting(terminal: Terminal, world: World) -> None:
    world.fault("rest", "html", status=502)
    result = terminal.run("variables", "delete", "env3", "a", "b", "c", "--transport", "web_session", status=1)
    first, second = result.stderr.splitlines()
    assert "502" in first
    assert second == "airflow-mwaa: 2 more were not tried."


@pytest.mark.parametrize(("answer", "left"), [("n", ["a", "b"]), ("y", [])])
def test_at_a_terminal_several_are_asked_for(terminal: Terminal, world: World, answer: str, left: list[str]) -> None:
    for key in "ab":
        stored(world, "env3", "variables")[key] = {"key": key, "value": "v", "description": None}
    ours, theirs = os.openpty()
    process = terminal.start("variables", "delete", "env3", "a", "b", stdin=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(ours, 4096)
    assert b"Delete 2 variables of env3: 'a', 'b'?" in seen
    os.write(ours, f"{answer}\n".encode())
    process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == (1 if left else 0)
    assert list(stored(world, "env3", "variables")) == left


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["variables", "get", "env3", "none"], 1, "`none` was not found"),
        (["variables", "set", "env3", "k", "***"], 2, "the mask ***"),
        (["variables", "set", "env3", "k", "--from-file", "no/such"], 2, "File 'no/such' cannot be read"),
        (["connections", "set", "env3", "c", f"no uri {HUSH}"], 2, "its URI cannot be read"),
        (["connections", "set", "env3", "c", f'{{"password": "{HUSH}", "password": 1}}'], 2, "is repeated"),
        (["connections", "set", "env3", "c", f'{{"conn_type": "http", "x": "{HUSH}"}}'], 2, "unknown field 'x'"),
        (["connections", "set", "env3", "a b", "http://"], 2, "Airflow accepts only letters, digits"),
        (["connections", "get", "env3", "c", "--transport", "cli"], 2, "cannot go through MWAA's CLI endpoint"),
        (["pools", "set", "env3", "p", "many"], 2, "is not an integer"),
        (["pools", "set", "env3", "p", '{"slots": "4"}'], 2, "is not an integer"),
        (["pools", "list", "no-env"], 1, "no such environment"),
    ],
)
def test_what_is_refused_is_one_line(terminal: Terminal, arguments: list[str], status: int, words: str) -> None:
    assert words in terminal.error(*arguments, status=status)


@pytest.mark.parametrize("text", ["2.10", '{"a":1.10}', '"ü"', "[ ]", "10", "text"])
def test_what_airflow_3_rewrites_is_printed_as_it_is_stored(terminal: Terminal, world: World, text: str) -> None:
    world.airflow().shows_like_airflow_3 = True
    stored(world, "env3", "variables")["k"] = {"key": "k", "value": text, "description": None}
    result = terminal.run("variables", "get", "env3", "k", "--transport", "web_session")
    assert (result.stdout, result.stderr) == (f"{text}\n", "")
    assert len(world.airflow().commands) == (text not in ("10", "text"))


def test_where_the_cli_may_not_be_asked_the_doubt_is_told(terminal: Terminal, world: World) -> None:
    world.airflow().shows_like_airflow_3 = True
    world.deny("CreateCliToken")
    stored(world, "env3", "variables")["k"] = {"key": "k", "value": "2.10", "description": None}
    result = terminal.run("variables", "get", "env3", "k", "--transport", "web_session")
    assert result.stdout == "2.1\n"
    assert "variable 'k' may be stored in another spelling than this" in result.stderr


def test_a_masked_value_says_how_it_can_be_read(terminal: Terminal, world: World) -> None:
    world.airflow().shows_like_airflow_3 = True
    stored(world, "env3", "variables")["my_secret"] = {"key": "my_secret", "value": HUSH, "description": None}
    line = terminal.error("variables", "get", "env3", "my_secret", "--transport", "web_session", status=1)
    assert line.endswith("Read it with transport cli, or keep it in Secrets Manager.")
    assert terminal.run("variables", "get", "env3", "my_secret", "--transport", "cli").stdout == f"{HUSH}\n"


def test_a_value_that_is_no_text(terminal: Terminal) -> None:
    assert "The input on stdin is not UTF-8" in terminal.error(
        "variables", "set", "env3", "k", "-", stdin=b"\xff", status=2
    )


@pytest.mark.parametrize("arguments", [["k"], ["k", "v", "--from-file", "f"]])
def test_a_value_is_given_once(terminal: Terminal, arguments: list[str]) -> None:
    result = terminal.run("variables", "set", "env3", *arguments, status=2)
    assert "Pass either VALUE (- for stdin) or --from-file." in result.stderr


@pytest.mark.parametrize("nouns", KINDS)
@pytest.mark.parametrize("command", ["import", "export", "get", "set", "delete", "list"])
def test_help_has_an_example(nouns: str, command: str) -> None:
    result = runner().invoke(main, [nouns, command, "--help"])
    assert result.exit_code == 0
    assert f"Example:\n    airflow-mwaa {nouns} {command} " in result.output
