# SPDX-License-Identifier: Apache-2.0
"""``--output`` of commands that write a file: where to, and in which form to say what was done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from airflow_mwaa_provider.cli.support.output import FORMATS

__all__ = ["file_option"]

F = TypeVar("F", bound=Callable[..., Any])


def file_option(suffix: str, default: str) -> Callable[[F], F]:
    """Add ``--output``, which may be given twice: for the file and for the form of what is printed.

    The command gets a pair: the path that was given, or None, and ``text`` or ``json``.

    :param suffix: of the file's name, such as ``.zip``.
    :param default: where the command writes if no file is given, as its help says.
    """

    def read(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[Path | None, str]:
        files = [value for value in values if value not in FORMATS]
        for value in files:
            if Path(value).suffix.lower() != suffix:
                raise click.BadParameter(f"{value!r} is neither a FILE{suffix} nor one of {', '.join(FORMATS)}.")
        if len(files) > 1:
            raise click.BadParameter(f"{' and '.join(files)}: give one file.")
        return Path(files[0]) if files else None, "json" if "json" in values else "text"

    return click.option(
        "--output",
        multiple=True,
        callback=read,
        metavar=f"FILE{suffix}|text|json",
        help=f"Where to write ({default} if not given); and, given a second time, json for machines.",
    )
