# SPDX-License-Identifier: Apache-2.0
"""Precedence of certificate settings: the parameter, then the connection; tested with real TLS servers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import trustme

from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError, UnexpectedAnswer, WebServerUnreachable
from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
from tests.client.world import KEY, REGION, SECRET, unverified_https

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.client.world import World


@pytest.fixture
def tls_endpoint(world: World) -> Iterator[str]:
    """The MWAA API behind TLS, as AWS's own is."""
    backend = urlsplit(world.url)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(backend.hostname, backend.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()

        pumps = [asyncio.ensure_future(pump(reader, back)), asyncio.ensure_future(pump(there, writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for one in pumps:
            one.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for end in (back, writer):
            end.transport.abort()

    context = world.certificates.server_context([])
    server = world.wait(asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context))
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    world.do(server.close)


@pytest.fixture
def other_ca(tmp_path: Path) -> str:
    """A valid CA bundle without the local MWAA's CA."""
    path = tmp_path / "other-ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def hook(monkeypatch: pytest.MonkeyPatch, endpoint: str, bundle: str, **parameters: Any) -> MwaaEnvironmentHook:
    """A hook whose connections name this CA bundle, for the MWAA API and for web servers."""
    keys = {
        "conn_type": "aws",
        "login": KEY,
        "password": SECRET,
        "extra": {"region_name": REGION, "verify": bundle},
    }
    mwaa = {
        "conn_type": "mwaa",
        "extra": {"aws_conn_id": "keys", "endpoint_url": endpoint, "ca_bundle": bundle, "transport": "web_session"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_KEYS", json.dumps(keys))
    monkeypatch.setenv("AIRFLOW_CONN_MWAA", json.dumps(mwaa))
    return MwaaEnvironmentHook("mwaa", **parameters)


def test_the_connections_ca_bundle_counts_where_nothing_else_is_said(
    world: World, tls_endpoint: str, other_ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unsaid in (None, ""):
        good = hook(monkeypatch, tls_endpoint, world.ca, verify=unsaid)
        assert good.environment("env3").is_dag_paused("etl") is False
        bad = hook(monkeypatch, tls_endpoint, other_ca, verify=unsaid)
        with pytest.raises(UnexpectedAnswer, match="TLS failed"):
            bad.control_plane.list_environments()
        with pytest.raises(WebServerUnreachable, match="TLS failed"):
            hook(monkeypatch, world.url, other_ca, verify=unsaid).environment("env3").is_dag_paused("etl")


def test_false_wins_over_the_connections_ca_bundle(
    world: World, tls_endpoint: str, other_ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hook(monkeypatch, tls_endpoint, other_ca, verify=False)
    with unverified_https():
        assert made.control_plane.list_environments() == ["env2", "env3"]
    with unverified_https():
        assert made.environment("env3").is_dag_paused("etl") is False


def test_a_path_or_true_wins_over_the_connections_ca_bundle(
    world: World, tls_endpoint: str, other_ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hook(monkeypatch, tls_endpoint, other_ca, verify=world.ca)
    assert made.environment("env3").is_dag_paused("etl") is False
    # True means the system's bundle, which lacks the local MWAA's CA.
    made = hook(monkeypatch, tls_endpoint, world.ca, verify=True)
    for call in (made.control_plane.list_environments, lambda: made.environment("env3").is_dag_paused("etl")):
        with pytest.raises(MwaaError, match="TLS failed"):
            call()


def test_an_empty_path_never_means_unchecked() -> None:
    with pytest.raises(MwaaInputError, match="ca_bundle is empty"):
        WebServerSettings(ca_bundle="")
