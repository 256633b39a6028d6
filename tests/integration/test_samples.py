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
    assert found["virtual_memory_total"].endswith(" Bytes")
    assert 0 <= float(found["cpu_times_percent_user"].removesuffix(" Percent")) <= 100


def test_rest_api(world: World, env_name: str) -> None:
    found = samples.run(world, env_name, "rest_api")
    run_id, _, state = found["run that was triggered"].partition(": ")
    assert run_id.startswith("rest_api__")
    assert (state, found["its result"]) == ("success", "42")
    assert found["its tasks, as the DAG read them"] == "{'add_up': 'success'}"


def test_small_ones(world: World, env_name: str) -> None:
    assert samples.run(world, env_name, "bash_command")["python --version"].startswith("Python 3.1")
    found = samples.run(world, env_name, "print_configuration")
    assert found == {"email.email_backend": "airflow.utils.email.send_email_smtp"}


def test_emr_steps(world: World, env_name: str) -> None:
    found = samples.run(world, env_name, "emr_steps")
    assert found["cluster"] == "my-demo-cluster, emr-7.12.0"
    assert found["step calculate_pi"] == "COMPLETED"
    assert found["the cluster now"] in ("TERMINATING", "TERMINATED")


def test_ecs_task(world: World, env_name: str) -> None:
    assert samples.run(world, env_name, "ecs_task") == {
        "task": "STOPPED",
        "why": "Essential container in task exited",
        "exit code": "0",
        "log": "local MWAA: no container was run; its command is ls -l /",
    }
