# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa dags``: run a DAG of an environment, and wait for it. The other commands are in dags_on_call."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.clearing import warn_if_paused
from airflow_mwaa_provider.cli.dags_on_call import STATES, clear, list_dags, runs_of_dag, stop
from airflow_mwaa_provider.cli.support.durations import WAIT_TIME
from airflow_mwaa_provider.cli.support.errors import exit_status_of, fail, unended, warn
from airflow_mwaa_provider.cli.support.inputs import read_conf
from airflow_mwaa_provider.cli.support.nearest import naming_the_nearest
from airflow_mwaa_provider.cli.support.remote import Remote, env_argument, environment_command
from airflow_mwaa_provider.cli.support.renamed import renamed_option
from airflow_mwaa_provider.cli.waited_runs import WaitOptions, keeping_the_run, show_run, wait_for_run
from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Callable

_STATES = click.Choice(STATES)
_WAIT_OPTIONS = (
    renamed_option(
        "--wait-timeout",
        "wait_timeout",
        was="--timeout",
        type=WAIT_TIME,
        help="Stop waiting after this time. Default: 12h.",
    ),
    click.option("--poll-interval", type=WAIT_TIME, help="Time between two polls. Default: 2s, growing to 60s."),
    click.option(
        "--allowed-state",
        "allowed_states",
        type=_STATES,
        multiple=True,
        help="A state that counts as success; repeatable.",
    ),
    click.option(
        "--failed-state",
        "failed_states",
        type=_STATES,
        multiple=True,
        help="A state that counts as failure; repeatable.",
    ),
    click.option("--cancel-on-interrupt", is_flag=True, help="Mark the run as failed when Ctrl-C ends the wait."),
)


def _wait_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_WAIT_OPTIONS):
        command = option(command)
    return command


@click.group()
def dags() -> None:
    """List, run, stop and clear DAGs of an environment, and wait for runs.

    \b
    Example:
      airflow-mwaa dags list production --failed
      airflow-mwaa dags trigger production etl --conf '{"day": "2026-11-22"}' --wait
    """


for command in (list_dags, runs_of_dag, stop, clear):
    dags.add_command(command)


@dags.command()
@env_argument
@click.argument("dag_id", metavar="DAG")
@click.option(
    "--conf", metavar="JSON|@FILE|-", help="Configuration of the run: a JSON object, a file with one, or stdin."
)
@click.option("--run-id", help="ID of the run. A run that exists with the same conf is not created again.")
@click.option("--logical-date", metavar="ISO", help="Logical date, with a time zone: 2026-11-22T00:00:00Z.")
@click.option("--note", help="Note on the run; not with --transport cli.")
@click.option("--wait", is_flag=True, help="Wait until the run ends; exit status 1 if it failed.")
@_wait_options
@environment_command()
def trigger(
    remote: Remote,
    *,
    dag_id: str,
    conf: str | None,
    run_id: str | None,
    logical_date: str | None,
    note: str | None,
    wait: bool,
    output: str,
    **patience: Any,
) -> None:
    """Run a DAG exactly once, and optionally wait for the run.

    Repeated with the same --run-id, it never creates a second run. Ctrl-C ends the wait, not the run.

    \b
    Example:
      airflow-mwaa dags trigger production etl
      airflow-mwaa dags trigger production etl --conf @conf.json --wait --wait-timeout 30m
    """
    how = WaitOptions.of(patience, wait=wait)
    from airflow_mwaa_provider.client.parameters import parse_datetime

    given = read_conf(remote, conf)
    date = parse_datetime(logical_date, "--logical-date")
    # Short, because paths of InvokeRestApi have at most 64 characters; made here, so that every error can name it.
    run_id = run_id or f"cli__{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    once_more = f"Trigger it again with --run-id {run_id}, which creates no second run"
    environment = remote.environment
    try:
        with naming_the_nearest(remote, dag_id):
            run = environment.trigger_dag_run(dag_id, run_id, conf=given, logical_date=date, note=note or None)
    except MwaaError as error:
        if not error.ambiguous or isinstance(error, MwaaInputError):
            raise
        fail(f"{unended(error)}. {once_more}.", exit_status=exit_status_of(error))
    except KeyboardInterrupt:
        fail(f"interrupted; it is unknown whether the run was created. {once_more}.")
    with keeping_the_run(remote, run, how):
        if not run.created:
            warn(f"run {run_id!r} of DAG {dag_id!r} already existed; no other was created.")
        elif not run.state.is_final and environment.transport != "cli":
            warn_if_paused(remote, dag_id)
        if wait:
            wait_for_run(remote, run, how, output)
        else:
            show_run(remote, run, output)


@dags.command("wait")
@env_argument
@click.argument("dag_id", metavar="DAG")
@click.argument("run_id", metavar="RUN_ID")
@_wait_options
@environment_command()
def wait_command(remote: Remote, *, dag_id: str, run_id: str, output: str, **patience: Any) -> None:
    """Wait until a run ends. The exit status is 1 if it failed.

    \b
    Example:
      airflow-mwaa dags wait production etl cli__20261122T031500-1f3a9c20 --wait-timeout 1h
    """
    how = WaitOptions.of(patience, wait=True)
    with naming_the_nearest(remote, dag_id, [run_id]):
        run = remote.environment.get_dag_run(dag_id, run_id)
    with keeping_the_run(remote, run, how):
        wait_for_run(remote, run, how, output)
