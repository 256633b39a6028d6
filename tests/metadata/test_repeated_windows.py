# SPDX-License-Identifier: Apache-2.0
"""Exports repeated after rows were deleted: readers that read all files see no old ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.export import lease as export_lease
from airflow_mwaa_provider.metadata.storage.bucket import PART_BYTES, Storage
from tests.metadata.exports import export, keys, manifest, rows
from tests.metadata.once import KNOWS_NO_AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.metadata.lab import Lab

pytestmark = KNOWS_NO_AIRFLOW

DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 10)]
FIRST: dict[str, Any] = {"layout": "hive", "tables": ["log"], "since": DAYS[0], "until": DAYS[3]}
SECOND: dict[str, Any] = {**FIRST, "since": DAYS[3], "until": DAYS[6]}


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def dead_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long to wait for an export that was killed."""
    monkeypatch.setattr(export_lease, "DEAD_AFTER_S", 0.2)


@pytest.fixture
def dated(lab: Lab, database: str) -> str:
    """A log with ten rows on each of the first six days of March."""
    lab.execute(
        database,
        "INSERT INTO log (dttm, event) SELECT timestamptz '2026-03-01 12:00:00+00' + n % 6 * interval '1 day', 'x' "
        "FROM generate_series(0, 59) n",
    )
    return database


def dates(lab: Lab, bucket: str, table: str = "log") -> list[str]:
    """Return the date of each file."""
    found = [key for key in keys(lab, bucket) if f"/table={table}/" in key]
    return sorted(key.partition("date=")[2].partition("/")[0][-2:] for key in found)


def count(lab: Lab, bucket: str) -> int:
    return sum(len(rows(lab, bucket, key)) for key in keys(lab, bucket) if "/table=log/" in key)


def delete_day(lab: Lab, database: str, day: int) -> None:
    lab.execute(database, f"DELETE FROM log WHERE dttm::date = '2026-03-0{day}'")


def test_a_repeated_window_takes_away_days_without_rows(lab: Lab, dated: str, bucket: str) -> None:
    export(lab, dated, bucket, **FIRST)
    export(lab, dated, bucket, **SECOND)
    lab.execute(dated, "UPDATE log SET dttm = dttm + interval '1 day' WHERE dttm::date = '2026-03-02'")
    export(lab, dated, bucket, **FIRST)
    assert dates(lab, bucket) == ["01", "03", "04", "05", "06"]
    assert count(lab, bucket) == 60
    delete_day(lab, dated, 3)
    export(lab, dated, bucket, **FIRST)
    assert dates(lab, bucket) == ["01", "04", "05", "06"]
    # Also without a window, no matter what was exported since.
    export(lab, dated, bucket, **{**FIRST, "since": None, "until": None, "prefix": "all"})
    export(lab, dated, bucket, **{**SECOND, "since": DAYS[6], "until": DAYS[7], "prefix": "all"})
    delete_day(lab, dated, 5)
    export(lab, dated, bucket, **{**FIRST, "since": None, "until": None, "prefix": "all"})
    assert [key for key in keys(lab, bucket) if key.startswith("all/table=log/date=2026-03-05")] == []


def test_what_another_window_has_written_stays(lab: Lab, dated: str, bucket: str) -> None:
    export(lab, dated, bucket, **FIRST)
    overlapping = {**FIRST, "since": DAYS[1], "until": DAYS[4]}
    export(lab, dated, bucket, **overlapping)
    delete_day(lab, dated, 1)
    delete_day(lab, dated, 2)
    export(lab, dated, bucket, **FIRST)
    assert dates(lab, bucket) == ["02", "03", "04"]
    # The first one no longer lists it.
    export(lab, dated, bucket, **overlapping)
    assert dates(lab, bucket) == ["03", "04"]


def test_a_table_that_is_left_out_once_is_not_forgotten(lab: Lab, dated: str, bucket: str) -> None:
    lab.execute(dated, "INSERT INTO job (job_type, start_date) VALUES ('x', '2026-03-01 01:00:00+00')")
    export(lab, dated, bucket, **{**FIRST, "tables": ["log", "job"]})
    export(lab, dated, bucket, **{**FIRST, "tables": ["job"]})
    assert (dates(lab, bucket), dates(lab, bucket, "job")) == (["01", "02", "03"], ["01"])
    delete_day(lab, dated, 2)
    export(lab, dated, bucket, **FIRST)
    assert (dates(lab, bucket), dates(lab, bucket, "job")) == (["01", "03"], ["01"])


