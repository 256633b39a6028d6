# SPDX-License-Identifier: Apache-2.0
"""Use memory, fork, leave a file behind, and be killed."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from datetime import datetime

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, is_paused_upon_creation=False)
def uses_resources() -> None:
    @task(retries=0)
    def takes_and_leaves() -> str:
        held = bytearray(b"x") * 300_000_000
        pid = os.fork()
        if not pid:
            time.sleep(1.5)  # what it shares with its parent counts once
            os._exit(0)
        os.waitpid(pid, 0)
        file, path = tempfile.mkstemp()
        with os.fdopen(file, "wb") as left:
            left.write(memoryview(held)[:50_000_000])
        return path

    @task(retries=0, trigger_rule="all_done")
    def is_killed() -> None:
        held = bytearray(b"x") * 200_000_000
        time.sleep(2.5)
        os.kill(os.getpid(), signal.SIGKILL)
        del held

    @task(retries=0, trigger_rule="all_done")
    def comes_after() -> None:
        pass

    takes_and_leaves() >> is_killed() >> comes_after()


uses_resources()
