# SPDX-License-Identifier: Apache-2.0
"""What commands print on stdout: tables and fields for people, one JSON document for machines, bytes for pipes."""

from __future__ import annotations

import difflib
import itertools
import json
import os
import shutil
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RECENT = timedelta(days=300)
_SHORTENED = 12
"""Columns that are left at least of a column that is shortened."""

FORMATS = ("text", "json")
output_option = click.option(
    "--output", type=click.Choice(FORMATS), default="text", help="json prints one document, for machines."
)


def echo_json(document: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2))


def echo_table(
    rows: Sequence[Sequence[object]],
    *,
    shorten: Sequence[str] = (),
    drop: Sequence[str] = (),
    piped_width: int | None = None,
    err: bool = False,
) -> None:
    """Print rows, of which the first is the heading, in columns; within the width of a terminal, if stdout is one.

    :param shorten: headings of columns whose cells may end with an ellipsis where the terminal is too narrow.
    :param drop: headings of columns that may be left out then, the least important first. A line on stderr names them.
    :param piped_width: the width where the output is no terminal and COLUMNS is not set; ``None`` for a line a row.
    :param err: print to stderr.
    """
    width = _width_of(sys.stderr if err else sys.stdout)
    lines, dropped = table_lines(rows, piped_width if width is None else width, shorten=shorten, drop=drop)
    for line in lines:
        click.echo(line, err=err)
    if dropped:
        names = ", ".join(dropped)
        click.echo(f"airflow-mwaa: not shown, because the terminal is too narrow: {names}", err=True)


