# SPDX-License-Identifier: Apache-2.0
"""The commands, as far as they work without starting anything."""

from __future__ import annotations

import inspect
import json
import socket
import sys

import pytest
from click.testing import CliRunner

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.local import extras
from airflow_mwaa_provider.local.machine import processes, state


def make_runner():
    """Before click 8.2 a runner mixed the two outputs unless told otherwise."""
    old = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(mix_stderr=False) if old else CliRunner()


@pytest.fixture
def run(tmp_path):
    def invoke(*arguments):
        return make_runner().invoke(main, ["local", *arguments, "--folder", str(tmp_path / "state")])

    yield invoke
    assert processes.find(tmp_path / "state") == []


@pytest.mark.parametrize("command", ["up", "down", "status", "env"])
def test_help_has_an_example(command):
    result = CliRunner().invoke(main, ["local", command, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--environment", "1"], "'1' is not a valid environment name"),
        (["-e", "a", "-e", "a"], "two environments have the same name"),
        (["-e", "a", "--python", "/no/such/python"], "no Python interpreter at /no/such/python"),
        (["-e", "a", "--python", "b=/no/such"], "--python b=/no/such: no such environment: 'b'"),
        (["-e", "a", "--python", "a=/bin/true"], "does not behave like a Python 3 interpreter"),
        (["-e", "a", "--dags", "/tmp"], "--dags /tmp: write NAME=DIR"),
        (["-e", "a", "--dags", "a=/no/such/folder"], "no such folder: /no/such/folder"),
        (["-e", "a", "--dags", "a="], "--dags a=: write NAME=DIR"),
        (["-e", "a", "--plugins", "b=/no/such"], "--plugins b=/no/such: write NAME=FILE"),
        (["-e", "a", "--plugins", "a=/no/such/file"], "no such file: /no/such/file. Check --plugins"),
        (["-e", "a", "--metrics-interval", "500ms"], "--metrics-interval must be at least 1s"),
        (["-e", "a", "--startup-script", "a=/no/such"], "no such file: /no/such. Check --startup-script"),
    ],
)
def test_misuse_is_one_line_and_status_2(run, arguments, message):
    result = run("up", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["up", "demo"])
def test_mwaas_paths_can_be_switched_off_by_option_and_variable(command, monkeypatch):
    found = main.commands["local"].commands[command]

    def is_off(*arguments):
        return found.make_context(command, list(arguments)).params["no_mwaa_paths"]

    assert (is_off(), is_off("--no-mwaa-paths")) == (False, True)
    monkeypatch.setenv("AIRFLOW_MWAA_LOCAL_NO_MWAA_PATHS", "1")
    assert is_off()


def test_a_taken_port(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("up", "--port", str(taken.getsockname()[1]), "--python", sys.executable)
    assert result.exit_code == 1
    assert "is in use: choose another with --port" in result.stderr


def test_up_twice(run, tmp_path):
    folder = state.StateFolder(tmp_path / "state")
    folder.create()
    state.write_json(folder.status_path, {"endpoint_url": "http://127.0.0.1:1", "environments": {}})
    with folder.lock() as lock:
        assert lock.acquire()
        result = run("up")
    assert result.exit_code == 1
    assert "is already running at http://127.0.0.1:1: `airflow-mwaa local down --folder" in result.stderr
    assert result.stderr.endswith("; it is just starting\n")


@pytest.mark.parametrize("status", ["CREATING", "AVAILABLE"])
def test_up_while_it_starts_or_runs(run, tmp_path, status):
    folder = state.StateFolder(tmp_path / "state")
    folder.create()
    environment = {"status": status, "airflow_version": "3.3.1", "url": "https://127.0.0.2", "pids": {}}
    state.write_json(
        folder.status_path, {"endpoint_url": "http://127.0.0.1:1", "environments": {"source": environment}}
    )
    with folder.lock() as lock:
        assert lock.acquire()
        named, any_, other = run("up", "-e", "source"), run("up"), run("up", "-e", "other")
    assert named.exit_code == any_.exit_code == (0 if status == "AVAILABLE" else 1)
    if status == "CREATING":
        assert "its environment source is CREATING" in named.stderr
        assert "it is just starting" in any_.stderr
    else:
        assert "is already running, and was not changed: http://127.0.0.1:1" in named.stdout
    assert other.exit_code == 1
    assert "it has no environment other" in other.stderr


def test_a_missing_extra(run, monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None if name == "moto" else object())
    result = run("up")
    assert result.exit_code == 1
    assert result.stderr == (
        "airflow-mwaa: the local MWAA needs moto: pip install '.[local]' in a clone of the project\n"
    )


def test_nothing_runs(run):
    assert run("down").output == "Nothing was running.\n"
    status = run("status", "--output", "json")
    assert status.exit_code == 1
    assert json.loads(status.stdout)["running"] is False
    env = run("env")
    assert env.exit_code == 1
    assert env.stdout == ""
    assert "start it with `airflow-mwaa local up`" in env.stderr


def test_purge_removes_the_folder(run, tmp_path):
    state.StateFolder(tmp_path / "state").create()
    assert run("down", "--purge").exit_code == 0
    assert not (tmp_path / "state").exists()


def test_env_quotes_for_the_shell(run, tmp_path):
    folder = state.StateFolder(tmp_path / "state")
    folder.create()
    state.write_json(
        folder.status_path, {"endpoint_url": "http://127.0.0.1:1", "admin_url": "http://a", "region": "us-east-1"}
    )
    state.write_json(folder.secrets_path, {"access_key_id": "AKIA", "secret_access_key": "it's", "admin_token": "a b"})
    with folder.lock() as lock:
        assert lock.acquire()
        result = run("env")
    lines = result.stdout.splitlines()
    assert all(line.startswith("export ") for line in lines)
    assert """export AWS_SECRET_ACCESS_KEY='it'"'"'s'""" in lines
    assert "export AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN='a b'" in lines
