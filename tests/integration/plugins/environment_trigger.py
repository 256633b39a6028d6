# SPDX-License-Identifier: Apache-2.0
"""A trigger for a plugins.zip, which reports what it sees."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mwaa_provider._compat import deferral_settles_s

MOMENT = 1_780_315_200  # 2026-06-01 12:00 UTC


def seen() -> dict[str, Any]:
    return {
        "local": datetime.fromtimestamp(MOMENT).isoformat(),
        "zone": time.localtime(MOMENT).tm_zone,
        "java_home": os.environ.get("JAVA_HOME"),
    }


class EnvironmentTrigger(BaseTrigger):
    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "environment_trigger.EnvironmentTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(deferral_settles_s())
        yield TriggerEvent(seen())
