# SPDX-License-Identifier: Apache-2.0
"""Local time from an option: for tasks on each Airflow, for logs on Airflow 2; an invalid name changes nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import time
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module

import pendulum
import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.plugins.timezone import TimezonePlugin
from tests.plugins.conftest import Lines

TASKS = "AIRFLOW__MWAA_PROVIDER__TASK_TIMEZONE"
LOGS = "AIRFLOW__MWAA_PROVIDER__LOG_TIMEZONE"
MOMENT = 1_780_315_200  # 2026-06-01 12:00 UTC


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC, before and after the test."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    formatter = import_module("airflow.utils.log.timezone_aware").TimezoneAware
    monkeypatch.setattr(formatter, "formatTime", formatter.formatTime)
    yield
    monkeypatch.undo()
    time.tzset()
    pendulum.set_local_timezone()


def _stamp() -> str:
    """Return a time stamp as Airflow 2 writes it into logs, and 3.0 into those of its components."""
    formatter = import_module("airflow.utils.log.timezone_aware").TimezoneAware("%(asctime)s")
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "text", None, None)
    record.created, record.msecs = MOMENT + 0.25, 250
    return str(formatter.format(record))


def test_tasks_see_a_zone_as_local_time(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setenv(TASKS, "America/Los_Angeles")
    TimezonePlugin.on_load()
    TimezonePlugin.on_load()  # as Airflow 3 does in a process that has a scheduler's parts and a task's
    assert os.environ["TZ"] == "America/Los_Angeles"
    assert datetime.fromtimestamp(MOMENT).isoformat() == "2026-06-01T05:00:00"
    assert time.localtime(MOMENT).tm_zone == "PDT"
    assert pendulum.from_timestamp(MOMENT, "local").utcoffset() == pendulum.duration(hours=-7)
    assert pendulum.now().timezone_name == "America/Los_Angeles"
    assert subprocess.check_output(["date", "-d", f"@{MOMENT}", "+%H %Z"], text=True) == "05 PDT\n"
    assert lines() == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("America/Los_Angles", "The nearest name is America/Los_Angeles."),
        ("los angeles", "The nearest name is America/Los_Angeles."),
        ("america/New_york", "The nearest name is America/New_York."),
        ("America", "Add a city, as in Europe/Berlin."),
        ("america/argentina/", "Add a city, as in Europe/Berlin."),
        ("../../etc/passwd", ""),
        (
            "-8",
            "For UTC-8 write a city with this time, or Etc/GMT+8, with the opposite sign.",
        ),
        ("UTC+2", "For UTC+2 write a city with this time, or Etc/GMT-2, "),
        ("gmt +02:00", "For UTC+2 write a city with this time, or Etc/GMT-2, "),
        ("UTC+5:30", "Write a city with this time. Names are those of IANA, such as Europe/Berlin."),
        ("UTC+25", "Write a city with this time. Names are those of IANA, such as Europe/Berlin."),
        # Files beside those of zones.
        ("Factory", "Names are those of IANA, such as Europe/Berlin."),
        ("posixrules", "Names are those of IANA, such as Europe/Berlin."),
        ("localtime", "Names are those of IANA, such as Europe/Berlin."),
        ("posix/Europe/Berlin", "The nearest name is Europe/Berlin."),
        ("right/Europe/Berlin", "The nearest name is Europe/Berlin."),
    ],
)
def test_an_unknown_zone_is_one_line_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, lines: Lines, name: str, nearest: str
) -> None:
    monkeypatch.setenv(TASKS, name)
    TimezonePlugin.on_load()
    TimezonePlugin.on_load()
    (line,) = lines()
    assert line.startswith(f"mwaa_provider.task_timezone: {name!r} is not a time zone. {nearest}")
    assert line.endswith("Local time is not changed.")
    assert (os.environ["TZ"], time.localtime(MOMENT).tm_hour) == ("UTC", 12)


@pytest.mark.parametrize("before", ["UTC", None])
def test_a_zone_that_the_system_has_no_file_of_is_not_taken_for_utc(
    monkeypatch: pytest.MonkeyPatch, lines: Lines, before: str | None
) -> None:
    zone = "Asia/Tokyo" if before else "Asia/Seoul"
    if before is None:
        monkeypatch.delenv("TZ")
    monkeypatch.setenv(TASKS, zone)
    monkeypatch.setattr(time, "tzset", lambda: None)  # as with a file that is missing: local time stays UTC
    TimezonePlugin.on_load()
    (line,) = lines()
    assert f"no file of the time zone {zone!r}" in line
    assert os.environ.get("TZ") == before


def test_an_error_is_one_line_without_its_words(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("words")

    monkeypatch.setenv(TASKS, "Asia/Kolkata")
    monkeypatch.setattr(zoneinfo, "ZoneInfo", broken)
    TimezonePlugin.on_load()
    (line,) = lines()
    assert line.startswith("mwaa_provider.task_timezone: not applied: RuntimeError at ")
    assert "words" not in line


@pytest.mark.skipif(AIRFLOW_V_3, reason="Airflow 3 writes timestamps of logs in UTC")
@pytest.mark.parametrize(
    ("tasks", "logs", "expected"),
    [
        ("", "", "2026-06-01T12:00:00.250+0000"),
        ("", "Asia/Tokyo", "2026-06-01T21:00:00.250+0900"),
        ("America/Los_Angeles", "", "2026-06-01T05:00:00.250-0700"),
        ("America/Los_Angeles", "Asia/Tokyo", "2026-06-01T21:00:00.250+0900"),
        ("America/Los_Angeles", "UTC", "2026-06-01T12:00:00.250+0000"),
    ],
)
def test_time_stamps_of_logs_have_a_zone_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tasks: str, logs: str, expected: str
) -> None:
    monkeypatch.setenv(TASKS, tasks)
    monkeypatch.setenv(LOGS, logs)
    _stamp()  # what a process logs before its plugins are loaded
    TimezonePlugin.on_load()
    assert _stamp() == expected
    assert time.localtime(MOMENT).tm_hour == (5 if tasks else 12)


@pytest.mark.skipif(AIRFLOW_V_3, reason="Airflow 3 writes timestamps of logs in UTC")
def test_an_unknown_zone_of_logs_leaves_them(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setenv(LOGS, "Asia/Tokio")
    TimezonePlugin.on_load()
    (line,) = lines()
    assert line.startswith(
        "mwaa_provider.log_timezone: 'Asia/Tokio' is not a time zone. The nearest name is Asia/Tokyo."
    )
    assert _stamp() == "2026-06-01T12:00:00.250+0000"


@pytest.mark.skipif(not AIRFLOW_V_3, reason="Airflow 2 can")
def test_airflow_3_is_told_once_that_logs_stay_utc(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setenv(LOGS, "Asia/Tokyo")
    TimezonePlugin.on_load()
    assert lines() == []  # in a task
    monkeypatch.setattr("sys.argv", ["airflow", "scheduler"])
    TimezonePlugin.on_load()
    TimezonePlugin.on_load()
    (line,) = lines()
    assert line.startswith("mwaa_provider.log_timezone: Airflow 3 writes timestamps of logs in UTC")
    assert os.environ["TZ"] == "UTC"


@pytest.mark.skipif(not AIRFLOW_V_3, reason="Airflow 2 writes timestamps of logs in local time")
def test_time_stamps_of_logs_stay_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TASKS, "America/Los_Angeles")
    TimezonePlugin.on_load()
    assert _stamp() == "2026-06-01T12:00:00.250+0000"
