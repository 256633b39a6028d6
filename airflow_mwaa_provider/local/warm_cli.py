# SPDX-License-Identifier: Apache-2.0
"""The daemon's side of the warm command line (``cli_server.py``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local import cli_server
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.processes import ManagedProcess
from airflow_mwaa_provider.local.runtime import CliOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import FileIO

OUTPUT_MAX_BYTES = 64 * 1024 * 1024
"""More than MWAA answers anyway; the rest is read and dropped, so that the command doesn't block."""
_WARM_UP_TIMEOUT_S = 120.0


class WarmCli:
    """Runs Airflow commands in forks of one interpreter, which it starts when needed and again when it died."""

    def __init__(self, python: Path, variables: Mapping[str, str], log_path: Path, cwd: Path) -> None:
        self._python = python
        self._variables = dict(variables)
        self._log_path = log_path
        self._cwd = cwd
        self._process: ManagedProcess | None = None
        self._socket: socket.socket | None = None
        self._starting = asyncio.Lock()

    async def warm_up(self) -> None:
        """Start the interpreter if it doesn't run, and wait until it can take commands.

        :raises LocalMwaaError: it ended, or took too long; the error carries the end of its log.
        """
        async with self._starting:
            if self._process is not None and self._process.is_running and self._socket is not None:
                return
            await self._stop()
            ours, theirs = socket.socketpair()
            try:
                self._process = await ManagedProcess.start(
                    "the warm command line",
                    [self._python, "-P", cli_server.__file__, str(theirs.fileno())],
                    environment=self._variables,
                    log_path=self._log_path,
                    cwd=self._cwd,
                    pass_fds=(theirs.fileno(),),
                )
            finally:
                theirs.close()
            ours.setblocking(False)
            self._socket = ours
            try:
                ready = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, 1), _WARM_UP_TIMEOUT_S)
            except (TimeoutError, OSError):
                ready = b""
            if not ready:
                log_tail = self._process.log_tail()
                await self._stop()
                raise LocalMwaaError(f"Airflow's command line didn't start; its log is {self._log_path}", log_tail)

    async def run(self, argv: Sequence[str], timeout_s: float) -> CliOutcome:
        """Run ``airflow ARGV``; several may run at once.

        :raises TimeoutError: the command has been killed.
        """
        async with asyncio.timeout(timeout_s):
            for attempt in (1, 2):
                await self.warm_up()
                try:
                    return await self._run(argv)
                except _ServerGone:
                    # Only when the command can't have begun: a killed server is noticed when we write to it.
                    if attempt == 2:
                        raise LocalMwaaError(
                            f"Airflow's command line keeps ending; its log is {self._log_path}"
                        ) from None
        raise AssertionError("unreachable")

    async def stop(self) -> None:
        """End the interpreter and the commands that it runs."""
        async with self._starting:
            await self._stop()

    async def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            # It ends by itself when its socket closes, commands first.
            await self._process.stop(grace_s=1.0)
            self._process = None

    async def _run(self, argv: Sequence[str]) -> CliOutcome:
        loop = asyncio.get_running_loop()
        listener = self._socket
        if listener is None:
            raise _ServerGone
        control, their_control = socket.socketpair()
        stdout, their_stdout = os.pipe()
        stderr, their_stderr = os.pipe()
        pipes = [os.fdopen(descriptor, "rb", buffering=0) for descriptor in (stdout, stderr)]
        readers = []
        try:
            control.setblocking(False)
            try:
                socket.send_fds(listener, [b"c"], [their_control.fileno(), their_stdout, their_stderr])
            except OSError as error:
                raise _ServerGone from error
            finally:
                their_control.close()
                os.close(their_stdout)
                os.close(their_stderr)
            readers = [asyncio.ensure_future(_read_pipe(pipe)) for pipe in pipes]
            request = json.dumps({"argv": list(argv)}).encode()
            try:
                await loop.sock_sendall(control, len(request).to_bytes(8, "big") + request)
            except OSError as error:
                raise _ServerGone from error
            answer = await loop.sock_recv(control, 4096)
            if not answer:
                raise LocalMwaaError("Airflow's command line was killed while it ran the command")
            return CliOutcome(int(json.loads(answer)["exit_status"]), await readers[0], await readers[1])
        finally:
            control.close()  # kills the command if it still runs
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            for pipe in pipes:
                pipe.close()


class _ServerGone(Exception):
    """The server ended before it took the command."""


async def _read_pipe(pipe: FileIO) -> bytes:
    """Read a pipe to its end; what is beyond the limit is dropped."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    content = bytearray()
    with contextlib.closing(transport):
        while chunk := await reader.read(1 << 16):
            content += chunk[: OUTPUT_MAX_BYTES - len(content)]
    return bytes(content)
