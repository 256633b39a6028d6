# SPDX-License-Identifier: Apache-2.0
"""Readings as lines of text: drawings are checked against exact numbers, and no line exceeds its width."""

from __future__ import annotations

import dataclasses
import string
import unicodedata
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mwaa_provider.monitoring.alarms import ALARMS
from airflow_mwaa_provider.monitoring.readings import Reading, Readings
from airflow_mwaa_provider.monitoring.series import Series
from airflow_mwaa_provider.monitoring.terminal import ASCII_LEVELS, LEVELS, Emphasis, draw, sparkline, value_text

pytestmark = pytest.mark.once

END_S = 1_764_500_400
VALUES = st.floats(allow_nan=False, allow_infinity=False, width=64)
ALARM = {alarm.key: alarm for alarm in ALARMS if not alarm.expression}


def cells(text: str) -> int:
    """Count the terminal cells of a string, according to Unicode's own tables."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def reading(name: str = "m", *values: float | None, hours: int = 3, unit: str = "Count", **more: object) -> Reading:
    """Return a reading whose newest value is from the last period."""
    begin_s = END_S - len(values) * 300
    points = tuple((begin_s + number * 300.0, value) for number, value in enumerate(values) if value is not None)
    return Reading(name, "QueuedTasks", Series("AmazonMWAA", "M", "Maximum"), unit, points, END_S, **more)  # type: ignore[arg-type]


def drawn(*shown: Reading, width: int = 80, hours: int = 3, without: tuple[str, ...] = (), **more: bool) -> list[str]:
    lines = draw(Readings("prod", END_S - hours * 3600, END_S, shown, without), width, **more)
    return [line.text for line in lines]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([None, None], "  "),
        ([0, 0], "▁▁"),
        ([5], "▄"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([7, None, 0], "█ ▁"),
        ([-1, 0, 1], "▁▄█"),
        ([1e308, -1e308], "█▁"),
    ],
)
def test_sparklines(values: list[float | None], expected: str) -> None:
    assert sparkline(values).replace("▅", "▄") == expected.replace("▅", "▄")


@given(st.lists(st.none() | VALUES, max_size=40), st.sampled_from([LEVELS, ASCII_LEVELS]))
def test_a_sparkline_is_as_exact_as_its_levels(values: list[float | None], levels: str) -> None:
    found = sparkline(values, levels)
    there = [Fraction(value) for value in values if value is not None]
    assert len(found) == len(values)
    for character, value in zip(found, values, strict=True):
        if value is None:
            assert character == " "
        elif max(there) == min(there):
            assert character == (levels[3] if value else levels[0])
        else:
            exact = (Fraction(value) - min(there)) / (max(there) - min(there)) * (len(levels) - 1)
            assert abs(levels.index(character) - exact) <= Fraction(1, 2) + Fraction(1, 10**6)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "Count", "0"),
        (2030, "Count", "2,030"),
        (0.5, "Count", "0.5"),
        (1_234_567, "Count", "1.23M"),
        (999_499, "Count", "999,499"),
        (999_700, "Count", "999,700"),
        (999_700_000, "Count", "1G"),
        (999.7e9, "Count", "1T"),
        (0.9997, "Seconds", "1s"),
        (2.0**60, "Count", "1.2e+18"),
        (96.84, "Percent", "96.8 %"),
        (100, "Percent", "100 %"),
        (0.668, "Percent", "0.7 %"),
        (512 * 2**20, "Bytes", "512 MiB"),
        (100_000 * 2**20, "Bytes", "100,000 MiB"),
        (80, "Seconds", "1m 20s"),
        (1800, "Seconds", "30m"),
        (59.7, "Seconds", "1m"),
        (0, "Seconds", "0s"),
        (0.00217, "Seconds", "2.17 ms"),
        (4.25, "Seconds", "4.2s"),
        (3600 + 59 * 60, "Seconds", "1h 59m"),
        (90_000, "Seconds", "1d 01h"),
        (3, "Bytes/Second", "3 Bytes/Second"),
    ],
)
def test_values_for_people(value: float, unit: str, expected: str) -> None:
    assert value_text(value, unit) == expected


RISING = reading(
    "oldest queued task", *[number * 400.0 for number in range(36)], unit="Seconds", alarm=ALARM["oldest-queued-task"]
)
EARLIER = reading("memory, schedulers", *[99.0, *[50.0] * 35], unit="Percent", alarm=ALARM["scheduler-memory"])
WITH_GAPS = reading("queued tasks", *[None] * 12, *[4.0] * 12, *[None] * 12)
WITHOUT = ("CPU, web server", "CPU, schedulers", "triggers, fired", "worker disk")


def test_lines_at_80_columns() -> None:
    assert drawn(RISING, EARLIER, WITH_GAPS, without=WITHOUT) == [
        "prod: last 3 hours until 11:00 UTC, 10m a column",
        "                                            LAST   MIN     MAX   ALARM",
        "! oldest queued task  ▁▁▂▂▃▃▃▄▄▅▅▆▆▆▇▇██  3h 53m    0s  3h 53m   > 30m",
        "* memory, schedulers  █▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁    50 %  50 %    99 %  > 95 %",
        "  queued tasks              ▄▄▄▄▄▄             4     4       4",
        "! beyond an alarm's threshold: 1; * earlier in these hours: 1",
        "no data: CPU (web server, schedulers); triggers (fired); worker disk",
    ]


def test_lines_at_60_columns_in_ascii() -> None:
    assert drawn(RISING, EARLIER, WITH_GAPS, without=WITHOUT, width=60, is_ascii=True) == [
        "prod: last 3 hours until 11:00 UTC, 15m a column",
        "                                      LAST   MIN     MAX",
        "! oldest queued task  _..-::==+**#  3h 53m    0s  3h 53m",
        "* memory, schedulers  #___________    50 %  50 %    99 %",
        "  queued tasks            ::::           4     4       4",
        "! beyond an alarm's threshold: 1; * earlier in these hours:",
        "  1",
        "no data: CPU (web server, schedulers); triggers (fired);",
        "  worker disk",
    ]


def test_lines_at_120_columns_have_a_column_for_each_period() -> None:
    line = drawn(RISING, width=120)[2]
    [spark] = [part for part in line.split("  ") if part[:1] in LEVELS and part]
    assert spark == sparkline(RISING.values)


def test_what_is_over_is_told_from_what_was() -> None:
    lines = draw(Readings("prod", END_S - 3 * 3600, END_S, [RISING, EARLIER, WITH_GAPS], []), 80)
    assert [line.emphasis for line in lines[2:5]] == [Emphasis.OVER, Emphasis.WAS_OVER, Emphasis.NONE]


def test_a_column_is_the_worst_of_its_values() -> None:
    peak = reading("peak", *[1.0] * 17, 9.0, *[1.0] * 18)
    dip = reading("dip", *[60.0] * 17, 0.0, *[60.0] * 18, alarm=ALARM["scheduler-heartbeat"])
    assert [line.split()[-4] for line in drawn(peak, dip, width=50)[2:4]] == [
        "▁▁▁▁▁▁▁▁█▁▁▁▁▁▁▁▁▁",
        "████████▁█████████",
    ]


def test_where_a_value_should_be_and_is_not_there_is_none() -> None:
    heartbeat = reading("scheduler heartbeats", alarm=ALARM["scheduler-heartbeat"])
    line = drawn(heartbeat, WITH_GAPS)[2]
    assert line.split() == ["!", "scheduler", "heartbeats", "none", "<", "1"]


def test_of_a_search_the_first_ten_are_drawn() -> None:
    found = [
        dataclasses.replace(
            reading(f"failed runs, {n}", 1.0), series=Series("N", "M", "Sum", label=str(n)), is_found=True
        )
        for n in range(13)
    ]
    lines = drawn(*found)
    assert len(lines) == 2 + 10 + 1
    assert lines[-1] == "failed runs: 3 more"


NAMES = st.text(
    st.sampled_from([*string.ascii_letters, *"_-. ,", "\t", "\n", "\x1b", "é", "\u0301", "中", "日", "한", "ß"]),
    max_size=60,
)


GIVEN = st.tuples(NAMES, st.lists(st.none() | VALUES, max_size=36), st.sampled_from([*ALARM, ""]))


@settings(deadline=None)
@given(
    st.lists(GIVEN, max_size=6),
    st.sampled_from(["Count", "Percent", "Bytes", "Seconds", "Milliseconds"]),
    st.integers(40, 160),
    st.sampled_from([1, 3, 24, 336]),
    st.lists(NAMES, max_size=30),
    st.booleans(),
)
def test_no_line_is_wider_than_the_terminal(
    given_readings: list[tuple[str, list[float | None], str]],
    unit: str,
    width: int,
    hours: int,
    without: list[str],
    is_ascii: bool,
) -> None:
    shown = [
        reading(name, *values[: hours * 12], unit=unit, alarm=ALARM.get(key)) for name, values, key in given_readings
    ]
    for line in drawn(*shown, width=width, hours=hours, without=tuple(without), is_ascii=is_ascii):
        assert cells(line) <= width, line
        assert line.isprintable()
        assert line.isascii() or not is_ascii
