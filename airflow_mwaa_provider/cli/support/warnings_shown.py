# SPDX-License-Identifier: Apache-2.0
"""Log records of the client, shown on stderr in the form of the commands' own lines.

These are warnings and above, such as the end of the log of a failed task. On a terminal, retries of a call are shown,
too: otherwise nothing would seem to happen.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.support.errors import warn
from airflow_mwaa_provider.cli.support.output import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        first, *others = record.getMessage().splitlines() or [""]
        warn(first)
        for line in others:
            click.echo(f"  | {on_one_line(line.removeprefix('    ').expandtabs())}".rstrip(), err=True)


@contextlib.contextmanager
def show_warnings() -> Iterator[None]:
    """Show them in this context, and propagate none: inside ``airflow mwaa``, Airflow would write them to stdout."""
    logger = logging.getLogger("airflow_mwaa_provider.client")
    retries = logger.getChild("retrying")
    before = logger.propagate, retries.propagate, retries.level
    handler = _Lines(logging.WARNING)
    attempts = _Lines(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
    if sys.stderr.isatty():
        retries.addHandler(attempts)
        retries.setLevel(logging.INFO)
        retries.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        retries.removeHandler(attempts)
        logger.propagate, retries.propagate, level = before
        retries.setLevel(level)
