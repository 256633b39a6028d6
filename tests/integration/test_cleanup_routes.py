# SPDX-License-Identifier: Apache-2.0
"""A task cleans its own environment by the metadata API and by the CLI endpoint, and reports a failed table."""

from __future__ import annotations

import pytest

from tests.integration.test_metadata_cleanup import RUNS, counted, kept_log, old_runs
from tests.integration.world import World, until

__all__ = ["kept_log", "old_runs"]  # fixtures

# The tenth of thirty runs is unfinished. db clean does not distinguish runs: all as old or newer are kept with it. The
# other routes keep it, the one before it, and the last of its DAG.
LEFT = {"api": 3, "cli": RUNS - 9}


def cleaned(world: World, env_name: str, route: str) -> tuple[str, str]:
    """Run the cleanup task, and return its state and log."""
    environment = world.environment(env_name, "web_session")
    run_id = environment.trigger_dag_run("cleans_itself", conf={"route": route}).run_id
    until(
        lambda: environment.get_dag_run("cleans_itself", run_id).state.is_final,
        timeout_s=300, what=f"the end of a cleanup by {route}",
    )  # fmt: skip
    state = environment.get_dag_run("cleans_itself", run_id).state.value
    return state, environment.get_task_log("cleans_itself", run_id, "clean")


@pytest.mark.parametrize("route", ["api", "cli"])
def test_a_task_cleans_its_own_environment(world: World, env_name: str, old_runs: None, route: str) -> None:
    state, log = cleaned(world, env_name, route)
    assert state == "success", log
    assert f"by route {route}" in log
    assert counted(world, env_name) == {"dag_run": LEFT[route], "task_instance": 2 * LEFT[route], "log": 0}
    assert f"log: {3 * RUNS:,} rows" in log
    if route == "cli":
        assert "old__10" in log, "the run that holds the others up is not named"


@pytest.mark.parametrize("route", ["api", "cli"])
def test_a_table_that_fails_fails_the_task(
    world: World, env_name: str, old_runs: None, kept_log: None, route: str
) -> None:
    """``db clean`` then ends with status 0."""
    state, log = cleaned(world, env_name, route)
    assert state == "failed", log
    assert "CleanupFailed" in log
    assert "Cleaning log failed: " in log
    assert "kept for auditors" in log
    assert counted(world, env_name) == {"dag_run": LEFT[route], "task_instance": 2 * LEFT[route], "log": 3 * RUNS}
