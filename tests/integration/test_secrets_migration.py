# SPDX-License-Identifier: Apache-2.0
"""The example that moves connections and variables, as real tasks: from the database on 2, by name on 3."""

from __future__ import annotations

import json

from airflow_mwaa_provider.client.models import Connection
from scripts.lib import canary
from tests.integration.world import World

CANARY = canary.value()
DAG_ID = "migrate_to_secrets_manager"


def test_a_task_moves_what_its_environment_has(world: World, env_name: str) -> None:
    prefix = f"moved_{env_name.replace('-', '_')}"
    environment = world.environment(env_name, "web_session")
    extra = json.dumps({"token": f"@/%:?#&+ é{CANARY}", "n": 1.10})
    connection = Connection(f"{prefix}_db", "postgres", "DB.example.com", "é@/", f"{CANARY} %+&#?", "s", 5432, extra)
    environment.connections.set(connection)
    environment.variables.set(f"{prefix}_secret", f'{{"a":   1.10, "b": "{CANARY}"}}')
    environment.variables.set("not_moved", "1")

    conf = {"connections": [f"{prefix}_*"], "variables": [f"{prefix}_*"]}
    run_id = environment.trigger_dag_run(DAG_ID, conf=conf).run_id
    environment.wait_for_dag_run(DAG_ID, run_id, timeout_s=400)

    told = []
    for task_id in ("plan", "move"):
        path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        told.append(str(environment.request("GET", path)["value"]))
    assert f"{prefix}_db" in told[1]
    assert CANARY not in "".join(told)
    client = world.session().client("secretsmanager", endpoint_url=world.variables["AWS_ENDPOINT_URL"])
    kept = client.get_secret_value(SecretId=f"airflow/connections/{prefix}_db")["SecretString"]
    assert json.loads(kept) == {
        "conn_type": "postgres",
        "login": "é@/",
        "password": f"{CANARY} %+&#?",
        "host": "DB.example.com",
        "port": 5432,
        "schema": "s",
        "extra": json.loads(extra),
    }
    kept = client.get_secret_value(SecretId=f"airflow/variables/{prefix}_secret")["SecretString"]
    assert kept == f'{{"a":   1.10, "b": "{CANARY}"}}'
    names = [item["Name"] for page in client.get_paginator("list_secrets").paginate() for item in page["SecretList"]]
    assert "airflow/variables/not_moved" not in names
    for path in [*world.folder.rglob("*.log"), *world.folder.rglob("*.log.*")]:
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path
