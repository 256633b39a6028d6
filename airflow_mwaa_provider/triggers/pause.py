# SPDX-License-Identifier: Apache-2.0
"""A pause without a worker slot."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider._compat import BaseTrigger, TriggerEvent, deferral_settles_s
from airflow_mwaa_provider.client.parameters import check_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["PauseTrigger"]


class PauseTrigger(BaseTrigger):
    """Resume a deferred task at a given time. Airflow's own triggers for that have moved between packages.

    :param until: the time, in seconds since 1970.
    """

    def __init__(self, *, until: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        check_seconds(until, "until")
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path, and the arguments that make an equal trigger."""
        return f"{__name__}.{type(self).__qualname__}", {"until": self.until}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, and fire one empty event."""
        await asyncio.sleep(max(deferral_settles_s(), self.until - time.time()))
        yield TriggerEvent({})  # type: ignore[no-untyped-call]
