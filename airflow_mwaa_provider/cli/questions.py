# SPDX-License-Identifier: Apache-2.0
"""Questions before a command changes much: put to a person who looks, and to nobody else."""

from __future__ import annotations

import sys

import click


def somebody_looks() -> bool:
    """Whether a person can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str, *, yes: bool) -> None:
    """End the command with status 1 where a person answers no.

    :param yes: do not ask.
    """
    if not yes and somebody_looks() and not click.confirm(question, err=True):
        sys.exit(1)
