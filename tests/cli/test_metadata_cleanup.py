# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa metadata plan``, ``clean`` and ``restore`` as processes, against a real database and a real S3."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.metadata import history
from tests.metadata.conftest import bucket, database, lab
from tests.metadata.lab import REGION, Lab
from tests.metadata.once import KNOWS_NO_AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["bucket", "database", "lab"]

pytestmark = KNOWS_NO_AIRFLOW


@pytest.fixture
def command(lab: Lab, database: str) -> Callable[..., tuple[int, str, str]]:
    """Run a command of the group; return its exit status, stdout and stderr."""
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=40, tasks=5, dags=2)
        cursor.execute("UPDATE dag_run SET end_date = end_date - interval '3 years'")
        cursor.execute("UPDATE task_instance SET start_date = '2023-01-01', end_date = '2023-01-01'")
        cursor.execute("UPDATE log SET dttm = '2023-01-01'")
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

    @contextlib.contextmanager
    def start(*arguments: str, stdin: int | None = None) -> Iterator[subprocess.Popen[str]]:
        line = [sys.executable, "-m", "airflow_mwaa_provider.cli.main", "metadata", *arguments]
        pipe = subprocess.PIPE
        with subprocess.Popen(line, env=variables, stdin=stdin, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(*arguments: str, stdin: str = "", **changed: str | None) -> tuple[int, str, str]:
        line = [sys.executable, "-m", "airflow_mwaa_provider.cli.main", "metadata", *arguments]
        environment = {name: value for name, value in {**variables, **changed}.items() if value is not None}
        done = subprocess.run(
            line, env=environment, capture_output=True, text=True, input=stdin, timeout=90, check=False
        )
        assert lab.postgres.password not in done.stdout + done.stderr
        return done.returncode, done.stdout, done.stderr

    run.start = start  # type: ignore[attr-defined]
    return run


def runs(lab: Lab, name: str) -> int:
    connection = lab.connect(name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dag_run")
        [(count,)] = cursor.fetchall()
    connection.close()
    return int(count)


def test_a_plan_is_shown_and_carried_out(lab: Lab, database: str, command: Any) -> None:
    status, out, err = command("plan", "--retention", "365d", "--retention-by-table", "log=2w")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert f"metadata of  Database '{database}' on 127.0.0.1:{lab.postgres.port}" in out
    assert lines[1][:2] == ["older", "than"]
    assert lines[2][:4] == ["TABLE", "ROWS", "OF", "ALL"]
    assert ["task_instance", "190", "95%"] in [line[:3] for line in lines]
    assert ["dag_run", "38", "95%"] in [line[:3] for line in lines]
    assert ["log", "200", "100%"] in [line[:3] for line in lines]
    assert "dag_run  2     it is the last run of its DAG" in out
    assert runs(lab, database) == 40
    status, out, err = command("clean", "--retention", "365d", "--yes", "--output", "json")
    assert (status, err) == (0, "")
    done = json.loads(out)
    assert (done["is_complete"], done["tables"]["dag_run"]["deleted"], runs(lab, database)) == (True, 38, 2)
    assert done["longest_transaction_s"] > 0
    assert [(route["route"], route["is_used"]) for route in done["routes"]] == [
        ("database", True),
        ("mwaa_environment", False),
        ("api", False),
        ("cli", False),
    ]
    status, out, _ = command("plan", "--retention", "365d", "--output", "json")
    assert (status, json.loads(out)["rows"]) == (0, 0)


def test_nobody_is_deleted_for_without_being_asked(lab: Lab, database: str, command: Any) -> None:
    status, out, err = command("clean")
    assert (status, out) == (2, "")
    assert "use --yes" in err
    assert runs(lab, database) == 40


def test_a_cleanup_that_asks_chooses_its_route_once(lab: Lab, database: str, command: Any) -> None:
    """With both a database and an environment, the plan of the routes is shown, and not again after the answer."""
    terminal, stdin = pty.openpty()
    with command.start("clean", "--retention", "365d", "--env-name", "my-environment", stdin=stdin) as process:
        os.write(terminal, b"y\n")
        out, err = process.communicate(timeout=90)
    os.close(terminal)
    os.close(stdin)
    assert (process.returncode, runs(lab, database)) == (0, 2), err
    assert "Delete these 428 rows" in out
    assert err.splitlines() == [
        f"airflow-mwaa: Route database: Database '{database}' on 127.0.0.1:{lab.postgres.port}",
        "airflow-mwaa: Route mwaa_environment is not used: it is used only when it is requested by name",
        "airflow-mwaa: Route api is not used: route database is preferred",
        "airflow-mwaa: Route cli is not used: route database is preferred",
    ]


def test_what_was_archived_comes_back(lab: Lab, database: str, bucket: str, command: Any) -> None:
    status, out, err = command("clean", "--yes", "--archive-to", f"s3://{bucket}/old", "--table", "dag_run")
    assert (status, runs(lab, database)) == (0, 2), err
    [place] = [line.split()[1] for line in out.splitlines() if line.split()[:1] == ["archive"]]
    assert place.startswith(f"s3://{bucket}/old/archive-")
    status, out, err = command("restore", place.removesuffix("/manifest.json"), "--output", "json")
    assert (status, runs(lab, database)) == (0, 40), err
    assert json.loads(out)["task_instance"] == {"rows": 190, "inserted": 190}
    status, out, _ = command("restore", place, "--table", "dag_run")
    assert ["dag_run", "38", "0"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["clean", "--yes", "--retention", "2h"], 2, "below one day"),
        (["clean", "--yes", "--retention", "soon"], 2, "not a duration"),
        (["plan", "--table", "dag_runs"], 2, "did you mean dag_run"),
        (["plan", "--retention-by-table", "xcom"], 2, "TABLE=AGE"),
        (["plan", "--route", "api"], 2, "Name it with --env-name"),
        (["clean", "--yes", "--archive-to", "bucket/x"], 2, "s3://BUCKET/PREFIX"),
        (["clean", "--yes", "--env-name", "e", "--route", "cli", "--archive-to", "s3://b/p"], 2, "do not archive"),
        (["restore", "s3://bucket"], 2, "not an archive in S3"),
    ],
)
def test_bad_input_is_one_line(
    lab: Lab, database: str, command: Any, arguments: list[str], status: int, message: str
) -> None:
    found, out, err = command(*arguments)
    assert (found, out) == (status, "")
    assert message in err
    assert err.startswith(("airflow-mwaa: ", "Usage: ", "Error: "))
    assert runs(lab, database) == 40


