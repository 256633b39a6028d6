# SPDX-License-Identifier: Apache-2.0
"""A real Airflow behind an environment: its command line, its API, its DAG files."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psutil
import pytest

from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome
from tests.local_airflow.conftest import wait_for_dag

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def warm(running, aws):
    """Run a command on the environment's CLI endpoint; return (HTTP status, stdout, stderr)."""
    mwaa = aws("mwaa")

    def run(command):
        token = mwaa.create_cli_token(Name="source")
        request = urllib.request.Request(
            f"https://{token['WebServerHostname']}/aws_mwaa/cli",
            command.encode(),
            {"Authorization": f"Bearer {token['CliToken']}", "Content-Type": "text/plain"},
        )
        context = ssl.create_default_context(cafile=running.variables()["AWS_CA_BUNDLE"])
        try:
            with urllib.request.urlopen(request, context=context, timeout=60) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, error.read()
        content = json.loads(body)
        return status, base64.b64decode(content["stdout"]).decode(), base64.b64decode(content["stderr"]).decode()

    return run


@pytest.fixture(scope="module")
def cold(running):
    """Run ``airflow`` in a new process, with the variables and paths of a component of the environment."""
    now = running.status()
    variables = psutil.Process(now["environments"]["source"]["pids"]["scheduler"]).environ()
    home = AirflowHome(running.environment("source").airflow_home, now["mwaa_paths"])

    def run(*argv):
        return subprocess.run(
            home.command([sys.executable, "-m", "airflow", *argv]),
            env=variables,
            cwd=home.folder,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    return run


def test_version(warm, cold):
    assert warm("version")[1] == cold("version").stdout


def test_variables(warm, cold):
    assert warm("variables set name 'a \"value\" ü'")[0] == 200
    assert cold("variables", "get", "name").stdout == warm("variables get name")[1] == 'a "value" ü\n'
    missing = cold("variables", "get", "missing")
    status, stdout, stderr = warm("variables get missing")
    assert missing.returncode != 0
    assert status != 200
    assert (stdout, stderr.splitlines()[-1]) == (missing.stdout, missing.stderr.splitlines()[-1])


def test_dags_are_listed_alike(warm, cold, rest):
    wait_for_dag(rest, "hello")
    # A cold command may log import warnings to stdout, which the warm interpreter logged earlier.
    assert warm("dags list -o json")[1].splitlines()[-1] == cold("dags", "list", "-o", "json").stdout.splitlines()[-1]


def test_a_usage_error(warm, cold):
    failed = cold("variables", "get")
    _, _, stderr = warm("variables get")
    assert failed.returncode == 2
    assert stderr.splitlines()[-1] == failed.stderr.splitlines()[-1]


def test_commands_are_quick(running, warm):
    """Each is a child of an interpreter that has imported Airflow: a cold one takes 3-6 s, mostly for imports."""
    interpreter = psutil.Process(min(pid for pid, command in running.commands() if "cli_server" in command))
    imported_in = interpreter.cpu_times()
    warm("variables set quick 1")
    ended = interpreter.cpu_times()
    of_command = ended.children_user + ended.children_system - imported_in.children_user - imported_in.children_system
    assert 0 < of_command < imported_in.user + imported_in.system


def test_the_interpreter_comes_back_after_a_kill(running, warm):
    interpreter = min(pid for pid, command in running.commands() if "cli_server" in command)
    before = warm("version")
    os.kill(interpreter, signal.SIGKILL)
    assert warm("version") == before


def test_a_dag_runs_and_its_log_is_readable(running, aws, rest):
    wait_for_dag(rest, "hello")
    major = running.status()["environments"]["source"]["airflow_version"].split(".")[0]
    body = {"dag_run_id": "one", "conf": {"a": "b"}, **({"logical_date": None} if major == "3" else {})}
    rest("POST", "/dags/hello/dagRuns", **body)
    deadline = time.monotonic() + 90
    while (state := rest("GET", "/dags/hello/dagRuns/one").json()["state"]) not in ("success", "failed"):
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    log = rest("GET", "/dags/hello/dagRuns/one/taskInstances/say/logs/1").text
    assert "CONF {'a': 'b'}" in log
    assert "BUCKETS ['local-mwaa-source']" in log
    assert "ENVIRONMENTS ['source']" in log
    assert "CALLER arn:aws:sts::123456789012:assumed-role/local-mwaa-execution/AmazonMWAA-airflow" in log
    role = aws("mwaa").get_environment(Name="source")["Environment"]["ExecutionRoleArn"]
    assert aws("iam").get_role(RoleName="local-mwaa-execution")["Role"]["Arn"] == role
    assert state == "success"


def test_a_new_file_becomes_a_dag(running, aws, rest):
    source = (running.environment("source").dags / "hello.py").read_text().replace("hello", "late")
    aws("s3").put_object(Bucket="local-mwaa-source", Key="dags/sub/late.py", Body=source.encode())
    wait_for_dag(rest, "late")
