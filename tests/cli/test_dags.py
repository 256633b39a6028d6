# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa dags``, over every transport, and with mistyped input."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from airflow_mwaa_provider.cli.main import main
from tests.cli.terminal import AWKWARD, WAYS, Terminal, runner
from tests.client.world import World


@pytest.mark.parametrize(("env_name", "transport"), WAYS)
def test_a_run_is_made_once_and_shown(terminal: Terminal, world: World, env_name: str, transport: str) -> None:
    conf = {"text": AWKWARD}
    command = ("dags", "trigger", env_name, "etl", "--conf", json.dumps(conf), "--transport", transport)
    made = terminal.json(*command, "--run-id", "one")
    [run] = world.airflow(env_name).runs
    assert run["conf"] == conf
    assert made["url"].endswith("one")
    assert made == {
        "env_name": env_name,
        "dag_id": "etl",
        "run_id": "one",
        "state": "queued",
        "created": True,
        "logical_date": made["logical_date"],
        "start_date": None,
        "end_date": None,
        "note": None,
        "failed_tasks": [],
        "url": made["url"],
    }
    again = terminal.run(*command, "--run-id", "one")
    assert "run 'one' of DAG 'etl' already existed; no other was created" in again.stderr
    assert "queued" in again.stdout
    assert len(world.airflow(env_name).runs) == 1
    terminal.run(*command)
    terminal.run(*command)
    assert len({run["dag_run_id"] for run in world.airflow(env_name).runs}) == 3


@pytest.mark.parametrize(("env_name", "transport"), WAYS)
@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_wait_ends_as_the_run_does(
    terminal: Terminal, world: World, env_name: str, transport: str, state: str
) -> None:
    airflow = world.airflow(env_name)
    airflow.create("etl", "one")
    task = {"dag_id": "etl", "dag_run_id": "one", "task_id": "load", "map_index": -1, "try_number": 1}
    airflow.tasks = [{**task, "state": state, "start_date": None, "end_date": None}]
    airflow.end("etl", "one", state)
    command = ("dags", "wait", env_name, "etl", "one", "--transport", transport)
    ended = terminal.json(*command, status=0 if state == "success" else 1)
    assert (ended["state"], ended["created"]) == (state, False)
    assert ended["failed_tasks"] == (["load"] if state == "failed" else [])
    result = terminal.run(*command, status=0 if state == "success" else 1)
    assert state in result.stdout
    assert ("Failed tasks: load." in result.stderr) == (state == "failed")
    wanted = terminal.run(
        *command, "--allowed-state", "failed", "--allowed-state", "success", "--failed-state", "queued"
    )
    assert "waiting for run one of DAG etl" in wanted.stderr


def test_a_run_that_goes_on_when_the_time_is_over(terminal: Terminal, world: World) -> None:
    command = ("dags", "trigger", "env3", "etl", "--run-id", "it's one", "--wait")
    result = terminal.run(*command, "--wait-timeout", "0.3s", "--poll-interval", "0.1", status=1)
    assert "did not end within 0.3 s; it is queued. It continues there" in result.stderr
    assert """To stop it: airflow-mwaa dags stop env3 etl 'it'"'"'s one'. To wait for it again: """ in result.stderr
    assert """airflow-mwaa dags wait env3 etl 'it'"'"'s one'\n""" in result.stderr
    assert "queued" in result.stdout


def test_a_paused_dag_is_told_at_once(terminal: Terminal) -> None:
    result = terminal.run("dags", "trigger", "env3", "paused")
    assert "DAG 'paused' is paused in env3: its run stays queued until it is unpaused" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["env3", "no_dag"], 1, "Check the ids, that the DAG is deployed there"),
        (["no-env", "etl"], 1, "no such environment, or it is not ready. Check its name, the account and the region."),
        (["", "etl"], 2, "The environment's name is empty."),
        (["env3", "etl", "--conf", "{"], 2, "--conf is not JSON: Expecting property name"),
        (["env3", "etl", "--conf", ""], 2, "--conf is not JSON"),
        (["env3", "etl", "--conf", "[1]"], 2, "--conf is a list, not a JSON object"),
        (["env3", "etl", "--conf", "null"], 2, "--conf is null, not a JSON object"),
        (["env3", "etl", "--conf", '{"a": NaN}'], 2, "conf cannot be written as JSON"),
        (["env3", "etl", "--conf", "@no/such"], 2, "File 'no/such' cannot be read: No such file or directory."),
        (["env3", "etl", "--logical-date", "2026-01-01"], 2, "--logical-date='2026-01-01' has no time zone"),
        (["env3", "etl", "--logical-date", "now"], 2, "--logical-date='now' is not an ISO 8601 date"),
        (["env3", "etl", "--note", "n", "--transport", "cli"], 2, "note cannot go through MWAA's CLI endpoint"),
    ],
)
def test_what_is_refused_is_one_line(terminal: Terminal, arguments: list[str], status: int, words: str) -> None:
    assert words in terminal.error("dags", "trigger", *arguments, status=status)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wait-timeout", "5m"], "--wait-timeout needs --wait"),
        (["--allowed-state", "failed"], "--allowed-state needs --wait"),
        (["--cancel-on-interrupt"], "--cancel-on-interrupt needs --wait"),
        (["--wait", "--wait-timeout", "soon"], "'soon' is not a positive duration; write 45s, 30m or 1h30m."),
        (["--wait", "--wait-timeout", "0"], "'0' is not a positive duration"),
        (["--wait", "--poll-interval", "nan"], "'nan' is not a positive duration"),
        (["--wait", "--failed-state", "bad"], "'bad' is not one of"),
        (["--transport", "pigeon"], "'pigeon' is not one of"),
    ],
)
def test_options_that_cannot_be(terminal: Terminal, world: World, arguments: list[str], words: str) -> None:
    assert words in terminal.run("dags", "trigger", "env3", "etl", *arguments, status=2).stderr
    assert world.airflow().runs == []


