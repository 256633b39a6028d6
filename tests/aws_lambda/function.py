# SPDX-License-Identifier: Apache-2.0
"""A Lambda function, as closely as possible: the zip in a separate Python that has only boto3."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.client.world import KEY, REGION, SECRET, World

# What boto3 needs; Lambda's runtimes have only these.
RUNTIME = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
ACCOUNT = "123456789012"
TRIGGER = "airflow_mwaa_provider.aws_lambda.handler"
ENDPOINTS = "airflow_mwaa_provider.aws_lambda_endpoints.handler"

Invocation = tuple[str, Any] | tuple[str, Any, dict[str, str]]

# Every cold start is a child of this process, which has seen no function and no event, but may have boto3 and the data
# files of botocore in memory.
_PROGRAM = """
import importlib, json, os, socket, sys, traceback
sys.path.append(sys.argv[1])
if sys.argv[2] == "with-boto3":
    import functools, boto3, botocore.session
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    for service in ("mwaa", "ec2"):
        boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1").client(service)

class Context:
    def __init__(self, account, request_id, seconds):
        self.aws_request_id, self.seconds = request_id, seconds
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:{account}:function:f"
    def get_remaining_time_in_millis(self):
        return int(self.seconds * 1000)

def invoke(job):
    sys.path.insert(sys.path.index(sys.argv[1]), job["code"])
    os.environ.clear()
    os.environ.update(job["variables"])
    module, _, name = job["handler"].rpartition(".")
    answers = []
    for request_id, event, seconds, variables in job["invocations"]:
        os.environ.update(variables)
        try:
            handler = getattr(importlib.import_module(module), name)
            answers.append({"result": handler(event, Context(job["account"], request_id, seconds))})
        except Exception as error:
            fields = {"type": type(error).__name__, "message": str(error), "action": getattr(error, "action", None)}
            answers.append({"error": fields})
    files = [(name.partition(".")[0], getattr(module, "__file__", None) or "") for name, module in sys.modules.items()]
    roots = sorted({root for root, file in files if file.startswith((job["code"], sys.argv[1]))})
    return {"answers": answers, "roots": roots}

def serve(connection):
    with connection, connection.makefile("rw") as stream:
        try:
            told = invoke(json.loads(stream.readline()))
        except BaseException:
            told = {"crash": traceback.format_exc()}
        stream.write(json.dumps(told))

control = socket.socket(fileno=0)
while True:
    _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not descriptors:
        break
    with socket.socket(fileno=descriptors[0]) as connection:
        if os.fork() == 0:
            control.close()
            serve(connection)
            os._exit(0)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""


class Runtime:
    """A Python that has only boto3, and starts functions."""

    def __init__(self, folder: Path, *, preloads: bool = True) -> None:
        self.folder = make_runtime(folder)
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-I", "-c", _PROGRAM, str(self.folder), "with-boto3" if preloads else "bare"],
                stdin=theirs,
                env={},
            )

    def start(self, job: dict[str, Any]) -> socket.socket:
        """Start a function; its answers come through the socket."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"x"], [theirs.fileno()])
        ours.settimeout(100)
        ours.sendall(json.dumps(job).encode() + b"\n")
        return ours

    def stop(self) -> None:
        self._control.close()
        assert self._process.wait(10) == 0


def make_runtime(folder: Path) -> Path:
    """Link boto3 and its requirements into a folder."""
    folder.mkdir()
    for name in RUNTIME:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder


@dataclass
class Function:
    """A function that is set up; each :meth:`invoke` is a cold start."""

    runtime: Runtime
    code: Path
    world: World
    handler: str = TRIGGER
    variables: dict[str, str] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    """What the last cold start had imported besides the standard library."""

    def invoke(self, *invocations: Invocation, seconds: float = 60, account: str = ACCOUNT) -> list[dict[str, Any]]:
        """Invoke it with (request ID, event[, variables]), one after another: the first one cold, the others warm."""
        return self.finish(self.start(*invocations, seconds=seconds, account=account))

    def start(self, *invocations: Invocation, seconds: float = 60, account: str = ACCOUNT) -> socket.socket:
        job = {
            "code": str(self.code),
            "handler": self.handler,
            "account": account,
            "invocations": [[name, event, seconds, *(more or [{}])] for name, event, *more in invocations],
            "variables": {
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL": self.world.url,
                "REQUESTS_CA_BUNDLE": self.world.ca,
                **self.variables,
            },
        }
        return self.runtime.start(job)

    def finish(self, started: socket.socket) -> list[dict[str, Any]]:
        with started, started.makefile() as stream:
            text = stream.read()
        assert text, "the function ended its process"
        told = json.loads(text)
        assert "crash" not in told, told["crash"]
        self.roots = told["roots"]
        answers: list[dict[str, Any]] = told["answers"]
        return answers
