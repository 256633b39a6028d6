# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa run``: any Airflow CLI command in an environment."""

from __future__ import annotations

import sys

import click

from airflow_mwaa_provider.cli.support.errors import fail
from airflow_mwaa_provider.cli.support.output import echo_exactly, echo_json
from airflow_mwaa_provider.cli.support.remote import Remote, env_argument, environment_command


@click.command()
@env_argument
@click.argument("argv", metavar="-- AIRFLOW-ARGS", nargs=-1, required=True, type=click.UNPROCESSED)
@environment_command(
    transports=("cli",),
    interrupted="interrupted; a command that was sent still runs in {env_name}, and may take effect",
)
def run(remote: Remote, *, argv: tuple[str, ...], output: str) -> None:
    """Run an Airflow CLI command in an environment, and print its output.

    The arguments after -- are passed to Airflow unchanged, options included. The exit status is 1 if the command
    failed: MWAA reports no other.

    \b
    Example:
      airflow-mwaa run production -- dags list -o json
      airflow-mwaa run production -- variables set greeting "it's here"
    """
    command = list(argv[1:] if argv[0] == "airflow" else argv)
    if not command:
        raise click.UsageError("Write an Airflow command after --, such as: -- dags list")
    result = remote.environment.run_cli(command)
    if output == "json":
        echo_json({"stdout": result.stdout, "stderr": result.stderr, "exit_status": result.exit_status})
    else:
        echo_exactly(result.stdout)
        echo_exactly(result.stderr, err=True)
        if result.exit_status and not (result.stdout.strip() or result.stderr.strip()):
            fail(f"Environment {remote.env_name!r}: `airflow {' '.join(command[:2])}` failed and printed nothing.")
    sys.exit(1 if result.exit_status else 0)
