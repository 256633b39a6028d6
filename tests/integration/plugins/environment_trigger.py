# SPDX-License-Identifier: Apache-2.0
"""A trigger for a plugins.zip: it tells at once what it sees."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

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
        yield TriggerEvent(seen())
