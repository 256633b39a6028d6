# SPDX-License-Identifier: Apache-2.0
"""moto as a child process: all AWS services except MWAA."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import aiohttp

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine.process_environment import inherited
from airflow_mwaa_provider.local.machine.processes import ManagedProcess, PortAllocator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_START_TIMEOUT_S = 60.0
_PROGRAM = "airflow_mwaa_provider.local.machine.moto_program"


class MotoServer:
    """A moto server on loopback."""

    def __init__(self, folder: Path, marker: Mapping[str, str], ports: PortAllocator, region: str) -> None:
        self._folder = folder
        self._variables = {**inherited(), **marker, "AWS_DEFAULT_REGION": region, "MOTO_DOCKER_NETWORK_MODE": "none"}
        self._port = ports.take()
        self._process: ManagedProcess | None = None

    @property
    def url(self) -> str:
        """The server's base URL, known before it is started."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start it and wait until it answers.

        :raises LocalMwaaError: it ended, or took too long.
        """
        self._process = process = await ManagedProcess.start(
            "moto",
            [sys.executable, "-m", _PROGRAM, "-H", "127.0.0.1", "-p", str(self._port)],
            environment=self._variables,
            log_path=self._folder / "moto.log",
            cwd=self._folder,
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:
            while True:
                try:
                    async with client.get(f"{self.url}/moto-api/data.json"):
                        return
                except (aiohttp.ClientError, TimeoutError):
                    if not process.is_running or time.monotonic() > deadline:
                        tail = process.log_tail()
                        await self.stop()
                        raise LocalMwaaError(f"moto didn't start; its log is {process.log_path}", tail) from None
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            await self._process.stop(grace_s=2.0)
            self._process = None
