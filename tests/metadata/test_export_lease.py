# SPDX-License-Identifier: Apache-2.0
"""Two exports to one place: only one at a time writes there, and the other one reports it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import ExportUnderWay, MwaaInputError
from airflow_mwaa_provider.metadata.export import lease as export_lease
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests.metadata.api import Server
from tests.metadata.exports import export, keys, uploads
from tests.metadata.once import KNOWS_NO_AIRFLOW

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.manifest import Manifest
    from tests.metadata.lab import Lab

pytestmark = KNOWS_NO_AIRFLOW

UNTIL = datetime(2026, 3, 1, tzinfo=UTC)
WAYS = [{"incremental": True}, {"layout": "table"}, {"layout": "hive"}, {"layout": "hive", "since": UNTIL}]


@pytest.fixture(autouse=True)
def quick(monkeypatch: Any) -> None:
    monkeypatch.setattr(export_lease, "RENEW_S", 0.3)


class Paused:
    """A progress that waits in the middle of an export."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, table: str, rows: int, size: int, expected_rows: int | None) -> None:
        self.begun.set()
        assert self.go_on.wait(60)


def paused_export(
    lab: Lab, name: str, bucket: str, paused: Paused, route: str = "database", **options: Any
) -> Manifest:
    source: Any = DatabaseSource(lab.database(name))
    if route == "api":
        source = Server(lab, name, f"s3://{bucket}").source()
    with source, Storage(lab.s3(), bucket) as storage:
        return export_metadata(source, storage, ExportOptions(tables=["log", "dag_run"], **options), progress=paused)


@pytest.mark.parametrize(("way", "route"), [*((way, "database") for way in WAYS), (WAYS[0], "api")], ids=str)
def test_the_second_of_two_exports_to_one_place_is_refused(
    lab: Lab, short_history: str, bucket: str, way: dict[str, Any], route: str
) -> None:
    paused = Paused()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(paused_export, lab, short_history, bucket, paused, route, **way)
        try:
            assert paused.begun.wait(60)
            with pytest.raises(ExportUnderWay, match=r"/files/export: another export .* max_active_runs=1") as caught:
                export(lab, short_history, bucket, tables=["log"], **way)
            assert caught.value.transient
            # At the same time, another window may be exported, or the export may use another manifest.
            other = {**way, "manifest_name": "other.json", "prefix": "files/other"}
            export(lab, short_history, bucket, tables=["dag"], **other)
        finally:
            paused.go_on.set()
        exported = first.result(60)
    assert set(exported.keys) < set(keys(lab, bucket))
    assert uploads(lab, bucket) == []
    assert [key for key in keys(lab, bucket) if "exporting" in key] == []


def test_windows_are_exported_side_by_side(lab: Lab, short_history: str, bucket: str) -> None:
    paused = Paused()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(paused_export, lab, short_history, bucket, paused, layout="hive", until=UNTIL)
        try:
            assert paused.begun.wait(60)
            export(lab, short_history, bucket, tables=["log"], layout="hive", since=UNTIL)
        finally:
            paused.go_on.set()
        assert first.result(60).tables["log"].rows


def test_of_many_that_begin_at_once_none_is_confused(lab: Lab, short_history: str, bucket: str) -> None:
    untils = [UNTIL + timedelta(days=number) for number in range(6)]
    start = threading.Barrier(len(untils))

    def one(until: datetime) -> Manifest | None:
        start.wait(60)
        try:
            return export(lab, short_history, bucket, incremental=True, until=until, tables=["log", "dag_run"])
        except (ExportUnderWay, MwaaInputError):  # or it waited for one with a later end, so there is nothing to add
            return None

    lab.s3()
    with ThreadPoolExecutor(len(untils)) as pool:
        results = list(pool.map(one, untils))
    done = [result for result in results if result is not None]
    assert done
    for manifest in done:
        assert set(manifest.keys) < set(keys(lab, bucket))
    assert uploads(lab, bucket) == []


def test_the_note_of_a_killed_export_keeps_nobody_away(lab: Lab, short_history: str, bucket: str, monkeypatch) -> None:
    monkeypatch.setattr(export_lease, "DEAD_AFTER_S", 1.0)
    note = b'{"export": "0", "began": "2026-11-22T00:00:00+00:00", "renewals": 7}'
    lab.s3().put_object(Bucket=bucket, Key="files/export/manifest.exporting.json", Body=note)
    export(lab, short_history, bucket, incremental=True, until=UNTIL, tables=["log"])
    assert [key for key in keys(lab, bucket) if "exporting" in key] == []


def test_an_export_that_was_thought_dead_shows_nothing(lab: Lab, short_history: str, bucket: str, monkeypatch) -> None:
    monkeypatch.setattr(export_lease, "RENEW_S", 60.0)  # as if its machine hangs
    monkeypatch.setattr(export_lease, "DEAD_AFTER_S", 1.0)
    paused = Paused()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(paused_export, lab, short_history, bucket, paused, incremental=True, until=UNTIL)
        try:
            assert paused.begun.wait(60)
            later = UNTIL + timedelta(days=1)
            second = export(lab, short_history, bucket, incremental=True, until=later, tables=["log"])
        finally:
            paused.go_on.set()
        with pytest.raises(ExportUnderWay):
            first.result(60)
    assert sorted(key for key in keys(lab, bucket) if "/table=" in key) == sorted(second.keys)


def test_an_old_boto3_waits_to_see_who_was_last(lab: Lab, short_history: str, bucket: str, monkeypatch) -> None:
    monkeypatch.setattr(Storage, "put_new", lambda self, key, content: self.put(key, content))
    assert export(lab, short_history, bucket, incremental=True, until=UNTIL, tables=["log"]).tables["log"].rows

    def overtaken(self: Storage, key: str, content: bytes) -> bool:
        self.put(key, content)
        self.put(key, b'{"export": "another", "began": "2026-11-22T00:00:00+00:00"}')
        return False

    monkeypatch.setattr(Storage, "put_new", overtaken)
    with pytest.raises(ExportUnderWay, match="since 2026-11-22"):
        export(lab, short_history, bucket, incremental=True, until=UNTIL + timedelta(days=1), tables=["log"])
