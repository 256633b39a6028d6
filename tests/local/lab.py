# SPDX-License-Identifier: Apache-2.0
"""A real local MWAA over HTTP, with a small web application in place of Airflow and a real moto server."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import requests
from aiohttp import web
from botocore.config import Config

from airflow_mwaa_provider.local.aws.endpoint import LocalMwaa
from airflow_mwaa_provider.local.runtime import ApiSession, CliOutcome, EnvironmentSpec, RuntimeStartError, S3File

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from airflow_mwaa_provider.local.aws.tls import CertificateAuthority

ADMIN_TOKEN = "admin-token-of-the-tests"
KEY, SECRET = "AKIALOCALTESTS000000", "secret-of-the-tests"
REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/mwaa"


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += seconds


class StubRuntime:
    """A web server that behaves like Airflow's as far as the AWS side uses it."""

    def __init__(self, spec: EnvironmentSpec, factory: StubFactory) -> None:
        self.spec = spec
        self.factory = factory
        self.public_url = ""
        self.logins = 0
        self.dag_runs: list[dict[str, Any]] = []
        self.commands: list[Sequence[str]] = []
        self.requests: list[dict[str, Any]] = []
        self.valid_sessions: set[str] = set()
        self.cli_gate: asyncio.Event | None = None
        self.cli_started = 0
        self.running = False
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def major(self) -> int:
        return int(self.spec.airflow_version.split(".")[0])

    @property
    def api_prefix(self) -> str:
        return "/api/v1" if self.major == 2 else "/api/v2"

    async def start(self, public_url: str) -> None:
        self.factory.events.append(f"start {self.spec.name} {self.spec.airflow_version}")
        await self.factory.start_gate.wait()
        if self.spec.configuration.get("core.broken") == "yes":
            raise RuntimeStartError("Airflow did not start:\n exit status 1", "line 1\nline 2")
        if self.spec.configuration.get("core.broken") == "bug":
            raise RuntimeError("a bug in the runtime")
        self.public_url = public_url
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.running = True

    async def drain(self) -> None:
        self.factory.events.append(f"drain {self.spec.name}")

    async def delete(self) -> None:
        self.factory.events.append(f"delete {self.spec.name}")

    async def stop(self) -> None:
        self.factory.events.append(f"stop {self.spec.name} {self.spec.airflow_version}")
        self.running = False
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def login(self) -> ApiSession:
        self.logins += 1
        value = f"session-{self.spec.name}-{self.logins}"
        self.valid_sessions.add(value)
        if self.major == 2:
            return ApiSession("session", value, {"Cookie": f"session={value}"})
        return ApiSession("_token", value, {"Authorization": f"Bearer {value}"})

    async def run_cli(self, argv: Sequence[str], timeout_s: float) -> CliOutcome:
        self.cli_started += 1
        if self.cli_gate is not None:
            await self.cli_gate.wait()
        self.commands.append(list(argv))
        if "sleep-too-long" in argv:
            raise TimeoutError
        if "fails" in argv:
            return CliOutcome(1, b"", b"it failed \xff")
        return CliOutcome(0, json.dumps(list(argv)).encode(), b"a warning")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        body = await request.read()
        self.requests.append(
            {
                "method": request.method,
                "path": request.raw_path,
                "headers": dict(request.headers),
                "query": list(request.query.items()),
                "body": body,
            }
        )
        if path == "/redirect":
            target = request.query["to"].replace("BACKEND", self.base_url)
            return web.Response(status=302, headers={"Location": target})
        if path == "/headers":
            response = web.Response(text="ok", headers={"Keep-Alive": "timeout=5", "X-From-Airflow": "yes"})
            response.headers.add("Set-Cookie", "one=1")
            response.headers.add("Set-Cookie", "two=2")
            return response
        if path == "/bytes":
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(int(request.query["mb"])):
                await response.write(b"x" * 1024 * 1024)
            return response
        if path == "/echo":
            return web.Response(body=body, content_type="application/octet-stream")
        if path == "/renew":
            response = web.Response(text="renewed")
            response.headers["Set-Cookie"] = f"{'session' if self.major == 2 else '_token'}=renewed; Path=/"
            self.valid_sessions.add("renewed")
            return response
        if path == "/broken-off":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"half")
            assert request.transport is not None
            request.transport.abort()
            return response
        if path.startswith(self.api_prefix):
            return await self._api(request, path[len(self.api_prefix) :], body)
        return web.Response(text=f"Airflow UI of {self.spec.name}", content_type="text/html")

    async def _api(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.valid_sessions & {bearer, request.cookies.get("session"), request.cookies.get("_token")}:
            return web.json_response({"detail": "Unauthorized"}, status=401)
        if path.startswith("/status/"):
            return web.json_response({"detail": "as asked"}, status=int(path.rsplit("/", 1)[1]))
        if path == "/html":
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")
        if path == "/empty":
            return web.Response(status=204)
        if path == "/slow":
            await asyncio.sleep(5)
        if path == "/large":
            return web.json_response({"text": "x" * int(request.query["bytes"])})
        if path.endswith("/dagRuns") and request.method == "POST":
            self.dag_runs.append(json.loads(body))
            return web.json_response({"dag_run_id": self.dag_runs[-1].get("dag_run_id"), "state": "queued"})
        return web.json_response({"path": path, "query": list(request.query.items()), "body": body.decode()})


class StubFactory:
    def __init__(self) -> None:
        self.made: list[StubRuntime] = []
        self.events: list[str] = []
        self.uploads = 1
        self.deleted_versions: set[str] = set()
        self.start_gate = asyncio.Event()
        self.start_gate.set()

    def versions(self) -> Sequence[str]:
        return ["3.3.1", "2.10.3", "3.0.6"]

    def create(self, spec: EnvironmentSpec) -> StubRuntime:
        if spec.airflow_version not in self.versions():
            raise ValueError(spec.airflow_version)
        self.made.append(StubRuntime(spec, self))
        return self.made[-1]

    async def read_files(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """The newest version of every file is the number of uploads; a path with "missing" does not exist."""
        files = {}
        for kind, file in spec.files.items():
            if "missing" in file.path or file.version in self.deleted_versions:
                raise RuntimeStartError(f"Unable to read file {file.path}")
            version = file.version or f"v{self.uploads}"
            files[kind] = S3File(file.path, version, f"sha of {version}")
        if files:
            self.events.append(f"read {spec.name} {' '.join(f'{f.path}@{f.version}' for f in files.values())}")
        return replace(spec, files=files)

    def of(self, name: str) -> StubRuntime:
        return [runtime for runtime in self.made if runtime.spec.name == name][-1]


class Lab:
    """A local MWAA in a thread's event loop, and clients for it."""

    def __init__(self, certificates: CertificateAuthority, moto_url: str) -> None:
        self.certificates = certificates
        self.factory = StubFactory()
        self.clock = Clock()
        self.mwaa = LocalMwaa(
            runtimes=self.factory,
            moto_url=moto_url,
            certificates=certificates,
            admin_token=ADMIN_TOKEN,
            clock=self.clock,
        )
        self.mwaa.add_identity(KEY, SECRET)
        self.mwaa.limits.update_min_s = 0.01
        self.url = ""
        self._web_sessions: list[requests.Session] = []

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.url = self.wait(self.mwaa.start())

    def stop(self) -> None:
        # Before the server, which would wait for its clients to disconnect.
        for session in self._web_sessions:
            session.close()
        self.wait(self.mwaa.stop())
        self.wait(asyncio.sleep(0.01))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function in the loop's thread."""

        async def inner() -> Any:
            return function(*args, **kwargs)

        return self.wait(inner())

    def in_background(self, function: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - the waiting test gets it
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future

    def environment(self, name: str = "source", version: str = "3.3.1", **kwargs: Any) -> Any:
        """Create an environment and wait for it."""
        self.call(self.mwaa.environments.create, name, bucket="bucket", airflow_version=version, **kwargs)
        return self.settled(name)

    def settled(self, name: str) -> Any:
        return self.wait(self.mwaa.environments.wait_until_settled(name, 5))

    def client(
        self, service: str = "mwaa", key: str = KEY, secret: str = SECRET, region: str = REGION, **config: Any
    ) -> Any:
        if service == "mwaa":
            config.setdefault("inject_host_prefix", False)
        settings = Config(retries={"total_max_attempts": 1}, region_name=region, **config)
        return boto3.client(
            service,
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=settings,
        )

    def create_arguments(self, name: str = "made", **more: Any) -> dict[str, Any]:
        return {
            "Name": name,
            "ExecutionRoleArn": ROLE,
            "SourceBucketArn": "arn:aws:s3:::bucket",
            "DagS3Path": "dags",
            "NetworkConfiguration": self.network(),
            **more,
        }

    def network(self) -> dict[str, list[str]]:
        """Return two subnets and a security group of moto's default VPC."""
        ec2 = self.client("ec2")
        [vpc] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        its_own = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]  # all tests of a process share one moto
        subnets = ec2.describe_subnets(Filters=its_own)["Subnets"]
        groups = ec2.describe_security_groups(Filters=its_own)["SecurityGroups"]
        return {
            "SubnetIds": sorted(subnet["SubnetId"] for subnet in subnets)[:2],
            "SecurityGroupIds": [groups[0]["GroupId"]],
        }

    def admin(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        answer = requests.request(
            method,
            f"{self.url}/_local/{path}",
            json=body,
            params=params,
            headers={"X-Local-Admin": ADMIN_TOKEN},
            timeout=5,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, target: str, kind: str, **more: Any) -> Any:
        return self.admin("POST", "faults", {"target": target, "kind": kind, **more})

    def web(self) -> requests.Session:
        """A browser-like client that trusts the local authority."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.certificates.ca_pem_path)
        self._web_sessions.append(session)
        return session

    def cli(self, text: str, name: str = "source", token: str | None = None) -> requests.Response:
        answer = self.client().create_cli_token(Name=name)
        headers = {"Authorization": f"Bearer {token or answer['CliToken']}", "Content-Type": "text/plain"}
        with self.web() as web_session:
            url = f"https://{answer['WebServerHostname']}/aws_mwaa/cli"
            return web_session.post(url, data=text.encode(), headers=headers, timeout=5)

    def login(self, name: str = "source", major: int = 3) -> requests.Session:
        answer = self.client().create_web_login_token(Name=name)
        path = "/aws_mwaa/login" if major == 2 else "/pluginsv2/aws_mwaa/login"
        session = self.web()
        url = f"https://{answer['WebServerHostname']}{path}"
        response = session.post(url, data={"token": answer["WebToken"]}, timeout=5)
        assert response.status_code == 200, response.text
        return session


def tells_identity(client: Any) -> bool:
    """Return whether the installed botocore's CreateWebLoginToken returns who logs in. The 2.8.1 image's does not."""
    return "IamIdentity" in client.meta.service_model.operation_model("CreateWebLoginToken").output_shape.members


def decoded(answer: requests.Response) -> tuple[str, str]:
    body = answer.json()
    assert set(body) == {"stdout", "stderr"}
    return base64.b64decode(body["stdout"]).decode(), base64.b64decode(body["stderr"]).decode("utf-8", "replace")


def until(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    """Wait for something that happens in another thread."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
