# SPDX-License-Identifier: Apache-2.0
"""A local MWAA with two stub Airflows in a thread, and clients that call it over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import boto3

from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.local.aws.endpoint import LocalMwaa
from airflow_mwaa_provider.local.aws.limits import Limits
from tests.client.stub_airflow import StubAirflow, StubFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from airflow_mwaa_provider.local.aws.tls import CertificateAuthority

KEY, SECRET = "AKIACLIENTTESTS00000", "secret-key-of-the-client-tests"
REGION = "us-east-1"
HAS_INVOKE_REST_API = "InvokeRestApi" in (
    boto3.client(
        "mwaa", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
    ).meta.service_model.operation_names
)
TRANSPORTS = ["rest_api", "web_session", "cli"] if HAS_INVOKE_REST_API else ["web_session", "cli"]


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def policy(self, deadline_s: float = 60.0) -> RetryPolicy:
        return RetryPolicy(deadline_s=deadline_s, sleep=self.sleep, clock=self.clock, random=lambda: 1.0)


class World:
    """The local MWAA; one for all tests, cleared between them."""

    def __init__(self, certificates: CertificateAuthority, moto_url: str = "http://127.0.0.1:9") -> None:
        self.certificates = certificates
        self.ca = str(certificates.ca_pem_path)
        self.factory = StubFactory()
        self.mwaa = LocalMwaa(runtimes=self.factory, moto_url=moto_url, certificates=certificates, admin_token="t")
        self.issued: list[str] = []
        """All tokens that were issued."""
        self._control_planes: dict[str, ControlPlane] = {}
        self._record_tokens()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.url = self.wait(self.mwaa.start())
        for name, version in (("env3", "3.3.1"), ("env2", "2.10.3")):
            self.do(self.mwaa.environments.create, name, bucket="b", airflow_version=version)
            self.wait(self.mwaa.environments.wait_until_settled(name, 5))

    def _record_tokens(self) -> None:
        issue = self.mwaa._tokens.issue

        def recording(*arguments: Any) -> str:
            self.issued.append(issue(*arguments))
            return self.issued[-1]

        self.mwaa._tokens.issue = recording  # type: ignore[method-assign]

    def stop(self) -> None:
        self.wait(self.mwaa.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def do(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function in the loop's thread."""

        async def inner() -> Any:
            return function(*args, **kwargs)

        return self.wait(inner())

    def until(self, condition: Callable[[], bool], timeout_s: float = 5) -> None:
        end = time.monotonic() + timeout_s
        while not self.do(condition):
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.01)

    def clear(self) -> None:
        def clear() -> None:
            self.mwaa.faults.clear()
            self.mwaa.calls.clear()
            self.mwaa.limits.change(Limits().as_dict() | {"rest_calls_per_second": 10_000})
            self.mwaa.add_identity(KEY, SECRET)
            for airflow in self.factory.made.values():
                airflow.clear()

        self.do(clear)
        # The service's own logins ended with the stub's sessions; it logs in again automatically.

    def airflow(self, name: str = "env3") -> StubAirflow:
        return self.factory.made[name]

    def deny(self, *actions: str) -> None:
        self.do(self.mwaa.add_identity, KEY, SECRET, "", [f"airflow:{action}" for action in actions])

    def limit(self, **limits: float) -> None:
        self.do(self.mwaa.limits.change, limits)

    def fault(self, target: str, kind: str, **more: Any) -> None:
        self.do(self.mwaa.faults.add, {"target": target, "kind": kind, **more})

    def expire(self, *, sessions: bool = False, tokens: bool = False) -> None:
        for wanted, store in ((sessions, self.mwaa._sessions), (tokens, self.mwaa._tokens)):
            if wanted:
                self.do(store.expire)

    def calls(self) -> list[str]:
        """Return the targets of the calls since the last check."""
        targets = [call["target"] for call in self.do(self.mwaa.calls.last)]
        self.do(self.mwaa.calls.clear)
        return targets

    def control_plane(self, **more: Any) -> ControlPlane:
        # Reused, because creating a boto3 client takes longer than most tests.
        kept = self._control_planes.get(repr(more))
        if kept is None:
            session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION)
            kept = ControlPlane(session, **{"endpoint_url": self.url, **more})
            self._control_planes[repr(more)] = kept
        return kept

    def environment(
        self,
        name: str = "env3",
        transport: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        read_timeout_s: float = 10.0,
        airflow_major: int | None = None,
        control_plane: ControlPlane | None = None,
        **web_server: Any,
    ) -> MwaaEnvironment:
        """Return a client; by default it does not wait between attempts."""
        settings = ClientSettings(
            transport=transport,
            web_server=WebServerSettings(**{"ca_bundle": self.ca, "read_timeout_s": read_timeout_s, **web_server}),
            retry=retry or FakeTime().policy(),
            airflow_major=airflow_major,
        )
        control_plane = control_plane or self.control_plane(read_timeout_s=read_timeout_s)
        return MwaaEnvironment(control_plane, name, settings)


@contextlib.contextmanager
def unverified_https() -> Iterator[None]:
    """Expect urllib3's warning; pytest.warns() would raise those of the images' old botocore again, as if from us."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert any("Unverified HTTPS" in str(warning.message) for warning in caught)
