# SPDX-License-Identifier: Apache-2.0
"""A task cleans its own environment by the metadata API and by the CLI endpoint, and says which table has failed."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest

from tests.integration.test_metadata_cleanup import RUNS, counted, database_url, old_runs
from tests.integration.world import World, until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["old_runs"]  # a fixture

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept for auditors'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON log FOR EACH ROW EXECUTE FUNCTION refuse()"""
# The tenth run of thirty still runs. db clean knows no run from another: what is as old or younger stays with it; the
# others keep it, the one before it, and the last of its DAG.
LEFT = {"api": 3, "cli": RUNS - 9}


@pytest.fixture
def kept_log(world: World, env_name: str) -> Iterator[None]:
    """Makes every deletion from the audit log fail."""
    url = database_url(world, env_name).replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(REFUSE)
        try:
            yield
        finally:
            cursor.execute("DROP TRIGGER refuse ON log; DROP FUNCTION refuse()")


def cleaned(world: World, env_name: str, route: str) -> tuple[str, str]:
    """Let the task clean, and give its state and its log."""
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
    """``db clean`` ends with status 0 then."""
    state, log = cleaned(world, env_name, route)
    assert state == "failed", log
    assert "CleanupFailed" in log
    assert "Cleaning log failed: " in log
    assert "kept for auditors" in log
    assert counted(world, env_name) == {"dag_run": LEFT[route], "task_instance": 2 * LEFT[route], "log": 3 * RUNS}
