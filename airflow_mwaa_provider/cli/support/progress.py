# SPDX-License-Identifier: Apache-2.0
"""How far a long work has got, for people."""

from __future__ import annotations

import sys
import time
from typing import Any

import click


class Progress:
    """Shows what each environment does: a live line on a terminal, plain lines elsewhere; on stderr.

    :param is_plain_too: show plain lines where there is no terminal.
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
        """Take the live line away, so that other lines can be printed."""
        if self._status is not None:
            self._status.stop()

    def show(self, environment: str, message: str) -> None:
        """Show what an environment does now; an empty name for what they share."""
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

        self._status.update(Text(line))  # as text: brackets in it, load[3], are no markup


def make_progress() -> Progress:
    """Return a context in which ``.show(environment, message)`` tells people how far a long work has got."""
    return Progress()
