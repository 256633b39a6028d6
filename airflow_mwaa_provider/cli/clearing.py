# SPDX-License-Identifier: Apache-2.0
"""Clear tasks from a terminal: show what would be cleared, and ask first."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.support.errors import exit_status_of, fail, unended, warn
from airflow_mwaa_provider.cli.support.nearest import naming_the_nearest
from airflow_mwaa_provider.cli.support.output import echo_json, echo_table
from airflow_mwaa_provider.cli.support.questions import ask
from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_mwaa_provider.cli.support.remote import Remote
    from airflow_mwaa_provider.client.models import TaskInstance

_OPTIONS = (
    click.option("--only-failed", is_flag=True, help="Only tasks that failed, or whose upstream failed."),
    click.option("--dry-run", is_flag=True, help="Show what would be cleared, and change nothing."),
    click.option("--yes", is_flag=True, help="Do not ask."),
)


def clearing_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of ``dags clear`` and ``tasks clear`` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def preview_and_clear(
    remote: Remote,
    dag_id: str,
    run_id: str,
    task_ids: Sequence[str] | None,
    *,
    only_failed: bool,
    dry_run: bool,
    yes: bool,
    output: str,
    downstream: bool = False,
) -> None:
    """Show what would be cleared, ask, and clear it.

    :param task_ids: ``None`` for all tasks of the run.
    """
    environment = remote.environment

    def clear(*, dry_run: bool) -> list[TaskInstance]:
        return environment.clear_tasks(
            dag_id, run_id, task_ids=task_ids, downstream=downstream, only_failed=only_failed, dry_run=dry_run
        )

    with naming_the_nearest(remote, dag_id, [run_id], task_ids or ()):
        tasks = clear(dry_run=True)
    rows = [("TASK", "STATE"), *((task.label, task.state.value) for task in tasks)]
    if output == "text" and tasks:
        echo_table(rows)
    if tasks and not dry_run:
        question = f"Clear {_counted(tasks)} of run {run_id!r} of DAG {dag_id!r} in {remote.env_name}?"
        ask(question, yes=yes, about=rows if output == "json" else ())
        try:
            tasks = clear(dry_run=False)
        except MwaaError as error:
            if not error.ambiguous:
                raise
            look = remote.again("tasks", "list", remote.env_name, dag_id, run_id)
            fail(f"{unended(error)}. Before you clear it again, check: {look}", exit_status=exit_status_of(error))
    if output == "json":
        cleared = [{"task_id": task.task_id, "map_index": task.map_index, "state": task.state.value} for task in tasks]
        ids = {"env_name": remote.env_name, "dag_id": dag_id, "run_id": run_id}
        echo_json({**ids, "dry_run": dry_run, "cleared": cleared})
    elif not tasks:
        failed = " failed" if only_failed else ""
        click.echo(f"There is no{failed} task to clear in run {run_id!r} of DAG {dag_id!r}.", err=True)
    elif dry_run:
        click.echo(f"{_counted(tasks)} would be cleared; nothing was changed.")
    else:
        click.echo(f"{_counted(tasks)} cleared, to run again.")
        click.echo(f"To wait for them: {remote.again('dags', 'wait', remote.env_name, dag_id, run_id)}")
    if tasks and not dry_run:
        warn_if_paused(remote, dag_id)


def warn_if_paused(remote: Remote, dag_id: str) -> None:
    """Print that a run will not start because its DAG is paused, if so."""
    with contextlib.suppress(MwaaError):
        if remote.environment.is_dag_paused(dag_id):
            warn(f"DAG {dag_id!r} is paused in {remote.env_name}: its run stays queued until it is unpaused.")


def _counted(tasks: Sequence[object]) -> str:
    return "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
