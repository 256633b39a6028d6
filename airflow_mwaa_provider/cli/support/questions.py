# SPDX-License-Identifier: Apache-2.0
"""Questions that a command asks a person before it changes much. It asks none if no person can answer."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.support.output import echo_table

if TYPE_CHECKING:
    from collections.abc import Sequence


def is_interactive() -> bool:
    """Return whether a person can answer, wherever the output goes."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, *, yes: bool, about: Sequence[Sequence[object]] = ()) -> None:
    """Ask, and end the command with status 1 if the answer is no.

    :param yes: do not ask.
    :param about: a table to show above the question, where stdout does not show it.
    """
    if yes or not is_interactive():
        return
    if sys.stderr.isatty():
        is_yes = _confirmed(question, about)
    else:  # the question must be seen by the person who answers it
        with open(os.ttyname(sys.stdin.fileno()), "w") as terminal, contextlib.redirect_stderr(terminal):  # noqa: PTH123
            is_yes = _confirmed(question, about)
    if not is_yes:
        sys.exit(1)


def _confirmed(question: str, about: Sequence[Sequence[object]]) -> bool:
    if about:
        echo_table(about, err=True)
    return click.confirm(question, err=True)
