# SPDX-License-Identifier: Apache-2.0
"""Samples in running Airflows, as ``airflow-mwaa local demo NAME`` runs them: what came out of them."""

from __future__ import annotations

from tests.integration import samples
from tests.integration.world import World


def test_secrets_manager_var(world: World, env_name: str) -> None:
    found = samples.run(world, env_name, "secrets_manager_var")
    assert found["characters that the task read"] == "16"
    assert found["the secret in the task's log"] == "no"
    assert 1 <= int(found["calls to Secrets Manager"]) <= 5


def test_custom_metrics(world: World, env_name: str) -> None:
    found = samples.run(world, env_name, "custom_metrics")
    assert len(found) > 5
    assert all(value.split()[1] in ("Bytes", "Percent", "Count") for value in found.values())
