# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa metadata export`` as a process, against a real database and a real S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.metadata import history
from tests.metadata.conftest import bucket, database, lab
from tests.metadata.exports import keys, manifest, uploads
from tests.metadata.faulty_s3 import FaultyS3
from tests.metadata.lab import REGION

__all__ = ["bucket", "database", "lab"]


@pytest.fixture
def command(lab, database, bucket, tmp_path):
    """Run the command; return the finished process."""
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=20, tasks=5, dags=2)
        cursor.execute("ANALYZE")
    connection.close()
    lab.start_moto()
    url = lab.postgres.url(database).replace("+psycopg2", "")
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG"))},
        "AWS_ENDPOINT_URL": lab.moto.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AIRFLOW_MWAA_DATABASE_URL": url.replace(f":{lab.postgres.password}@", "@"),
        "PGPASSWORD": lab.postgres.password,
    }

    def start(*arguments, **changed):
        line = [sys.executable, "-m", "airflow_mwaa_provider.cli.main", "metadata", "export", *arguments]
        environment = {name: value for name, value in {**variables, **changed}.items() if value is not None}
        pipe = subprocess.PIPE
        return subprocess.Popen(line, env=environment, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path)

    def run(*arguments, **changed):
        process = start(*arguments, **changed)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    run.start = start
    return run


def test_it_exports_and_shows_what(lab, command, bucket) -> None:
    status, out, err = command(
        f"s3://{bucket}/history", "--table", "dag_run", "--table", "log", "--compression", "gzip"
    )
    assert (status, err) == (0, "")
    assert f"s3://{bucket}/history/manifest.json" in out
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["dag_run", "20"], ["log", "100"]]
    assert keys(lab, bucket) == ["history/dag_run.csv.gz", "history/log.csv.gz", "history/manifest.json"]
    status, out, err = command(f"s3://{bucket}/json", "--exclude", "log", "--output", "json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    routes = found.pop("routes")
    assert found == manifest(lab, bucket, "json/manifest.json")
    assert [(each["route"], each["is_used"]) for each in routes] == [
        ("database", True),
        ("mwaa_environment", False),
        ("api", False),
        ("rest", False),
    ]
    assert routes[0]["place"].startswith("Database ")


def test_a_dry_run_estimates_and_writes_nothing(lab, command, bucket) -> None:
    status, out, _ = command(f"s3://{bucket}/history", "--dry-run", "--output", "json", AWS_ACCESS_KEY_ID=None)
    assert status == 0
    found = {item["table"]: item for item in json.loads(out)}
    assert found["task_instance"]["rows"] == 100
    assert found["task_instance"]["bytes"] > 10_000
    status, out, _ = command(
        f"s3://{bucket}/history", "--dry-run", "--table", "dag_run", "--since", "2026-06-01T00:00:00Z"
    )
    assert status == 0
    assert "time" in out
    assert keys(lab, bucket) == []


def test_misuse_and_failure_are_one_line_each(lab, command, bucket) -> None:
    place = f"s3://{bucket}/x"
    wrong = [
        (2, "is not a location in S3", ("x/y",), {}),
        (2, "No database was named", (place,), {"AIRFLOW_MWAA_DATABASE_URL": None}),
        (2, "did you mean dag_run", (place, "--table", "dag_runs"), {}),
        (2, "MWAA__DB__POSTGRES_HOST is not set", (place, "--route", "mwaa_environment"), {}),
        (2, "no time zone", (place, "--since", "2026-01-01"), {}),
        (2, "MWAA's is PostgreSQL", (place,), {"AIRFLOW_MWAA_DATABASE_URL": "mysql://u:hunter2@h/db"}),
        (1, "does not exist", ("s3://no-such-bucket-at-all/x",), {}),
        (1, "user and password", (place,), {"PGPASSWORD": "wrong"}),
    ]
    for wanted, words, arguments, changed in wrong:
        status, out, err = command(*arguments, **changed)
        assert (status, out) == (wanted, ""), err
        assert words in err
        assert err.startswith("airflow-mwaa: ")
        assert err.count("\n") == 1
        assert "hunter2" not in err
    assert keys(lab, bucket) == []


def test_interrupted_it_leaves_nothing(lab, command, database, bucket) -> None:
    lab.execute(database, "UPDATE log SET extra = repeat(md5(id::text), 12500)")  # 40 MB
    is_under_way, is_interrupted = threading.Event(), threading.Event()

    def hold(method, path) -> None:
        if "partNumber=2" in path:
            is_under_way.set()
            is_interrupted.wait(200)

    with FaultyS3(lab.moto.url, hold) as s3:
        process = command.start(f"s3://{bucket}/x", "--table", "log", AWS_ENDPOINT_URL=s3.url)
        assert is_under_way.wait(200)
        process.send_signal(signal.SIGINT)
        is_interrupted.set()
        out, err = process.communicate(timeout=200)
    assert (process.returncode, out) == (1, "")
    assert "interrupted; nothing of this export is visible" in err
    assert keys(lab, bucket) == []
    assert uploads(lab, bucket) == []
