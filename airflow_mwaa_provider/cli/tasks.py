# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa tasks``: list the tasks of a run, read their logs, and clear them."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.clearing import clearing_options, preview_and_clear
from airflow_mwaa_provider.cli.support.durations import WAIT_TIME, duration_text
from airflow_mwaa_provider.cli.support.errors import fail, unended, warn
from airflow_mwaa_provider.cli.support.nearest import naming_the_nearest
from airflow_mwaa_provider.cli.support.output import (
    echo_exactly,
    echo_json,
    echo_table,
    format_datetime,
    isoformat_or_none,
    on_one_line,
)
from airflow_mwaa_provider.cli.support.remote import Remote, env_argument, environment_command
from airflow_mwaa_provider.cli.support.renamed import renamed_option
from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from airflow_mwaa_provider.client.log_following import LogLines
    from airflow_mwaa_provider.client.models import TaskInstance

_STATES = [
    "none", "scheduled", "queued", "running", "success", "failed", "up_for_retry", "up_for_reschedule",
    "upstream_failed", "skipped", "deferred", "removed", "restarting", "awaiting_input",
]  # fmt: skip
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

dag_argument = click.argument("dag_id", metavar="DAG")
run_argument = click.argument("run_id", metavar="RUN")


@click.group()
def tasks() -> None:
    """List the tasks of a run, read their logs, and clear them.

    \b
    Example:
      airflow-mwaa tasks log production etl nightly-7 load --follow
    """


@tasks.command("list")
@env_argument
@dag_argument
@run_argument
@click.option(
    "--state",
    "states",
    type=click.Choice(_STATES),
    metavar="STATE",
    multiple=True,
    help="Only tasks in this state, such as failed; repeatable.",
)
@environment_command()
def list_tasks(remote: Remote, *, dag_id: str, run_id: str, states: tuple[str, ...], output: str) -> None:
    """List the tasks of a run in the order in which they started; each mapped instance has its own row.

    \b
    Example:
      airflow-mwaa tasks list production etl nightly-7 --state failed
    """
    environment = remote.environment
    with naming_the_nearest(remote, dag_id, [run_id]):
        found = environment.get_task_instances(dag_id, run_id)
        if not found:
            environment.get_dag_run(dag_id, run_id)  # raises where the run does not exist
    chosen = [task for task in found if not states or task.state.value in states]
    chosen.sort(key=lambda task: (task.start_date is None, task.start_date and task.start_date.timestamp(), task.label))
    if output == "json":
        echo_json([_document(task) for task in chosen])
    elif chosen:
        echo_table([("TASK", "STATE", "TRY", "BEGAN (UTC)", "TOOK"), *map(_cells, chosen)], drop=("TRY", "BEGAN (UTC)"))
    else:
        click.echo(f"Run {run_id!r} of DAG {dag_id!r} has no such tasks.", err=True)


def _document(task: TaskInstance) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "map_index": task.map_index,
        "state": task.state.value,
        "try_number": task.try_number,
        "start_date": isoformat_or_none(task.start_date),
        "end_date": isoformat_or_none(task.end_date),
        "duration_s": task.duration_s,
    }


def _cells(task: TaskInstance) -> tuple[object, ...]:
    took = "" if task.duration_s is None else duration_text(task.duration_s)
    return task.label, task.state.value, task.try_number or "", format_datetime(task.start_date), took


