# SPDX-License-Identifier: Apache-2.0
"""How every command ends that fails: one line on stderr that says what to do, exit status 1, or 2 for misuse."""

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

IN_A_TERMINAL = (
    ("Leave them out with leave_out_hidden=True", "Leave them out with --leave-out-hidden"),
    ("overwrite_hidden=True", "--overwrite-hidden"),
    ("leave_out_refused=True", "--leave-out-refused"),
    ("restore_deleted=True", "--restore-deleted"),
    ("Leave delete_source out", "Leave --delete-source out"),
    ("Give the environment's own", "Give the environment's own, in AIRFLOW__CORE__FERNET_KEY or --fernet-key-file"),
    ("no Fernet key is given", "no Fernet key is given (AIRFLOW__CORE__FERNET_KEY or --fernet-key-file)"),
    ("set on_conflict to 'overwrite' or 'skip'", "give --on-conflict overwrite or skip"),
    ("Check its name, the account and region_name", "Check its name, the account and the region"),
    ("Give the task a role, or name an AWS connection in aws_conn_id", "Log in again, or give another --profile"),
    ("Check the AWS connection and the clock", "Check them, and the clock"),
    ("Check the AWS connection, and region_name", "Check them, and --region"),
    ("Check region_name, and the endpoint's own region", "Check --region, and the endpoint's own region"),
    ("Check region_name, the network", "Check --region, the network"),
    ("Check the AWS connection", "Check the AWS profile"),
    ("Check region_name, botocore_config and the AWS connection", "Check --region, --endpoint-url and the AWS profile"),
    ("Check verify and AWS_CA_BUNDLE", "Check AWS_CA_BUNDLE and REQUESTS_CA_BUNDLE"),
    ("(verify, AWS_CA_BUNDLE)", "(AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE)"),
    ("as ca_bundle (or REQUESTS_CA_BUNDLE)", "in REQUESTS_CA_BUNDLE"),
    ("give it as region_name, or set it in the AWS connection", "give it with --region"),
    ("the network and the AWS connection", "the network and the AWS profile"),
    ("Leave transport unset", "Leave --transport out"),
    ("transport='rest_api' or 'web_session'", "--transport rest_api or web_session"),
    ("transport='rest_api'", "--transport rest_api"),
    ("transport='web_session'", "--transport web_session"),
    ("transport='cli'", "--transport cli"),
    (", or give the version: airflow_version of the operator, airflow_major of the hook", ""),
    ("set a proxy (http or socks5h) in the connection", "give --proxy (http or socks5h)"),
    ("Clear this task to trigger a new one", "Trigger a new one"),
    ("The environment's name is empty; give env_name", "The environment's name is empty"),
    ("Give one as map_index", "Give one with --map-index"),
    ("base_role=", "--base "),
    ("role_name=", "ROLE "),
    ("Check dag_ids, and that", "Check them, and that"),
    ("Correct the command; the error's .result holds all that it printed", "Correct the command"),
)
"""What errors advise whoever writes a DAG, and what the same is called here."""


def in_terminal_words(message: str) -> str:
    """Say it on one line, and name options instead of parameters."""
    message = " ".join(message.split())
    for in_a_dag, here in IN_A_TERMINAL:
        message = message.replace(in_a_dag, here)
    return message


def warn(message: str) -> None:
    """Tell in one line what does not end the command."""
    click.echo(f"airflow-mwaa: {in_terminal_words(message)}", err=True)


def fail(message: str, log_tail: str = "", exit_status: int = 1) -> NoReturn:
    """End the command with one line, and the end of a log below."""
    warn(message)
    for line in log_tail.splitlines():
        click.echo(f"  | {line}", err=True)
    sys.exit(exit_status)


def exit_status_of(error: MwaaError) -> int:
    """Tell misuse from failure."""
    return 2 if isinstance(error, MwaaInputError) else 1


def mwaa_errors_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an expected error of a command, or Ctrl-C, into one line and an exit status."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except MwaaError as error:
            fail(str(error), exit_status=exit_status_of(error))
        except KeyboardInterrupt:
            fail("interrupted")
        except BrokenPipeError:
            raise  # click's: whoever read the output has gone
        except OSError as error:
            if error.errno in _FULL:  # of a write, which names no file
                fail(f"output: cannot be written: {error.strerror}. Free some space, or write it elsewhere.")
            fail(str(error))

    return wrapper


def unended(text: object) -> str:
    """Give a text without the full stop at its end, on one line, for use within a sentence."""
    return re.sub(r"\s+", " ", str(text)).rstrip(". ")
