# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping with a real Airflow, and all the ways that this can fail."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config

from airflow_mwaa_provider.local.machine import mwaa_home
from airflow_mwaa_provider.local.machine.mwaa_home_program import MWAA_HOME
from tests.local_airflow.refusing_proxy import RefusingProxy

pytestmark = pytest.mark.airflow


def wait_for(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it didn't happen"
        time.sleep(0.1)
    return found


def has_mwaa_paths(local):
    return mwaa_home.find_problem(local.folder.parent) is None


def home_of(pid):
    return psutil.Process(pid).environ()["AIRFLOW_HOME"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_nothing(local, number):
    paths = ["--no-mwaa-paths"] if number is signal.SIGINT else []
    up = local.start("up", "-e", "source", *paths)
    wait_for(lambda: any("cli_server" in command for _, command in local.commands()))
    pid = next(pid for pid, command in local.commands() if "cli_server" in command)
    if paths or not has_mwaa_paths(local):
        assert home_of(pid) == str(local.environment("source").airflow_home)
        assert not Path(f"/proc/{pid}/root{MWAA_HOME}").exists()
    up.send_signal(number)
    stdout, stderr = up.communicate(timeout=40)
    assert up.returncode == 1
    assert "interrupted; everything that was started has been ended" in stderr
    assert stdout == ""
    assert local.processes() == []


def test_a_killed_start_is_cleared_away_by_down(local):
    up = local.start("up", "-e", "source")
    wait_for(lambda: any("bin/postgres" in command for _, command in local.commands()))
    os.kill(next(pid for pid, command in local.commands() if "local.daemon" in command), signal.SIGKILL)
    up.kill()
    up.communicate()
    assert "Ended" in local.run("down").stdout
    assert local.processes() == []
    assert local.run("down").stdout == "Nothing was running.\n"


def test_an_airflow_that_does_not_start(local, tmp_path):
    # An interpreter that correctly reports its Airflow, but cannot import it.
    broken = tmp_path / "python"
    broken.write_text(f'#!/bin/sh\nAIRFLOW_CONFIG=/no/such/folder/x exec "{sys.executable}" "$@"\n')
    broken.chmod(0o755)
    (tmp_path / "airflow_home").mkdir()
    result = local.run("up", "-e", "source", "--python", str(broken))
    assert result.returncode == 1
    message = next(line for line in result.stderr.splitlines() if line.startswith("airflow-mwaa: "))
    assert message.startswith("airflow-mwaa: environment source: ")
    assert str(local.folder) in message  # the log's path
    assert any(line.startswith("  | ") for line in result.stderr.splitlines())
    assert local.processes() == []


def test_status_env_and_files_of_a_running_one(running):
    now = running.status()
    source = now["environments"]["source"]
    assert now["running"]
    assert source["status"] == "AVAILABLE"
    assert set(source["pids"]) >= {"scheduler", "triggerer"}
    assert all(psutil.pid_exists(pid) for pid in source["pids"].values())
    again = running.run("up", "-e", "source", "--option", "source=core.parallelism=3")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith(f"The local MWAA is already running, and was not changed: {now['endpoint_url']}\n")
    assert json.loads(running.run("up", "--output", "json").stdout)["pid"] == now["pid"]
    other = running.run("up", "-e", "source", "-e", "other")
    assert other.returncode == 1
    assert f"is already running at {now['endpoint_url']}" in other.stderr
    assert "it has no environment other" in other.stderr
    variables = running.variables()
    assert variables["AWS_ENDPOINT_URL"] == now["endpoint_url"]
    assert Path(variables["AWS_CA_BUNDLE"]).exists()
    secrets = [variables["AWS_SECRET_ACCESS_KEY"], variables["AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN"]]
    for _, command in running.commands():
        assert not any(secret in command for secret in secrets)


def test_the_processes_of_an_environment_and_nobody_else_have_mwaas_path(running):
    now = running.status()
    if not now["mwaa_paths"]:
        pytest.skip(now["mwaa_paths_error"])
    assert "DAGs find their files in /usr/local/airflow, as on MWAA.\n" in running.run("status").stdout
    home = running.environment("source").airflow_home
    theirs = {*now["environments"]["source"]["pids"].values()}
    theirs |= {pid for pid, command in running.commands() if "cli_server" in command}
    assert len(theirs) > 3
    for pid in theirs:
        # Another test may be replacing any of them.
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            assert Path(f"/proc/{pid}/root{MWAA_HOME}").samefile(home), psutil.Process(pid).cmdline()
            assert home_of(pid) == MWAA_HOME
    for pid in now["pids"].values():
        assert not Path(f"/proc/{pid}/root{MWAA_HOME}").exists() or not Path(f"/proc/{pid}/root{MWAA_HOME}").samefile(
            home
        )


def test_boto3_needs_no_more_than_what_env_exports(running):
    """That of the 2.10.3 image ignores AWS_DISABLE_HOST_PREFIX_INJECTION."""
    program = "import boto3; print(boto3.client('mwaa').list_environments()['Environments'])"
    variables = {**os.environ, **running.variables(), "NO_PROXY": "*"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=variables, text=True, capture_output=True, timeout=60, check=False
    )
    assert result.stdout == "['source']\n", result.stderr


BY_EVERYBODY = """
import os, urllib.request
import boto3, requests

token = boto3.client("mwaa").create_web_login_token(Name="source")
host = f"https://{token['WebServerHostname']}"
print(requests.get(host, allow_redirects=False).status_code < 400)
admin = urllib.request.Request(
    f"{os.environ['AIRFLOW_MWAA_LOCAL_ADMIN_URL']}/faults",
    headers={"X-Local-Admin": os.environ["AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN"]},
)
print(urllib.request.urlopen(admin).status)
"""


def test_a_proxy_of_the_shell_is_kept_out_by_what_env_exports(running, monkeypatch):
    with RefusingProxy() as proxy:
        for name, value in proxy.variables.items():
            monkeypatch.setenv(name, value)
        variables = {**os.environ, **running.variables(), "AWS_DISABLE_HOST_PREFIX_INJECTION": "true"}
        result = subprocess.run(
            [sys.executable, "-c", BY_EVERYBODY], env=variables, text=True, capture_output=True, timeout=60, check=False
        )
        login = running.run("login", "source")
    assert (result.stdout, proxy.asked) == ("True\n200\n", []), result.stderr
    assert login.stdout.startswith("https://"), login.stderr


def test_the_metadata_database_can_be_followed_from_a_terminal(running):
    url = running.status()["environments"]["source"]["database_url"]
    assert url in running.run("status").stdout
    variables = running.variables()
    assert variables["AIRFLOW_MWAA_DATABASE_URL"] == variables["AIRFLOW_MWAA_DATABASE_URL_SOURCE"] == url
    assert running.run("env", "--environment", "source").stdout == running.run("env").stdout
    assert variables["PGPASSWORD"] not in running.run("status", "--output", "json").stdout
    plan = subprocess.run(
        [sys.executable, "-m", "airflow_mwaa_provider.cli.main", "metadata", "plan", "--output", "json"],
        env={**os.environ, **variables},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert plan.returncode == 0, plan.stderr
    assert "tables" in json.loads(plan.stdout)
    refused = running.run("env", "--environment", "nope")
    assert refused.returncode == 2
    assert "no such environment: nope. Choose a running one (source)" in refused.stderr


def test_the_web_server_has_no_port_where_the_machine_permits_it(running):
    url = running.status()["environments"]["source"]["url"]
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.77", 443))
        except PermissionError:
            assert re.fullmatch(r"https://127\.0\.0\.\d+:\d+", url)
            return
    assert re.fullmatch(r"https://127\.0\.0\.\d+", url)


def test_a_session_token_of_the_shell_is_taken_away(running, monkeypatch):
    assert "AWS_SESSION_TOKEN" not in running.variables()
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of another account")
    assert running.variables()["AWS_SESSION_TOKEN"] == ""


def test_no_secret_is_readable_to_others_or_in_a_log(running):
    record = running.environment("source").record_path.read_text()
    secrets = [value for key, value in json.loads(record).items() if "key" in key or "password" in key]
    secrets += [value for name, value in running.variables().items() if "SECRET" in name or "TOKEN" in name]
    assert len(secrets) >= 4
    for path in running.folder.rglob("*"):
        if not path.is_file() or "data" in path.parts:
            continue
        if path.stat().st_mode & (stat.S_IROTH | stat.S_IRGRP):
            assert "tls" in path.parts or path.parent.stat().st_mode & 0o077 == 0 or "airflow" in path.parts, path
        if path.suffix == ".log":
            text = path.read_text(errors="replace")
            assert not any(secret in text for secret in secrets), path


def test_listens_on_loopback_only(running):
    pids = {process.pid for process in running.processes()}
    addresses = {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.pid in pids and connection.status == psutil.CONN_LISTEN
    }
    assert addresses
    assert all(address.startswith("127.") for address in addresses), addresses


def test_a_component_that_dies_is_started_again(running):
    def source():
        return running.status()["environments"]["source"]

    before = source()["pids"]["triggerer"]
    ended = source()["restarts"].get("triggerer", 0)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: source()["pids"].get("triggerer") not in (before, None))
    assert source()["restarts"]["triggerer"] == ended + 1
    log = (running.folder / "daemon.log").read_text()
    # 128 if another test killed the interpreter that started it, because only that knows the signal.
    assert re.search("environment source: triggerer ended with status (137|128) ", log)


def kept_of(local):
    """Keys, passwords and ports of the environment."""
    record = json.loads(local.environment("source").record_path.read_text())
    return {name: value for name, value in record.items() if name != "airflow_home"}


def drop_the_right_to_mount():
    drop_from_bounding_set, sys_admin = 24, 21
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(drop_from_bounding_set, sys_admin, 0, 0, 0)


def test_a_second_start_keeps_everything_and_is_quicker(local, tmp_path):
    had_a_folder = Path(MWAA_HOME).exists()
    archive = tmp_path / "mine.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("plugin.py", "NUMBER = 42")
    nowhere = local.run("up", "-e", "source", "--region", "eu-west-9")
    assert nowhere.returncode == 2
    assert "--region eu-west-9: no such region. Choose " in nowhere.stderr
    assert "eu-west-1" in nowhere.stderr
    first = local.run("up", "-e", "source", "--plugins", f"source={archive}", "--region", "eu-west-1")
    assert first.returncode == 0, first.stderr
    assert "  source has plugins.zip from s3://local-mwaa-source\n" in first.stdout
    archive.unlink()
    kept = kept_of(local)
    url = local.status()["endpoint_url"]
    # Crash it as badly as possible.
    os.kill(local.status()["pid"], signal.SIGKILL)
    wait_for(lambda: not local.status()["running"])
    # This time on a system that denies mount namespaces, as in containers.
    second = local.run("up", "-e", "source", before=drop_the_right_to_mount)
    assert second.returncode == 0, second.stderr
    if os.geteuid() == 0:
        why = "this system denies a mount namespace (unshare: Operation not permitted)"
        assert f"DAGs cannot use /usr/local/airflow: {why}. Use $AIRFLOW_HOME.\n" in second.stdout
        home = str(local.environment("source").airflow_home)
        assert {home_of(pid) for pid in local.status()["environments"]["source"]["pids"].values()} == {home}
        # Airflow wrote its paths into it at the first start; comments show options with examples.
        lines = (local.environment("source").airflow_home / "airflow.cfg").read_text().splitlines()
        assert [line for line in lines if MWAA_HOME in line and not line.startswith("#")] == []
        assert Path(MWAA_HOME).exists() == had_a_folder, "made by an Airflow that was not to know of it"
    assert "setting up the metadata database" not in second.stderr
    assert kept_of(local) == kept
    assert local.status()["endpoint_url"] == url
    variables = local.variables()
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "eu-west-1", "as it was"
    session = boto3.session.Session(
        variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], region_name="eu-west-1"
    )
    config = Config(inject_host_prefix=False)
    client = session.client("mwaa", endpoint_url=variables["AWS_ENDPOINT_URL"], config=config)
    arn = client.get_environment(Name="source")["Environment"]["Arn"]
    assert arn == "arn:aws:airflow:eu-west-1:123456789012:environment/source"
    plugins = local.status()["environments"]["source"]["files"]["plugins"]
    assert (plugins["path"], bool(plugins["version"])) == ("plugins.zip", True)
    assert (local.environment("source").plugins / "plugin.py").read_text() == "NUMBER = 42"
    assert local.run("down", "--purge").returncode == 0
    assert local.processes() == []
    assert not local.folder.exists()
