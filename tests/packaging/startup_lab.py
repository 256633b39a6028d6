# SPDX-License-Identifier: Apache-2.0
"""Startup scripts, run as the local MWAA runs them; and a CodeArtifact: its API, and an index that wants its token."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from airflow_mwaa_provider.local.airflow import startup_script
from airflow_mwaa_provider.local.airflow.startup_script import Component
from airflow_mwaa_provider.local.machine import processes
from airflow_mwaa_provider.local.machine.logged_command import MaskedLog
from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome
from scripts.lib import canary

PYTHONS = str(Path(sys.executable).parent)


def variables_for(url: str) -> dict[str, str]:
    """Return the variables by which boto3 finds a CodeArtifact."""
    return {
        "AWS_ENDPOINT_URL_CODEARTIFACT": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "of-the-test",
        "AWS_REGION": "us-west-2",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class CodeArtifact(ThreadingHTTPServer):
    """Operations by path, packages by name; ``refusal`` is what the API answers instead of a token."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[dict[str, str]] = []
        self.regions: list[str] = []
        """That the requests were signed for."""
        self.wheels: dict[str, Path] = {}
        self.refusal = self.endpoint_refusal = ""
        self.faults: dict[str, tuple[int, str]] = {}
        """Status and body that are answered instead to POST or GET; a status of 0 drops the connection."""
        self.with_token: list[str] = []

        self.variables = variables_for(self.url)


class _Handler(BaseHTTPRequestHandler):
    server: CodeArtifact

    def do_POST(self) -> None:
        """GetAuthorizationToken."""
        self.server.asked.append({name: value[0] for name, value in parse_qs(urlsplit(self.path).query).items()})
        self.server.regions.append(self.headers["Authorization"].split("/")[2])
        if "POST" in self.server.faults:
            self._answer(*self.server.faults["POST"])
        elif self.server.refusal:
            self._answer(403, json.dumps({"message": "not yours"}), {"x-amzn-ErrorType": self.server.refusal})
        else:
            expires = time.time() + 3600
            self._answer(200, json.dumps({"authorizationToken": canary.value(), "expiration": expires}))

    def do_GET(self) -> None:
        if "GET" in self.server.faults:
            self._answer(*self.server.faults["GET"])
            return
        path = urlsplit(self.path).path
        if path == "/v1/repository/endpoint":
            if self.server.endpoint_refusal:
                header = {"x-amzn-ErrorType": self.server.endpoint_refusal}
                self._answer(403, json.dumps({"message": "not yours"}), header)
                return
            self._answer(200, json.dumps({"repositoryEndpoint": f"{self.server.url}/pypi/MyRepo/"}))
            return
        wanted = "Basic " + base64.b64encode(f"aws:{canary.value()}".encode()).decode()
        if self.headers["Authorization"] != wanted:
            self._answer(401, "", {"WWW-Authenticate": 'Basic realm="codeartifact"'})
            return
        self.server.with_token.append(path)
        name = path.rstrip("/").rpartition("/")[2]
        if name in self.server.wheels:
            wheel = self.server.wheels[name].name
            self._answer(200, f'<a href="{wheel}">{wheel}</a>', {"Content-Type": "text/html"})
        else:
            found = [wheel for wheel in self.server.wheels.values() if wheel.name == name]
            self._answer(200 if found else 404, found[0].read_bytes() if found else "")

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: int, body: str | bytes, headers: dict[str, str] | None = None) -> None:
        if not status:
            return
        content = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def code_artifact() -> Iterator[CodeArtifact]:
    server = CodeArtifact()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Container:
    """A home in which a script runs as a component, with what it exported, and its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.log = ""

    def run(self, script: str, component: str = "worker", **variables: str) -> dict[str, str]:
        path = self.home / "startup.sh"
        path.write_text(script, encoding="utf-8")
        given = {
            "PATH": os.pathsep.join((PYTHONS, os.environ["PATH"])),
            "MWAA_AIRFLOW_COMPONENT": component,
            **processes.marked(self.folder),
            **variables,
        }
        log = MaskedLog(self.folder / "log", [])
        kind = Component(component) if component in set(Component) else Component.WORKER
        home = AirflowHome(self.home)
        try:
            return asyncio.run(startup_script.run(path, kind, variables=given, home=home, log=log))
        finally:
            self.log = log.path.read_text(encoding="utf-8")
            log.path.unlink()
