# SPDX-License-Identifier: Apache-2.0
"""Draw readings as lines of text with a given width: a sparkline, and the newest, lowest and highest value.

A sparkline ranges from its own lowest to its own highest value, which are shown beside it, as in Zach Holman's
``spark``. All have the same time columns; each shows the worst of its values, and is blank if there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from airflow_mwaa_provider.monitoring.readings import PERIOD_S, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.monitoring.alarms import Alarm
    from airflow_mwaa_provider.monitoring.readings import Reading, Readings

__all__ = ["ASCII_LEVELS", "LEVELS", "Emphasis", "Line", "draw", "sparkline", "time_columns", "value_text"]

LEVELS = "▁▂▃▄▅▆▇█"
ASCII_LEVELS = "_.-:=+*#"
_MOST_FOUND = 10
"""How many results of a search are drawn, such as DAGs with failed runs."""
_FEWEST_COLUMNS, _LEAST_ROOM, _NAME_BEFORE_COLUMNS = 12, 32, 30
"""Of a sparkline; of a name and a sparkline, below which a column of numbers is left out; and of a name, above which
more columns are worth more."""


class Emphasis(Enum):
    """The emphasis of a line."""

    NONE = "none"
    OVER = "over"
    WAS_OVER = "was over"
    HEADING = "heading"


@dataclass(frozen=True)
class Line:
    """A line and its emphasis; it contains no terminal colors."""

    text: str
    emphasis: Emphasis = Emphasis.NONE


def draw(readings: Readings, width: int, *, is_ascii: bool = False) -> list[Line]:
    """Return readings as lines that fit a terminal.

    :param width: the cells of a line; at least 40 are used.
    :param is_ascii: use only characters that every terminal has.
    """
    width = max(width, 40)
    levels, rest = (ASCII_LEVELS, "..") if is_ascii else (LEVELS, "…")
    readings = _printable(readings, is_ascii)
    shown, left_out = _shown(readings.shown)
    columns = [column for column in _COLUMNS if any(column.cell(reading) for reading in shown)]
    for heading in ("ALARM", "MIN", "MAX", "LAST"):
        if width - _used(columns, shown) < _LEAST_ROOM:
            columns = [column for column in columns if column.heading != heading]
    room = width - _used(columns, shown)
    longest = max((cell_width(reading.name) for reading in shown), default=0)
    periods = round((readings.end_s - readings.start_s) / PERIOD_S)
    periods_a_column = -(-periods // max(_FEWEST_COLUMNS, room - 2 - min(longest, _NAME_BEFORE_COLUMNS)))
    spark_width = -(-periods // periods_a_column)
    name_width = min(longest, room - spark_width - 2)
    return [
        Line(_fitted(_title(readings, periods_a_column * PERIOD_S), width, rest), Emphasis.HEADING),
        Line(_row("  ", "", name_width, " " * spark_width, [(c.heading, c.width(shown)) for c in columns])),
        *(
            Line(
                _row(
                    "! " if reading.is_over else "* " if reading.was_over else "  ",
                    _fitted(reading.name, name_width, rest),
                    name_width,
                    sparkline(time_columns(reading, readings.start_s, spark_width, periods_a_column), levels),
                    [(column.cell(reading), column.width(shown)) for column in columns],
                ),
                Emphasis.OVER if reading.is_over else Emphasis.WAS_OVER if reading.was_over else Emphasis.NONE,
            )
            for reading in shown
        ),
        *(Line(text) for text in _remarks(readings, left_out, width, rest)),
    ]


def sparkline(values: Sequence[float | None], levels: str = LEVELS) -> str:
    """Return one character per value, from the first level for the lowest to the last for the highest.

    :param values: ``None`` becomes a blank. If all are equal, they are in the middle, or at the bottom if 0.
    :param levels: the characters, lowest first.
    """
    there = [value for value in values if value is not None]
    low, high = min(there, default=0.0), max(there, default=0.0)
    flat = levels[(len(levels) - 1) // 2] if high else levels[0]
    top = len(levels) - 1

    def drawn(value: float) -> str:
        # Halves, because the difference of two numbers may overflow.
        return levels[round((value / 2 - low / 2) / (high / 2 - low / 2) * top)] if high > low else flat

    return "".join(" " if value is None else drawn(value) for value in values)


def time_columns(reading: Reading, start_s: float, columns: int, periods_a_column: int) -> list[float | None]:
    """Return the worst value of each time column, ``None`` if there is none.

    :param start_s: the beginning of the first column, in seconds since 1970.
    :param periods_a_column: how many periods of 300 seconds.
    """
    worse = min if reading.lowest_counts else max
    found: list[float | None] = [None] * columns
    for at_s, value in reading.points:
        column = int((at_s - start_s) // (periods_a_column * PERIOD_S))
        before = found[column]
        found[column] = value if before is None else worse(before, value)
    return found


def value_text(value: float, unit: str) -> str:
    """Return a value for people: bytes in MiB, times such as ``1m 20s``.

    :param unit: as CloudWatch names it.
    """
    if unit == "Percent":
        return f"{_number(round(value, 1))} %"
    if unit == "Bytes":
        return f"{_number(value / 2**20)} MiB"
    if unit == "Seconds":
        return _time(value)
    return _number(value) if unit in ("Count", "None") else f"{_number(value)} {unit}"


def cell_width(text: str) -> int:
    """Return how many terminal cells a string takes."""
    from rich.cells import cell_len

    return cell_len(text)


@dataclass(frozen=True)
class _Column:
    """A column of numbers."""

    heading: str
    cell: Callable[[Reading], str]

    def width(self, shown: Sequence[Reading]) -> int:
        return max(len(self.heading), *(len(self.cell(reading)) for reading in shown), 0)


def _last(reading: Reading) -> str:
    return value_text(reading.values[-1], reading.unit) if reading.points else "none"


def _of_all(choose: Callable[[Sequence[float]], float]) -> Callable[[Reading], str]:
    return lambda reading: value_text(choose(reading.values), reading.unit) if reading.points else ""


def _threshold(reading: Reading) -> str:
    alarm: Alarm | None = reading.alarm
    if alarm is None or alarm.threshold is None:
        return ""
    return f"{'<' if alarm.is_of_low_values else '>'} {value_text(alarm.threshold, reading.unit)}"


_COLUMNS = (
    _Column("LAST", _last),
    _Column("MIN", _of_all(min)),
    _Column("MAX", _of_all(max)),
    _Column("ALARM", _threshold),
)


def _used(columns: Sequence[_Column], shown: Sequence[Reading]) -> int:
    """Return how many cells a row's mark and numbers take."""
    return 2 + sum(2 + column.width(shown) for column in columns)


