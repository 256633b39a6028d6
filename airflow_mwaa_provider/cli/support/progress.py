# SPDX-License-Identifier: Apache-2.0
"""Progress of a long operation, for people."""

from __future__ import annotations

import sys
import time
from typing import Any

import click


class Progress:
    """Shows on stderr what happens in each environment: one live line on a terminal, plain lines elsewhere.

    :param is_plain_too: print plain lines where stderr is no terminal.
    """

    def __init__(self, *, is_plain_too: bool = True) -> None:
        self._is_plain_too = is_plain_too
        self._phases: dict[str, str] = {}
        self._started = time.monotonic()
        self._status: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("starting")
            self._status.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the live line, so that other lines can be printed."""
        if self._status is not None:
            self._status.stop()

    def show(self, environment: str, message: str) -> None:
        """Show the current step of an environment, or with an empty name a step that all share."""
        if self._phases.get(environment) == message:
            return
        self._phases[environment] = message
        if self._status is None and not self._is_plain_too:
            return
        if self._status is None:
            subject = f"{environment}: " if environment else ""
            click.echo(f"[{time.monotonic() - self._started:5.1f} s] {subject}{message}", err=True)
            return
        named = {name: phase for name, phase in self._phases.items() if name} or self._phases
        line = "; ".join(f"{name}: {phase}" if name else phase for name, phase in named.items())
        from rich.text import Text

        self._status.update(Text(line))  # as Text, because the brackets of load[3] are not markup


def make_progress() -> Progress:
    """Return a context whose ``.show(environment, message)`` reports progress."""
    return Progress()
