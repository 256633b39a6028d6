# SPDX-License-Identifier: Apache-2.0
"""A pause without a worker's slot."""

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
    """Let a deferred task go on at a moment; Airflow has moved its own triggers for that from one package to another.

    :param until: seconds since 1970.
    """

    def __init__(self, *, until: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        check_seconds(until, "until")
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the class's path and what makes an equal trigger."""
        return f"{__name__}.{type(self).__qualname__}", {"until": self.until}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, and fire one event that says nothing."""
        await asyncio.sleep(max(deferral_settles_s(), self.until - time.time()))
        yield TriggerEvent({})  # type: ignore[no-untyped-call]
