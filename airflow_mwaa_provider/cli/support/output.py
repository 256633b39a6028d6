# SPDX-License-Identifier: Apache-2.0
"""What commands print on stdout: tables and fields for people, one JSON document for machines, bytes for pipes."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RECENT = timedelta(days=300)

FORMATS = ("text", "json")
output_option = click.option("--output", type=click.Choice(FORMATS), default="text", help="json for machines.")


def echo_json(document: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2))


def echo_table(rows: Sequence[Sequence[object]]) -> None:
    """Print rows, of which the first is the heading, in columns; within a terminal's width, if it is one."""
    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    for line in table_lines(rows, shutil.get_terminal_size().columns if has_width else None):
        click.echo(line)


def table_lines(rows: Sequence[Sequence[object]], width: int | None) -> list[str]:
    """Lay out a table within a width, broken between words and never in one.

    Where not even the words fit beside each other, each row is a list of names and values.
    """
    shown = [[on_one_line(cell) for cell in row] for row in rows]
    columns = list(zip(*shown, strict=True))
    widths = [max(map(len, column)) for column in columns]
    if width is not None:
        words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in columns]
        room = width - 2 * len(columns)
        if sum(words) > room:
            return _as_lists(shown)
        while sum(widths) > room:
            widest = max(range(len(widths)), key=lambda column: widths[column] - words[column])
            widths[widest] -= 1
    lines = []
    for row in shown:
        cells = [_wrapped(cell, cell_width) for cell, cell_width in zip(row, widths, strict=True)]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            padded = (part.ljust(cell_width) for part, cell_width in zip(parts, widths, strict=True))
            lines.append("  " + "  ".join(padded).rstrip())
    return lines


def _wrapped(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False)


def _as_lists(shown: Sequence[Sequence[str]]) -> list[str]:
    heading, *rows = shown
    width = max(map(len, heading))
    lines: list[str] = []
    for row in rows:
        lines += [""] if lines else []
        lines += [f"  {name.ljust(width)}  {cell}" for name, cell in zip(heading, row, strict=True) if cell]
    return lines


def echo_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line; what has no value is left out."""
    shown = [(name, on_one_line(value)) for name, value in fields if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"  {name.ljust(width)}  {value}")


def echo_exactly(text: str, *, err: bool = False) -> None:
    """Print a text as UTF-8, whatever the terminal's own encoding is: what is read from it must be what was stored."""
    click.echo(text.encode("utf-8", "replace"), nl=False, err=err)


def moment_text(moment: datetime | None) -> str:
    """Write a moment for a table, in UTC: to the minute without its year, or where it is long ago its day alone."""
    if moment is None:
        return ""
    is_recent = abs(datetime.now(UTC) - moment) < _RECENT
    return f"{moment.astimezone(UTC):{'%m-%d %H:%M' if is_recent else '%Y-%m-%d'}}"


def json_moment(moment: datetime | None) -> str | None:
    """Write a moment for machines."""
    return moment.isoformat() if moment else None


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Write a list of names; of a long one its beginning, and how many there are more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def on_one_line(value: object) -> str:
    r"""Write a value so that it neither breaks a line nor moves a terminal's cursor: a line break as ``\n``."""
    text = {None: "", True: "yes", False: "no"}.get(value, value) if isinstance(value, bool | None) else value
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "replace").decode()
        for character in str(text)
    )
