# SPDX-License-Identifier: Apache-2.0
"""``environments``, ``dags list|runs|stop|clear``, ``tasks`` and ``roles``: the commands for people on call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.local.aws.environment import LastUpdate
from tests.cli.terminal import Terminal, runner
from tests.client.world import TRANSPORTS, World

BEGAN = datetime.now(UTC).replace(hour=3, minute=0, second=0, microsecond=0) - timedelta(days=2)
both = pytest.mark.parametrize("env_name", ["env3", "env2"])
pytestmark = pytest.mark.once
# Both transports of a REST call, and both dialects.
rest_ways = pytest.mark.parametrize(("env_name", "transport"), [("env3", TRANSPORTS[0]), ("env2", "web_session")])


@pytest.fixture(autouse=True)
def _width(terminal: Terminal) -> None:
    terminal.variables["COLUMNS"] = "80"


def with_runs(world: World, env_name: str = "env3") -> Any:
    """Create a failed run with its tasks, and then a running one."""
    airflow = world.airflow(env_name)
    for number, (run_id, state) in enumerate((("old", "failed"), ("new", "running"))):
        airflow.create("etl", run_id, date=(BEGAN + timedelta(days=number)).isoformat())
        airflow.run("etl", run_id).update(state=state, start_date=BEGAN.isoformat(), run_type="scheduled")
        for task_id, map_index, of_old, of_new in (
            ("extract", -1, "success", "success"),
            ("transform", 0, "success", "running"),
            ("transform", 1, "failed", "failed"),
            ("load", -1, "upstream_failed", None),
        ):
            row = {"dag_id": "etl", "dag_run_id": run_id, "task_id": task_id, "map_index": map_index, "try_number": 1}
            state_of_task = of_old if run_id == "old" else of_new
            airflow.tasks.append({**row, "state": state_of_task, "start_date": BEGAN.isoformat(), "end_date": None})
    airflow.run("etl", "old")["end_date"] = (BEGAN + timedelta(minutes=65)).isoformat()
    airflow.downstream = {"transform": ["load"]}
    return airflow


# -- environments ------------------------------------------------------------------------------------------------


def test_environments_and_why_the_last_update_failed(terminal: Terminal, world: World) -> None:
    there = world.mwaa.environments.get("env2")
    before, there.last_update = there.last_update, LastUpdate("FAILED", BEGAN, "no\nplugins.zip")
    try:
        found = terminal.json("environments")
        shown = terminal.run("environments")
    finally:
        there.last_update = before
    assert [row["name"] for row in found] == ["env2", "env3"]
    assert found[0]["airflow_version"] == "2.10.3"
    update = found[0]["last_update"]
    assert (update["status"], update["error"]) == ("FAILED", "INCORRECT_CONFIGURATION: no\nplugins.zip")
    assert datetime.fromisoformat(update["created_at"]) == BEGAN
    assert found[1]["error"] is None
    assert "env2" in shown.stdout
    assert "AVAILABLE" in shown.stdout
    assert (
        shown.stderr
        == "airflow-mwaa: Environment 'env2': its last update FAILED: INCORRECT_CONFIGURATION: no plugins.zip\n"
    )


def test_an_environment_that_may_not_be_described_hides_no_other(terminal: Terminal, world: World) -> None:
    world.fault("control_plane", "status", environment="env2", status=403)
    result = terminal.run("environments", status=1)
    assert "env2         unknown" in result.stdout
    assert "3.3.1" in result.stdout
    [line] = result.stderr.splitlines()
    assert line.startswith("airflow-mwaa: Environment 'env2', GetEnvironment")


# -- dags ----------------------------------------------------------------------------------------------------------


@rest_ways
def test_dags_with_their_last_runs(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    airflow = with_runs(world, env_name)
    airflow.dags["report"] = False
    airflow.create("report", "one", date=BEGAN.isoformat())
    airflow.end("report", "one", "failed")
    airflow.schedules = {"etl": "0 3 * * *"}
    airflow.file_errors = {"bad.py": "Traceback:\n  x\nSyntaxError: \x1b[2Jinvalid syntax\n"}
    command = ("dags", "list", env_name, "--transport", transport)
    found = terminal.json(*command)
    assert {row["dag_id"]: row["last_run"] and row["last_run"]["run_id"] for row in found["dags"]} == {
        "etl": "new", "paused": None, "report": "one"
    }  # fmt: skip
    assert found["import_errors"][0]["message"].startswith("Traceback")
    etl = found["dags"][0]
    assert (etl["schedule"], etl["is_paused"], etl["last_run"]["state"]) == ("0 3 * * *", False, "running")
    shown = terminal.run(*command)
    assert [line.split() for line in shown.stdout.splitlines()[1:2]] == [
        ["etl", "active", "0", "3", "*", "*", "*", "running", f"{BEGAN:%m-%d}", "03:00"]
    ]
    assert shown.stderr == "airflow-mwaa: DAG file bad.py cannot be imported: SyntaxError: \\x1b[2Jinvalid syntax\n"

    def ids(*options: str) -> list[str]:
        return [row["dag_id"] for row in terminal.json(*command, *options)["dags"]]

    assert ids("--failed") == ["report"]
    assert ids("--paused") == ["paused"]
    assert ids("--active") == ["etl", "report"]
    assert ids("e*") == ["etl"]
    assert ids("p") == ["paused", "report"]
    assert "There are no DAGs that match in" in terminal.run(*command, "nothing").stderr


@both
def test_dags_over_the_cli_say_what_is_not_known(terminal: Terminal, world: World, env_name: str) -> None:
    with_runs(world, env_name).file_errors = {"bad.py": "SyntaxError: x"}
    shown = terminal.run("dags", "list", env_name, "--transport", "cli")
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["DAG", "STATE"],
        ["etl", "active"],
        ["paused", "paused"],
    ]
    first, second = shown.stderr.splitlines()
    assert first.startswith("airflow-mwaa: schedules and last runs are unknown: MWAA's CLI endpoint")
    assert second == "airflow-mwaa: DAG file bad.py cannot be imported: SyntaxError: x"
    line = terminal.error("dags", "list", env_name, "--failed", "--transport", "cli", status=2)
    assert "the last run of each DAG cannot go through MWAA's CLI endpoint" in line


@rest_ways
def test_runs_with_the_tasks_that_failed(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    with_runs(world, env_name)
    command = ("dags", "runs", env_name, "etl", "--transport", transport)
    found = terminal.json(*command)
    names = ("run_id", "state", "run_type", "failed_tasks")
    assert [tuple(run[name] for name in names) for run in found] == [
        ("new", "running", "scheduled", ["transform[1]"]),
        ("old", "failed", "scheduled", ["transform[1]"]),
    ]
    assert [run["duration_s"] for run in found] == [None, 3900]
    shown = terminal.run(*command)
    assert f"  old  failed   scheduled  {BEGAN:%m-%d} 03:00  1h05m\n" in shown.stdout
    assert f"To see why: airflow-mwaa tasks log {env_name} etl new transform --map-index 1\n" in shown.stdout
    assert [run["run_id"] for run in terminal.json(*command, "--state", "failed")] == ["old"]
    assert [run["run_id"] for run in terminal.json(*command, "--limit", "1")] == ["new"]
    assert terminal.json("dags", "runs", env_name, "paused") == []


def test_runs_over_the_cli(terminal: Terminal, world: World) -> None:
    with_runs(world)
    found = terminal.json("dags", "runs", "env3", "etl", "--transport", "cli")
    assert [(run["run_id"], run["failed_tasks"]) for run in found] == [("new", []), ("old", [])]


@rest_ways
def test_runs_are_stopped(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    airflow = with_runs(world, env_name)
    command = ("dags", "stop", env_name, "etl", "--transport", transport)
    result = terminal.run(*command, "old", "new")
    assert "run 'new' of DAG 'etl' in" in result.stdout
    assert "is marked as failed; running tasks that end with it: transform[0]\n" in result.stdout
    assert f"run 'old' of DAG 'etl' in {env_name} had already ended: failed\n" in result.stdout
    assert airflow.run("etl", "new")["state"] == "failed"
    airflow.create("etl", "third")
    found = terminal.json(*command, "--all-running", "--yes")
    assert (found["stopped"], found["ended_before"], found["failed"]) == (["third"], {}, {})
    assert "DAG 'etl' has no running or queued runs in" in terminal.run(*command, "--all-running", "--yes").stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name runs, or use --all-running, but not both"),
        (["new", "--all-running", "--yes"], "Name runs, or use --all-running, but not both"),
        (["--all-running"], "--all-running needs --yes, because nobody can be asked here"),
        (["new", "--transport", "cli"], "marking a run cannot go through MWAA's CLI endpoint"),
    ],
)
def test_what_stops_nothing(terminal: Terminal, world: World, arguments: list[str], words: str) -> None:
    airflow = with_runs(world)
    assert words in terminal.run("dags", "stop", "env3", "etl", *arguments, status=2).stderr
    assert airflow.run("etl", "new")["state"] == "running"


def test_no_run_is_stopped_where_one_is_not_there(terminal: Terminal, world: World) -> None:
    airflow = with_runs(world)
    line = terminal.error("dags", "stop", "env3", "etl", "new", "olt", status=1)
    assert line.startswith("Environment 'env3': DAG 'etl' has no run 'olt'; nothing was stopped. Check both ids. ")
    assert line.endswith("The nearest to run 'olt': 'old'.")
    assert airflow.run("etl", "new")["state"] == "running"


@rest_ways
def test_a_run_is_cleared(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    airflow = with_runs(world, env_name)
    command = ("dags", "clear", env_name, "etl", "old", "--transport", transport)
    dry = terminal.run(*command, "--only-failed", "--dry-run")
    assert [line.split() for line in dry.stdout.splitlines()] == [
        ["TASK", "STATE"],
        ["transform[1]", "failed"],
        ["load", "upstream_failed"],
        ["2", "tasks", "would", "be", "cleared;", "nothing", "was", "changed."],
    ]
    assert airflow.run("etl", "old")["state"] == "failed"
    done = terminal.run(*command, "--only-failed")
    assert "2 tasks cleared, to run again.\nTo wait for them: airflow-mwaa dags wait" in done.stdout
    assert airflow.run("etl", "old")["state"] == "queued"
    found = terminal.json(*command)
    assert len(found["cleared"]) == 4
    assert [task["state"] for task in airflow.tasks[:4]] == [None] * 4
    assert "There is no failed task to clear" in terminal.run(*command, "--only-failed").stderr


@rest_ways
def test_tasks_are_cleared(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    airflow = with_runs(world, env_name)
    airflow.dags["etl"] = True
    command = ("tasks", "clear", env_name, "etl", "old", "transform", "--downstream", "--transport", transport)
    found = terminal.json(*command, "--only-failed", "--dry-run")
    assert [(task["task_id"], task["map_index"]) for task in found["cleared"]] == [("transform", 1), ("load", -1)]
    assert found["dry_run"] is True
    done = terminal.run(*command, "--yes")
    assert "3 tasks cleared" in done.stdout
    assert "DAG 'etl' is paused" in done.stderr
    assert [task["state"] for task in airflow.tasks[:4]] == ["success", None, None, None]


@pytest.mark.parametrize("command", ["dags", "tasks"])
def test_a_clearing_of_unknown_fate_says_where_to_look(terminal: Terminal, world: World, command: str) -> None:
    with_runs(world).fails_after_clearing = True
    more = ["load"] if command == "tasks" else []
    result = terminal.run(command, "clear", "env3", "etl", "old", *more, status=1)
    [line] = result.stderr.splitlines()
    assert "It may have taken effect." in line
    assert line.endswith("Before you clear it again, check: airflow-mwaa tasks list env3 etl old")


def test_clearing_over_the_cli_is_refused_by_name(terminal: Terminal, world: World) -> None:
    with_runs(world)
    line = terminal.error("dags", "clear", "env3", "etl", "old", "--transport", "cli", status=2)
    assert "clearing tasks cannot go through MWAA's CLI endpoint" in line


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("is_redirected", [False, True])
@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_person_is_asked_before_tasks_are_cleared(
    terminal: Terminal, world: World, answer: str, output: str, *, is_redirected: bool
) -> None:
    airflow = with_runs(world)
    ours, theirs = os.openpty()
    stderr = subprocess.PIPE if is_redirected else theirs
    command = ("dags", "clear", "env3", "etl", "old", "--output", output)
    process = terminal.start(*command, stdin=theirs, stderr=stderr)
    os.close(theirs)
    seen = b""
    while b"Clear 4 tasks of run 'old' of DAG 'etl' in env3? [y/N]" not in seen:
        seen += os.read(ours, 4096)
    assert airflow.run("etl", "old")["state"] == "failed"
    os.write(ours, f"{answer}\n".encode())
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    # With JSON output, the list is shown with the prompt, because stdout has only the document.
    assert (b"transform[0]  success" in seen) is (output == "json")
    if output == "json":
        assert out == b"" if answer == "n" else len(json.loads(out)["cleared"]) == 4
    assert process.returncode == (0 if answer == "y" else 1)
    assert airflow.run("etl", "old")["state"] == ("queued" if answer == "y" else "failed")


# -- tasks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["web_session", "cli"])
@both
def test_tasks_of_a_run(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    airflow = with_runs(world, env_name)
    airflow.tasks = airflow.tasks[:4]
    airflow.tasks[3]["start_date"] = None
    command = ("tasks", "list", env_name, "etl", "old", "--transport", transport)
    found = terminal.json(*command)
    assert [(task["task_id"], task["map_index"], task["state"]) for task in found] == [
        ("extract", -1, "success"),
        ("transform", 0, "success"),
        ("transform", 1, "failed"),
        ("load", -1, "upstream_failed"),
    ]
    assert [task["map_index"] for task in terminal.json(*command, "--state", "failed")] == [1]
    assert "  transform[1]  failed " in terminal.run(*command).stdout


@rest_ways
def test_the_log_of_a_task(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    airflow = with_runs(world, env_name)
    airflow.logs = {("load", 1): ["first"], ("load", 2): ["\x1b[31mred\x1b[0m and \x1b[2J", "the end"]}
    airflow.tasks[3] |= {"try_number": 2, "state": "failed"}
    command = ("tasks", "log", env_name, "etl", "old", "load", "--transport", transport)
    assert terminal.run(*command).stdout == "red and \\x1b[2J\nthe end\n"
    assert terminal.run(*command, "--try-number", "1").stdout == "first\n"
    found = terminal.json(*command)
    assert (found["try_number"], found["state"], found["lines"][1]) == (2, "failed", "the end")


@both
def test_a_log_is_followed_to_its_end(terminal: Terminal, world: World, env_name: str) -> None:
    airflow = with_runs(world, env_name)
    airflow.logs = {("extract", 1): ["one"]}
    airflow.tasks[4]["state"] = "queued"
    command = ("tasks", "log", env_name, "etl", "new", "extract", "--follow", "--poll-interval", "0.1s")
    process = terminal.start(*command)
    assert process.stdout is not None
    assert process.stderr is not None
    waits = b"airflow-mwaa: task 'extract' has not started: it is queued. Ctrl-C ends the wait.\n"
    assert process.stderr.readline() == waits
    world.do(airflow.tasks[4].update, state="up_for_retry")
    assert process.stdout.readline() == b"one\n"
    waits = b"airflow-mwaa: task 'extract' waits for its next try: it is up_for_retry. Ctrl-C ends the wait.\n"
    assert process.stderr.readline() == waits

    def more(line: str, state: str) -> None:
        airflow.logs[("extract", 1)].append(line)
        airflow.tasks[4]["state"] = state

    world.do(more, "two", "running")
    assert process.stdout.readline() == b"two\n"
    world.do(more, "three", "failed")
    output, errors = process.communicate(timeout=20)
    assert output == b"three\n"
    assert errors == b"airflow-mwaa: task 'extract' of run 'new' is failed.\n"
    assert process.returncode == 1
    airflow.tasks[4]["state"] = "success"
    assert terminal.json(*command)["lines"] == ["one", "two", "three"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_following_and_not_the_task(terminal: Terminal, world: World, number: signal.Signals) -> None:
    airflow = with_runs(world)
    airflow.logs = {("extract", 1): ["one"]}
    airflow.tasks[4]["state"] = "running"
    process = terminal.start("tasks", "log", "env3", "etl", "new", "extract", "--follow", "--poll-interval", "10m")
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    message = (
        "interrupted; task 'extract' is still running in env3. To stop its run: airflow-mwaa dags stop env3 etl new"
    )
    assert errors.decode() == f"airflow-mwaa: {message}\n"


@pytest.mark.usefixtures("no_waiting")
def test_a_log_that_cannot_be_read_any_more_says_how_to_go_on(terminal: Terminal, world: World) -> None:
    with_runs(world)
    world.fault("rest", "html", status=502, path="*/logs/*")
    command = ("tasks", "log", "env3", "etl", "old", "transform", "--map-index", "1", "--follow")
    line = terminal.error(*command, "--transport", "web_session", status=1)
    assert "502" in line
    assert line.endswith(f"To follow it again: airflow-mwaa {' '.join(command)}")


@pytest.mark.parametrize(
    ("change", "arguments", "status", "words"),
    [
        (
            {"state": "queued"},
            [],
            1,
            "has not started: it is queued. To wait for it: airflow-mwaa tasks log env3 etl old ",
        ),
        ({"state": "skipped", "try_number": 0}, [], 1, "has no log: it is skipped, and no try of it has started."),
        ({}, ["--poll-interval", "1s"], 2, "--poll-interval needs --follow"),
        ({}, ["--map-index", "7"], 1, "has no map index 7"),
        ({}, ["--transport", "cli"], 2, "the log of a task cannot go through MWAA's CLI endpoint"),
    ],
)
def test_where_there_is_no_log(
    terminal: Terminal, world: World, change: dict[str, object], arguments: list[str], status: int, words: str
) -> None:
    airflow = with_runs(world)
    airflow.tasks = [airflow.tasks[3] | change]
    assert words in terminal.run("tasks", "log", "env3", "etl", "old", "load", *arguments, status=status).stderr


def test_which_of_the_mapped_ones_is_meant(terminal: Terminal, world: World) -> None:
    with_runs(world)
    line = terminal.error("tasks", "log", "env3", "etl", "old", "transform", status=2)
    assert line.endswith("is mapped: it has 0, 1; failed 1. Choose one with --map-index.")
    terminal.run("tasks", "log", "env3", "etl", "old", "transform", "--map-index", "1")


# -- names that do not exist -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (["dags", "runs", "env3", "elt"], "The nearest to DAG 'elt': 'etl'."),
        (["dags", "runs", "env3", "zzz"], "To see all: airflow-mwaa dags list env3"),
        (["dags", "trigger", "env3", "elt"], "The nearest to DAG 'elt': 'etl'."),
        (["dags", "wait", "env3", "elt", "old"], "The nearest to DAG 'elt': 'etl'."),
        (["dags", "wait", "env3", "etl", "zzz"], "Its latest runs: 'new', 'old'."),
        (["dags", "wait", "env3", "paused", "old"], "DAG 'paused' has no runs."),
        (["dags", "stop", "env3", "elt", "old"], "The nearest to DAG 'elt': 'etl'."),
        (["dags", "clear", "env3", "etl", "olt"], "The nearest to run 'olt': 'old'."),
        (["tasks", "list", "env3", "etl", "olt"], "The nearest to run 'olt': 'old'."),
        (["tasks", "log", "env3", "etl", "old", "lod"], "The nearest to task 'lod': 'load'."),
        (["tasks", "log", "env3", "etl", "olt", "load"], "The nearest to run 'olt': 'old'."),
        (["dags", "list", "evn3"], "The nearest to environment 'evn3': 'env3'."),
        (["variables", "get", "evn3", "greeting"], "The nearest to environment 'evn3': 'env3'."),
        (["monitor", "show", "evn3"], "The nearest to environment 'evn3': 'env3'."),
        (["monitor", "dashboard", "env3", "evn3"], "The nearest to environment 'evn3': 'env3'."),
        (["monitor", "alarms", "evn3"], "The nearest to environment 'evn3': 'env3'."),
        (["roles", "show", "env3", "Users"], "The nearest to role 'Users': 'User'."),
        (["roles", "delete", "env3", "Users"], "The nearest to role 'Users': 'User'."),
        (
            ["roles", "create", "env3", "team", "--dag", "etl", "--base-role", "Users"],
            "nearest to role 'Users': 'User'.",
        ),
        (["roles", "create", "env3", "team", "--dag", "elt"], "The nearest to DAG 'elt': 'etl'."),
        (["tasks", "clear", "env3", "etl", "old", "zzz"], "Its tasks: 'extract', 'load', 'transform'."),
    ],
    ids=" ".join,
)
def test_the_nearest_names_are_told(terminal: Terminal, world: World, command: list[str], hint: str) -> None:
    with_runs(world)
    assert terminal.error(*command, status=1).endswith(hint)


@pytest.mark.parametrize("command", [["plan"], ["clean", "--yes"], ["export", "s3://bucket/prefix"]], ids=" ".join)
def test_the_nearest_environment_is_told_after_the_routes(terminal: Terminal, command: list[str]) -> None:
    result = terminal.run("metadata", *command, "--env-name", "evn3", status=1)
    assert result.stderr.splitlines()[-1].endswith("The nearest to environment 'evn3': 'env3'.")


# -- roles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["web_session", "cli"])
@both
def test_a_role_is_made_shown_and_changed(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    airflow = world.airflow(env_name)
    options = ("--transport", transport)
    command = ("roles", "create", env_name, "team", "--dag", "etl", *options)
    dry = terminal.run(*command, "--dry-run")
    assert f"role 'team' would be created in {env_name}\n" in dry.stdout
    assert "team" not in airflow.roles.roles
    made = terminal.json(*command)
    assert made["created"]
    assert {"can_read on DAG:etl", "can_edit on DAG:etl"} <= set(made["added"])
    assert "role 'team' has these permissions already" in terminal.run(*command).stdout
    shown = terminal.json("roles", "show", env_name, "team", *options)
    assert shown["dags"] == {"etl": ["edit", "read"]}
    text = terminal.run("roles", "show", env_name, "team", *options).stdout
    assert "  DAG etl  edit, read\n" in text
    assert "  DAG Runs  create, read\n" in text
    listed = {role["name"]: role["dags"] for role in terminal.json("roles", "list", env_name, *options)}
    assert listed["team"] == {"etl": ["edit", "read"]}
    assert "  team " in terminal.run("roles", "list", env_name, *options).stdout
    changed = ("roles", "create", env_name, "team", "--dag", "etl=read", "--dag", "paused", *options)
    line = terminal.error(*changed, status=2)
    assert "differs in 2 permissions to add and 1 to remove; nothing was changed. Use --update" in line
    assert terminal.json(*changed, "--update")["removed"] == ["can_edit on DAG:etl"]
    assert ("can_edit", "DAG:etl") not in airflow.roles.roles["team"]


@both
def test_a_role_is_deleted(terminal: Terminal, world: World, env_name: str) -> None:
    world.airflow(env_name).roles.roles["team"] = {("can_read", "DAG:etl")}
    assert terminal.run("roles", "delete", env_name, "team").stdout == f"role 'team' deleted in {env_name}\n"
    assert "no role 'team'" in terminal.error("roles", "delete", env_name, "team", status=1)
    assert "is one of Airflow's own" in terminal.error("roles", "delete", env_name, "Admin", status=2)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["team", "--dag", "etl=fly"], 2, "--dag 'etl=fly': write DAG, or DAG=ACTIONS with some of read,edit,delete"),
        (["team", "--dag", "=read"], 2, "--dag '=read': write DAG"),
        (["team"], 2, "Missing option '--dag'"),
        (
            ["team", "--dag", "none"],
            1,
            "no DAG 'none', so role 'team' was left as it is. Check the ids, and that the DAGs",
        ),
        (["Admin", "--dag", "etl"], 2, "Role 'Admin': Airflow restores the permissions of this role"),
        (["team", "--dag", "etl", "--base-role", "Admin"], 2, "Base role 'Admin' has can_edit on Roles"),
    ],
)
def test_a_role_that_cannot_be(terminal: Terminal, world: World, arguments: list[str], status: int, words: str) -> None:
    assert words in terminal.run("roles", "create", "env3", *arguments, status=status).stderr
    assert "team" not in world.airflow().roles.roles


# -- all of them -----------------------------------------------------------------------------------------------


COMMANDS = [
    *(["dags", name] for name in ("list", "runs", "stop", "clear")),
    *(["tasks", name] for name in ("list", "log", "clear")),
    *(["roles", name] for name in ("list", "show", "create", "delete")),
    ["environments"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example_and_json(command: list[str]) -> None:
    result = runner().invoke(main, [*command, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert f"Example:\n    airflow-mwaa {' '.join(command)}" in result.output
    assert "--output [text|json]" in result.output
    assert max(map(len, result.output.splitlines())) <= 100


@pytest.mark.parametrize("width", [60, 80, 200])
def test_tables_fit_the_terminal(terminal: Terminal, world: World, width: int) -> None:
    terminal.variables["COLUMNS"] = str(width)
    airflow = world.airflow()
    dag_id, run_id = "a_dag_with_quite_a_long_name", "scheduled__2026-01-01T03:00:00.123456+00:00"
    airflow.dags[dag_id] = False
    airflow.schedules[dag_id] = "*/15 2-23 * * MON-FRI"
    airflow.create(dag_id, run_id, date=BEGAN.isoformat())
    airflow.end(dag_id, run_id, "failed")
    row = {"dag_id": dag_id, "dag_run_id": run_id, "try_number": 12, "start_date": BEGAN.isoformat()}
    airflow.tasks = [
        {**row, "task_id": f"group.a_long_task_name_{number}", "map_index": -1, "state": "failed", "end_date": None}
        for number in range(8)
    ]
    for command in (
        ["environments"],
        ["dags", "list", "env3"],
        ["dags", "runs", "env3", dag_id],
        ["tasks", "list", "env3", dag_id, run_id],
        ["tasks", "clear", "env3", dag_id, run_id, "group.a_long_task_name_1", "--dry-run"],
    ):
        lines = terminal.run(*command).stdout.splitlines()
        assert [line for line in lines if len(line) > width and not line.startswith("To ")] == []
        shown = "\n".join(lines)
        assert run_id in shown or command[1:2] != ["runs"], "an id is whole"
