# SPDX-License-Identifier: Apache-2.0
"""The local MWAA, with moto behind it and the zips as functions in front of it."""

from __future__ import annotations

import io
import threading
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from airflow_mwaa_provider.local.aws.tls import CertificateAuthority
from airflow_mwaa_provider.packaging.lambda_zip import build_zip
from tests.aws_lambda.function import ENDPOINTS, Function, Runtime
from tests.botocore_data import _botocore_data
from tests.client.world import HAS_INVOKE_REST_API, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["_botocore_data"]


class ClientTokens:
    """EC2's idempotency, which moto lacks: a call with a used client token returns the first answer again.

    Source: "Ensuring idempotency in Amazon EC2 API requests", EC2 Developer Guide.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = threading.Lock()
        self.meeting: threading.Barrier | None = None
        """A barrier where calls wait for each other before the first of them acts."""
        self._answers: dict[str, tuple[dict[str, str], Response]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        body = request.get_data()
        environ["wsgi.input"] = io.BytesIO(body)
        form = dict(parse_qsl(body.decode())) if b"Action=CreateVpcEndpoint" in body else {}
        token = form.get("ClientToken")
        if not token:
            return self._app(environ, start_response)
        if self.meeting is not None:
            self.meeting.wait(60)
        with self._lock:
            asked, answer = self._answers.get(token, (form, None))
            if answer is None:
                answer = Response.from_app(self._app, environ, buffered=True)
                self._answers[token] = form, answer
        assert asked == form, "IdempotentParameterMismatch"
        return answer(environ, start_response)


@pytest.fixture(scope="session")
def client_tokens() -> ClientTokens:
    return ClientTokens(DomainDispatcherApplication(create_backend_app))


@pytest.fixture
def meeting_of_two(client_tokens: ClientTokens) -> Iterator[None]:
    """Two callers reach CreateVpcEndpoint before either of them has created anything."""
    client_tokens.meeting = threading.Barrier(2)
    yield
    client_tokens.meeting = None


@pytest.fixture(scope="session")
def moto_url(client_tokens: ClientTokens) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, client_tokens, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory, moto_url: str) -> Iterator[World]:
    world = World(CertificateAuthority.load_or_create(tmp_path_factory.mktemp("ca")), moto_url)
    yield world
    world.stop()


@pytest.fixture
def world(_world: World) -> World:
    _world.clear()
    return _world


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    runtime = Runtime(tmp_path_factory.mktemp("lambda") / "runtime")
    yield runtime
    runtime.stop()


@pytest.fixture
def runtime_without_boto3_in_memory(tmp_path: Path) -> Iterator[Runtime]:
    runtime = Runtime(tmp_path / "runtime", preloads=False)
    yield runtime
    runtime.stop()


@pytest.fixture(scope="session")
def bare_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed zip: Python imports from it directly."""
    path = tmp_path_factory.mktemp("zip") / "bare.zip"
    path.write_bytes(build_zip().content)
    return path


def unpacked(path: Path) -> Path:
    """Unpack a zip, as Lambda does."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(path.with_suffix(""))
    return path.with_suffix("")


@pytest.fixture(scope="session")
def unpacked_bare(bare_zip: Path) -> Path:
    return unpacked(bare_zip)


@pytest.fixture(scope="session")
def unpacked_with_requests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip with requests; certifi's bundle must be a real file."""
    path = tmp_path_factory.mktemp("zip") / "with-requests.zip"
    path.write_bytes(build_zip(with_requests=True).content)
    return unpacked(path)


@pytest.fixture
def bare(world: World, runtime: Runtime, unpacked_bare: Path) -> Function:
    return Function(runtime, unpacked_bare, world, variables={"MWAA_ENV_NAME": "env3", "MWAA_DAG_ID": "etl"})


@pytest.fixture
def with_requests(world: World, runtime: Runtime, unpacked_with_requests: Path) -> Function:
    variables = {"MWAA_ENV_NAME": "env3", "MWAA_DAG_ID": "etl"}
    return Function(runtime, unpacked_with_requests, world, variables=variables)


@pytest.fixture(params=["rest_api", "web_session"])
def trigger(request: pytest.FixtureRequest) -> Function:
    """Both forms of the function, each with its own transport."""
    if request.param == "web_session":
        function: Function = request.getfixturevalue("with_requests")
        function.variables["MWAA_TRANSPORT"] = "web_session"
        return function
    if not HAS_INVOKE_REST_API:
        pytest.skip("the installed boto3 has no InvokeRestApi; the same runs through a web session")
    bare: Function = request.getfixturevalue("bare")
    return bare


@pytest.fixture
def endpoints(world: World, runtime: Runtime, unpacked_bare: Path) -> Function:
    return Function(runtime, unpacked_bare, world, handler=ENDPOINTS)
