# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa dags list``, ``runs``, ``stop`` and ``clear``: the commands for people on call."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.clearing import clearing_options, preview_and_clear
from airflow_mwaa_provider.cli.support.durations import duration_text
from airflow_mwaa_provider.cli.support.errors import error_text, exit_status_of, warn
from airflow_mwaa_provider.cli.support.nearest import naming_the_nearest
from airflow_mwaa_provider.cli.support.output import (
    echo_json,
    echo_table,
    format_datetime,
    isoformat_or_none,
    on_one_line,
    some_of,
)
from airflow_mwaa_provider.cli.support.questions import ask, is_interactive
from airflow_mwaa_provider.cli.support.remote import Remote, env_argument, environment_command
from airflow_mwaa_provider.exceptions import AccessDenied, AirflowError, DagRunNotFound, MwaaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.client.models import Dag, DagRun, TaskInstance

STATES = ["queued", "running", "success", "failed"]
_MOST_RUNS = 1_000


@click.command("list")
@env_argument
@click.argument("pattern", metavar="[PATTERN]", required=False)
@click.option("--failed", is_flag=True, help="Only DAGs whose last run failed.")
@click.option("--paused/--active", default=None, help="Only DAGs that are paused, or that are not.")
@environment_command()
def list_dags(remote: Remote, *, pattern: str | None, failed: bool, paused: bool | None, output: str) -> None:
    """List DAGs with their state, schedule and last run, and the DAG files that Airflow cannot import.

    PATTERN is a part of the DAG ID, or a glob such as 'sales_*'.

    \b
    Example:
      airflow-mwaa dags list production --failed
      airflow-mwaa dags list production 'sales_*' --active --output json
    """
    environment = remote.environment
    dags = [
        dag
        for dag in environment.list_dags()
        if _matches(dag.dag_id, pattern) and (paused is None or dag.is_paused is paused)
    ]
    # No Airflow command lists the last runs of all DAGs: --failed ends with an error, and the list has fewer columns.
    over_cli = environment.transport == "cli" and not failed
    last = {} if over_cli else environment.get_last_dag_runs([dag.dag_id for dag in dags])
    if failed:
        dags = [dag for dag in dags if dag.dag_id in last and last[dag.dag_id].state.value == "failed"]
    try:
        broken = environment.list_dag_file_errors()
    except AccessDenied as refused:
        broken = []
        warn(f"It is unknown which DAG files cannot be imported. {refused}")
    if output == "json":
        echo_json(
            {
                "env_name": remote.env_name,
                "dags": [_dag_document(dag, last.get(dag.dag_id)) for dag in dags],
                "import_errors": [{"filename": file.filename, "message": file.message} for file in broken],
            }
        )
        return
    if dags:
        heading = ("DAG", "STATE", "SCHEDULE", "LAST RUN", "BEGAN (UTC)")
        rows = [_dag_cells(dag, last.get(dag.dag_id)) for dag in dags]
        echo_table(
            [row[:2] for row in (heading, *rows)] if over_cli else [heading, *rows], drop=("SCHEDULE", "BEGAN (UTC)")
        )
    else:
        narrowed = " that match" if pattern or failed or paused is not None else ""
        click.echo(f"There are no DAGs{narrowed} in {remote.env_name}.", err=True)
    if over_cli:
        warn("schedules and last runs are unknown: MWAA's CLI endpoint, which is in use, does not report them.")
    for file in broken:
        warn(on_one_line(f"DAG file {file.filename} cannot be imported: {file.last_line}"))


def _matches(dag_id: str, pattern: str | None) -> bool:
    if not pattern:
        return True
    return fnmatchcase(dag_id, pattern) if any(sign in pattern for sign in "*?[") else pattern in dag_id


def _dag_document(dag: Dag, run: DagRun | None) -> dict[str, Any]:
    return {
        "dag_id": dag.dag_id,
        "is_paused": dag.is_paused,
        "schedule": dag.schedule,
        "next_run": isoformat_or_none(dag.next_run),
        "has_import_errors": dag.has_import_errors,
        "last_run": run and run_document(run),
    }


def _dag_cells(dag: Dag, run: DagRun | None) -> tuple[object, ...]:
    state = "paused" if dag.is_paused else "active"
    began = (run.start_date or run.run_after) if run else None
    return dag.dag_id, state, dag.schedule or "", run.state.value if run else "", format_datetime(began)