def _row(mark: str, name: str, name_width: int, spark: str, cells: Sequence[tuple[str, int]]) -> str:
    numbers = "".join(f"  {text.rjust(width)}" for text, width in cells)
    return f"{mark}{name}{' ' * (name_width - cell_width(name))}  {spark}{numbers}".rstrip()


def _shown(readings: Sequence[Reading]) -> tuple[list[Reading], dict[str, int]]:
    """Return the readings that are drawn, and how many results of each search are not."""
    shown: list[Reading] = []
    counted: dict[str, int] = {}
    for reading in readings:
        title = reading.name.removesuffix(f", {reading.series.label}")
        if reading.is_found:
            counted[title] = counted.get(title, 0) + 1
        if not reading.is_found or counted[title] <= _MOST_FOUND:
            shown.append(reading)
    return shown, {title: count - _MOST_FOUND for title, count in counted.items() if count > _MOST_FOUND}


def _title(readings: Readings, column_s: int) -> str:
    hours = round((readings.end_s - readings.start_s) / 3600)
    until = iso(readings.end_s)[11:16]
    length = "hour" if hours == 1 else f"{hours} hours"
    return f"{readings.env_name}: last {length} until {until} UTC, {_time(column_s)} a column"


def _remarks(readings: Readings, left_out: dict[str, int], width: int, rest: str) -> Iterator[str]:
    for title, count in left_out.items():
        yield from _wrapped(f"{title}: {count} more", width, rest)
    now = sum(reading.is_over for reading in readings.shown)
    before = sum(reading.was_over for reading in readings.shown) - now
    said = [f"! beyond an alarm's threshold: {now}"] if now else []
    said += [f"* earlier in these hours: {before}"] if before else []
    if said:
        yield from _wrapped("; ".join(said), width, rest)
    if readings.without_data:
        yield from _wrapped(f"no data: {_grouped(readings.without_data)}", width, rest)


def _grouped(names: Sequence[str]) -> str:
    """Return names grouped by their beginnings: ``CPU (schedulers, web server); triggers (fired)``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        first, _, label = name.partition(", ")
        groups.setdefault(first, []).extend([label] if label else [])
    return "; ".join(f"{first} ({', '.join(labels)})" if labels else first for first, labels in groups.items())


def _wrapped(text: str, width: int, rest: str) -> Iterator[str]:
    """Wrap a string between words, and indent all lines but the first."""
    line = ""
    for word in text.split(" "):
        if line and cell_width(f"{line} {word}") > width:
            yield _fitted(line, width, rest)
            line = f"  {word}"
        else:
            line = f"{line} {word}" if line else word
    yield _fitted(line, width, rest)


def _fitted(text: str, width: int, rest: str) -> str:
    """Return a string, shortened in the middle if it is too wide, because names differ at both ends."""
    from rich.cells import set_cell_size

    if cell_width(text) <= width:
        return text
    tail_width = (width - len(rest)) // 2
    tail = text
    while cell_width(tail) > tail_width:
        tail = tail[1:]
    return f"{set_cell_size(text, width - len(rest) - cell_width(tail)).rstrip()}{rest}{tail}"


def _printable(readings: Readings, is_ascii: bool) -> Readings:
    """Return readings whose names contain no control characters, and no characters that a terminal lacks."""

    def plain(name: str) -> str:
        return "".join(each if each.isprintable() and (each.isascii() or not is_ascii) else "?" for each in name)

    shown = [replace(reading, name=plain(reading.name)) for reading in readings.shown]
    return replace(readings, shown=shown, without_data=[plain(name) for name in readings.without_data])


def _number(value: float) -> str:
    size = abs(value)
    if size >= 1e15:
        return f"{value:.2g}"
    if size >= 1e6:
        size = float(f"{size:.3g}")  # as it is shown: 999,700,000 is 1G
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size >= factor:
            return f"{value / factor:.3g}{letter}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _time(seconds: float) -> str:
    if 0 < float(f"{seconds:.3g}") < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 10 and round(seconds, 1) != int(round(seconds, 1)):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    for unit_s, unit, part_s, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit_s:
            rest = whole % unit_s // part_s
            return f"{whole // unit_s:,}{unit}{f' {rest:02}{part}' if rest else ''}"
    raise AssertionError(seconds)
