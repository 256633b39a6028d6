# SPDX-License-Identifier: Apache-2.0
"""How a command ends when it fails: one line on stderr with what to do; exit status 1, or 2 for misuse."""

from __future__ import annotations

import errno
import functools
import re
import sys
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

import click

from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")
_FULL = {errno.EDQUOT, errno.EFBIG, errno.ENOSPC}


def error_text(error: MwaaError) -> str:
    """Return the text of an error on one line, in which a parameter is an option."""
    return " ".join(error.worded(lambda parameter: f"--{parameter.replace('_', '-')}").split())


def warn(message: str | MwaaError) -> None:
    """Print one line on stderr, without ending the command."""
    text = error_text(message) if isinstance(message, MwaaError) else message
    click.echo(f"airflow-mwaa: {' '.join(text.split())}", err=True)


def fail(message: str | MwaaError, log_tail: str = "", exit_status: int = 1) -> NoReturn:
    """End the command with one line on stderr, and the end of a log below it."""
    warn(message)
    for line in log_tail.splitlines():
        click.echo(f"  | {line}", err=True)
    sys.exit(exit_status)


def exit_status_of(error: MwaaError) -> int:
    """Return 2 for misuse, 1 for any other failure."""
    return 2 if isinstance(error, MwaaInputError) else 1


def mwaa_errors_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an expected error of a command, or Ctrl-C, into one line on stderr and an exit status."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except MwaaError as error:
            fail(error, exit_status=exit_status_of(error))
        except KeyboardInterrupt:
            fail("interrupted")
        except BrokenPipeError:
            raise  # handled by click: the reader of the output has gone
        except OSError as error:
            if error.errno in _FULL:  # from a write, which names no file
                fail(f"output: cannot be written: {error.strerror}. Free some space, or write to another disk.")
            fail(str(error))

    return wrapper


def unended(text: object) -> str:
    """Return a text on one line and without the full stop at its end, for use within a sentence."""
    words = error_text(text) if isinstance(text, MwaaError) else str(text)
    return re.sub(r"\s+", " ", words).rstrip(". ")
