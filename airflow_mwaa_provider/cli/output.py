# SPDX-License-Identifier: Apache-2.0
"""What commands print on stdout: tables and fields for people, one JSON document for machines, bytes for pipes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

output_option = click.option("--output", type=click.Choice(["text", "json"]), default="text", help="json for machines.")


def echo_json(document: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2))


def echo_table(rows: Sequence[Sequence[object]]) -> None:
    """Print rows, of which the first is the heading, in columns."""
    shown = [[on_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    for row in shown:
        click.echo("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def echo_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line; what has no value is left out."""
    shown = [(name, on_one_line(value)) for name, value in fields if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"  {name.ljust(width)}  {value}")


def echo_exactly(text: str, *, err: bool = False) -> None:
    """Print a text as UTF-8, whatever the terminal's own encoding is: what is read from it must be what was stored."""
    click.echo(text.encode("utf-8", "replace"), nl=False, err=err)


def on_one_line(value: object) -> str:
    r"""Write a value so that it neither breaks a line nor moves a terminal's cursor: a line break as ``\n``."""
    text = {None: "", True: "yes", False: "no"}.get(value, value) if isinstance(value, bool | None) else value
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "replace").decode()
        for character in str(text)
    )
