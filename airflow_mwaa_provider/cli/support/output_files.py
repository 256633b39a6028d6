# SPDX-License-Identifier: Apache-2.0
"""``--output`` of commands that write a file: the path, and the format of the report on stdout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from airflow_mwaa_provider.cli.support.output import FORMATS

__all__ = ["file_option"]

F = TypeVar("F", bound=Callable[..., Any])


def file_option(suffix: str, default: str) -> Callable[[F], F]:
    """Add ``--output``, which may be used twice: for the file, and for the format of what is printed.

    The command receives a pair: the path or ``None``, and ``text`` or ``json``.

    :param suffix: of the file name, such as ``.zip``.
    :param default: where the command writes without a path, for the help.
    """

    def read(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[Path | None, str]:
        files = [value for value in values if value not in FORMATS]
        for value in files:
            if Path(value).suffix.lower() != suffix:
                raise click.BadParameter(f"{value!r} is neither a FILE{suffix} nor one of {', '.join(FORMATS)}.")
        if len(files) > 1:
            raise click.BadParameter(f"{' and '.join(files)}: name only one file.")
        return Path(files[0]) if files else None, "json" if "json" in values else "text"

    return click.option(
        "--output",
        multiple=True,
        callback=read,
        metavar=f"FILE{suffix}|text|json",
        help=f"Where to write. Default: {default}. Use it a second time for json on stdout.",
    )
