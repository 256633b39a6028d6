# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa run``: arguments arrive unchanged, and so does the output."""

from __future__ import annotations

import json

import pytest

from tests.cli.terminal import AWKWARD, Terminal
from tests.client.world import World


@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_arguments_arrive_and_output_comes_back(terminal: Terminal, world: World, env_name: str) -> None:
    terminal.run("run", env_name, "--", "variables", "set", "--description", AWKWARD, "--", "-k", AWKWARD)
    command = ["variables", "get", "--", "-k"]
    assert world.airflow(env_name).commands == [["variables", "set", "--description", AWKWARD, "--", "-k", AWKWARD]]
    result = terminal.run("run", env_name, "--", "airflow", *command)
    assert (result.stdout, result.stderr) == (f"{AWKWARD}\n", "a warning\n")
    shown = terminal.run("run", env_name, "--output", "json", "--", *command)
    assert json.loads(shown.stdout) == {"stdout": f"{AWKWARD}\n", "stderr": "a warning\n", "exit_status": 0}
    assert shown.stderr == ""


def test_a_command_that_fails(terminal: Terminal) -> None:
    result = terminal.run("run", "env3", "--", "variables", "get", "nothing", status=1)
    assert (result.stdout, result.stderr) == ("", "Variable nothing does not exist\n")


def test_a_command_that_mwaa_refuses(terminal: Terminal) -> None:
    line = terminal.error("run", "env3", "--", "db", "reset", "--yes", status=1)
    assert "`airflow db reset` was not allowed (HTTP 400). MWAA allows only some commands" in line


@pytest.mark.parametrize("arguments", [[], ["--"], ["--", "airflow"], ["-o", "json"]])
def test_without_a_command(terminal: Terminal, world: World, arguments: list[str]) -> None:
    assert "Error: " in terminal.run("run", "env3", *arguments, status=2).stderr
    assert world.airflow().commands == []


def test_what_cannot_arrive_is_not_sent(terminal: Terminal, world: World) -> None:
    assert "half a surrogate pair" in terminal.error("run", "env3", "--", "variables", "get", "\udc80", status=2)
    assert world.airflow().commands == []
