# SPDX-License-Identifier: Apache-2.0
"""Real proxies, HTTP CONNECT and SOCKS5, in a few lines of asyncio."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from tests.client.world import World

USER, PASSWORD = "user@corp", "hush/hush:p@ss#'word%41"
"""It contains characters that must be encoded in a URL."""
INLINE = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"


class Proxy:
    """Serves CONNECT, or SOCKS5 if the first byte indicates it."""

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
