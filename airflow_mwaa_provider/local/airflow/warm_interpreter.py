# SPDX-License-Identifier: Apache-2.0
"""The daemon's side of the warm Airflow interpreter (``cli_server.py``).

Importing Airflow takes 4-8 s of CPU time, and an environment has three or four components besides its command line. All
of them are forks of one interpreter, so an environment starts in half the time, and a command in under a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.airflow import cli_server
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine.processes import ManagedProcess, ProcessGroup, lives, open_log
from airflow_mwaa_provider.local.machine.state import describe_os_error
from airflow_mwaa_provider.local.runtime import CliOutcome

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome

OUTPUT_MAX_BYTES = 64 * 1024 * 1024
"""More than MWAA returns; the rest is read and dropped, so that the command does not block."""
_WARM_UP_TIMEOUT_S = 180.0
_POLL_S = 0.2

Changes = Mapping[str, str | None]
"""Environment variables that differ from the interpreter's; None for one that is unset."""
Request = Mapping[str, str | Sequence[str] | Changes]
"""``{"argv": [...]}`` for an Airflow command, ``{"script": PATH}`` for a Python file; ``{"variables": Changes}``."""


class ForkedProcess(ProcessGroup):
    """A fork of the warm interpreter: a grandchild of this process, ended like a child."""

    def __init__(self, name: str, pid: int, log_path: Path, answers: asyncio.StreamReader, writer: Any) -> None:
        super().__init__(name, pid, log_path)
        self._writer = writer
        self._ended = asyncio.create_task(self._wait(answers))

    @property
    def exit_status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._ended.result() if self._ended.done() and not self._ended.cancelled() else None

    async def wait(self) -> int:
        """Wait until it ends and return its exit status."""
        return await asyncio.shield(self._ended)

    async def _wait(self, answers: asyncio.StreamReader) -> int:
        try:
            line = await answers.readline()
            if line:
                return int(json.loads(line)["exit_status"])
            # The interpreter has died and cannot report it; the fork may still be running.
            while lives(self.pid):
                await asyncio.sleep(_POLL_S)
            return 128
        finally:
            self._writer.close()


class WarmInterpreter:
    """Starts the interpreter when it is needed, and restarts it when it has died."""

    def __init__(
        self,
        python: Path,
        variables: Mapping[str, str],
        log_path: Path,
        home: AirflowHome,
        command_variables: Changes | None = None,
    ) -> None:
        self._python = python
        self._variables = dict(variables)
        self._command_variables = dict(command_variables or {})
        self._log_path = log_path
        self._home = home
        self._process: ManagedProcess | None = None
        self._socket: socket.socket | None = None
        self._starting = asyncio.Lock()

    async def warm_up(self) -> None:
        """Start the interpreter if it is not running, and wait until it can fork.

        :raises LocalMwaaError: it ended, or took too long; the error has the end of its log.
        """
        async with self._starting:
            if self._process is not None and self._process.is_running and self._socket is not None:
                return
            await self._stop()
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            self._socket = ours
            with contextlib.closing(theirs):
                self._process = await ManagedProcess.start(
                    "Airflow's interpreter",
                    # -P: the file's folder has modules with the names of some of Airflow's dependencies ("limits").
                    self._home.command([self._python, "-P", cli_server.__file__, str(theirs.fileno())]),
                    environment=self._variables,
                    log_path=self._log_path,
                    cwd=self._home.folder,
                    pass_fds=(theirs.fileno(),),
                )
            try:
                ready = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, 1), _WARM_UP_TIMEOUT_S)
            except (TimeoutError, OSError):
                ready = b""
            if not ready:
                log_tail = self._process.log_tail()
                await self._stop()
                raise LocalMwaaError(f"Airflow cannot be imported; the log is {self._log_path}", log_tail)

    async def run(self, argv: Sequence[str], timeout_s: float) -> CliOutcome:
        """Run ``airflow ARGV``; several may run at once.

        :raises TimeoutError: the command took too long, and was killed.
        :raises LocalMwaaError: there is no interpreter to run it.
        """
        async with asyncio.timeout(timeout_s):
            return await self._run_command(argv)

    async def spawn(self, name: str, request: Request, log_path: Path) -> ForkedProcess:
        """Fork for a request whose output goes to a log.

        :raises LocalMwaaError: it can't be started.
        """
        try:
            with open_log(log_path) as log:
                answers, writer, pid = await self._fork(request, log, log)
        except OSError as error:
            raise LocalMwaaError(f"can't start {name}: {describe_os_error(error)}") from error
        return ForkedProcess(name, pid, log_path, answers, writer)

    async def run_to_end(self, name: str, request: Request, log_path: Path) -> int:
        """Fork for a request and wait for its end; return its exit status. Cancelling kills it."""
        process = await self.spawn(name, request, log_path)
        try:
            return await process.wait()
        finally:
            await process.stop(grace_s=1.0)

    async def stop(self) -> None:
        """End the interpreter and the commands that it runs."""
        async with self._starting:
            await self._stop()

    async def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            # When its socket closes, it ends its forks and then itself.
            await self._process.stop(grace_s=1.0)
            self._process = None

    async def _run_command(self, argv: Sequence[str]) -> CliOutcome:
        stdout, their_stdout = os.pipe()
        stderr, their_stderr = os.pipe()
        pipes = [os.fdopen(descriptor, "rb", buffering=0) for descriptor in (stdout, stderr)]
        readers: list[asyncio.Task[bytes]] = []
        writer = None
        try:
            try:
                request: Request = {"argv": list(argv), "variables": self._command_variables}
                answers, writer, _ = await self._fork(request, their_stdout, their_stderr)
            finally:
                os.close(their_stdout)
                os.close(their_stderr)
            readers = [asyncio.create_task(_read_pipe(pipe)) for pipe in pipes]
            line = await answers.readline()
            if not line:
                raise LocalMwaaError("Airflow's command line was killed while it ran the command")
            return CliOutcome(int(json.loads(line)["exit_status"]), await readers[0], await readers[1])
        finally:
            if writer is not None:
                writer.close()  # kills the command if it still runs
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            for pipe in pipes:
                pipe.close()

    async def _fork(
        self, request: Request, stdout: int, stderr: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int]:
        """Fork for a request; return its control socket's streams and its process id.

        :raises LocalMwaaError: the interpreter can't be started, or keeps dying.
        """
        for _ in range(2):
            await self.warm_up()
            assert self._socket is not None
            control, theirs = socket.socketpair()
            with contextlib.closing(theirs):
                try:
                    socket.send_fds(self._socket, [b"f"], [theirs.fileno(), stdout, stderr])
                except OSError:
                    # It has died since; the request never arrived, so it may be sent again.
                    control.close()
                    await asyncio.sleep(_POLL_S)
                    continue
            answers, writer = await asyncio.open_unix_connection(sock=control)
            try:
                text = json.dumps(dict(request)).encode()
                writer.write(len(text).to_bytes(8, "big") + text)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                line = await answers.readline()
            except BaseException:
                writer.close()
                raise
            if line:
                return answers, writer, int(json.loads(line)["pid"])
            # No process id: the interpreter died before it forked.
            writer.close()
            await asyncio.sleep(_POLL_S)
        raise LocalMwaaError(f"Airflow's interpreter keeps ending; its log is {self._log_path}")


async def _read_pipe(pipe: FileIO) -> bytes:
    """Read a pipe to its end; everything beyond the limit is dropped."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    content = bytearray()
    with contextlib.closing(transport):
        while chunk := await reader.read(1 << 16):
            content += chunk[: OUTPUT_MAX_BYTES - len(content)]
    return bytes(content)
