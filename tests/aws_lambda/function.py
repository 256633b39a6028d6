# SPDX-License-Identifier: Apache-2.0
"""A Lambda function, as near as it gets here: the zip in a Python of its own that has boto3 and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.client.world import KEY, REGION, SECRET, World

# What boto3 needs; the runtimes of Lambda have these and no more.
RUNTIME = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
ACCOUNT = "123456789012"
TRIGGER = "airflow_mwaa_provider.aws_lambda.handler"
ENDPOINTS = "airflow_mwaa_provider.aws_lambda_endpoints.handler"

Invocation = tuple[str, Any] | tuple[str, Any, dict[str, str]]

_PROGRAM = """
import importlib, json, os, sys
job = json.load(sys.stdin)
sys.path.extend(job["path"])

class Context:
    def __init__(self, request_id, seconds):
        self.aws_request_id, self.seconds = request_id, seconds
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:{job['account']}:function:f"
    def get_remaining_time_in_millis(self):
        return int(self.seconds * 1000)

module, _, name = job["handler"].rpartition(".")
answers = []
for request_id, event, seconds, variables in job["invocations"]:
    os.environ.update(variables)
    try:
        handler = getattr(importlib.import_module(module), name)
        answers.append({"result": handler(event, Context(request_id, seconds))})
    except Exception as error:
        fields = {"type": type(error).__name__, "message": str(error), "action": getattr(error, "action", None)}
        answers.append({"error": fields})
files = [(name.partition(".")[0], getattr(module, "__file__", None) or "") for name, module in sys.modules.items()]
roots = sorted({root for root, file in files if file.startswith(tuple(job["path"]))})
print(json.dumps({"answers": answers, "roots": roots}))
"""


def make_runtime(folder: Path) -> Path:
    """Put links to boto3 and its own needs into a folder."""
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

    runtime: Path
    code: Path
    world: World
    handler: str = TRIGGER
    variables: dict[str, str] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    """What the last cold start had imported, beside the standard library."""

    def invoke(self, *invocations: Invocation, seconds: float = 60, account: str = ACCOUNT) -> list[dict[str, Any]]:
        """Invoke it with (request id, event[, variables]), one after the other: the first one cold, the others warm."""
        process = self.start(*invocations, seconds=seconds, account=account)
        return self.finish(process)

    def start(self, *invocations: Invocation, seconds: float = 60, account: str = ACCOUNT) -> subprocess.Popen[str]:
        job = {
            "path": [str(self.code), str(self.runtime)],
            "handler": self.handler,
            "account": account,
            "invocations": [[name, event, seconds, *(more or [{}])] for name, event, *more in invocations],
        }
        process = subprocess.Popen(
            [sys.executable, "-S", "-I", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL": self.world.url,
                "REQUESTS_CA_BUNDLE": self.world.ca,
                **self.variables,
            },
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        process.stdin = None
        return process

    def finish(self, process: subprocess.Popen[str]) -> list[dict[str, Any]]:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        told = json.loads(out)
        self.roots = told["roots"]
        answers: list[dict[str, Any]] = told["answers"]
        return answers