def run_document(run: DagRun, failed_tasks: Sequence[str] | None = None) -> dict[str, Any]:
    """Return a run as a document for machines.

    :param failed_tasks: ``None`` if they were not read.
    """
    return {
        "run_id": run.run_id,
        "state": run.state.value,
        "run_type": run.run_type,
        "logical_date": isoformat_or_none(run.logical_date),
        "run_after": isoformat_or_none(run.run_after),
        "start_date": isoformat_or_none(run.start_date),
        "end_date": isoformat_or_none(run.end_date),
        "duration_s": run.duration_s,
        **({} if failed_tasks is None else {"failed_tasks": list(failed_tasks)}),
    }


@click.command("runs")
@env_argument
@click.argument("dag_id", metavar="DAG")
@click.option(
    "--state", "states", type=click.Choice(STATES), multiple=True, help="Only runs in this state; repeatable."
)
@click.option(
    "--limit", type=click.IntRange(1, _MOST_RUNS), default=20, show_default=True, help="Number of runs at most."
)
@environment_command()
def runs_of_dag(remote: Remote, *, dag_id: str, states: tuple[str, ...], limit: int, output: str) -> None:
    """List the runs of a DAG, newest first, with the tasks that failed.

    \b
    Example:
      airflow-mwaa dags runs production etl --limit 5
      airflow-mwaa dags runs production etl --state failed --output json
    """
    environment = remote.environment
    with naming_the_nearest(remote, dag_id):
        runs = environment.get_recent_dag_runs(dag_id, limit, states=_states(states))
    # Over the CLI this would take one command per run.
    tasks = [] if environment.transport == "cli" else _failed_tasks(remote, runs)
    failed = [(run, [task for task in tasks if task.run_id == run.run_id]) for run in runs]
    if output == "json":
        echo_json([run_document(run, [task.label for task in of_run]) for run, of_run in failed])
        return
    if not runs:
        click.echo(f"DAG {dag_id!r} has no such runs in {remote.env_name}.", err=True)
        return
    echo_table([("RUN", "STATE", "TYPE", "BEGAN (UTC)", "TOOK"), *map(_run_cells, runs)], drop=("TYPE", "TOOK"))
    if tasks:
        click.echo()
        rows = [(run.run_id, some_of([task.label for task in of_run])) for run, of_run in failed if of_run]
        echo_table([("OF RUN", "FAILED TASKS"), *rows])
        task = next(of_run[0] for _, of_run in failed if of_run)
        index = ("--map-index", str(task.map_index)) if task.map_index >= 0 else ()
        why = remote.again("tasks", "log", remote.env_name, dag_id, task.run_id, task.task_id, *index)
        click.echo(f"\nTo see why: {why}")


def _states(names: Sequence[str]) -> list[Any]:
    from airflow_mwaa_provider.client.states import DagRunState

    return [DagRunState(name) for name in names]


def _failed_tasks(remote: Remote, runs: Sequence[DagRun]) -> list[TaskInstance]:
    from airflow_mwaa_provider.client.states import TaskState

    pairs = [(run.dag_id, run.run_id) for run in runs if run.state.value in ("running", "failed")]
    return remote.environment.get_tasks_of_runs(pairs, states=[TaskState.FAILED])


def _run_cells(run: DagRun) -> tuple[object, ...]:
    seconds = run.duration_s
    if seconds is None and run.start_date and not run.state.is_final:
        seconds = (datetime.now(UTC) - run.start_date).total_seconds()
    took = "" if seconds is None else duration_text(max(seconds, 0))
    return run.run_id, run.state.value, run.run_type or "", format_datetime(run.start_date), took


