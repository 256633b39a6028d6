# SPDX-License-Identifier: Apache-2.0
"""Many deferred waits on one environment: calls per interval, CPU and memory, against the amazon provider's trigger.

Each side waits in its own process for the same runs, over the local MWAA with a real Airflow, which counts the calls.
Then some of the runs end, and the time until our waits detect it is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._local_environment import (  # noqa: E402
    DAG_ID,
    ENV_NAME,
    admin,
    calls_made,
    environment,
    local_environment,
)

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVALS = 3
ENDED = 10


def trigger_maker(side: str, interval_s: float) -> Callable[[str], Any]:
    if side == "ours":
        from airflow_mwaa_provider.hooks.settings import HookSettings
        from airflow_mwaa_provider.triggers.dag_run import MwaaDagRunTrigger

        hook = HookSettings().serialize()
        return lambda run_id: MwaaDagRunTrigger(
            env_name=ENV_NAME, dag_id=DAG_ID, run_id=run_id, hook=hook, waiter_delay=interval_s, created_at=time.time()
        )
    from airflow.providers.amazon.aws.triggers.mwaa import MwaaDagRunCompletedTrigger

    return lambda run_id: MwaaDagRunCompletedTrigger(
        external_env_name=ENV_NAME,
        external_dag_id=DAG_ID,
        external_dag_run_id=run_id,
        waiter_delay=int(interval_s),
        waiter_max_attempts=10_000,
        aws_conn_id="aws_default",
    )


async def first_event(trigger: Any, told: dict[str, float], run_id: str) -> Any:
    async for event in trigger.run():
        told[run_id] = time.monotonic()
        return event.payload
    return None


async def wait_for_all(side: str, run_ids: list[str], interval_s: float) -> dict[str, Any]:
    """Wait for all of them at once; count calls over some intervals after all have begun."""
    make = trigger_maker(side, interval_s)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told: dict[str, float] = {}
    tasks = []
    for run_id in run_ids:
        tasks.append(asyncio.create_task(first_event(make(run_id), told, run_id)))
        await asyncio.sleep(interval_s / len(run_ids))  # tasks defer one after another
    while True:  # the first polls also create the clients
        admin_calls = await asyncio.to_thread(calls_made)
        await asyncio.sleep(interval_s)
        if side == "ours" or admin_calls >= len(run_ids):
            break
    await asyncio.to_thread(admin, "DELETE", "calls")
    living = [sum(not task.done() for task in tasks)]
    cpu_s, began = time.process_time(), time.monotonic()
    await asyncio.sleep(INTERVALS * interval_s)
    intervals = (time.monotonic() - began) / interval_s
    calls = await asyncio.to_thread(calls_made)
    cpu_s = time.process_time() - cpu_s
    living.append(sum(not task.done() for task in tasks))
    waits = statistics.mean(living) or math.nan  # those still waiting during the count
    lost = [task.exception() or task.result() for task in tasks if task.done()]  # no run has ended yet
    memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    delays = []
    if side == "ours":
        there = environment("web_session")
        for run_id in run_ids[:ENDED]:
            await asyncio.sleep(random.uniform(0, interval_s))  # a remote run ends at any time between two polls
            await asyncio.to_thread(there.set_dag_run_state, DAG_ID, run_id, "success")
            ended = time.monotonic()
            async with asyncio.timeout(60 + 3 * interval_s):
                while run_id not in told:
                    await asyncio.sleep(0.02)
            delays.append(told[run_id] - ended)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "calls_per_interval": calls / intervals,
        "calls_per_wait_and_interval": calls / intervals / waits,
        "cpu_ms_per_wait_and_interval": 1000 * cpu_s / intervals / waits,
        "memory_kb_per_wait": memory_kb / len(run_ids),
        "delays_s": delays,
        "waits_lost": len(lost),
        "because": repr(lost[0])[:300] if lost else "",
    }


def one_side(side: str, run_ids: list[str], interval_s: float) -> dict[str, Any]:
    """Measure one side in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, "--interval", str(interval_s)],
        input=json.dumps(run_ids),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{side} failed: {done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 waits and 3 seconds instead of 1,000 and 20")
    parser.add_argument("--side", choices=["ours", "amazon"], help=argparse.SUPPRESS)
    parser.add_argument("--interval", type=float, default=20.0, help="seconds between two looks")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = "aws://"
    if given.side:
        print(json.dumps(asyncio.run(wait_for_all(given.side, json.load(sys.stdin), given.interval))))
        return
    waits, interval_s = (100, 3.0) if given.quick else (1000, given.interval)
    with local_environment() as major:
        there = environment("web_session")
        with ThreadPoolExecutor(8) as threads:
            runs = threads.map(lambda number: there.trigger_dag_run(DAG_ID, f"bench_{number}"), range(waits))
            run_ids = [run.run_id for run in runs]
        found = {side: one_side(side, run_ids, interval_s) for side in ("amazon", "ours")}
    ours, amazon = found["ours"], found["amazon"]
    print(f"{waits} deferred waits, polling every {interval_s:g} s, Airflow {major}, over the local MWAA")
    print(f"{'':32}{'ours':>12}{'amazon':>12}")
    for name in (
        "calls_per_interval",
        "calls_per_wait_and_interval",
        "cpu_ms_per_wait_and_interval",
        "memory_kb_per_wait",
    ):
        print(f"{name:32}{ours[name]:12.3f}{amazon[name]:12.3f}")
    for side, figures in found.items():
        if figures["waits_lost"]:
            print(f"{figures['waits_lost']} waits of {side} ended before their runs, such as with {figures['because']}")
    delay_s = statistics.median(ours["delays_s"])
    print(f"{'remote end to event, median s':32}{delay_s:12.3f}")
    ratios = {
        "polling_calls_vs_amazon": round(
            ours["calls_per_wait_and_interval"] / amazon["calls_per_wait_and_interval"], 4
        ),
        "polling_cpu_vs_amazon": round(
            ours["cpu_ms_per_wait_and_interval"] / amazon["cpu_ms_per_wait_and_interval"], 4
        ),
        "polling_memory_vs_amazon": round(ours["memory_kb_per_wait"] / amazon["memory_kb_per_wait"], 4),
        "resume_delay_vs_interval": round(delay_s / interval_s, 3),
    }
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
