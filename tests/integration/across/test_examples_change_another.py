# SPDX-License-Identifier: Apache-2.0
"""Example DAGs that change an environment other than their own."""

from __future__ import annotations

import json
from pathlib import Path

from airflow_mwaa_provider.client.environment import MwaaEnvironment
from tests.integration.conftest import ENVIRONMENTS
from tests.integration.world import World, until


def sides(world: World, env_name: str) -> tuple[MwaaEnvironment, MwaaEnvironment, str]:
    """Return an environment, and another one with its name."""
    other = next((name for name in ENVIRONMENTS if name != env_name), env_name)
    return world.environment(env_name, "web_session"), world.environment(other, "web_session"), other


def test_stored_objects_are_imported(world: World, env_name: str, tmp_path: Path) -> None:
    here, there, target = sides(world, env_name)
    asked = here.trigger_dag_run("import_variables", conf={"env_name": target, "folder": str(tmp_path)})
    try:
        here.wait_for_dag_run("import_variables", asked.run_id, timeout_s=400)
        assert json.loads(there.variables.get("example_limits").value or "") == {"rows": 1000, "owners": ["data", "ml"]}
        assert there.variables.get("example_told").description == "Whether the nightly load runs"
        assert there.pools.get("example_pool").slots == 4
        for nouns, key in (("variables", "example_run"), ("connections", "example_db"), ("pools", "example_pool")):
            assert key in json.loads((tmp_path / f"{nouns}.json").read_text(encoding="utf-8"))
    finally:
        for file in tmp_path.iterdir():
            file.unlink()  # it contains everything stored there, including other tests' secrets
        for key in ("example_run", "example_limits", "example_told"):
            there.variables.delete(key)
        there.connections.delete("example_db")
        there.pools.delete("example_pool")


def test_a_role_is_restricted(world: World, env_name: str) -> None:
    here, there, target = sides(world, env_name)
    dag_ids = ["restrict_role", "run_by_other_environment"]
    until(lambda: not (here.missing_dags(dag_ids) or there.missing_dags(dag_ids)), timeout_s=120, what="the example")
    run = here.trigger_dag_run("restrict_role", conf={"env_name": target})
    here.wait_for_dag_run("restrict_role", run.run_id, timeout_s=400)
    granted = {pair for pair in there.roles.get("Team A").permissions if pair[1].startswith("DAG")}
    assert {resource for action, resource in granted if action == "can_edit"} == {
        "DAG Runs",
        "DAG:run_by_other_environment",
    }
    assert {("can_read", f"DAG:{dag_id}") for dag_id in dag_ids} <= granted