def table_lines(
    rows: Sequence[Sequence[object]], width: int | None, *, shorten: Sequence[str] = (), drop: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Lay out a table within a width: break cells between words, never in one, then shorten and drop columns.

    Where that is not enough, each row is a list of names and values, with all columns.

    :return: the lines, and the headings of the columns that were dropped.
    """
    shown = [[on_one_line(cell) for cell in row] for row in rows]
    if width is None:
        return _in_columns(shown, [max(map(_cells_wide, column)) for column in zip(*shown, strict=True)]), []
    for count in range(len(drop) + 1):
        dropped = [name for name in shown[0] if name in drop[:count]]
        kept = [place for place, name in enumerate(shown[0]) if name not in dropped]
        left = [[row[place] for place in kept] for row in shown]
        widths = _fitting_widths(left, width - 2 * len(kept), shorten)
        if widths is not None:
            return _in_columns(left, widths), dropped
    return _as_lists(shown, width), []


def _fitting_widths(shown: Sequence[Sequence[str]], room: int, shorten: Sequence[str]) -> list[int] | None:
    """Return widths of columns that fit into a room together, or ``None`` if there are none."""
    columns = list(zip(*shown, strict=True))
    widths = [max(map(_cells_wide, column)) for column in columns]
    # No column gets narrower than its longest word, or than what is left of one that may be shortened.
    least = [max(_cells_wide(word) for cell in column for word in _words(cell)) for column in columns]
    for place, column in enumerate(columns):
        if column[0] in shorten and sum(widths) > room:
            enough = max(_cells_wide(column[0]), _SHORTENED, widths[place] - (sum(widths) - room))
            widths[place] = min(widths[place], enough)
            least[place] = min(least[place], enough)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda place: widths[place] - least[place])
        widths[widest] -= 1
    return widths


def _in_columns(shown: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    lines = []
    for row in shown:
        cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            padded = (part + " " * (width - _cells_wide(part)) for part, width in zip(parts, widths, strict=True))
            lines.append("  " + "  ".join(padded).rstrip())
    return lines


def _as_lists(shown: Sequence[Sequence[str]], width: int) -> list[str]:
    heading, *rows = shown
    lines: list[str] = []
    for row in rows:
        lines += [""] if lines else []
        lines += field_lines(zip(heading, row, strict=True), width, names_wide=max(map(_cells_wide, heading)))
    return lines


def field_lines(fields: Iterable[tuple[str, str]], width: int | None, names_wide: int) -> list[str]:
    """Lay out names and values, one per line. Values that are empty are skipped, long ones continue below."""
    lines = []
    for name, value in fields:
        if not value:
            continue
        room = None if width is None else max(width - names_wide - 4, 1)
        for number, part in enumerate(_wrapped(value, room, whole_words=True)):
            shown = "" if number else name
            lines.append(f"  {shown}{' ' * (names_wide - _cells_wide(shown))}  {part}")
    return lines


def _wrapped(cell: str, width: int | None, *, whole_words: bool = False) -> list[str]:
    """Break a text between words; a word that is too long is shortened, or kept where it must stay whole.

    Spaces are dropped only where a line ends.
    """
    if width is None or _cells_wide(cell) <= width:
        return [cell]
    lines: list[str] = []
    end = 0
    for word in _words(cell):
        start = cell.index(word, end)
        spaces, end = cell[end:start], start + len(word)
        if lines and _cells_wide(lines[-1]) + len(spaces) + _cells_wide(word) <= width:
            lines[-1] += f"{spaces}{word}"
        else:
            lines.append(word if whole_words else _shortened(word, width))
    return lines


def _shortened(word: str, width: int) -> str:
    if _cells_wide(word) <= width:
        return word
    while _cells_wide(word) > width - 1:
        word = word[:-1]
    return f"{word}…"


def _words(cell: str) -> list[str]:
    """Split a text where a line may be broken. A time or a size, ``11-29 21:00`` or ``1.2 MB``, is one word."""
    return [cell] if len(cell) <= _SHORTENED and cell[:1].isdigit() else cell.split() or [""]


def _cells_wide(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    kinds = ((unicodedata.east_asian_width(character), unicodedata.category(character)) for character in text)
    return sum(0 if category in ("Mn", "Me") else 1 + (wide in "WF") for wide, category in kinds)


def _width_of(stream: TextIO) -> int | None:
    return shutil.get_terminal_size().columns if stream.isatty() or "COLUMNS" in os.environ else None


def _terminal_width() -> int | None:
    return _width_of(sys.stdout) if sys.stdout.isatty() else None


def echo_fields(fields: Iterable[tuple[str, object]], *, wrap: bool = True) -> None:
    """Print names and values, one a line, within the width of a terminal; skip those without a value.

    :param wrap: break long values between words on a terminal; ``False`` for values that people copy.
    """
    shown = [(name, on_one_line(value)) for name, value in fields if value not in (None, "")]
    width = _terminal_width() if wrap else None
    for line in field_lines(shown, width, max((_cells_wide(name) for name, _ in shown), default=0)):
        click.echo(line)


def echo_text(text: str) -> None:
    """Print a sentence for people, indented and broken between words within the width of a terminal."""
    width = _terminal_width()
    for line in _wrapped(on_one_line(text), None if width is None else width - 2, whole_words=True):
        click.echo(f"  {line}")


def echo_exactly(text: str, *, err: bool = False) -> None:
    """Print a string as UTF-8, whatever the encoding of the terminal: what is read from it must be what was stored."""
    click.echo(text.encode("utf-8", "replace"), nl=False, err=err)


def format_datetime(moment: datetime | None) -> str:
    """Format a time for a table, in UTC: month, day and minute, or only the date where it is long ago."""
    if moment is None:
        return ""
    is_recent = abs(datetime.now(UTC) - moment) < _RECENT
    return f"{moment.astimezone(UTC):{'%m-%d %H:%M' if is_recent else '%Y-%m-%d'}}"


def isoformat_or_none(moment: datetime | None) -> str | None:
    """Format a time for machines, in ISO 8601."""
    return moment.isoformat() if moment else None


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Join names with commas; of many, the first ones and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest_to(noun: str, name: str, known: Sequence[str]) -> str | None:
    """Return a sentence with the names that are nearest to one that was not found, if any are near."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"The nearest to {noun} {name!r}: {', '.join(map(repr, close))}." if close else None


def on_one_line(value: object) -> str:
    r"""Format a value so that it neither breaks a line nor moves the cursor of a terminal: a line break as ``\n``."""
    text = {None: "", True: "yes", False: "no"}.get(value, value) if isinstance(value, bool | None) else value
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "replace").decode()
        for character in str(text)
    )
