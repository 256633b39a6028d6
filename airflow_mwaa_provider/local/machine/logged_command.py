# SPDX-License-Identifier: Apache-2.0
"""Run a user's command to its end, with its output in a log that masks the environment's secrets."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from airflow_mwaa_provider.local.machine.processes import ManagedProcess, open_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_COPY_INTERVAL_S = 0.3
_STOP_GRACE_S = 5.0
_MASK = b"***"
_SHORTEST_SECRET = 6
"""Shorter strings are not secrets, and masking them would mask half a log."""


@dataclass(frozen=True)
class CommandEnd:
    """How a command ended."""

    exit_status: int | None
    """None if it ran out of time."""
    seconds: float


class MaskedLog:
    """A log without secrets: other programs' lines are copied to it with secrets masked."""

    def __init__(self, path: Path, secrets: Iterable[str]) -> None:
        self.path = path
        found = {secret.encode() for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        # The longest first, since one may contain another.
        self._secrets = sorted(found, key=len, reverse=True)

    def begin(self, what: str) -> None:
        """Mark the beginning of another run."""
        self.write(f"== {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {what}")

    def write(self, text: str) -> None:
        """Append a line."""
        self.append(text.encode("utf-8", "replace") + b"\n")

    def append(self, lines: bytes) -> None:
        """Append whole lines."""
        for secret in self._secrets:
            lines = lines.replace(secret, _MASK)
        with open_log(self.path) as log:
            while lines:
                lines = lines[os.write(log, lines) :]


async def run(
    name: str,
    argv: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    log: MaskedLog,
    timeout_s: float,
) -> CommandEnd:
    """Run a command, and copy its output to a log while it runs. Canceling ends it.

    Processes that it leaves in the background keep running, and their output is not read.

    :raises LocalMwaaError: it cannot be started.
    """
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(dir=log.path.parent, prefix=f".{log.path.name}.") as output:
        process = await ManagedProcess.start(name, argv, environment=environment, log_path=Path(output.name), cwd=cwd)
        copying = asyncio.create_task(_copy_while_running(output, log))
        try:
            async with asyncio.timeout(timeout_s):
                exit_status: int | None = await process.wait()
        except TimeoutError:
            await process.stop(_STOP_GRACE_S)
            exit_status = None
        except BaseException:
            await process.stop(1.0)
            raise
        finally:
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)
            rest = output.read()
            if rest:
                log.append(rest if rest.endswith(b"\n") else rest + b"\n")
    return CommandEnd(exit_status, time.monotonic() - began)


async def _copy_while_running(output: IO[bytes], log: MaskedLog) -> None:
    """Copy whole lines, so that a secret is never split; the rest is left to be read."""
    while True:
        await asyncio.sleep(_COPY_INTERVAL_S)
        begin = output.tell()
        text = output.read()
        whole = text.rfind(b"\n") + 1
        output.seek(begin + whole)
        if whole:
            log.append(text[:whole])
