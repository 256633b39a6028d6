# SPDX-License-Identifier: Apache-2.0
"""The guide's bastion tunnel, tried on real proxies: HTTP CONNECT and SOCKS5, each a few lines of asyncio."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import MwaaError, WebServerUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client.world import World

USER, PASSWORD = "user", "hush-hush-password"


class Proxy:
    """Serves CONNECT, or SOCKS5 where the first byte says so."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.targets: list[str] = []
        self.refuse = False
        self.needs_password = False
        self.cut_after_bytes: int | None = None
        self.names: dict[str, str] = {}
        """Host names that only this proxy knows."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server = world.wait(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        async def stop() -> None:
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self.world.wait(stop())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            first = await reader.readexactly(1)
            target = await (self._socks(reader, writer) if first == b"\x05" else self._connect(first, reader, writer))
            if target is not None:
                self.targets.append(target)
                host, _, port = target.rpartition(":")
                await self._tunnel(reader, writer, self.names.get(host, host), int(port))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _connect(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.refuse or (self.needs_password and f"Basic {credentials}" not in head):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return None
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return head.split()[1]

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if self.needs_password:
            assert 2 in methods
            writer.write(b"\x05\x02")
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            good = (user.decode(), password.decode()) == (USER, PASSWORD)
            writer.write(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                await writer.drain()
                return None
        else:
            writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = ".".join(str(byte) for byte in await reader.readexactly(4))
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        writer.write(bytes([5, 2 if self.refuse else 0, 0, 1, 0, 0, 0, 0, 0, 0]))
        await writer.drain()
        return None if self.refuse else f"{host}:{port}"

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        server_reader, server_writer = await asyncio.open_connection(host, port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int | None) -> None:
            passed = 0
            while data := await source.read(65_536):
                passed += len(data)
                if most is not None and passed > most:
                    break
                sink.write(data)
                await sink.drain()

        pumps = [
            asyncio.ensure_future(pump(reader, server_writer, None)),
            asyncio.ensure_future(pump(server_reader, writer, self.cut_after_bytes)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in pumps:
                one.cancel()
            server_writer.transport.abort()


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    proxy = Proxy(world)
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("needs_password", [False, True])
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("transport", ["web_session", "cli"])
def test_through_a_proxy(world: World, proxy: Proxy, transport: str, scheme: str, needs_password: bool) -> None:
    proxy.needs_password = needs_password
    credentials = f"{USER}:{PASSWORD}@" if needs_password else ""
    url = f"{scheme}://{credentials}127.0.0.1:{proxy.port}"
    environment = world.environment("env3", transport, proxy=url)
    assert environment.trigger_dag_run("etl", "run_1").created
    assert set(proxy.targets) == {environment.web_server_host}
    assert len(proxy.targets) == 1


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_processs_environment(
    world: World, proxy: Proxy, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv(variable, f"socks5h://127.0.0.1:{proxy.port}")
    assert world.environment("env3", "web_session").trigger_dag_run("etl", "run_1").created
    assert len(proxy.targets) == 1


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_only_the_proxy_knows_the_private_host(
    world: World, proxy: Proxy, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private web server's name is resolved beyond the tunnel, or nowhere."""
    gateway = world.mwaa.environments.get("env3")
    address = str(gateway.address)
    host, _, port = address.rpartition(":")
    private = "private.vpce.example.invalid"
    proxy.names[private] = host
    monkeypatch.setattr(type(gateway), "address", property(lambda self: f"{private}:{port}"))
    environment = world.environment(
        "env3", "cli", airflow_major=3, proxy=f"{scheme}://127.0.0.1:{proxy.port}", ca_bundle=False
    )
    with pytest.warns(match="Unverified HTTPS"):
        assert environment.trigger_dag_run("etl", "run_1").created
    assert proxy.targets == [f"{private}:{port}"]


@pytest.mark.parametrize("how", ["refuse", "password"])
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_refuses_leaves_no_doubt(world: World, proxy: Proxy, scheme: str, how: str) -> None:
    proxy.refuse, proxy.needs_password = how == "refuse", how == "password"
    url = f"{scheme}://{USER}:wrong-{PASSWORD}@127.0.0.1:{proxy.port}"
    with pytest.raises(WebServerUnreachable, match="proxy") as caught:
        world.environment("env3", "cli", proxy=url, airflow_major=3).trigger_dag_run("etl", "run_1")
    assert not caught.value.ambiguous
    assert PASSWORD not in str(caught.value)
    assert proxy.targets == []


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_tunnel_that_breaks_after_the_command_leaves_a_doubt(world: World, proxy: Proxy, scheme: str) -> None:
    environment = world.environment("env3", "cli", proxy=f"{scheme}://127.0.0.1:{proxy.port}", airflow_major=3)
    # The handshake passes (certificates included), the answer does not.
    world.airflow().noise = "log\n" * 5_000
    proxy.cut_after_bytes = 8_000
    with pytest.raises(MwaaError) as caught:
        environment.trigger_dag_run("etl", "run_1")
    assert caught.value.ambiguous
    assert [run["dag_run_id"] for run in world.airflow().runs] == ["run_1"]
    proxy.cut_after_bytes = None
    assert environment.trigger_dag_run("etl", "run_1").created is False
