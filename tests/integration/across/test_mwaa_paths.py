# SPDX-License-Identifier: Apache-2.0
"""DAGs that use /usr/local/airflow, in environments that run in parallel with different files there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.machine.state import StateFolder
from tests.integration.conftest import ENVIRONMENTS
from tests.integration.world import World, until


def test_each_environment_has_its_own_files_at_mwaas_path(world: World) -> None:
    now = lifecycle.status(world.folder)
    if not now["mwaa_paths"]:
        pytest.skip(now["mwaa_paths_error"])
    s3 = world.session().client("s3", endpoint_url=world.variables["AWS_ENDPOINT_URL"])
    folders = {name: StateFolder(world.folder).environment(name).dags for name in ENVIRONMENTS}
    for name in folders:
        bucket = now["environments"][name]["bucket"]
        s3.put_object(Bucket=bucket, Key="dags/data.txt", Body=f"that of {name}".encode())
    for name, folder in folders.items():
        until((folder / "data.txt").is_file, timeout_s=60, what=f"a file in the DAGs folder of {name}")
    clients = {name: world.environment(name, "web_session") for name in folders}
    runs = {name: client.trigger_dag_run("names_mwaas_path").run_id for name, client in clients.items()}
    for name, client in clients.items():
        client.wait_for_dag_run("names_mwaas_path", runs[name], timeout_s=120)
        path = f"/dags/names_mwaas_path/dagRuns/{runs[name]}/taskInstances/read/xcomEntries/return_value"
        assert json.loads(client.request("GET", path)["value"]) == {
            "data": f"that of {name}",
            "file": "/usr/local/airflow/dags/names_mwaas_path.py",
            "cwd": "/usr/local/airflow",
        }
        fileloc = client.request("GET", "/dags/names_mwaas_path")["fileloc"]
        assert fileloc == "/usr/local/airflow/dags/names_mwaas_path.py"
    assert not Path("/usr/local/airflow").exists()
