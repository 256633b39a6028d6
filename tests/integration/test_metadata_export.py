# SPDX-License-Identifier: Apache-2.0
"""The example DAGs export the metadata of the real Airflow 2 and 3 that they run in."""

from __future__ import annotations

import csv
import io
import json
import uuid
from typing import Any

import pytest

from tests.integration.test_cleanup_live import unpause
from tests.integration.world import World, until


def s3(world: World) -> Any:
    return world.session().client("s3", endpoint_url=world.variables["AWS_ENDPOINT_URL"], verify=world.ca_bundle)


@pytest.mark.parametrize("dag_id", ["export_metadata", "export_metadata_in_parallel"])
def test_a_dag_exports_its_own_environment(world: World, env_name: str, dag_id: str) -> None:
    environment = world.environment(env_name)
    client, bucket = s3(world), f"export-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    is_2 = environment.airflow_version.startswith("2.")
    # A task of Airflow 3 cannot use the database; a container of MWAA has its settings.
    conf = {"bucket": bucket, "route": "auto" if is_2 else "mwaa_environment"}
    # Something that certainly exists before.
    environment.trigger_dag_run("run_by_other_environment", run_id := f"before-{uuid.uuid4().hex[:6]}", conf={})
    until(
        lambda: environment.get_dag_run("run_by_other_environment", run_id).state.is_final,
        timeout_s=120,
        what="the run to end",
    )
    run = environment.trigger_dag_run(dag_id, conf=conf)
    until(lambda: environment.get_dag_run(dag_id, run.run_id).state.is_final, timeout_s=240, what="the export to end")
    assert environment.get_dag_run(dag_id, run.run_id).state == "success"

    def manifest(key: str) -> dict[str, Any]:
        return dict(json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read()))

    if dag_id == "export_metadata_in_parallel":
        written = manifest("files/history/dag_run.json")["tables"]["dag_run"]
        assert written["rows"] >= 2
        assert all(key.startswith("files/history/table=dag_run/date=20") for key in written["objects"])
        names = {item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]}
        assert {f"files/history/{table}.json" for table in ("task_instance", "job", "xcom", "log-2026-11")} <= names
        return
    written = manifest("files/export/manifest.json")
    assert written["airflow_version"] == environment.airflow_version
    body = client.get_object(Bucket=bucket, Key="files/export/dag_run.csv")["Body"].read().decode()
    rows = list(csv.DictReader(io.StringIO(body, newline="")))
    assert len(rows) == written["tables"]["dag_run"]["rows"]
    assert {row["run_id"]: row["state"] for row in rows}[run_id] == "success"
    assert {row["run_id"]: row["state"] for row in rows}[run.run_id] == "running"


def test_a_dag_exports_one_increment_after_the_other(world: World, env_name: str) -> None:
    environment = world.environment(env_name)
    client, bucket = s3(world), f"export-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    is_2 = environment.airflow_version.startswith("2.")
    dag_id, conf = "export_metadata_incrementally", {"bucket": bucket, "route": "auto" if is_2 else "mwaa_environment"}
    unpause(world, env_name, dag_id)
    runs = [environment.trigger_dag_run(dag_id, conf=conf).run_id for _ in range(2)]
    for run_id in runs:
        until(lambda run_id=run_id: environment.get_dag_run(dag_id, run_id).state.is_final, timeout_s=240, what=run_id)
        assert environment.get_dag_run(dag_id, run_id).state == "success"
    names = {item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]}
    increments = sorted(name for name in names if name.startswith("files/increments/manifests/"))
    assert len(increments) == 2
    first, second = (json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in increments)
    assert second["tables"]["dag_run"]["written_since"] == first["tables"]["dag_run"]["snapshot"]
    assert {file["key"] for table in second["tables"].values() for file in table["files"]} < names
