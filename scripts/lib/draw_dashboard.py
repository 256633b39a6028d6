# SPDX-License-Identifier: Apache-2.0
"""Draw docs/assets/dashboard.svg, the picture of a dashboard, from docs/assets/dashboard.json.

That file contains what a local MWAA published: the graphs in the dashboard's order, and for each line a value for every
period, or ``null``. The same file always produces the same picture, which a test compares.

    python scripts/lib/draw_dashboard.py
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ASSETS = Path(__file__).resolve().parents[2] / "docs" / "assets"
WIDTH, COLUMNS, PANEL_HEIGHT, GAP, HEAD = 980, 3, 190, 12, 50
PANEL_WIDTH = (WIDTH - GAP * (COLUMNS + 1)) / COLUMNS
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 32, 60
PLOT_WIDTH, PLOT_HEIGHT = PANEL_WIDTH - LEFT - RIGHT, PANEL_HEIGHT - TOP - BOTTOM
COLOURS = ("#1f77b4", "#e8710a", "#2ca02c", "#9467bd", "#8c564b")
RED, INK, FAINT, RULE = "#c62828", "#1d2733", "#5b6b7b", "#dde3e8"
CHARACTER = 6.3
"""Approximate width of a character at label size."""


def draw(recorded: dict[str, Any]) -> str:
    """Return the picture of the recorded metrics."""
    graphs = recorded["graphs"]
    height = HEAD + -(-len(graphs) // COLUMNS) * (PANEL_HEIGHT + GAP)
    name = escape(recorded["env_name"])
    clocks = clock(recorded, 0), clock(recorded, recorded["periods"])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">The dashboard of environment {name}: {len(graphs)} graphs</title>',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#f4f6f8"/>',
        f'<g font-family="system-ui, sans-serif" font-size="11" fill="{FAINT}">',
        f'<text x="{GAP + 4}" y="32" font-size="18" font-weight="700" fill="{INK}">{name}</text>',
    ]
    for number, graph in enumerate(graphs):
        x = GAP + number % COLUMNS * (PANEL_WIDTH + GAP)
        y = HEAD + number // COLUMNS * (PANEL_HEIGHT + GAP)
        parts += [f'<g transform="translate({x:.1f} {y})">', *panel(graph, recorded["periods"], clocks), "</g>"]
    return "\n".join([*parts, "</g>", "</svg>", ""])


def panel(graph: dict[str, Any], periods: int, clocks: tuple[str, str]) -> Iterator[str]:
    """Return one graph: axes, lines, its alarm's threshold, and its legend."""
    lines, unit, threshold = graph["lines"], graph["unit"], graph["threshold"]
    values = [value for line in lines for value in line["values"] if value is not None]
    top = (
        100.0 if unit == "Percent" else rounded_up(max(*values, threshold or 0.0, 0.0), 2**20 if unit == "Bytes" else 1)
    )

    def y(value: float) -> float:
        return TOP + PLOT_HEIGHT - value / top * PLOT_HEIGHT

    yield f'<rect width="{PANEL_WIDTH:.1f}" height="{PANEL_HEIGHT}" rx="6" fill="#fff" stroke="{RULE}"/>'
    yield f'<text x="12" y="20" font-size="13" font-weight="600" fill="{INK}">{escape(graph["title"])}</text>'
    for value in (0.0, top / 2, top):
        yield f'<path d="M{LEFT} {y(value):.1f}h{PLOT_WIDTH:.1f}" stroke="{RULE}"/>'
        yield f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{amount(value, unit)}</text>'
    for text, at, anchor in ((clocks[0], LEFT, "start"), (clocks[1], LEFT + PLOT_WIDTH, "end")):
        yield f'<text x="{at:.1f}" y="{TOP + PLOT_HEIGHT + 14}" text-anchor="{anchor}">{text}</text>'
    labels = [(line["label"], colour) for line, colour in zip(lines, COLOURS, strict=False)]
    for line, (_, colour) in zip(lines, labels, strict=False):
        yield from curve(line["values"], periods, colour, y)
    if threshold is not None:
        yield f'<path d="M{LEFT} {y(threshold):.1f}h{PLOT_WIDTH:.1f}" stroke="{RED}" stroke-dasharray="5 3"/>'
        labels.append(("alarm", RED))
    yield from legend(labels)


def legend(labels: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Return the legend, in two rows."""
    x, y = 12.0, PANEL_HEIGHT - 32
    for label, colour in labels:
        width = 13 + CHARACTER * len(label)
        if x + width > PANEL_WIDTH - 6:
            x, y = 12.0, y + 16
        yield f'<rect x="{x:.1f}" y="{y}" width="9" height="9" rx="2" fill="{colour}"/>'
        yield f'<text x="{x + 13:.1f}" y="{y + 8}">{escape(label)}</text>'
        x += width + 8


def curve(values: Sequence[float | None], periods: int, colour: str, y: Callable[[float], float]) -> Iterator[str]:
    """Return a line, with gaps where values are missing; a single value is a dot."""
    runs: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{LEFT + (number + 0.5) / periods * PLOT_WIDTH:.1f},{y(value):.1f}")
    for run in filter(None, runs):
        if len(run) == 1:
            across, down = run[0].split(",")
            yield f'<circle cx="{across}" cy="{down}" r="2.2" fill="{colour}"/>'
        else:
            points = " ".join(run)
            pen = f'fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"'
            yield f'<polyline points="{points}" {pen}/>'


def rounded_up(value: float, scale: float) -> float:
    """Return the smallest of 1, 2, 4, 10, 20, 40, … times a scale that is at least a value."""
    step = 10.0**-6
    while True:
        for factor in (1, 2, 4):
            if step * factor * scale >= value > 0:
                return step * factor * scale
        if value <= 0:
            return scale
        step *= 10


def amount(value: float, unit: str) -> str:
    """Return the label of a value at an axis."""
    if unit == "Bytes":
        return f"{value / 2**20:,.0f} MiB"
    short = {"Percent": " %", "Seconds": " s"}.get(unit, "")
    return f"{value:,.0f}{short}" if value == int(value) else f"{value:,.3g}{short}"


def clock(recorded: dict[str, Any], periods: int) -> str:
    """Return the time of day some periods after the start."""
    begin = datetime.fromisoformat(recorded["start"])
    return (begin + timedelta(seconds=periods * recorded["period_s"])).strftime("%H:%M")


def main() -> None:
    recorded = json.loads((ASSETS / "dashboard.json").read_text(encoding="utf-8"))
    (ASSETS / "dashboard.svg").write_text(draw(recorded), encoding="utf-8")


if __name__ == "__main__":
    main()