@tasks.command("log")
@env_argument
@dag_argument
@run_argument
@click.argument("task_id", metavar="TASK")
@renamed_option(
    "--try-number",
    "try_number",
    was="--try",
    type=click.IntRange(1),
    help="Number of the try. Default: the last one that has started.",
)
@click.option("--map-index", type=click.IntRange(0), help="Instance of a mapped task.")
@click.option(
    "--follow", is_flag=True, help="Continue until the task has ended, retries included; exit status 1 if it failed."
)
@click.option("--poll-interval", type=WAIT_TIME, help="Time between two polls. Default: 2s.")
@environment_command()
def log(
    remote: Remote,
    *,
    dag_id: str,
    run_id: str,
    task_id: str,
    try_number: int | None,
    map_index: int | None,
    follow: bool,
    poll_interval: timedelta | None,
    output: str,
) -> None:
    """Print the log of a task, and with --follow what it logs until it has ended.

    \b
    Example:
      airflow-mwaa tasks log production etl nightly-7 load
      airflow-mwaa tasks log production etl nightly-7 load --map-index 3 --follow
    """
    from airflow_mwaa_provider.client.log_following import follow_task_log, last_begun_try, one_task_instance

    if poll_interval and not follow:
        raise click.UsageError("--poll-interval needs --follow.")
    environment = remote.environment
    with naming_the_nearest(remote, dag_id, [run_id], [task_id]):
        task = one_task_instance(environment, dag_id, run_id, task_id, map_index)
        if task.try_number is None:
            # The CLI reports no tries and has no logs; this raises the error for that.
            environment.get_task_log(dag_id, run_id, task_id)
        number = try_number or last_begun_try(task)
        if not follow:
            if number == 0:
                _end_without_log(remote, task)
            text = environment.get_task_log(dag_id, run_id, task_id, try_number=number, map_index=task.map_index)
            _show(remote, task, number, text.splitlines(), output)
            return
    seconds = poll_interval.total_seconds() if poll_interval else 2.0
    looks = follow_task_log(environment, task, try_number=try_number, interval_s=seconds)
    index = ("--map-index", str(map_index)) if map_index is not None else ()
    try:
        task, number, lines = _follow(looks, is_shown=output == "text")
    except KeyboardInterrupt:
        stop = remote.again("dags", "stop", remote.env_name, dag_id, run_id)
        fail(f"interrupted; task {task.label!r} is still running in {remote.env_name}. To stop its run: {stop}")
    except MwaaError as error:
        which = (remote.env_name, dag_id, run_id, task_id, *index)
        fail(f"{unended(error)}. To follow it again: {remote.again('tasks', 'log', *which, '--follow')}")
    if output == "json":
        _show(remote, task, number, lines, output)
    warn(f"task {task.label!r} of run {run_id!r} is {task.state.value}.")
    if task.state.value in ("failed", "upstream_failed"):
        sys.exit(1)


def _follow(looks: Iterator[LogLines], *, is_shown: bool) -> tuple[TaskInstance, int, list[str]]:
    """Print lines as they come; return the task at its end, its last try, and the lines of that try."""
    told, last_try, lines = "", 0, list[str]()
    for look in looks:
        task, number = look.instance, look.try_number
        if number and number != last_try:
            if number > 1:
                warn(f"try {number}:")
            last_try, lines = number, []
        lines += look.lines
        if is_shown:
            _echo_lines(look.lines)
        waits = "has not started" if not number and not task.state.is_final else ""
        if number and task.state.value == "up_for_retry":
            waits = "waits for its next try"
        note = f"task {task.label!r} {waits}: it is {task.state.value}. Ctrl-C ends the wait." if waits else ""
        if note and note != told:
            warn(note)
        told = note
    return look.instance, last_try, lines


def _end_without_log(remote: Remote, task: TaskInstance) -> None:
    subject = f"Environment {remote.env_name!r}: task {task.label!r} of run {task.run_id!r}"
    if task.state.is_final:
        fail(f"{subject} has no log: it is {task.state.value}, and no try of it has started.")
    index = ("--map-index", str(task.map_index)) if task.map_index >= 0 else ()
    which = (remote.env_name, task.dag_id, task.run_id, task.task_id)
    again = remote.again("tasks", "log", *which, *index, "--follow")
    fail(f"{subject} has not started: it is {task.state.value}. To wait for it: {again}")


def _show(remote: Remote, task: TaskInstance, number: int, lines: list[str], output: str) -> None:
    if output == "json":
        ids = {"env_name": remote.env_name, "dag_id": task.dag_id, "run_id": task.run_id}
        echo_json({**ids, **_document(task), "try_number": number, "lines": lines})
    else:
        _echo_lines(lines)


def _echo_lines(lines: list[str]) -> None:
    """Print lines of a log; escape characters that would move the cursor of a terminal."""
    for line in lines:
        echo_exactly(on_one_line(_COLOURS.sub("", line).expandtabs()) + "\n")
    sys.stdout.flush()


@tasks.command("clear")
@env_argument
@dag_argument
@run_argument
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@click.option("--downstream", is_flag=True, help="Also the tasks that depend on them.")
@clearing_options
@environment_command(interrupted="interrupted; it is unknown whether the tasks in {env_name} were cleared")
def clear(remote: Remote, *, dag_id: str, run_id: str, task_ids: tuple[str, ...], output: str, **options: Any) -> None:
    """Clear tasks of a run, so that they run again; a mapped task with all its instances.

    The tasks are shown first, and on a terminal the command asks. Running tasks are ended and start again.

    \b
    Example:
      airflow-mwaa tasks clear production etl nightly-7 load --downstream --dry-run
    """
    preview_and_clear(remote, dag_id, run_id, list(dict.fromkeys(task_ids)), output=output, **options)
