# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with the connection to the web server: TLS, CA bundles, proxies, private addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.exceptions import MwaaInputError, WebServerUnreachable
from tests.client.failure import HUSH, Failure

if TYPE_CHECKING:
    from tests.client.world import World

pytestmark = pytest.mark.usefixtures("no_secret_is_logged")


def test_tls_and_ca_bundles(world: World, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Failure(world, WebServerUnreachable, "TLS", "ca_bundle", "The environment is AVAILABLE") as failure:
        world.environment("env3", "web_session", ca_bundle=True).trigger_dag_run("etl", "run_1")
    assert not failure.error.ambiguous
    assert not failure.error.transient
    (tmp_path / "bad.pem").write_text("no certificate")
    for name in ("bad.pem", "missing.pem"):
        with Failure(world, MwaaInputError, name, "PEM"):
            world.environment("env3", "web_session", ca_bundle=str(tmp_path / name)).trigger_dag_run("etl", "run_1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", world.ca)
    assert world.environment("env3", "web_session", ca_bundle=True).trigger_dag_run("etl", "run_1").created
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    assert world.environment("env3", "web_session").trigger_dag_run("etl", "run_2").created
    with Failure(world, MwaaInputError, "'/nowhere.pem' (of REQUESTS_CA_BUNDLE) cannot be used", "PEM"):
        world.environment("env3", "web_session", ca_bundle=True).trigger_dag_run("etl", "run_3")


@pytest.mark.parametrize(
    "proxy", ["ftp://host:1", "http://", "socks5h://host:port", "host:8080", f"foo://user:{HUSH}@host:1"]
)
def test_proxies_that_are_none(world: World, proxy: str) -> None:
    with Failure(world, MwaaInputError, "socks5h://HOST:PORT", env_name=None):
        world.environment("env3", proxy=proxy)


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks5"])
def test_a_dead_proxy(world: World, scheme: str) -> None:
    environment = world.environment("env3", "web_session", proxy=f"{scheme}://user:{HUSH}@127.0.0.1:9")
    with Failure(
        world, WebServerUnreachable, f"proxy {scheme}://***@127.0.0.1:9", "Check the proxy", "transport rest_api"
    ) as failure:
        environment.trigger_dag_run("etl", "run_1")
    assert failure.error.status == "AVAILABLE"
    assert not failure.error.ambiguous


def test_a_private_web_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = world.mwaa.environments.get("env3")
    monkeypatch.setattr(type(gateway), "address", property(lambda _: "127.0.0.1:9"))
    with Failure(world, WebServerUnreachable, "Connection refused", "VPC", "set a proxy", "is AVAILABLE") as failure:
        world.environment("env3", "web_session", airflow_major=3).trigger_dag_run("etl", "run_1")
    assert not failure.error.ambiguous


def test_secrets_are_in_no_representation(world: World) -> None:
    environment = world.environment("env3", "web_session", proxy=None)
    run = environment.trigger_dag_run("etl", "run_1", conf={"password": HUSH})
    environment.variables.set("key", HUSH)
    proxy = WebServerSettings(proxy=f"http://u:{HUSH}@h:1")
    for thing in (run, environment, environment.variables.get("key"), proxy, Connection("a", "b", password=HUSH)):
        assert HUSH not in repr(thing)
