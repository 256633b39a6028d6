# SPDX-License-Identifier: Apache-2.0
"""moto's Secrets Manager and Parameter Store over HTTP, which count requests and can be made to fail."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.secretsmanager.models import SecretsManagerBackend, secretsmanager_backends
from werkzeug.serving import WSGIRequestHandler, make_server

from airflow_mwaa_provider.secrets import look_up_cache, secrets_manager
from airflow_mwaa_provider.secrets.secrets_manager import CachedSecretsManagerBackend
from scripts.lib import canary

FERNET_KEY = "x6R0CUyYtOTo9f3xqnXrT1fXh0qkb5pKnU3Xy4lmv1k="
OTHER_KEY = "3Zc1Z2mP9q0kS7bJ1oO4w0bS0h0v8r0Xq2n8t5yRr9E="
CANARY = canary.value()


class SecretsService:
    """The service as on AWS, which counts requests and can return chosen answers.

    :param fault: called with an action and a request; returns a status and a body to answer instead.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.repeated_by_boto3: Counter[str] = Counter()
        self.fault: Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]] | None] | None = None
        self.refuses_roles = False
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Silent)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if action:
            with self._lock:
                self.calls[action] += 1
                self.repeated_by_boto3[action] += "attempt=1" not in environ.get(
                    "HTTP_AMZ_SDK_REQUEST", "attempt=1"
                ).split("; ")
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            request = json.loads(body or b"{}")
            # What moto does not check, and what it does not support.
            answer = _too_many(action, request) or (self.fault(action, request) if self.fault else None)
            answer = answer or _batch(action, request)
            if answer is not None:
                status, found = answer
                start_response(f"{status} answer", [("Content-Type", "application/x-amz-json-1.1")])
                return [json.dumps(found).encode()]
        elif self.refuses_roles and environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            if b"Action=AssumeRole" in body:
                start_response("403 fault", [("Content-Type", "text/xml")])
                return [b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"]
        return self._moto(environ, start_response)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def client(self, name: str = "secretsmanager", region_name: str = "eu-west-1") -> Any:
        return boto3.client(
            name,
            endpoint_url=self.url,
            region_name=region_name,
            aws_access_key_id="AKIA0",
            aws_secret_access_key="secret",
        )

    def put(self, name: str, text: str) -> None:
        """Create a secret, or change its value."""
        client = self.client()
        try:
            client.create_secret(Name=name, SecretString=text)
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=name, SecretString=text)

    def reads(self) -> int:
        return self.calls["GetSecretValue"] + self.calls["BatchGetSecretValue"]


class _Silent(WSGIRequestHandler):
    def log(self, *arguments: object) -> None:
        """Keep the tests' output clean."""


def _too_many(action: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
    if action == "BatchGetSecretValue" and len(request.get("SecretIdList", ())) > 20:
        return error("InvalidParameterException", "at most 20")
    return None


def _batch(action: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
    """Answer for a moto that has no batches, that of the pins of Airflow 2.8.1, as a newer one does."""
    if action != "BatchGetSecretValue" or hasattr(SecretsManagerBackend, "batch_get_secret_value"):
        return None
    moto = secretsmanager_backends["123456789012"]["eu-west-1"]
    names = [name for name in request.get("SecretIdList", ()) if name in moto.secrets]
    for wanted in request.get("Filters", ()):
        names += [secret.name for secret in moto.secrets.values() if secret.name.startswith(tuple(wanted["Values"]))]
    first = int(request.get("NextToken", 0))
    end = first + request.get("MaxResults", 20)
    values = [moto.get_secret_value(name, "", "") for name in names[first:end]]
    return 200, {"SecretValues": values, "Errors": [], **({"NextToken": str(end)} if end < len(names) else {})}


def error(code: str, message: str = "", status: int = 400) -> tuple[int, dict[str, Any]]:
    return status, {"__type": code, "message": message}


@pytest.fixture(scope="session")
def running_service() -> Iterator[SecretsService]:
    service = SecretsService()
    yield service
    service.stop()


@pytest.fixture
def service(running_service: SecretsService, monkeypatch: pytest.MonkeyPatch) -> SecretsService:
    """The empty service, and a process configured to use it."""
    running_service.fault = None
    running_service.refuses_roles = False
    for region in ("eu-west-1", "us-east-1"):
        client = running_service.client(region_name=region)
        # All of them before the first is deleted: the pages would move.
        pages = list(client.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True))
        for secret in (secret for page in pages for secret in page["SecretList"]):
            if "DeletedDate" in secret:  # older motos delete none that is scheduled for it
                client.restore_secret(SecretId=secret["ARN"])
            client.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)
    running_service.calls.clear()
    running_service.repeated_by_boto3.clear()
    for name, value in environment(running_service).items():
        monkeypatch.setenv(name, value)
    return running_service


def environment(service: SecretsService) -> dict[str, str]:
    return {
        "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
        "AWS_ACCESS_KEY_ID": "AKIA0",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": service.url,
    }


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear the memory of this process, as in a new one."""
    for name in ("_caches", "_amazon_backends", "_pins"):
        monkeypatch.setattr(look_up_cache, name, {})
    for module, name in ((look_up_cache, "_warned"), (secrets_manager, "_checked"), (secrets_manager, "_excluded")):
        monkeypatch.setattr(module, name, set())
    monkeypatch.setattr(look_up_cache, "_memory", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def backend(service: SecretsService, folder: Path) -> CachedSecretsManagerBackend:
    return make(folder)


def make(folder: Path, **options: Any) -> CachedSecretsManagerBackend:
    return CachedSecretsManagerBackend(**{"cache_dir": str(folder), **options})


class Clock:
    """The cache's clock, which a test can advance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed_s = 0.0
        clock = time.clock_gettime
        monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + self.passed_s)

    def pass_s(self, seconds: float) -> None:
        self.passed_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)
