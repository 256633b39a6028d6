# SPDX-License-Identifier: Apache-2.0
"""Failures during an export: reported in one line, with nothing of the export visible afterwards."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import psycopg2
import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    DatabaseRefused,
    DatabaseUnavailable,
    MwaaError,
    NotAirflowMetadata,
    StorageError,
)
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import PART_BYTES, Storage
from tests import seeds
from tests.metadata import history
from tests.metadata.exports import body, export, keys, manifest, uploads
from tests.metadata.faulty_s3 import FaultyS3
from tests.metadata.once import FULL, KNOWS_NO_AIRFLOW


@pytest.fixture
def large(lab, database):
    """A database whose log needs several parts of an upload."""
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=20, tasks=5, dags=2)
        cursor.execute("UPDATE log SET extra = repeat(md5(id::text), 9000)")
    connection.close()
    return database


def export_through(lab, database, s3, bucket, **options):
    with DatabaseSource(lab.database(database)) as source, Storage(s3, bucket) as storage:
        return export_metadata(source, storage, ExportOptions(**options))


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize(
    ("status", "code", "message", "error", "words"),
    [
        (404, "NoSuchBucket", "x", StorageError, "does not exist"),
        (403, "AccessDenied", "Access Denied", AccessDenied, "s3:PutObject was refused"),
        (400, "KMS.DisabledException", "key is disabled", AccessDenied, "KMS refused"),
        (
            403,
            "AccessDenied",
            "not authorized to perform: kms:GenerateDataKey on resource",
            AccessDenied,
            "KMS refused",
        ),
        (301, "PermanentRedirect", "use the other endpoint", StorageError, "another region"),
        (403, "InvalidAccessKeyId", "no such key id", AccessDenied, "credentials were refused"),
        (503, "SlowDown", "please", StorageError, "try later"),
    ],
)
def test_what_s3_refuses_is_said_before_the_database_is_read(
    lab, large, bucket, status, code, message, error, words
) -> None:
    def answer(method, path):
        return (status, code, message) if method == "POST" and "uploads" in path else None

    with FaultyS3(lab.moto.url, answer) as s3, pytest.raises(error, match=words) as caught:
        export_through(lab, large, s3.client(), bucket)
    assert bucket in str(caught.value)
    assert "\n" not in str(caught.value)
    # In another region, botocore looks up the right one; nothing else was tried.
    assert {(method, "uploads" in path) for method, path in s3.calls} <= {("POST", True), ("HEAD", False)}
    assert keys(lab, bucket) == []


@KNOWS_NO_AIRFLOW
def test_a_bucket_that_is_not_there_and_one_of_another_account(lab, large, bucket) -> None:
    with pytest.raises(StorageError, match="'no-such-bucket-here' does not exist"):
        export(lab, large, "no-such-bucket-here")
    # moto does not compare the expected owner; S3 does, and answers like this.
    denied = (403, "AccessDenied", "Access Denied")
    with (
        FaultyS3(lab.moto.url, lambda method, path: denied) as s3,
        DatabaseSource(lab.database(large)) as source,
        Storage(s3.client(), bucket, owner="999999999999") as storage,
        pytest.raises(AccessDenied, match="a bucket of another account must allow it too"),
    ):
        export_metadata(source, storage, ExportOptions())
    assert s3.owners == {"999999999999"}
    assert keys(lab, bucket) == []


@pytest.mark.parametrize("fault", ["part", "complete", "cut"])
def test_a_failure_in_the_middle_leaves_nothing(lab, large, bucket, fault) -> None:
    seen = []

    def answer(method, path):
        if fault == "complete":
            is_it = method == "POST" and "uploadId" in path
        else:
            is_it = method == "PUT" and "partNumber=2" in path
        if not is_it:
            return None
        seen.append(path)
        return (0, "", "") if fault == "cut" else (403, "AccessDenied", "Access Denied")

    with FaultyS3(lab.moto.url, answer) as s3, pytest.raises(MwaaError) as caught:
        export_through(lab, large, s3.client(), bucket, tables=["log"])
    assert seen
    assert "log.csv" in str(caught.value)
    assert [key for key in keys(lab, bucket) if "writing" not in key] == []
    assert uploads(lab, bucket) == []


@KNOWS_NO_AIRFLOW
def test_an_export_that_fails_leaves_the_one_before_as_it_was(lab, large, bucket) -> None:
    export(lab, large, bucket)
    before = {key: body(lab, bucket, key) for key in keys(lab, bucket)}
    lab.execute(large, "DELETE FROM log WHERE id % 2 = 0")
    with (
        FaultyS3(
            lab.moto.url, lambda method, path: (500, "InternalError", "x") if "partNumber=3" in path else None
        ) as s3,
        pytest.raises(StorageError),
    ):
        export_through(lab, large, s3.client(), bucket)
    assert {key: body(lab, bucket, key) for key in keys(lab, bucket)} == before
    export(lab, large, bucket)
    assert manifest(lab, bucket)["tables"]["log"]["rows"] == 50


@KNOWS_NO_AIRFLOW
def test_a_role_that_may_not_read_or_delete_exports_all_the_same(lab, large, bucket, caplog) -> None:
    """As in the guide's sample: only s3:PutObject, and permission to abort an upload."""
    refused = "<Error><Key>x</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    # If a role may delete none of them, S3 answers 200, with an error for each.
    deleted = f'<?xml version="1.0" encoding="UTF-8"?><DeleteResult>{refused}</DeleteResult>'

    def answer(method, path):
        if method == "POST" and path.partition("?")[2].startswith("delete"):
            return 200, "", deleted
        return (403, "AccessDenied", "Access Denied") if method == "GET" else None

    for rows in (100, 50):
        with FaultyS3(lab.moto.url, answer) as s3:
            written = export_through(lab, large, s3.client(), bucket, tables=["log"])
        assert written.tables["log"].rows == manifest(lab, bucket)["tables"]["log"]["rows"] == rows
        lab.execute(large, "DELETE FROM log WHERE id % 2 = 0")
    assert "s3:DeleteObject was refused" in caplog.text


