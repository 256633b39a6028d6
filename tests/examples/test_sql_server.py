# SPDX-License-Identifier: Apache-2.0
"""The example that queries SQL Server, run: with the real driver against a stand-in, and on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.client import BaseClient

from airflow_mwaa_provider.local.stand_ins.tds_server import TdsServer
from airflow_mwaa_provider.secrets.secrets_manager import CachedSecretsManagerBackend
from tests.examples import dag_runs
from tests.metadata.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
TASKS = ["drop_db", "create_db", "create_table", "insert_into_table", "select_query"]


def run(
    kind: str, port: int, login: str, password: str, *, schema: str = "", conn_id: str = "mssql_default"
) -> dag_runs.Ended:
    connection = {
        "conn_type": kind,
        "host": "127.0.0.1",
        "port": port,
        "login": login,
        "password": password,
        "schema": schema,
    }
    conf = {} if conn_id == "mssql_default" else {"conn_id": conn_id}
    return dag_runs.run_dag(
        "sql_server", "mssql_conn_example", conf, {f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(connection)}
    )


def rows_of(done: dag_runs.Ended) -> list[list[str]]:
    """Return what the query returned; Airflow 3 keeps that rows are tuples."""
    return [row["__data__"] if isinstance(row, dict) else row for row in done.returned["select_query"]]


@pytest.fixture
def server() -> Iterator[TdsServer]:
    with TdsServer() as server:
        yield server


def test_a_row_is_written_to_sql_server_and_read(server: TdsServer) -> None:
    server.query("CREATE DATABASE testdb; CREATE TABLE testdb.dbo.old (x int)")
    done = run("mssql", server.port, server.user, server.password)
    assert (done.state, done.tasks) == ("success", dict.fromkeys(TASKS, "success")), done.log
    assert rows_of(done) == [["Olaf", "Disney"]]
    assert server.query("SELECT * FROM testdb.dbo.pet") == [("Olaf", "Disney")]
    with pytest.raises(Exception, match=r"Invalid object name 'testdb\.dbo\.old'"):
        server.query("SELECT * FROM testdb.dbo.old")
    assert server.password not in done.log
    databases = {each.text: each.database for each in server.requests}
    assert databases["DROP DATABASE IF EXISTS testdb"] == databases["CREATE DATABASE testdb"] == "master"
    assert databases["SELECT name, owner FROM pet ORDER BY name"] == "testdb"


@dag_runs.full
def test_a_wrong_password_fails_the_first_task(server: TdsServer) -> None:
    done = run("mssql", server.port, server.user, "wrong-password")
    assert (done.state, done.tasks["drop_db"]) == ("failed", "failed")
    assert "18456" in done.log
    assert "wrong-password" not in done.log
    assert [login.accepted for login in server.logins] == [False] * len(server.logins)
    assert server.requests == []


@dag_runs.full
def test_a_database_in_use_fails_the_first_task(server: TdsServer) -> None:
    server.query("CREATE DATABASE testdb")
    session = server.open_session("testdb")
    try:
        done = run("mssql", server.port, server.user, server.password)
    finally:
        session.close()
    assert (done.state, done.tasks["drop_db"], done.tasks["create_db"]) == ("failed", "failed", "upstream_failed")
    assert 'Cannot drop database "testdb" because it is currently in use.' in done.log


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab(Path(tempfile.mkdtemp(prefix="sql.", dir=os.environ["AIRFLOW_HOME"])))
    try:
        lab.start_postgres()
        yield lab
    finally:
        lab.stop()


def test_the_same_dag_runs_on_postgresql(lab: Lab) -> None:
    def on_postgres() -> dag_runs.Ended:
        password = lab.postgres.password
        return run("postgres", lab.postgres.port, "airflow_user", password, schema="postgres", conn_id="pg")

    if dag_runs.FULL:
        refused = on_postgres()
        assert (refused.state, refused.tasks["create_db"]) == ("failed", "failed")
        assert "permission denied to create database" in refused.log
    lab.run(lab.postgres.execute("ALTER ROLE airflow_user CREATEDB"))
    lab.run(lab.postgres.create_database("testdb"))
    done = on_postgres()
    assert (done.state, done.tasks) == ("success", dict.fromkeys(TASKS, "success")), done.log
    assert rows_of(done) == [["Olaf", "Disney"]]
    connection = lab.connect("testdb")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM pet")
        assert cursor.fetchall() == [("Olaf", "Disney")]
    connection.close()


def test_the_policy_of_the_page_is_what_a_look_up_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "samples" / "sql-server.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    [statement] = json.loads(block)["Statement"]
    called: list[tuple[str, str]] = []

    def answer(client: BaseClient, operation: str, request: dict[str, str]) -> dict[str, str]:
        called.append((f"{client.meta.service_model.signing_name}:{operation}", request.get("SecretId", "*")))
        return {"SecretString": "mssql://admin:pw@db.internal:1433"}

    monkeypatch.setattr(BaseClient, "_make_api_call", answer)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    backend = CachedSecretsManagerBackend(connections_prefix="airflow/connections", cache_dir=str(tmp_path / "cache"))
    connection = backend.get_connection("mssql_default")
    assert connection is not None
    assert (connection.conn_type, connection.host, connection.port) == ("mssql", "db.internal", 1433)
    name = statement["Resource"].partition(":secret:")[2].removesuffix("-??????")
    assert called == [(statement["Action"], name)]


def test_the_versions_on_the_page_are_those_of_the_constraints() -> None:
    page = (ROOT / "docs" / "samples" / "sql-server.md").read_text(encoding="utf-8")
    [table] = re.findall(r"\n\| Airflow \|.*?\n\n", page, re.DOTALL)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    (_, *images), _, (_, *providers), (_, *drivers) = cells
    folder = ROOT / "airflow_mwaa_provider" / "packaging" / "constraints"
    assert sorted(images) == sorted(path.stem for path in folder.glob("*.txt"))
    for image, provider, driver in zip(images, providers, drivers, strict=True):
        lines = (folder / f"{image}.txt").read_text(encoding="utf-8").splitlines()
        assert f"apache-airflow-providers-microsoft-mssql=={provider}" in lines
        assert f"pymssql=={driver}" in lines
