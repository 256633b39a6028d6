# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command: each is treated like Ctrl-C, so that a command can leave things in order."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(_number: int, _frame: object) -> NoReturn:
    """Treat a signal like Ctrl-C: what has been started is ended."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def signals_as_interrupts(at_once: str = "") -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` in here for SIGTERM and SIGHUP too; one that is ignored (``nohup``) stays so.

    :param at_once: what to say when it comes, before anything else is done about it.
    """

    def handle(number: int, frame: object) -> NoReturn:
        if at_once:
            click.echo(f"airflow-mwaa: {at_once}", err=True)
        interrupt(number, frame)

    before = {number: signal.getsignal(number) for number in _ENDING}
    changed = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in changed:
            signal.signal(number, handle)
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number])
