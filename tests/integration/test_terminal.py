# SPDX-License-Identifier: Apache-2.0
"""The commands of a terminal as separate processes, with the variables of ``local env``, on real Airflows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import pytest

from airflow_mwaa_provider.client.models import DagRunState
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

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "airflow_mwaa_provider.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.variables,
        )


@pytest.fixture
def terminal(world: World, env_name: str) -> Terminal:
    world.environment(env_name)  # waits for the DAGs
    return Terminal(world)


def test_a_run_is_triggered_and_waited_for(terminal: Terminal, env_name: str) -> None:
    run_id = f"terminal-{uuid.uuid4().hex[:8]}"
    command = ("dags", "trigger", env_name, "echo", "--run-id", run_id, "--conf", json.dumps({"numbers": [1, 2]}))
    done = terminal.run(*command, "--wait", "--wait-timeout", "3m", "--output", "json")
    ended = json.loads(done.stdout)
    assert (ended["state"], ended["created"], ended["run_id"]) == ("success", True, run_id)
    assert ended["start_date"] < ended["end_date"]
    again = json.loads(terminal.run(*command, "--output", "json").stdout)
    assert (again["state"], again["created"]) == ("success", False)


def test_a_run_that_fails_says_why(terminal: Terminal, env_name: str) -> None:
    done = terminal.run("dags", "trigger", env_name, "fails", "--wait", "--wait-timeout", "3m", status=1)
    [error] = [line for line in done.stderr.splitlines() if "Failed tasks:" in line]
    assert error.startswith(f"airflow-mwaa: Environment '{env_name}': run 'cli__")


def test_someone_on_call_finds_out_why_and_clears_it(terminal: Terminal, world: World, env_name: str) -> None:
    run = world.environment(env_name).trigger_dag_run("mapped", f"night-{uuid.uuid4().hex[:6]}")
    world.environment(env_name).wait_for_dag_run(
        "mapped", run.run_id, timeout_s=180, allowed_states={DagRunState.FAILED}, failed_states=set()
    )
    of_run = (env_name, "mapped", run.run_id)
    listed = json.loads(terminal.run("dags", "list", env_name, "map*", "--failed", "--output", "json").stdout)
    [dag] = listed["dags"]
    assert (dag["is_paused"], dag["schedule"], dag["last_run"]["run_id"]) == (False, None, run.run_id)
    assert isinstance(listed["import_errors"], list)
    [row] = json.loads(terminal.run("dags", "runs", env_name, "mapped", "--limit", "1", "--output", "json").stdout)
    assert (row["run_id"], row["run_type"], row["failed_tasks"]) == (run.run_id, "manual", ["part[1]"])
    log = terminal.run("tasks", "log", *of_run, "part", "--map-index", "1").stdout
    assert "ValueError: the second of three" in log
    planned = json.loads(terminal.run("tasks", "clear", *of_run, "part", "--dry-run", "--output", "json").stdout)
    assert [task["map_index"] for task in planned["cleared"]] == [0, 1, 2]
    cleared = json.loads(terminal.run("dags", "clear", *of_run, "--only-failed", "--output", "json").stdout)
    assert [(task["task_id"], task["map_index"]) for task in cleared["cleared"]] == [("part", 1)]
    # The second try runs and fails again; each of its lines is shown once, including the last.
    followed = terminal.run("tasks", "log", *of_run, "part", "--map-index", "1", "--follow", status=1)
    assert "ValueError: the second of three" in followed.stdout
    dated = [line for line in followed.stdout.splitlines() if line.startswith("[20")]
    assert len(dated) == len(set(dated)) > 2
    assert "try 2:" in followed.stderr


def test_a_running_task_is_followed_and_its_run_is_stopped(terminal: Terminal, world: World, env_name: str) -> None:
    environment = world.environment(env_name)
    run = environment.trigger_dag_run("sleeps", f"long-{uuid.uuid4().hex[:6]}")
    of_run = (env_name, "sleeps", run.run_id)
    process = terminal.start("tasks", "log", *of_run, "sleep", "--follow")
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, "nothing was logged"
        stopped = json.loads(terminal.run("dags", "stop", *of_run, "--output", "json").stdout)
        assert stopped["stopped"] == [run.run_id]
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    assert errors.endswith(f"airflow-mwaa: task 'sleep' of run '{run.run_id}' is failed.\n")
    assert environment.get_dag_run("sleeps", run.run_id).state is DagRunState.FAILED
    assert "had already ended: failed" in terminal.run("dags", "stop", *of_run).stdout


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
