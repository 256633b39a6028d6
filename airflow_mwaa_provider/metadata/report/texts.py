# SPDX-License-Identifier: Apache-2.0
"""Format numbers, times and names for a report. Names can be any string, so every string in a page is escaped here."""

from __future__ import annotations

import html
import math
from datetime import UTC, datetime

__all__ = [
    "Bins",
    "bytes_text",
    "count_text",
    "day_text",
    "duration_text",
    "escaped",
    "month_s",
    "month_text",
    "share_text",
    "ticks",
]

DAY_S = 86_400
NO_VALUE = "\u2013"
"""A dash."""
_DAILY_UP_TO, _WEEKLY_UP_TO = 120, 840
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TICK_STEPS = (1, 2, 2.5, 5, 10)


def escaped(text: object) -> str:
    r"""Escape a string for HTML, also for attributes; write line breaks and invisible characters as ``\n``."""
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "replace").decode() for letter in str(text)
    )
    return html.escape(shown, quote=True)


def count_text(count: float) -> str:
    """Format a count: ``1,234,567``."""
    return f"{count:,.0f}"


def short_count_text(count: float) -> str:
    """Format a count for an axis: ``1.2M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:g}"


def share_text(share: float) -> str:
    """Format a share in percent; a share above zero is never shown as 0."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share * 100:.1f}%"


def bytes_text(size: int) -> str:
    """Format a size: ``393 MB``, in powers of ten."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}" if size < 999.5 * unit else f"{size / unit:.0f} {name}"
    return f"{size} B"


def duration_text(seconds: float | None) -> str:
    """Format a duration in a suitable unit, with two or three digits."""
    if seconds is None:
        return NO_VALUE
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for below, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h"), (math.inf, DAY_S, "d")):
        if seconds < below:
            value = seconds / unit
            return f"{value:.1f} {name}" if value < 99.95 else f"{value:.0f} {name}"
    raise AssertionError("every duration is below infinity")


def hours_text(seconds: float) -> str:
    """Format a sum of durations in hours: ``1,234.5 h``."""
    return f"{seconds / 3600:,.1f}"


def moment_text(moment: datetime | None) -> str:
    """Format a point in time: ``22 Nov 2025, 03:15 UTC``."""
    if moment is None:
        return NO_VALUE
    moment = moment.astimezone(UTC)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M} UTC"


def day_text(day: int, *, with_year: bool = True) -> str:
    """Format a day, given as a day number since 1970: ``22 Nov 2025``."""
    date = datetime.fromtimestamp(day * DAY_S, UTC)
    return f"{date.day} {_MONTHS[date.month - 1]}{f' {date.year}' if with_year else ''}"


def month_text(month: int) -> str:
    """Format a month, given as year times 12 plus month from 0: ``Nov 2025``."""
    return f"{_MONTHS[month % 12]} {month // 12}"


def month_s(month: int) -> float:
    """Return the start of a month, given as year times 12 plus month from 0, in seconds since 1970."""
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()


def ticks(greatest: float, count: int = 4) -> list[float]:
    """Return round numbers for an axis from 0 up to the greatest value."""
    if greatest <= 0:
        return [0, 1]
    size = 10 ** math.floor(math.log10(greatest / count))
    step = next(size * factor for factor in _TICK_STEPS if size * factor * count >= greatest * 0.999)
    return [round(step * place, 10) for place in range(math.ceil(greatest / step - 1e-9) + 1)]


class Bins:
    """A span of days, divided into days, weeks from Monday, or months, to limit the number of columns.

    :param first: day number of the first day since 1970.
    :param last: day number of the last day.
    """

    def __init__(self, first: int, last: int) -> None:
        span = last - first + 1
        self.unit = "day" if span <= _DAILY_UP_TO else "week" if span <= _WEEKLY_UP_TO else "month"
        self.starts: list[int] = []
        day = self.start_of(first)
        while day <= last:
            self.starts.append(day)
            day = self._next(day)
        self._places = {start: place for place, start in enumerate(self.starts)}

    def __len__(self) -> int:
        return len(self.starts)

    def place(self, day: int) -> int:
        """Return the index of the bin that a day is in."""
        return self._places[self.start_of(day)]

    def start_of(self, day: int) -> int:
        """Return the first day of the bin that a day is in."""
        if self.unit == "day":
            return day
        if self.unit == "week":
            return day - (day + 3) % 7  # 1 January 1970 was a Thursday
        return day - datetime.fromtimestamp(day * DAY_S, UTC).day + 1

    def partial(self, begin_s: float, end_s: float) -> set[int]:
        """Return the bins that are only partly between two points in time, in seconds since 1970."""
        return {
            place
            for place, start in enumerate(self.starts)
            if start * DAY_S < begin_s or self._next(start) * DAY_S > end_s
        }

    def label(self, place: int) -> str:
        """Return the name of a bin, for a tooltip."""
        text = day_text(self.starts[place])
        return {"day": text, "week": f"Week of {text}", "month": text.partition(" ")[2]}[self.unit]

    def tick(self, place: int) -> tuple[str, str]:
        """Return the name of a bin below an axis: a short string, and the year."""
        day, month, year = day_text(self.starts[place]).split()
        return (month if self.unit == "month" else f"{day} {month}"), year

    def _next(self, day: int) -> int:
        if self.unit == "month":
            return self.start_of(day + 31)
        return day + (1 if self.unit == "day" else 7)