@pytest.mark.parametrize("layout", ["hive", "table"])
def test_files_of_another_format_are_replaced(lab: Lab, dated: str, bucket: str, layout: str) -> None:
    for options in ({}, {"compression": "gzip"}, {"file_format": "parquet"}):
        last = export(lab, dated, bucket, **{**FIRST, "layout": layout}, **options)
        assert {key for key in keys(lab, bucket) if not key.endswith(".json")} == set(last.keys)


def test_the_layout_table_keeps_no_file_of_another_window(lab: Lab, dated: str, bucket: str) -> None:
    lab.execute(dated, "UPDATE log SET extra = repeat(md5(id::text), 20000)")  # 640 KB each
    options: dict[str, Any] = {"tables": ["log"], "file_bytes": PART_BYTES}
    first = export(lab, dated, bucket, **options, since=DAYS[0], until=DAYS[5])
    second = export(lab, dated, bucket, **options, since=DAYS[5], until=DAYS[6])
    assert len(first.keys) > len(second.keys)
    assert {key for key in keys(lab, bucket) if not key.endswith(".json")} == set(second.keys)


KILLS: dict[str, Callable[[str, str], bool]] = {
    "at the first file": lambda call, key: call == "put" and "/table=" in key,
    "at the manifest": lambda call, key: call == "put" and key.endswith("/manifest.json"),
    "at the old files": lambda call, key: call == "delete" and "/table=" in key,
    "at the last note": lambda call, key: call == "delete" and "/table=" in key,
}


def kill(monkeypatch: pytest.MonkeyPatch, is_it: Callable[[str, str], bool], *, after: bool = False) -> None:
    """Make S3 calls end the process: the given one, before or after it takes effect, and all later ones."""
    is_over: list[bool] = []

    def wrapped(name: str) -> Any:
        call = getattr(Storage, name)

        def made(self: Storage, keys: Any, *rest: Any, **options: Any) -> Any:
            listed = [keys] if isinstance(keys, str) else list(keys)
            is_now = any(is_it(name, key) for key in listed)
            if is_over or (is_now and not after):
                is_over.append(True)
                raise Killed
            result = call(self, keys if isinstance(keys, str) else listed, *rest, **options)
            if is_now:
                is_over.append(True)
            return result

        return made

    for name in ("put", "delete"):
        monkeypatch.setattr(Storage, name, wrapped(name))


@pytest.mark.parametrize("when", KILLS)
def test_a_killed_repetition_is_set_right_by_the_next(
    lab: Lab, dated: str, bucket: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    export(lab, dated, bucket, **FIRST)
    lab.execute(dated, "UPDATE log SET dttm = dttm + interval '1 day' WHERE dttm::date = '2026-03-02'")
    with monkeypatch.context() as patched:
        kill(patched, KILLS[when], after=when == "at the last note")
        with pytest.raises(Killed):
            export(lab, dated, bucket, **FIRST)
    # Meanwhile another window, which does not touch anything.
    before = dates(lab, bucket)
    export(lab, dated, bucket, **SECOND)
    assert dates(lab, bucket) == sorted([*before, "04", "05", "06"])
    # The rows of the third day are deleted before it is repeated.
    delete_day(lab, dated, 3)
    export(lab, dated, bucket, **FIRST)
    assert dates(lab, bucket) == ["01", "04", "05", "06"]
    assert count(lab, bucket) == 40


def test_a_killed_repetition_of_an_increment_loses_nothing(
    lab: Lab, dated: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    increment: dict[str, Any] = {"incremental": True, "tables": ["log"]}
    export(lab, dated, bucket, **increment, until=DAYS[1])
    second = export(lab, dated, bucket, **increment, until=DAYS[2])
    with monkeypatch.context() as patched:
        kill(patched, lambda call, key: call == "put" and key == second.key)
        with pytest.raises(Killed):
            export(lab, dated, bucket, **increment, until=DAYS[2])
    there = [key for key in keys(lab, bucket) if not key.endswith(".json")]
    assert second.key not in keys(lab, bucket)
    for until in (DAYS[3], DAYS[1]):
        with pytest.raises(MwaaInputError, match=r"Export again with until=2026-03-03T00:00:00\+00:00"):
            export(lab, dated, bucket, **increment, until=until)
    assert [key for key in keys(lab, bucket) if not key.endswith(".json")] == there
    again = export(lab, dated, bucket, **increment, until=DAYS[2])
    assert again.tables == second.tables
    assert manifest(lab, bucket)["until"] == DAYS[2].isoformat()
    assert export(lab, dated, bucket, **increment, until=DAYS[3]).tables["log"].rows == 10
    assert count(lab, bucket) == 30