@click.command("stop")
@env_argument
@click.argument("dag_id", metavar="DAG")
@click.argument("run_ids", metavar="[RUN]...", nargs=-1)
@click.option("--all-running", is_flag=True, help="All running and queued runs of the DAG; needs --yes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@environment_command(
    interrupted="interrupted; runs in {env_name} that were not reported as stopped may still be running"
)
def stop(remote: Remote, *, dag_id: str, run_ids: tuple[str, ...], all_running: bool, yes: bool, output: str) -> None:
    """Stop runs: mark them as failed.

    Airflow then marks their running tasks as failed and ends them at their next heartbeat, seconds later; tasks that
    have not started are skipped. Runs that have ended do not change.

    \b
    Example:
      airflow-mwaa dags stop production etl nightly-7
      airflow-mwaa dags stop production etl --all-running --yes
    """
    if bool(run_ids) == all_running:
        raise click.UsageError("Name runs, or use --all-running, but not both.")
    if all_running and not yes and not is_interactive():
        raise click.UsageError("--all-running needs --yes, because nobody can be asked here.")
    environment = remote.environment
    with naming_the_nearest(remote, dag_id, run_ids):
        runs = _runs_to_stop(remote, dag_id, run_ids)
    if all_running and runs:
        shown = some_of([run.run_id for run in runs])
        ask(f"Stop {len(runs)} runs of DAG {dag_id!r} in {remote.env_name}: {shown}?", yes=yes)
    running = _running_tasks(remote, runs)
    told = click.echo if output == "text" else lambda _: None
    stopped: list[str] = []
    ended: dict[str, str] = {}
    failed: dict[str, MwaaError] = {}
    for run in runs:
        subject = f"run {run.run_id!r} of DAG {dag_id!r} in {remote.env_name}"
        try:
            now = environment.stop_dag_run(dag_id, run.run_id)
        except MwaaError as refused:
            failed[run.run_id] = refused
            warn(refused)
            if not isinstance(refused, AirflowError):
                break  # the problem is not this run
            continue
        if run.state.is_final or now.state.value != "failed":
            ended[run.run_id] = now.state.value
            told(f"{subject} had already ended: {now.state.value}")
        else:
            stopped.append(run.run_id)
            labels = [task.label for task in running if task.run_id == run.run_id]
            told(f"{subject} is marked as failed; running tasks that end with it: {some_of(labels) or 'none'}")
    untried = [run.run_id for run in runs if run.run_id not in (*stopped, *ended, *failed)]
    if output == "json":
        echo_json(
            {
                "env_name": remote.env_name,
                "dag_id": dag_id,
                "stopped": stopped,
                "ended_before": ended,
                "failed": {run_id: error_text(error) for run_id, error in failed.items()},
                "not_tried": untried,
            }
        )
    elif not runs:
        click.echo(f"DAG {dag_id!r} has no running or queued runs in {remote.env_name}.", err=True)
    if untried:
        warn(f"not tried: {some_of(untried)}")
    if failed:
        sys.exit(max(map(exit_status_of, failed.values())))


def _runs_to_stop(remote: Remote, dag_id: str, run_ids: Sequence[str]) -> list[DagRun]:
    """Read all runs to stop before anything changes."""
    environment = remote.environment
    if not run_ids:
        return environment.get_recent_dag_runs(dag_id, _MOST_RUNS, states=_states(["queued", "running"]))
    pairs = [(dag_id, run_id) for run_id in dict.fromkeys(run_ids)]
    found = environment.get_dag_runs(pairs)
    missing = [run_id for _, run_id in pairs if (dag_id, run_id) not in found]
    if missing:
        raise DagRunNotFound(
            f"Environment {remote.env_name!r}: DAG {dag_id!r} has no run {missing[0]!r}; nothing was stopped. "
            "Check both ids.",
            env_name=remote.env_name,
            status=404,
        )
    return [found[pair] for pair in pairs]


def _running_tasks(remote: Remote, runs: Sequence[DagRun]) -> list[TaskInstance]:
    from airflow_mwaa_provider.client.states import TaskState

    pairs = [(run.dag_id, run.run_id) for run in runs if run.state.value == "running"]
    if remote.environment.transport == "cli":
        return []  # the CLI cannot mark runs anyway
    return remote.environment.get_tasks_of_runs(pairs, states=[TaskState.RUNNING, TaskState.DEFERRED])


@click.command("clear")
@env_argument
@click.argument("dag_id", metavar="DAG")
@click.argument("run_id", metavar="RUN")
@clearing_options
@environment_command(interrupted="interrupted; it is unknown whether the run in {env_name} was cleared")
def clear(remote: Remote, *, dag_id: str, run_id: str, output: str, **options: Any) -> None:
    """Clear all tasks of a run, or those that failed, so that they run again under the same run ID.

    The tasks are shown first, and on a terminal the command asks. Running tasks are ended and start again.

    \b
    Example:
      airflow-mwaa dags clear production etl nightly-7 --only-failed
      airflow-mwaa dags clear production etl nightly-7 --dry-run
    """
    preview_and_clear(remote, dag_id, run_id, None, output=output, **options)
