# SPDX-License-Identifier: Apache-2.0
"""How every command ends that fails: one line on stderr that says what to do, exit status 1, or 2 for misuse."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

import click

from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def fail(message: str, log_tail: str = "", exit_status: int = 1) -> NoReturn:
    """End the command with one line, and the end of a log below."""
    click.echo(f"airflow-mwaa: {' '.join(message.split())}", err=True)
    for line in log_tail.splitlines():
        click.echo(f"  | {line}", err=True)
    sys.exit(exit_status)


def mwaa_errors_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an expected error of a command into one line and an exit status."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except MwaaError as error:
            fail(str(error), exit_status=2 if isinstance(error, MwaaInputError) else 1)
        except KeyboardInterrupt:
            fail("interrupted; all that had been started has been ended")

    return wrapper
