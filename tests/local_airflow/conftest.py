# SPDX-License-Identifier: Apache-2.0
"""Real local MWAAs, started as users start them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import psutil
import pytest
import requests
from botocore.config import Config

from airflow_mwaa_provider.local.machine import processes, state
from airflow_mwaa_provider.local.machine.moto_server import MotoServer
from tests.botocore_data import _botocore_data

__all__ = ["_botocore_data"]

COMMAND = (sys.executable, "-m", "airflow_mwaa_provider.cli.main", "local")


class Local:
    """The command ``airflow-mwaa local`` for one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *arguments, "--folder", str(self.folder)],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(
        self, *arguments: str, timeout_s: float = 280, before: Callable[[], None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments, "--folder", str(self.folder)],
            text=True,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            preexec_fn=before,
        )

    def status(self):
        return json.loads(self.run("status", "--output", "json").stdout)

    def variables(self):
        """Return what ``eval "$(airflow-mwaa local env)"`` sets, parsed as by a shell."""
        lines = self.run("env").stdout.splitlines()
        return dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in lines)

    def environment(self, name):
        return state.StateFolder(self.folder).environment(name)

    def processes(self):
        return processes.find(self.folder)

    def commands(self):
        """Return the command lines of all its processes, any of which may be ending."""
        lines = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                lines.append((process.pid, " ".join(process.cmdline())))
        return lines


@pytest.fixture
def local(tmp_path):
    """A local MWAA that is not started, and is always removed completely."""
    local = Local(tmp_path / "state")
    yield local
    processes.end_all(local.folder)


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """A running local MWAA with the environment ``source`` and one DAG."""
    folder = tmp_path_factory.mktemp("running")
    (folder / "dags").mkdir()
    (folder / "dags" / "hello.py").write_text((Path(__file__).parent / "dag_hello.txt").read_text())
    local = Local(folder / "state")
    result = local.run("up", "-e", "source", "--dags", f"source={folder / 'dags'}", "--output", "json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["environments"]["source"]["status"] == "AVAILABLE"
    yield local
    assert local.run("down").returncode == 0
    assert local.processes() == []


@pytest.fixture(scope="session")
def aws(running):
    variables = running.variables()
    session = boto3.session.Session(
        variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], region_name=variables["AWS_REGION"]
    )

    def client(service):
        config = Config(inject_host_prefix=False)
        return session.client(service, endpoint_url=variables["AWS_ENDPOINT_URL"], config=config)

    return client


@pytest.fixture(scope="session")
def rest(running, aws):
    """Call Airflow's REST API with a web session, which every boto3 can open."""
    variables = running.variables()
    major = running.status()["environments"]["source"]["airflow_version"].split(".")[0]
    token = aws("mwaa").create_web_login_token(Name="source")
    host = f"https://{token['WebServerHostname']}"
    with requests.Session() as session:
        session.trust_env = False  # a REQUESTS_CA_BUNDLE of this shell would override ours
        session.verify = variables["AWS_CA_BUNDLE"]
        path = "/pluginsv2/aws_mwaa/login" if major == "3" else "/aws_mwaa/login"
        session.post(host + path, data={"token": token["WebToken"]}, timeout=30).raise_for_status()
        if major == "3":
            session.headers["Authorization"] = f"Bearer {session.cookies['_token']}"

        def call(method, path, **body):
            url = f"{host}/api/{'v2' if major == '3' else 'v1'}{path}"
            answer = session.request(method, url, json=body or None, timeout=30)
            answer.raise_for_status()
            return answer

        yield call


def wait_for_dag(rest, dag_id, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while True:
        found = rest("GET", "/dags").json()["dags"]
        if any(dag["dag_id"] == dag_id for dag in found):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory):
    """An S3 that lists objects in pages of ten."""
    folder = tmp_path_factory.mktemp("moto")
    variables = {**processes.marked(folder), "MOTO_S3_DEFAULT_MAX_KEYS": "10"}
    with asyncio.Runner() as runner:
        server = MotoServer(folder, variables, processes.PortAllocator(), "us-east-1")
        runner.run(server.start())
        yield server.url
        runner.run(server.stop())
    assert processes.find(folder) == []


@pytest.fixture
def s3(s3_url):
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=s3_url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(s3={"addressing_style": "path"}),
    )
    yield client
    client.close()


@pytest.fixture(autouse=True)
def no_variables_of_the_shell(monkeypatch):
    """A contributor may have a local MWAA of their own in their shell."""
    for name in os.environ:
        ours = ("AWS_", "AIRFLOW_MWAA_LOCAL", "AIRFLOW_MWAA_DATABASE_URL", "PGPASSWORD")
        if name.startswith(ours) or name.endswith("_CA_BUNDLE"):
            monkeypatch.delenv(name)
