# SPDX-License-Identifier: Apache-2.0
"""Triggers under random faults: no run missing, none twice. AIRFLOW_MWAA_TEST_FULL=1 uses the large numbers."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.exceptions import DagRunAlreadyExists
from tests.integration.world import World

FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
SEED = 20261122
# Of a hundred calls this many go wrong, each way; retries under way meet faults again.
FAULTS = (
    ("status", 0.05, {"status": 503}),
    ("html", 0.08, {}),
    ("reset_before", 0.08, {}),
    ("reset_after", 0.08, {}),
    ("status_after", 0.08, {"status": 502}),
)
TARGETS = {"rest_api": "invoke_rest_api", "web_session": "rest", "cli": "cli"}


def test_under_random_faults(world: World, env_name: str, transport: str) -> None:
    triggers = (100 if transport == "cli" else 500) if FULL else (8 if transport == "cli" else 24)
    environment = world.environment(env_name, transport, retry=RetryPolicy(deadline_s=240, max_delay_s=3))
    environment.is_dag_paused("paused")
    for number, (kind, probability, more) in enumerate(FAULTS):
        world.fault(
            target=TARGETS[transport],
            environment=env_name,
            kind=kind,
            probability=probability,
            seed=SEED + number,
            **more,
        )
    run_ids = [f"once-{transport}-{time.time_ns()}-{number}" for number in range(triggers)]
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda run_id: environment.trigger_dag_run("paused", run_id, {"n": 1}), run_ids))
    seconds = time.monotonic() - began
    fired = {fault["kind"]: fault["fired"] for fault in world.admin("GET", "faults")["faults"]}
    world.admin("DELETE", "faults")

    assert [run.run_id for run in runs] == run_ids
    assert all(run.created for run in runs)
    there = _all_run_ids(world, env_name, f"once-{transport}-")
    assert sorted(run_id for run_id in there if run_id in set(run_ids)) == sorted(run_ids)
    print(f"{env_name} {transport}: {triggers} triggers in {seconds:.0f} s, faults {fired}, seed {SEED}")
    assert sum(fired.values()) > 0


def _all_run_ids(world: World, env_name: str, prefix: str) -> list[str]:
    """Every run of the DAG, read page by page, without the client's own lists."""
    reader = world.environment(env_name, "web_session")
    found: list[str] = []
    offset = 0
    while True:
        page = reader.request("GET", "/dags/paused/dagRuns", params={"limit": 100, "offset": offset, "order_by": "id"})
        found += [row["dag_run_id"] for row in page["dag_runs"]]
        offset += len(page["dag_runs"])
        if not page["dag_runs"]:
            return [run_id for run_id in found if run_id.startswith(prefix)]


def test_a_request_without_a_date_and_a_run_that_has_one(world: World, env_name: str, transport: str) -> None:
    """Airflow 3 leaves an undated run without a date, by every transport; Airflow 2 dates all, so that none differs."""
    environment = world.environment(env_name, transport)
    dated, undated = (f"{name}-{transport}-{time.time_ns()}" for name in ("dated", "undated"))
    date = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=time.time_ns() % 10**7)
    assert environment.trigger_dag_run("paused", undated, {"n": 1}).created
    assert environment.trigger_dag_run("paused", undated, {"n": 1}).created is False
    assert environment.trigger_dag_run("paused", dated, {"n": 1}, date).created
    assert environment.trigger_dag_run("paused", dated, {"n": 1}, date).created is False
    if environment.airflow_version.startswith("2."):
        assert environment.trigger_dag_run("paused", dated, {"n": 1}).created is False
        return
    with pytest.raises(DagRunAlreadyExists, match=r"its logical date is 2026-.*, and none was requested"):
        environment.trigger_dag_run("paused", dated, {"n": 1})


@pytest.mark.parametrize("kind", ["reset_after", "status_after", "delay"])
def test_a_trigger_whose_answer_is_lost(world: World, env_name: str, transport: str, kind: str) -> None:
    """The request took effect, the answer never came: the run is there once, and the call succeeds."""
    # A command takes seconds, more of them where much else runs; it must not time out without the fault.
    timeout_s = 15.0 if transport == "cli" else 5.0
    environment = world.environment(env_name, transport, read_timeout_s=timeout_s)
    environment.is_dag_paused("paused")
    more = {"delay_s": timeout_s + 2} if kind == "delay" else {}
    world.fault(target=TARGETS[transport], environment=env_name, kind=kind, times=1, method="POST", **more)
    run_id = f"lost-{time.time_ns()}"
    run = environment.trigger_dag_run("paused", run_id)
    assert (run.run_id, run.created) == (run_id, True)
    assert [found for found in _all_run_ids(world, env_name, "lost-") if found == run_id] == [run_id]
