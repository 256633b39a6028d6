# SPDX-License-Identifier: Apache-2.0
"""Questions before a command changes much: put to a person who looks, and to nobody else."""

from __future__ import annotations

import contextlib
import os
import sys

import click


def somebody_looks() -> bool:
    """Whether a person can answer, wherever the output goes."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, *, yes: bool) -> None:
    """End the command with status 1 where a person answers no.

    :param yes: do not ask.
    """
    if yes or not somebody_looks():
        return
    if sys.stderr.isatty():
        is_yes = click.confirm(question, err=True)
    else:  # the question must be seen by whoever answers it
        with open(os.ttyname(sys.stdin.fileno()), "w") as terminal, contextlib.redirect_stderr(terminal):  # noqa: PTH123
            is_yes = click.confirm(question, err=True)
    if not is_yes:
        sys.exit(1)