def test_a_run_that_is_not_there_is_not_waited_for(terminal: Terminal) -> None:
    line = terminal.error("dags", "wait", "env3", "etl", "none", status=1)
    assert line == "Environment 'env3': DAG 'etl' has no run 'none'. Check both ids. DAG 'etl' has no runs."


def test_conf_from_a_file_and_from_stdin(terminal: Terminal, world: World, tmp_path: Path) -> None:
    conf = {"text": AWKWARD, "secret": "x" * 100_000}
    path = tmp_path / "conf.json"
    path.write_text(json.dumps(conf), encoding="utf-8")
    terminal.run("dags", "trigger", "env3", "etl", "--conf", f"@{path}")
    terminal.run("dags", "trigger", "env3", "etl", "--conf", "-", stdin=json.dumps(conf))
    assert [run["conf"] for run in world.airflow().runs] == [conf, conf]
    path.write_bytes(b'{"a": "\xff"}')
    line = terminal.error("dags", "trigger", "env3", "etl", "--conf", f"@{path}", status=2)
    assert "is not UTF-8 (byte 7)." in line


@pytest.mark.usefixtures("no_waiting")
def test_an_unknown_fate_says_how_to_go_on(terminal: Terminal, world: World) -> None:
    world.fault("rest", "html", status=502)
    line = terminal.error("dags", "trigger", "env3", "etl", "--run-id", "one", "--transport", "web_session", status=1)
    assert "<html" not in line
    assert line.endswith("Trigger it again with --run-id one, which creates no second run.")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("cancels", [False, True])
def test_an_interrupted_wait_leaves_the_run_alone(
    terminal: Terminal, world: World, number: signal.Signals, cancels: bool
) -> None:
    more = ["--cancel-on-interrupt"] if cancels else []
    command = ("dags", "trigger", "env3", "etl", "--run-id", "one", "--wait", "--region", "us-east-1", *more)
    process = terminal.start(*command)
    assert process.stderr is not None
    first = process.stderr.readline().decode()
    assert first == "airflow-mwaa: waiting for run one of DAG etl in env3\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    run = world.airflow().run("etl", "one")
    assert run is not None
    assert (process.returncode, output) == (1, b"")
    assert run["state"] == ("failed" if cancels else "queued")
    [line] = errors.decode().splitlines()
    words = "in env3 has been marked as failed, which ends its tasks." if cancels else "is still running in env3."
    assert line.startswith(f"airflow-mwaa: interrupted; run 'one' of DAG 'etl' {words}")
    if not cancels:
        assert "To stop it: airflow-mwaa dags stop env3 etl one --region us-east-1. " in line
        assert line.endswith("To wait for it again: airflow-mwaa dags wait env3 etl one --region us-east-1")


def test_a_person_sees_how_far_it_has_got(terminal: Terminal, world: World) -> None:
    """If stderr is a terminal, it has a live line, and stdout still has only the document."""
    ours, theirs = os.openpty()
    command = ("dags", "trigger", "env3", "etl", "--run-id", "load[3]", "--wait", "--output", "json")
    process = terminal.start(*command, stderr=theirs)
    os.close(theirs)
    seen = b""
    while b"load[3] of DAG etl: queued" not in seen:
        seen += os.read(ours, 4096)
    world.do(world.airflow().end, "etl", "load[3]")
    output, _ = process.communicate(timeout=20)
    os.close(ours)
    assert json.loads(output)["state"] == "success"


def test_help_has_an_example() -> None:
    for command in ("trigger", "wait"):
        result = runner().invoke(main, ["dags", command, "--help"])
        assert result.exit_code == 0
        assert "Example:" in result.output
