# SPDX-License-Identifier: Apache-2.0
"""Restart a process whenever it ends unexpectedly, as MWAA replaces a container that dies."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.errors import LocalMwaaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_mwaa_provider.local.machine.processes import ProcessGroup

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 3.0
LAST_PAUSE_S = 60.0
STABLE_AFTER_S = 60.0
"""A process that has run this long counts as healthy: it is then restarted as quickly as the first time."""


async def keep_running(
    what: str,
    process: ProcessGroup,
    start: Callable[[], Awaitable[ProcessGroup]],
    *,
    ended: Callable[[], None] = lambda: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Restart a process whenever it ends, until canceled: after 3 s, and up to a minute if it keeps ending.

    :param what: its name for the log: ``environment source: triggerer``.
    :param process: the running process.
    :param start: starts the next one; a failure counts as a process that ended at once.
    :param ended: called whenever one has ended.
    """
    pause_s = 0.0
    while True:
        began = clock()
        status = await process.wait()
        ended()
        lived_s = clock() - began
        pause_s = FIRST_PAUSE_S if lived_s >= STABLE_AFTER_S else min(LAST_PAUSE_S, max(FIRST_PAUSE_S, 2 * pause_s))
        log.error("%s ended with status %d after %.0f s; restarting it in %.0f s", what, status, lived_s, pause_s)
        process = await _started(what, process, start, pause_s, sleep)


async def _started(
    what: str,
    process: ProcessGroup,
    start: Callable[[], Awaitable[ProcessGroup]],
    pause_s: float,
    sleep: Callable[[float], Awaitable[None]],
) -> ProcessGroup:
    while True:
        await sleep(pause_s)
        # Remaining processes of its group would keep its port.
        await process.stop(grace_s=1.0)
        try:
            return await start()
        except LocalMwaaError as error:
            pause_s = min(LAST_PAUSE_S, 2 * pause_s)
            log.error("%s can't be started: %s; trying again in %.0f s", what, error, pause_s)
