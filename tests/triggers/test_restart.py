# SPDX-License-Identifier: Apache-2.0
"""Many waits survive their process: killed twice without warning, none is lost and none reports a wrong result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.hooks.settings import HookSettings
from airflow_mwaa_provider.triggers.dag_run import MwaaDagRunTrigger
from tests.client.world import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

WAITS = 1000 if os.environ.get("AIRFLOW_MWAA_TEST_FULL") else 200
ROOT = Path(__file__).resolve().parents[2]

# What a triggerer does with the rows of its table: create the triggers, run them concurrently, record their events.
PROGRAM = """
import asyncio, json, sys
from airflow_mwaa_provider.triggers.dag_run import MwaaDagRunTrigger

async def run(number, kwargs, out):
    async for event in MwaaDagRunTrigger(**kwargs).run():
        out.write(json.dumps([number, event.payload]) + "\\n")
        out.flush()
        return

async def main():
    with open(sys.argv[1]) as rows, open(sys.argv[2], "a") as out:
        await asyncio.gather(*(run(number, kwargs, out) for number, kwargs in json.load(rows)))

asyncio.run(main())
"""


def events(path: Path) -> dict[int, Any]:
    """Return the events by number; the last line may be incomplete."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    assert len(found) == len({number for number, _ in found}), "a wait was told twice"
    return dict(found)


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None or condition(), f"it ended by itself: {process.returncode}"
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_waits_survive_two_kills(world: World, connection: Callable[..., str], tmp_path: Path) -> None:
    airflow = world.airflow()
    run_ids = [f"run_{number}" for number in range(WAITS)]
    for run_id in run_ids:
        airflow.create("etl", run_id)
    hook = HookSettings(connection(), transport=TRANSPORTS[0]).serialize()
    ids = {"env_name": "env3", "dag_id": "etl", "hook": hook, "waiter_delay": 0.5}
    kwargs = [MwaaDagRunTrigger(run_id=run_id, created_at=time.time(), **ids).serialize()[1] for run_id in run_ids]
    rows, fired, log = tmp_path / "rows.json", tmp_path / "fired", tmp_path / "log"
    state_of = {number: ("success", "failed")[number % 3 == 0] for number in range(WAITS)}

    def start() -> subprocess.Popen[bytes]:
        told = events(fired)
        rows.write_text(json.dumps([(number, each) for number, each in enumerate(kwargs) if number not in told]))
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(rows), str(fired)],
                cwd=ROOT,
                env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
                stdout=output,
                stderr=output,
            )

    def end(first: int, last: int) -> None:
        for number in range(first, last):
            world.do(airflow.end, "etl", run_ids[number], state_of[number])

    process = start()
    try:
        end(0, 3 * WAITS // 10)
        until(lambda: len(events(fired)) >= WAITS // 10, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        end(3 * WAITS // 10, 6 * WAITS // 10)  # nothing waits now
        process = start()
        until(lambda: len(events(fired)) >= WAITS // 2, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = start()
        end(6 * WAITS // 10, WAITS)
        until(lambda: len(events(fired)) == WAITS, process)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert {number: event["status"] for number, event in events(fired).items()} == state_of
    assert {number: event["run"]["run_id"] for number, event in events(fired).items()} == dict(enumerate(run_ids))
    assert len(airflow.runs) == WAITS
    assert world.airflow("env2").runs == []