def test_calls_are_parts_and_two_an_object(lab, large, bucket) -> None:
    with FaultyS3(lab.moto.url, lambda method, path: None) as s3:
        written = export_through(lab, large, s3.client(), bucket, tables=["log", "dag", "dag_run", "slot_pool"])
    of_objects = [path for _, path in s3.calls if ".csv" in path]
    parts = len([path for path in of_objects if "partNumber" in path])
    assert 3 < parts <= -(-written.tables["log"].bytes // PART_BYTES)
    assert len([path for path in of_objects if "log.csv" in path]) == parts + 2
    assert len(of_objects) == parts + 2 + 3  # a small object is one call


def test_the_database_goes_away(lab, large, bucket, monkeypatch) -> None:
    killed = []

    def progress(table, rows, size, expected) -> None:
        if table == "log" and not killed:
            killed.append(True)
            lab.run(
                lab.postgres.execute(
                    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{large}'"
                )
            )

    with (
        DatabaseSource(lab.database(large)) as source,
        Storage(lab.s3(), bucket) as storage,
        pytest.raises(DatabaseUnavailable, match="reading table log failed") as caught,
    ):
        export_metadata(source, storage, ExportOptions(tables=["log"]), progress=progress)
    assert caught.value.transient
    assert "\n" not in str(caught.value)
    assert keys(lab, bucket) == []
    assert uploads(lab, bucket) == []


@KNOWS_NO_AIRFLOW
def test_what_the_database_refuses(lab, large, bucket) -> None:
    nowhere = Database.from_url("postgresql://me:hunter2@127.0.0.1:1/airflow")
    with (
        pytest.raises(DatabaseUnavailable, match=r"Database 'airflow' on 127\.0\.0\.1:1: opening it failed") as caught,
        DatabaseSource(nowhere),
    ):
        pass
    assert "hunter2" not in repr(caught.value) + repr(nowhere) + repr(vars(nowhere))
    url = lab.postgres.url(large)
    with (
        pytest.raises(DatabaseUnavailable, match="user and password"),
        DatabaseSource(Database.from_url(url.replace(":" + url.split(":")[2].split("@")[0], ":wrong"))),
    ):
        pass
    with (
        pytest.raises(NotAirflowMetadata, match="not Airflow's metadata database"),
        DatabaseSource(Database.from_url(lab.postgres.url("template1"))),
    ):
        pass
    other = lab.connect(large)
    other.autocommit = False
    with (
        DatabaseSource(lab.database(large), statement_timeout_s=2) as source,
        Storage(lab.s3(), bucket) as storage,
    ):
        other.cursor().execute("LOCK TABLE log")  # so that the query exceeds its limit
        with pytest.raises(DatabaseRefused, match="more time with statement_timeout") as refused:
            export_metadata(source, storage, ExportOptions(tables=["log"]))
    other.close()
    assert refused.value.sqlstate == "57014"
    lab.run(lab.postgres.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'"))
    try:
        lab.execute(large, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", "REVOKE SELECT ON log FROM reader")
        reader = Database.from_url(url.replace(url.split("//")[1].split("@")[0], "reader:reader"))
        with (
            DatabaseSource(reader) as source,
            Storage(lab.s3(), bucket) as storage,
            pytest.raises(DatabaseRefused, match="the right to read it") as refused,
        ):
            export_metadata(source, storage, ExportOptions(tables=["log"]))
    finally:
        lab.execute(large, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM reader")
        lab.run(lab.postgres.execute("DROP ROLE reader"))
    assert refused.value.sqlstate == "42501"
    assert keys(lab, bucket) == []


def test_all_tables_are_as_they_were_at_one_moment(lab, large, bucket) -> None:
    """Changes to other tables while the first one is read are not in the export."""

    def progress(table, rows, size, expected) -> None:
        if table == "dag_run":
            lab.execute(
                large,
                "DELETE FROM task_instance",
                "INSERT INTO slot_pool (pool, slots, include_deferred) SELECT gen_random_uuid(), 1, false",
            )

    with DatabaseSource(lab.database(large)) as source, Storage(lab.s3(), bucket) as storage:
        written = export_metadata(
            source, storage, ExportOptions(tables=["dag_run", "task_instance", "slot_pool"]), progress=progress
        )
    assert written.tables["task_instance"].rows == 100
    assert written.tables["slot_pool"].rows == 1  # the default one


def test_an_export_cannot_write_to_the_database(lab, large) -> None:
    with DatabaseSource(lab.database(large)) as source, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        source._connection.cursor().execute("DELETE FROM log")


EXPORT = """
import sys
from tests.metadata.lab import REGION
import boto3
from botocore.config import Config
from airflow_mwaa_provider.metadata.export import lease as export_lease
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import PART_BYTES
export_lease.DEAD_AFTER_S = 0.6  # those who were killed are dead
from airflow_mwaa_provider.metadata.storage.bucket import Storage
url, endpoint, bucket, form, layout = sys.argv[1:]
tables = ["dag_run", "task_instance", "log", "dag", "slot_pool", "job"]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id="t", aws_secret_access_key="t",
                  config=Config(s3={"addressing_style": "path"}))
print("ready", flush=True)
with DatabaseSource(Database.from_url(url)) as source, Storage(s3, bucket) as storage:
    export_metadata(source, storage, ExportOptions(tables=tables, file_format=form, layout=layout))
print("done", flush=True)
"""


@pytest.mark.parametrize(
    ("form", "layout"),
    [
        pytest.param("csv", "table", marks=pytest.mark.skipif(AIRFLOW_V_3 and not FULL, reason="the other suite does")),
        pytest.param("parquet", "hive", marks=KNOWS_NO_AIRFLOW),
    ],
)
def test_killed_at_any_call(lab, large, bucket, form, layout) -> None:
    """A manifest never lacks objects, and after the next export nothing of the killed one remains."""

    def start(endpoint: str = lab.moto.url):
        command = [sys.executable, "-c", EXPORT, lab.postgres.url(large), endpoint, bucket, form, layout]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    def kill(process) -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def check_manifest() -> None:
        if "files/export/manifest.json" not in keys(lab, bucket):
            return
        written, there = manifest(lab, bucket), set(keys(lab, bucket))
        for table in written["tables"].values():
            assert set(table["objects"]) <= there
            for file in table["files"]:
                head = lab.s3().head_object(Bucket=bucket, Key=file["key"])
                assert head["ContentLength"] == file["bytes"]

    def kill_at(is_it: Callable[[int, str], bool]) -> None:
        """Kill it when it makes a call; S3 receives neither this call nor any later one."""
        is_under_way, is_killed, number = threading.Event(), threading.Event(), itertools.count(1)

        def hold(method, path) -> tuple[int, str, str] | None:
            if not is_it(next(number), path) and not is_under_way.is_set():
                return None
            is_under_way.set()
            is_killed.wait(200)
            return 0, "", ""

        with FaultyS3(lab.moto.url, hold) as s3:
            process = start(s3.url)
            assert is_under_way.wait(200)
            kill(process)
            is_killed.set()

    with FaultyS3(lab.moto.url, lambda method, path: None) as s3:
        assert start(s3.url).communicate()[0] == "done\n"
    calls, complete = len(s3.calls), keys(lab, bucket)
    if form == "csv":  # the Parquet file is too small to have parts
        kill_at(lambda number, path: "partNumber=2" in path)
        assert [key for key in uploads(lab, bucket) if key.endswith("log.csv")]
        check_manifest()
    chance = random.Random(seeds.of_the_day())
    # The last calls, which make objects visible, are the critical ones; the second call ends an upload that was begun
    # to check the permission to write.
    anywhere = [
        chance.randint(*chance.choice([(1, calls), (calls * 7 // 10, calls)])) for _ in range(19 if FULL else 3)
    ]
    for last in [2, *anywhere]:
        lab.execute(large, "UPDATE log SET owner = md5(random()::text)")
        kill_at(lambda number, path, last=last: number >= last)
        check_manifest()
    assert start().communicate()[0] == "done\n"
    assert uploads(lab, bucket) == []
    assert keys(lab, bucket) == complete
    check_manifest()
