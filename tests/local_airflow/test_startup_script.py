# SPDX-License-Identifier: Apache-2.0
"""Startup scripts in a real bash: what they export, and how they may end."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from airflow_mwaa_provider.local.airflow import startup_script
from airflow_mwaa_provider.local.airflow.startup_script import Component
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import processes
from airflow_mwaa_provider.local.machine.logged_command import MaskedLog
from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def run(home, tmp_path):
    """Run a script as a component of an environment; return what it exported."""

    def run(text, component=Component.WORKER, **variables):
        path = home / "startup.sh"
        path.write_bytes(startup_script.map_paths(os.fsencode(text), home))
        given = {
            "PATH": os.environ["PATH"],
            "HOME": "/no/such/home",
            "MWAA_AIRFLOW_COMPONENT": component,
            "KEPT": "as it was",
            **processes.marked(tmp_path),
            **variables,
        }
        log = MaskedLog(tmp_path / "startup.log", ["secret-of-ours"])
        return asyncio.run(startup_script.run(path, component, variables=given, home=AirflowHome(home), log=log))

    yield run
    processes.end_all(tmp_path)


@pytest.fixture
def log(tmp_path):
    return lambda: (tmp_path / "startup.log").read_text()


def test_what_is_exported_is_left_whatever_is_in_it(run):
    found = run(
        """#!/bin/sh
        export QUOTES="it's \\"quoted\\" \\$HOME \\`x\\`"
        export LINES='one
two
'
        export UNICODE='ünï ☃' EMPTY= EQUALS='a=b=c'
        export BYTES=$'\\xff'
        NOT_EXPORTED=1
        export KEPT
        unset PATH
        """
    )
    assert found == {
        "QUOTES": 'it\'s "quoted" $HOME `x`',
        "LINES": "one\ntwo\n",
        "UNICODE": "ünï ☃",
        "EMPTY": "",
        "EQUALS": "a=b=c",
        "BYTES": "\udcff",
    }


def test_the_guides_scripts(run, home, log):
    script = """#!/bin/sh
        if [[ "${MWAA_AIRFLOW_COMPONENT}" != "webserver" ]]
        then
            export LD_LIBRARY_PATH=/usr/local/airflow/plugins/lib:"/usr/local/airflow/dags"
        fi
        echo "component $MWAA_AIRFLOW_COMPONENT in $HOME"
        """
    assert run(script) == {"LD_LIBRARY_PATH": f"{home}/plugins/lib:{home}/dags"}
    assert run(script, Component.WEBSERVER) == {}
    assert f"component webserver in {home}\n" in log()
    assert "Finished running startup script. Execution time: 0." in log()


@pytest.mark.parametrize(
    "ending",
    [
        "exit",
        "exit 0",
        "exit 3",
        "false",
        "return 4",
        "stop() { exit 5; }; stop; export LATE=1",
        "if true; then exit; fi",
    ],
)
def test_variables_are_kept_however_it_exits(run, ending):
    assert run(f"export ONE=1\n{ending}\n") == {"ONE": "1"}


def test_a_subshells_exit_is_not_the_scripts(run):
    assert run("export ONE=1\n(export TWO=2; exit 3)\nexport THREE=3\n") == {"ONE": "1", "THREE": "3"}


def test_an_exit_status_is_in_the_log_only(run, log):
    run("exit 3")
    assert "Its exit status 3 is ignored" in log()


@pytest.mark.parametrize("ending", ["set -e; false", "set -u; echo $NOT_THERE", "kill -9 $$", "exec true"])
def test_one_that_is_ended_before_it_leaves_its_variables_fails(run, log, ending):
    with pytest.raises(LocalMwaaError, match=r"before its variables were written .* as worker; its log is") as caught:
        run(f"echo begun\nexport ONE=1\n{ending}\nexport TWO=2\n")
    assert "begun" in caught.value.log_tail
    assert "ERROR: the startup script was ended" in log()


def test_one_that_takes_too_long_is_ended_with_its_children(run, monkeypatch, tmp_path):
    monkeypatch.setattr(startup_script, "TIMEOUT_S", 0.5)
    with pytest.raises(LocalMwaaError, match="did not finish within"):
        run("sleep 1000 & sleep 1000")
    assert processes.find(tmp_path) == []


def test_what_it_leaves_in_the_background_lives_on(run, tmp_path):
    run("sleep 60 &")
    assert [process.name() for process in processes.find(tmp_path)] == ["sleep"]


def test_settings_of_the_scripts_shell_do_not_disturb(run):
    assert run("set -euo pipefail\nIFS=,\nset -f\nexport ONE='1,2'\numask 777\n") == {"ONE": "1,2"}


def test_secrets_of_the_environment_stay_out_of_the_log(run, log):
    run('echo "the key is $FERNET" >&2; printf "no line end, $FERNET"', FERNET="secret-of-ours")
    assert "the key is ***\n" in log()
    assert "secret-of-ours" not in log()


def test_it_may_call_what_the_wrapper_uses(run):
    assert run("printf() { :; }\nlocal_name=1\nname=mine\nexport name ONE=1\n") == {"name": "mine", "ONE": "1"}


def test_reserved_variables_keep_their_values(tmp_path):
    log = MaskedLog(tmp_path / "log", [])
    exported = {
        "AIRFLOW_HOME": "/x",
        "AIRFLOW__CORE__FERNET_KEY": "x",
        "AIRFLOW__CORE__PARALLELISM": "99",
        "MWAA_AIRFLOW_COMPONENT": "x",
        "MWAA__DB__CREDENTIALS": "x",
        "AWS_ENDPOINT_URL": "x",
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "from the options",
        "PATH": "/mine",
        "STAGE": "test",
        "PYTHONPATH": "/mine",
    }
    protected = ["AWS_ENDPOINT_URL", "AIRFLOW__CORE__DEFAULT_TIMEZONE"]
    assert startup_script.allowed(exported, protected, log) == {"PATH": "/mine", "STAGE": "test", "PYTHONPATH": "/mine"}
    text = log.path.read_text()
    assert "AIRFLOW_HOME, AIRFLOW__CORE__DEFAULT_TIMEZONE, AIRFLOW__CORE__FERNET_KEY" in text
    assert "99" not in text
    assert "PYTHONPATH" in text


def test_the_wrapper_is_in_order():
    subprocess.run(["bash", "-n", startup_script.WRAPPER], check=True)
