# SPDX-License-Identifier: Apache-2.0
"""The commands of a terminal as processes of their own, with the variables of ``local env``, on real Airflows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import pytest

from tests.integration.world import World

AWKWARD = 'it\'s "quoted" $HOME `date` \\ %41 ünïcödé 🚀\n second line\ttab'


class Terminal:
    def __init__(self, world: World) -> None:
        outer = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.variables = {**outer, **world.variables, "AWS_CONFIG_FILE": os.devnull}

    def run(self, *arguments: str, stdin: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "airflow_mwaa_provider.cli.main", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=240,
            env=self.variables,
        )
        assert done.returncode == status, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return done


@pytest.fixture
def terminal(world: World, env_name: str) -> Terminal:
    world.environment(env_name)  # whose DAGs are there then
    return Terminal(world)


def test_a_run_is_triggered_and_waited_for(terminal: Terminal, env_name: str) -> None:
    run_id = f"terminal-{uuid.uuid4().hex[:8]}"
    command = ("dags", "trigger", env_name, "echo", "--run-id", run_id, "--conf", json.dumps({"numbers": [1, 2]}))
    done = terminal.run(*command, "--wait", "--timeout", "3m", "--output", "json")
    ended = json.loads(done.stdout)
    assert (ended["state"], ended["created"], ended["run_id"]) == ("success", True, run_id)
    assert ended["start_date"] < ended["end_date"]
    again = json.loads(terminal.run(*command, "--output", "json").stdout)
    assert (again["state"], again["created"]) == ("success", False)


def test_a_run_that_fails_says_why(terminal: Terminal, env_name: str) -> None:
    done = terminal.run("dags", "trigger", env_name, "fails", "--wait", "--timeout", "3m", status=1)
    [error] = [line for line in done.stderr.splitlines() if "Failed tasks:" in line]
    assert error.startswith(f"airflow-mwaa: Environment '{env_name}': run 'cli__")


def test_airflows_own_command(terminal: Terminal, env_name: str) -> None:
    rows = json.loads(terminal.run("run", env_name, "--", "dags", "list", "-o", "json").stdout)
    assert "echo" in [row["dag_id"] for row in rows]


@pytest.mark.parametrize(
    ("nouns", "document"),
    [
        ("variables", {"text": AWKWARD, "told": {"value": "v", "description": AWKWARD}}),
        ("connections", {"db": {"conn_type": "http", "host": "h", "password": "hunter2 of the tests"}}),
    ],
)
def test_what_is_imported_is_read_and_deleted(
    terminal: Terminal, env_name: str, nouns: str, document: dict[str, object]
) -> None:
    prefix = f"terminal-{uuid.uuid4().hex[:8]}-"
    named = {f"{prefix}{key}": item for key, item in document.items()}
    try:
        done = terminal.run(nouns, "import", env_name, "-", "--output", "json", stdin=json.dumps(named))
        assert json.loads(done.stdout)["created"] == sorted(named)
        first = min(named)
        shown = terminal.run(nouns, "get", env_name, first)
        assert "hunter2" not in shown.stdout
        if nouns == "variables":
            assert shown.stdout == f"{AWKWARD}\n"
    finally:
        terminal.run(nouns, "delete", env_name, *named, "--yes")