def test_a_table_that_fails_is_told(lab: Lab, database: str, command: Any) -> None:
    lab.execute(
        database,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON log FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    status, out, err = command("clean", "--yes")
    assert status == 1
    assert "cleaning log failed: " in err
    assert "dag_run" in out
    assert runs(lab, database) == 2


def until_it_waits(lab: Lab, name: str, sessions: int = 1) -> None:
    """Wait until sessions of the command are executing a statement."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND application_name = 'airflow-mwaa cleanup' AND state = 'active' AND wait_event_type IN ('Lock', 'Timeout')"
    )
    connection = lab.connect(name)
    for _ in range(600):
        with connection.cursor() as cursor:
            cursor.execute(busy)
            if cursor.fetchone()[0] >= sessions:
                connection.close()
                return
        time.sleep(0.05)
    connection.close()
    raise AssertionError("the command never waited in a statement")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_plan_ends_in_the_middle_of_a_query(lab: Lab, database: str, command: Any, number: signal.Signals) -> None:
    """psycopg2 waits in C code: the query runs to its end or timeout unless it is canceled."""
    other = lab.connect(database)
    with other.cursor() as cursor, command.start("plan", "--retention", "30d") as process:
        cursor.execute("BEGIN; LOCK TABLE log IN ACCESS EXCLUSIVE MODE")
        until_it_waits(lab, database)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    other.close()
    assert (process.returncode, out) == (1, "")
    assert err == "airflow-mwaa: interrupted; a plan deletes nothing\n"


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_cleanup_ends_in_the_middle_of_a_delete(lab: Lab, database: str, command: Any, workers: str) -> None:
    lab.execute(database, *history.endless("task_instance", 0))
    options = ("--retention", "30d", "--yes", "--table", "dag_run", "--max-transaction", "1h", "--workers", workers)
    with command.start("clean", *options) as process:
        until_it_waits(lab, database)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "interrupted; rows that were already deleted stay deleted" in err
    assert runs(lab, database) == 40


def test_a_dag_that_nobody_knows_is_an_error(lab: Lab, database: str, command: Any) -> None:
    for name, yes in (("plan", []), ("clean", ["--yes"])):
        status, out, err = command(name, "--retention", "30d", "--dag", "dag_01", *yes)
        assert (status, out) == (2, "")
        assert "no DAG is named 'dag_01' (did you mean dag_001 or dag_000?)" in err
        assert err.count("\n") == 1
    assert runs(lab, database) == 40
    assert command("plan", "--retention", "30d", "--dag", "dag_001")[0] == 0
