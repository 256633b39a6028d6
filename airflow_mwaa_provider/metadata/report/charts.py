# SPDX-License-Identifier: Apache-2.0
"""Plots as inline SVG: columns and lines over time. The page sets the colors, by class; values are shown on hover."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.metadata.report.texts import escaped, short_count_text, ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["LOW", "LOW_NARROW", "NARROW", "SMALL", "WIDE", "Axis", "Series", "Size", "columns", "lines", "log_axis"]

_LOG_TICKS = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 21_600, 86_400, 604_800, 2_592_000)


@dataclass(frozen=True)
class Size:
    """Size of a plot in pixels, and the page width that it is for."""

    width: int
    height: int
    css: str
    left: int = 52

    @property
    def right(self) -> int:
        """Right end of the plot area."""
        return self.width - 10

    @property
    def bottom(self) -> int:
        """Lower end of the plot area."""
        return self.height - 36


WIDE, NARROW = Size(960, 270, "wide"), Size(350, 230, "narrow", 46)
LOW, LOW_NARROW = Size(960, 170, "wide"), Size(350, 150, "narrow", 46)
SMALL = Size(300, 128, "small", 40)
TOP = 12


@dataclass(frozen=True)
class Series:
    """The values of one name; ``None`` leaves a gap.

    :param css: CSS class of the columns or the line.
    """

    name: str
    css: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Axis:
    """The vertical axis.

    :param marks: values with a mark, ascending.
    :param text: formats one of them.
    """

    marks: Sequence[float]
    text: Callable[[float], str] = short_count_text
    is_log: bool = False

    def height(self, value: float) -> float:
        """Return the height of a value, from 0 to 1."""
        if not self.is_log:
            return value / self.marks[-1]
        low, high = math.log(self.marks[0]), math.log(self.marks[-1])
        return min(1.0, max(0.0, (math.log(max(value, self.marks[0])) - low) / (high - low)))


def log_axis(least: float, greatest: float, text: Callable[[float], str]) -> Axis:
    """Return a logarithmic axis of durations."""
    low = max((mark for mark in _LOG_TICKS if mark <= least), default=_LOG_TICKS[0])
    high = min((mark for mark in _LOG_TICKS if mark >= greatest and mark > low), default=greatest * 1.01)
    return Axis([*(mark for mark in _LOG_TICKS if low <= mark < high), high], text, is_log=True)


def columns(
    series: Sequence[Series],
    size: Size,
    *,
    title: str,
    tick: Callable[[int], tuple[str, str]],
    tips: Sequence[str],
    axis: Axis | None = None,
    partial: Collection[int] = (),
) -> str:
    """Draw columns with the series stacked, the first at the bottom.

    :param partial: positions of paler columns, which cover only part of their time span.
    """
    count = len(tips)
    sums = [sum(one.values[place] or 0 for one in series) for place in range(count)]
    axis = axis or Axis(ticks(max(sums, default=0), 4 if size.height > 200 else 2))
    step = (size.right - size.left) / max(count, 1)
    width = max(step - (1 if step < 8 else 2 if step < 20 else 4), 0.6)
    width = min(width, 48)
    drawn = [_frame(axis, size, count, tick)]
    bases = [0.0] * count
    for one in series:
        whole: list[str] = []
        part: list[str] = []
        for place, value in enumerate(one.values):
            if value:
                low, high = _y(axis, size, bases[place]), _y(axis, size, bases[place] + value)
                left = size.left + (place + 0.5) * step - width / 2
                # What is there can be seen, be it ever so little beside the greatest.
                path = part if place in partial else whole
                path.append(f"M{left:.1f} {low:.1f}v{-max(low - high, 0.7):.1f}h{width:.1f}V{low:.1f}z")
                bases[place] += value
        drawn.append(f'<path class="fill {one.css}" d="{"".join(whole)}"/>')
        if part:
            drawn.append(f'<path class="fill partial {one.css}" d="{"".join(part)}"/>')
    return _svg(size, title, [*drawn, *_hits(size, count, tips)])


def lines(
    series: Sequence[Series],
    size: Size,
    *,
    title: str,
    tick: Callable[[int], tuple[str, str]],
    tips: Sequence[str],
    axis: Axis,
) -> str:
    """Draw a line for each series."""
    count = len(tips)
    step = (size.right - size.left) / max(count, 1)
    drawn = [_frame(axis, size, count, tick)]
    for one in series:
        path, dots, is_on = [], [], False
        for place, value in enumerate(one.values):
            if value is None:
                is_on = False
                continue
            x, y = size.left + (place + 0.5) * step, _y(axis, size, value)
            path.append(f"{'L' if is_on else 'M'}{x:.1f} {y:.1f}")
            neighbours = [one.values[near] for near in (place - 1, place + 1) if 0 <= near < count]
            if count <= 40 or all(near is None for near in neighbours):
                dots.append(f'<circle class="dot {one.css}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
            is_on = True
        drawn += [f'<path class="line {one.css}" d="{"".join(path)}"/>', *dots]
    return _svg(size, title, [*drawn, *_hits(size, count, tips)])


def _svg(size: Size, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="{size.css}" viewBox="0 0 {size.width} {size.height}" role="img" aria-label="{escaped(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _y(axis: Axis, size: Size, value: float) -> float:
    return size.bottom - axis.height(value) * (size.bottom - TOP)


def _frame(axis: Axis, size: Size, count: int, tick: Callable[[int], tuple[str, str]]) -> str:
    drawn = []
    for mark in axis.marks:
        y = _y(axis, size, mark)
        css = "base" if mark == axis.marks[0] else "grid"
        drawn.append(f'<path class="{css}" d="M{size.left} {y:.1f}H{size.right}"/>')
        drawn.append(f'<text class="mark" x="{size.left - 7}" y="{y + 4:.1f}">{escaped(axis.text(mark))}</text>')
    step = (size.right - size.left) / max(count, 1)
    every = max(1, math.ceil(66 / step))
    last_year = ""
    for place in range(0, count, every):
        text, year = tick(place)
        x = size.left + (place + 0.5) * step
        if x > size.right - 16 and place:
            break
        anchor = ' style="text-anchor:start"' if x - size.left < 18 else ""
        x = size.left if anchor else x
        drawn.append(f'<text class="tick" x="{x:.1f}" y="{size.bottom + 16}"{anchor}>{escaped(text)}</text>')
        if year != last_year:
            drawn.append(f'<text class="tick" x="{x:.1f}" y="{size.bottom + 30}"{anchor}>{escaped(year)}</text>')
            last_year = year
    return "".join(drawn)


def _hits(size: Size, count: int, tips: Sequence[str]) -> list[str]:
    step = (size.right - size.left) / max(count, 1)
    return [
        f'<rect class="hit" x="{size.left + place * step:.1f}" y="{TOP}" width="{step:.1f}" '
        f'height="{size.bottom - TOP}"><title>{escaped(tip)}</title></rect>'
        for place, tip in enumerate(tips)
    ]
