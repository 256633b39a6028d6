# SPDX-License-Identifier: Apache-2.0
"""moto's CloudWatch over HTTP, which records requests and can be made to fail."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl

import boto3
import pytest
from aiohttp import web
from botocore.config import Config
from moto.cloudwatch.responses import CloudWatchResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from airflow_mwaa_provider.local.aws import cloudwatch_requests
from airflow_mwaa_provider.local.aws.cloudwatch_checks import check


@dataclass(frozen=True)
class Sent:
    """A request as received."""

    body: bytes
    is_compressed: bool

    @property
    def plain(self) -> bytes:
        return gzip.decompress(self.body) if self.is_compressed else self.body

    @property
    def values(self) -> list[float]:
        """Return its values of a metric."""
        if self.plain.startswith(b"{"):
            return [value for entry in json.loads(self.plain)["MetricData"] for value in entry["Values"]]
        return [float(value) for name, value in parse_qsl(self.plain.decode()) if ".Values.member." in name]


def _refusal(environ: Mapping[str, str], plain: bytes) -> web.Response | None:
    headers = {name: environ.get(f"HTTP_{name.upper().replace('-', '_')}", "") for name in ("X-Amz-Target",)}
    asked = cloudwatch_requests.read(
        environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""), headers, plain
    )
    if asked is None:
        return None
    try:
        check(asked)
    except cloudwatch_requests.CloudWatchError as error:
        return asked.refusal(error)
    return None


class CloudWatchService:
    """The service as on AWS, which records what it is sent and can return chosen answers.

    Bodies are decompressed for moto, whose older releases cannot read them, and what the local MWAA rejects is
    rejected.

    :param fault: called with the number of a request, from 1; returns a status, a code and whether the request still
        takes effect, which is answered instead. ``None`` as the status closes the connection; the code ``"page"``
        answers like a proxy, and ``"taken"`` like the service, without moto, which is slow.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.fault: Callable[[int], tuple[int | None, str, bool] | None] | None = None
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Silent)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        sent = Sent(body, environ.pop("HTTP_CONTENT_ENCODING", "") == "gzip")
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(sent.plain), str(len(sent.plain))
        refused = _refusal(environ, sent.plain)
        if refused is not None:
            start_response(f"{refused.status} refused", list(refused.headers.items()))
            return [refused.body]
        if b"PutMetricData" not in sent.plain + environ.get("HTTP_X_AMZ_TARGET", "").encode():
            return self._moto(environ, start_response)
        self.sent.append(sent)
        fault = self.fault(len(self.sent)) if self.fault else None
        if fault is None:
            return self._moto(environ, start_response)
        status, code, is_taken = fault
        if is_taken:
            list(self._moto(environ, lambda *_: None))
        if code == "page":
            start_response(f"{status} fault", [("Content-Type", "text/html")])
            return [b"<html><body><h1>Proxy\n'error'</h1></body></html>"]
        if code == "taken":
            is_json = "HTTP_X_AMZ_TARGET" in environ
            kind = "application/x-amz-json-1.0" if is_json else "text/xml"
            start_response("200 OK", [("Content-Type", kind), ("x-amzn-RequestId", "1")])
            return [b"{}" if is_json else _TAKEN]
        if status is None:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        if "HTTP_X_AMZ_TARGET" in environ:
            start_response(f"{status} fault", [("Content-Type", "application/x-amz-json-1.0")])
            return [json.dumps({"__type": code, "message": "no"}).encode()]
        start_response(f"{status} fault", [("Content-Type", "text/xml")])
        return [f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>".encode()]

    def client(self) -> Any:
        return self._client

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @cached_property
    def _client(self) -> Any:
        return boto3.client(
            "cloudwatch",
            endpoint_url=self.url,
            region_name="eu-west-1",
            aws_access_key_id="AKIA0",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=20),
        )


_TAKEN = b"""<PutMetricDataResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><ResponseMetadata>
<RequestId>1</RequestId></ResponseMetadata></PutMetricDataResponse>"""


def _put_metric_data(response: CloudWatchResponse) -> Any:
    """moto's, except for parsing a form: older releases take minutes for one of 1,000 metrics."""
    prefix = "MetricData.member."
    if not any(key.startswith(prefix) for key in response.querystring):
        return _PUT_METRIC_DATA(response)
    entries: dict[int, dict[str, Any]] = defaultdict(dict)
    for key, (value,) in response.querystring.items():
        number, _, path = key.removeprefix(prefix).partition(".")
        if not key.startswith(prefix):
            continue
        name, _, rest = path.partition(".")
        if rest.startswith("member."):
            position, _, field = rest.removeprefix("member.").partition(".")
            members = entries[int(number)].setdefault(f"{name}.member", {})
            if field:
                members.setdefault(int(position), {})[field] = value
            else:
                members[int(position)] = value
        elif rest:
            entries[int(number)].setdefault(name, {})[rest] = value
        else:
            entries[int(number)][name] = value
    listed = [
        {name: list(value.values()) if name.endswith(".member") else value for name, value in entry.items()}
        for entry in entries.values()
    ]
    response.cloudwatch_backend.put_metric_data(response.querystring["Namespace"][0], listed)
    return "<R><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></R>"


_PUT_METRIC_DATA: Any = CloudWatchResponse.put_metric_data


class _Silent(WSGIRequestHandler):
    def log(self, *arguments: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture(scope="session")
def running_cloudwatch() -> Iterator[CloudWatchService]:
    service = CloudWatchService()
    with mock.patch.object(CloudWatchResponse, "put_metric_data", _put_metric_data):
        yield service
    service.stop()


@pytest.fixture
def cloudwatch(running_cloudwatch: CloudWatchService, monkeypatch: pytest.MonkeyPatch) -> CloudWatchService:
    """The service without faults, and a process configured to use it. Each test uses its own namespace."""
    running_cloudwatch.fault = None
    running_cloudwatch.sent.clear()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIA0",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": running_cloudwatch.url,
    }.items():
        monkeypatch.setenv(name, value)
    return running_cloudwatch
