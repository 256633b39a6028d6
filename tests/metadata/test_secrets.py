# SPDX-License-Identifier: Apache-2.0
"""What is never exported, what is exported on request, and in which form."""

from __future__ import annotations

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError, TableNotFound
from tests.metadata.exports import body, export, keys, manifest, rows

SECRET = "hunter2-in-clear"
TOKEN = "gAAAAABmTokenOfFernet=="


@pytest.fixture
def with_secrets(lab, database):
    lab.execute(
        database,
        "INSERT INTO connection (conn_id, conn_type, host, login, password, extra, is_encrypted, is_extra_encrypted) "
        f"VALUES ('enc', 'aws', 'h', 'me', '{TOKEN}', '{TOKEN}', true, true), "
        f"('clear', 'aws', 'h', 'me', '{SECRET}', '{SECRET}', false, false), "
        "('none', 'aws', 'h', 'me', NULL, NULL, false, false)",
        f"INSERT INTO variable (key, val, is_encrypted) VALUES ('enc', '{TOKEN}', true), ('clear', '{SECRET}', false)",
        # JSON up to 2.8, text since then.
        f"INSERT INTO trigger (classpath, kwargs, created_date) VALUES ('x.Y', '\"{SECRET}\"', now())",
    )
    return database


def everything(lab, bucket) -> bytes:
    return b"\n".join(body(lab, bucket, key) for key in keys(lab, bucket))


def test_by_default_no_credential_leaves(lab, with_secrets, bucket) -> None:
    export(lab, with_secrets, bucket)
    written = manifest(lab, bucket)
    assert not {"connection", "variable", "session", "ab_user", "alembic_version"} & set(written["tables"])
    assert "kwargs" not in written["tables"]["trigger"]["columns"]
    content = everything(lab, bucket)
    assert SECRET.encode() not in content
    assert TOKEN.encode() not in content


def test_tables_of_credentials_leave_by_name_without_what_is_secret(lab, with_secrets, bucket) -> None:
    export(lab, with_secrets, bucket, tables=["connection", "variable"])
    content = everything(lab, bucket)
    assert SECRET.encode() not in content
    assert TOKEN.encode() not in content
    assert [row["conn_id"] for row in rows(lab, bucket, "files/export/connection.csv")] == ["enc", "clear", "none"]
    assert "password" not in manifest(lab, bucket)["tables"]["connection"]["columns"]


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_a_secret_that_is_asked_for_leaves_encrypted_or_masked(lab, with_secrets, bucket, file_format) -> None:
    asked = ["connection.password", "connection.extra", "variable.val", "trigger.kwargs"]
    export(lab, with_secrets, bucket, tables=asked, file_format=file_format)
    assert SECRET.encode() not in everything(lab, bucket)
    if file_format == "parquet":
        return
    found = {row["conn_id"]: row["password"] for row in rows(lab, bucket, "files/export/connection.csv")}
    assert found == {"enc": TOKEN, "clear": "***", "none": ""}
    assert [row["val"] for row in rows(lab, bucket, "files/export/variable.csv")] == [TOKEN, "***"]
    assert [row["kwargs"] for row in rows(lab, bucket, "files/export/trigger.csv")] == ["***"]


def test_a_secret_of_an_unknown_table_is_known_by_its_name(lab, database, bucket) -> None:
    lab.execute(
        database,
        "CREATE TABLE brand_new (id int PRIMARY KEY, api_token text, created_at timestamptz)",
        f"INSERT INTO brand_new VALUES (1, '{SECRET}', now())",
    )
    export(lab, database, bucket)
    assert list(manifest(lab, bucket)["tables"]["brand_new"]["columns"]) == ["id", "created_at"]
    assert SECRET.encode() not in everything(lab, bucket)


def test_what_cannot_be_exported_is_refused_before_anything_is_written(lab, database, bucket) -> None:
    lab.execute(database, "CREATE TABLE odd (id int PRIMARY KEY, place point)", "INSERT INTO odd VALUES (1, '(1,2)')")
    wrong = {
        "did you mean": {"tables": ["dag_runs"]},
        "has no column 'start'": {"tables": ["dag_run.start"]},
        "twice": {"tables": ["dag_run", "dag_run"]},
        "is empty": {"tables": []},
        "is a string": {"tables": "dag_run"},
        "No table is left": {"tables": ["dag_run"], "exclude": ["dag_run"]},
        "there are csv and parquet": {"file_format": "xlsx"},
        "unknown for csv": {"compression": "snappy"},
        "Use table or hive": {"layout": "flat"},
        "cannot grow": {"layout": "table", "incremental": True},
        "many small files": {"file_bytes": 1000},
        "not a name such as manifest.json": {"manifest_name": "a/b"},
    }
    for words, options in wrong.items():
        with pytest.raises(MwaaInputError, match=words.replace("[", r"\[")) as caught:
            export(lab, database, bucket, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(TableNotFound, match="no table 'task_fails'"):
        export(lab, database, bucket, tables=["task_fails"])
    assert keys(lab, bucket) == []
    export(lab, database, bucket, tables=["odd"])
    assert rows(lab, bucket, "files/export/odd.csv") == [{"id": "1", "place": "(1,2)"}]
