# SPDX-License-Identifier: Apache-2.0
"""The operator and the hook: connections, routes, templates, what a task returns, what it logs."""

from __future__ import annotations

import json
import logging
import re
from datetime import timedelta

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3, AIRFLOW_VERSION
from airflow_mwaa_provider.exceptions import DatabaseUnavailable, MwaaInputError, NoMetadataRoute
from airflow_mwaa_provider.hooks.metadata import MetadataHook
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.operators.metadata import MetadataToS3Operator
from tests.metadata.exports import keys, manifest, rows
from tests.metadata.lab import REGION


def test_a_task_exports_through_a_connection(lab, short_history, bucket, connections, caplog, capsys) -> None:
    operator = MetadataToS3Operator(
        task_id="export", bucket=bucket, metadata_conn_id="metadata", tables=["dag_run", "task_instance"],
        since="2025-11-01T00:00:00+00:00", until="",
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        returned = operator.execute({})
    json.dumps(returned)  # valid as an XCom
    assert {name: table["rows"] for name, table in returned["tables"].items()} == {"dag_run": 12, "task_instance": 36}
    assert set(returned["tables"]["dag_run"]) >= {"rows", "bytes", "objects", "sha256"}
    assert returned["tables"]["dag_run"]["objects"] == ["files/export/dag_run.csv"]
    assert set(returned) >= {"schema_version", "airflow_version", "since", "until"}
    assert returned["route"] == "database"
    assert (
        manifest(lab, bucket, returned["key"])["tables"]["dag_run"]["sha256"] == returned["tables"]["dag_run"]["sha256"]
    )
    assert len(rows(lab, bucket, "files/export/task_instance.csv")) == 36
    logged = caplog.text + capsys.readouterr().out  # Airflow 3 writes a task's log there
    assert "Route database: Database" in logged
    assert "task_instance: 36 rows" in logged
    assert "Exported 48 rows of 2 tables" in logged
    assert lab.postgres.password not in logged


def test_on_airflow_2_the_environments_own_database_needs_no_connection(
    lab, short_history, bucket, connections
) -> None:
    monkeypatch, _ = connections
    operator = MetadataToS3Operator(task_id="export", bucket=bucket, tables=["dag_run"])
    if AIRFLOW_V_3:
        with pytest.raises(NoMetadataRoute, match="tasks of Airflow 3 cannot access it"):
            operator.execute({})
        return
    with pytest.raises(NoMetadataRoute, match="is sqlite, and MWAA's is PostgreSQL"):
        operator.execute({})
    from airflow import settings
    from sqlalchemy import create_engine, event

    engine = create_engine(lab.postgres.url(short_history).replace(lab.postgres.password, "wrong"))

    @event.listens_for(engine, "do_connect")
    def token(dialect, record, arguments, parameters) -> None:  # as MWAA's images add tokens of RDS
        parameters["password"] = lab.postgres.password

    monkeypatch.setattr(settings, "engine", engine)
    returned = operator.execute({})
    assert returned["tables"]["dag_run"]["rows"] == 12
    assert returned["airflow_version"] == AIRFLOW_VERSION
    assert engine.pool.checkedout() == 0
    # The export does not affect the connections that Airflow uses afterwards.
    with engine.connect() as own:
        assert own.exec_driver_sql("SHOW transaction_read_only").scalar() == "off"
    engine.dispose()


def test_the_settings_of_a_container_of_mwaa(lab, short_history, bucket, connections) -> None:
    monkeypatch, _ = connections
    operator = MetadataToS3Operator(task_id="export", bucket=bucket, tables=["dag_run"], route="mwaa_environment")
    with pytest.raises(NoMetadataRoute, match="MWAA__DB__POSTGRES_HOST is not set"):
        operator.execute({})
    monkeypatch.setenv("MWAA__DB__POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("MWAA__DB__POSTGRES_PORT", str(lab.postgres.port))
    monkeypatch.setenv("MWAA__DB__POSTGRES_DB", short_history)
    monkeypatch.setenv("MWAA__DB__POSTGRES_SSLMODE", "prefer")
    monkeypatch.setenv("MWAA__DB__CREDENTIALS", '{"username": "me", "pass')
    with pytest.raises(NoMetadataRoute, match="not a JSON object with username and password") as caught:
        operator.execute({})
    assert caught.value.__cause__ is None
    monkeypatch.setenv(
        "MWAA__DB__CREDENTIALS", json.dumps({"username": "airflow_user", "password": lab.postgres.password})
    )
    assert operator.execute({})["route"] == "mwaa_environment"


def test_every_connection_gets_a_new_token_of_rds(lab, connections) -> None:
    monkeypatch, postgres = connections
    seen = []
    monkeypatch.setattr("psycopg2.connect", lambda **options: seen.append(options) or (_ for _ in ()).throw(OSError))
    postgres = {**postgres, "host": "db.example", "password": "", "extra": {"iam": True}}
    monkeypatch.setenv("AIRFLOW_CONN_METADATA", json.dumps(postgres))
    database, _ = MetadataHook("metadata").database()
    for _ in range(2):
        with pytest.raises(OSError):
            database.open()
    assert [options["sslmode"] for options in seen] == ["require", "require"]
    assert all(
        options["password"].startswith(f"db.example:{lab.postgres.port}/?Action=connect&DBUser=airflow_user")
        for options in seen
    )
    assert "X-Amz-Signature" not in repr(database)


def test_tokens_of_a_container_are_signed_with_its_own_role(lab, short_history) -> None:
    """As in MWAA's images, the credentials come from the container's address, never through a proxy."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = json.dumps({"AccessKeyId": "AKIAEXEC", "SecretAccessKey": "s", "Token": "t"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            return

    asked: list[str] = []
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen = []
    variables = {
        "MWAA__DB__POSTGRES_HOST": "vpce.example", "MWAA__DB__POSTGRES_PORT": "5432",
        "MWAA__DB__POSTGRES_DB": "AirflowMetadata",
        "USE_IAM_CREDENTIALS": "true", "RDS_IAM_TOKEN_HOSTNAME": "proxy.example", "AWS_REGION": REGION,
        "ECS_CONTAINER_METADATA_URI": f"http://127.0.0.1:{server.server_port}/v3/abc",
        "AWS_TASK_EXEC_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setattr(
            "psycopg2.connect", lambda **options: seen.append(options) or (_ for _ in ()).throw(OSError)
        )
        database = Database.from_mwaa_environment(variables)
        with pytest.raises(OSError):
            database.open()
        del variables["AWS_TASK_EXEC_CREDENTIALS_RELATIVE_URI"]
        with pytest.raises(NoMetadataRoute, match="AWS_TASK_EXEC_CREDENTIALS_RELATIVE_URI is not set"):
            Database.from_mwaa_environment(variables).open()
        server.shutdown()
        server.server_close()
        variables["AWS_TASK_EXEC_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/1"
        with pytest.raises(DatabaseUnavailable, match="the container's role could not be read"):
            Database.from_mwaa_environment(variables).open()
    assert asked == ["/v2/credentials/1"]
    assert seen[0]["user"] == "airflow_user"
    assert seen[0]["host"] == "vpce.example"
    assert seen[0]["password"].startswith("proxy.example:5432/?Action=connect&DBUser=airflow_user")
    assert "AKIAEXEC" in seen[0]["password"]


def test_what_cannot_be_is_said_in_one_line(lab, bucket, connections) -> None:
    monkeypatch, postgres = connections
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL", json.dumps({**postgres, "conn_type": "mysql"}))
    wrong = {
        "Use one of auto": {"route": "direct"},
        "Leave metadata_conn_id out": {"route": "mwaa_environment", "metadata_conn_id": "metadata"},
        "Use a connection of type postgres": {"metadata_conn_id": "mysql"},
        "is not a list of names": {"metadata_conn_id": "metadata", "tables": "dag_run"},
        "has no time zone": {"metadata_conn_id": "metadata", "since": "2026-01-01"},
        "must be before until": {
            "metadata_conn_id": "metadata",
            "since": "2026-01-02T00:00Z",
            "until": "2026-01-01T00:00Z",
        },
        "without s3://": {"metadata_conn_id": "metadata", "bucket": f"s3://{bucket}"},
    }
    for words, options in wrong.items():
        with pytest.raises(MwaaInputError, match=words) as caught:
            MetadataToS3Operator(task_id="export", **{"bucket": bucket, **options}).execute({})
        assert "\n" not in str(caught.value), words
    with pytest.raises(MwaaInputError, match="statement_timeout"):
        MetadataToS3Operator(task_id="export", bucket=bucket, statement_timeout=60)
    assert keys(lab, bucket) == []


def test_the_hook_gives_a_connection_as_hooks_do(connections) -> None:
    connection = MetadataHook("metadata").get_conn()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dag_run")
        assert cursor.fetchone() == (12,)
    connection.close()


def test_a_long_export_tells_how_far_it_is(monkeypatch, caplog, capsys) -> None:
    operator = MetadataToS3Operator(task_id="export", bucket="b", statement_timeout=timedelta(minutes=1))
    now = [0.0]
    monkeypatch.setattr("airflow_mwaa_provider.operators.metadata.time.monotonic", lambda: now[0])
    tell = operator._progress()
    with caplog.at_level(logging.INFO):
        for step in range(7):
            now[0] = step * 10.0
            tell("log", 1000 * (step + 1), 4096, 10_000)
    logged = caplog.text + capsys.readouterr().out
    found = re.findall(r"log: ([\d,]+)( of about [\d,]+)? rows, 4,096 bytes", logged)
    # Some Airflow versions write a record both ways.
    assert sorted(set(found)) == [("4,000", " of about 10,000"), ("7,000", " of about 10,000")]
