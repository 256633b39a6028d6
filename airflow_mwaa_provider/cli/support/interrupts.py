# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command. Each is treated like Ctrl-C, so that the command can clean up."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(_number: int, _frame: object) -> NoReturn:
    """Treat a signal like Ctrl-C."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def signals_as_interrupts(at_once: str = "") -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` in this context for SIGTERM and SIGHUP, too, unless they are ignored (``nohup``).

    :param at_once: a message to print as soon as a signal arrives.
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
