# SPDX-License-Identifier: Apache-2.0
"""Increments of a database that was restored from a disk image: a real server, whose old files are copied back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests.metadata.api import Server
from tests.metadata.exports import manifest
from tests.metadata.lab import Lab
from tests.metadata.once import KNOWS_NO_AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.metadata.manifest import Manifest

pytestmark = KNOWS_NO_AIRFLOW

DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 5)]
OPTIONS: dict[str, Any] = {"incremental": True, "tables": ["plugin_events"], "prefix": "files/export"}


class Image:
    """The files of a server at an earlier time."""

    def __init__(self, server: Lab) -> None:
        self.server = server
        self._data = server.folder / "postgres" / "data"
        self._copy = server.folder / "image"

    def take(self) -> None:
        self.server.run(self.server.postgres.stop())
        subprocess.run(["cp", "-a", self._data, self._copy], check=True, timeout=60)
        self.server.start_postgres()

    def put_back(self) -> None:
        self.server.run(self.server.postgres.stop())
        shutil.rmtree(self._data)
        self._copy.rename(self._data)
        self.server.start_postgres()


@pytest.fixture(scope="module")
def server() -> Iterator[Lab]:
    """A separate PostgreSQL that this module may stop."""
    server = Lab(Path(tempfile.mkdtemp(prefix="lab.", dir=os.environ["AIRFLOW_HOME"])))
    try:
        server.start_with_template()
        yield server
    finally:
        server.stop()


@pytest.fixture
def events(server: Lab) -> str:
    name = server.copy()
    server.execute(
        name,
        "CREATE TABLE plugin_events (id int PRIMARY KEY, created_at timestamptz)",
        "INSERT INTO plugin_events VALUES (1, '2020-01-01')",
        "INSERT INTO log (dttm, event) SELECT now(), 'before' FROM generate_series(1, 5)",
    )
    return name


def increment(lab: Lab, server: Lab, name: str, bucket: str, until: datetime, route: str = "database") -> Manifest:
    options = ExportOptions(**OPTIONS, until=until)
    with Storage(lab.s3(), bucket) as storage:
        if route == "api":
            with Server(server, name, f"s3://{bucket}/files", s3=lab.s3()).source() as source:
                return export_metadata(source, storage, options)
        with DatabaseSource(server.database(name)) as source:
            return export_metadata(source, storage, options)


def log_entries(count: int, time: str = "clock_timestamp()") -> str:
    return f"INSERT INTO log (dttm, event) SELECT {time}, 'x' FROM generate_series(1, {count})"


def burn_transactions(server: Lab, name: str, beyond: int) -> None:
    connection = server.connect(name)
    with connection.cursor() as cursor:
        number = 0
        while number <= beyond + 20:
            cursor.execute("SELECT txid_current()")
            [number] = cursor.fetchone()
    connection.close()


@pytest.mark.parametrize(
    ("route", "before", "after", "told_by"),
    [
        ("database", [log_entries(9)], [log_entries(2)], "table log: the last id is 7, and was 14"),
        ("database", [log_entries(9)], [log_entries(40)], "table log: the row with id=14 is of "),
        (
            "database",
            [log_entries(9, "'2020-01-01'")],
            ["SELECT txid_current()", log_entries(40, "'2020-01-01'")],
            "table log: the row with id=14 was written by transaction ",
        ),
        (
            "database",
            [log_entries(9), "SELECT nextval('dag_run_id_seq') FROM generate_series(1, 7)"],
            [log_entries(40), "DELETE FROM log", "SELECT nextval('dag_run_id_seq')"],
            "table dag_run: the last id is 1, and was 7",
        ),
        ("api", [log_entries(9)], [log_entries(40)], "table log: the row with id=14 is of "),
    ],
    ids=["sequence behind", "other row", "same time", "cleaned since", "api"],
)
def test_an_increment_notices_that_the_database_was_restored(
    lab: Lab, server: Lab, events: str, bucket: str, caplog: Any, route: str, before: list[str], after: list[str],
    told_by: str,
) -> None:  # fmt: skip
    image = Image(server)
    image.take()
    server.execute(events, *before, "INSERT INTO plugin_events VALUES (2, '2020-01-01')")
    first = increment(lab, server, events, bucket, DAYS[0], route)
    assert first.tables["plugin_events"].rows == 2
    seen = first.tables["plugin_events"].snapshot
    assert seen is not None
    image.put_back()
    # Written by transactions with numbers that the first export has seen.
    server.execute(events, *after, "INSERT INTO plugin_events VALUES (2, '2020-01-02'), (3, '2020-01-02')")
    burn_transactions(server, events, seen.oldest)
    second = increment(lab, server, events, bucket, DAYS[1], route)
    assert second.tables["plugin_events"].rows == 3
    assert second.tables["plugin_events"].written_since is None
    assert f"restored to an earlier state since the last export: {told_by}" in caplog.text
    assert caplog.text.count("restored to an earlier state") == 1
    # From here on, increments work as usual.
    server.execute(events, "INSERT INTO plugin_events VALUES (4, '2020-01-01')")
    assert increment(lab, server, events, bucket, DAYS[2], route).tables["plugin_events"].rows == 1


@pytest.mark.parametrize("route", ["database", "api"])
def test_what_airflow_and_a_cleanup_do_is_not_taken_for_it(
    lab: Lab, server: Lab, events: str, bucket: str, caplog: Any, route: str
) -> None:
    connection = server.connect(events)
    cursor = connection.cursor()
    cursor.execute(
        "INSERT INTO job (job_type, state, start_date) SELECT 'x', 'running', now() FROM generate_series(1, 5)"
    )
    increment(lab, server, events, bucket, DAYS[0], route)
    cursor.execute("DELETE FROM log WHERE id > 3")
    cursor.execute("UPDATE job SET latest_heartbeat = now()")
    cursor.execute("VACUUM FULL log, job")
    cursor.execute("VACUUM FREEZE")
    cursor.execute("INSERT INTO plugin_events VALUES (2, '2020-01-01')")
    connection.close()
    server.run(server.postgres.stop())
    server.start_postgres()
    assert increment(lab, server, events, bucket, DAYS[1], route).tables["plugin_events"].rows == 1
    assert "restored" not in caplog.text


def test_a_user_who_sees_neither_sequences_nor_the_log_exports(lab: Lab, server: Lab, events: str, bucket: str) -> None:
    role = f"reader_{events}"
    server.run(server.postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'for-this-test-only'"))
    server.execute(events, f"GRANT SELECT ON plugin_events, alembic_version, dag_run, job TO {role}")
    database = Database.from_options(
        {"host": "127.0.0.1", "port": server.postgres.port, "dbname": events, "user": role},
        lambda: "for-this-test-only",
    )
    for number, until in enumerate(DAYS[:2], 2):
        with DatabaseSource(database) as source, Storage(lab.s3(), bucket) as storage:
            assert source.witnesses() == ()
            written = export_metadata(source, storage, ExportOptions(**OPTIONS, until=until))
        assert written.tables["plugin_events"].rows == 1
        server.execute(events, f"INSERT INTO plugin_events VALUES ({number}, '2020-01-01')")


def test_a_manifest_of_an_earlier_version_has_nothing_to_compare(
    lab: Lab, server: Lab, events: str, bucket: str
) -> None:
    first = increment(lab, server, events, bucket, DAYS[0])
    document = manifest(lab, bucket)
    assert {found["table"] for found in document["tables"]["plugin_events"].pop("witnesses")} >= {"log"}
    for key in ("files/export/manifest.json", first.key):
        lab.s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())
    server.execute(events, "INSERT INTO plugin_events VALUES (2, '2020-01-01')")
    assert increment(lab, server, events, bucket, DAYS[1]).tables["plugin_events"].rows == 1
