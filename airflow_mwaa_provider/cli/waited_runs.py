# SPDX-License-Identifier: Apache-2.0
"""Wait for a run in a terminal: what is shown meanwhile, at its end, and if the wait ends first."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import click

from airflow_mwaa_provider.cli.support.durations import duration_text
from airflow_mwaa_provider.cli.support.errors import fail, unended
from airflow_mwaa_provider.cli.support.output import echo_fields, echo_json
from airflow_mwaa_provider.cli.support.progress import Progress
from airflow_mwaa_provider.exceptions import DagRunFailed, DagRunNotFound, MwaaError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_mwaa_provider.cli.support.remote import Remote
    from airflow_mwaa_provider.client.models import DagRun

_TIMEOUT_S = 12 * 3600.0


@dataclass(frozen=True)
class WaitOptions:
    """How to wait for a run."""

    timeout_s: float = _TIMEOUT_S
    interval_s: float | None = None
    allowed_states: tuple[str, ...] = ("success",)
    failed_states: tuple[str, ...] = ("failed",)
    cancel_on_interrupt: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], *, wait: bool) -> WaitOptions:
        """Read the options of a command.

        :param wait: whether the command waits; if it does not, these options are refused.
        """
        given = [name for name, value in options.items() if value]
        if given and not wait:
            option = given[0].removesuffix("s") if given[0].endswith("_states") else given[0]
            raise click.UsageError(f"--{option.replace('_', '-')} needs --wait.")
        return cls(
            timeout_s=options["wait_timeout"].total_seconds() if options["wait_timeout"] else _TIMEOUT_S,
            interval_s=options["poll_interval"].total_seconds() if options["poll_interval"] else None,
            allowed_states=options["allowed_states"] or cls.allowed_states,
            failed_states=options["failed_states"] or cls.failed_states,
            cancel_on_interrupt=options["cancel_on_interrupt"],
        )


def show_run(remote: Remote, run: DagRun, output: str, failed_tasks: tuple[str, ...] = ()) -> None:
    """Print a run, as fields for people or a document for machines."""
    try:
        url = remote.environment.dag_run_url(run.dag_id, run.run_id)
    except MwaaError:
        url = None  # a role that may trigger runs may lack the permission to read the address
    document = {
        "env_name": remote.env_name,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": run.state.value,
        "created": bool(run.created),
        "logical_date": run.logical_date.isoformat() if run.logical_date else None,
        "start_date": run.start_date.isoformat() if run.start_date else None,
        "end_date": run.end_date.isoformat() if run.end_date else None,
        "note": run.note,
        "failed_tasks": list(failed_tasks),
        "url": url,
    }
    if output == "json":
        echo_json(document)
        return
    shown = {**document, "created": None, "failed_tasks": ", ".join(failed_tasks)}
    echo_fields((name.removesuffix("_name").replace("_", " "), value) for name, value in shown.items())


def wait_for_run(remote: Remote, run: DagRun, how: WaitOptions, output: str) -> None:
    """Wait until a run ends and print it; end the command with status 1 if the run failed."""
    from airflow_mwaa_provider.client.parameters import run_states
    from airflow_mwaa_provider.client.waits.run_wait import PollInterval

    subject = f"run {run.run_id} of DAG {run.dag_id}"
    # Also without a terminal: readers of a log want to know which run it was, however the wait ends.
    click.echo(f"airflow-mwaa: waiting for {subject} in {remote.env_name}", err=True)
    began = time.monotonic()
    with Progress(is_plain_too=False) as progress:

        def show(note: str) -> None:
            progress.show(remote.env_name, f"{subject}: {note}, {duration_text(time.monotonic() - began)}")

        show(run.state.value)
        try:
            ended = remote.environment.wait_for_dag_run(
                run.dag_id,
                run.run_id,
                timeout_s=how.timeout_s,
                allowed_states=run_states(how.allowed_states, "--allowed-state"),
                failed_states=run_states(how.failed_states, "--failed-state"),
                interval=PollInterval(fixed_s=how.interval_s),
                seen=run,
                on_look=show,
            )
        except DagRunFailed as error:
            progress.close()
            show_run(remote, _as_it_is_now(remote, run), output, error.failed_task_ids)
            raise
        except MwaaError as error:
            progress.close()
            if isinstance(error, DagRunNotFound):
                raise
            if isinstance(error, WaitTimeout):
                show_run(remote, _as_it_is_now(remote, run), output)
            fail(f"{unended(error)}. {_look_again(remote, run)}")
    show_run(remote, _with_created(ended, run), output)


@contextlib.contextmanager
def keeping_the_run(remote: Remote, run: DagRun, how: WaitOptions) -> Iterator[None]:
    """End the command when it is interrupted in this context, but the run only with --cancel-on-interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        _end_interrupted(remote, run, how)


def _end_interrupted(remote: Remote, run: DagRun, how: WaitOptions) -> NoReturn:
    subject = f"run {run.run_id!r} of DAG {run.dag_id!r}"
    if how.cancel_on_interrupt:
        try:
            stopped = remote.environment.stop_dag_run(run.dag_id, run.run_id)
        except MwaaError as error:
            fail(f"interrupted; {subject} is still running, because it could not be marked as failed. {error}")
        if stopped.state.value == "success":
            fail(f"interrupted; {subject} in {remote.env_name} had already ended: success.")
        fail(f"interrupted; {subject} in {remote.env_name} has been marked as failed, which ends its tasks.")
    fail(f"interrupted; {subject} is still running in {remote.env_name}. {_look_again(remote, run)}")


def _look_again(remote: Remote, run: DagRun) -> str:
    which = (remote.env_name, run.dag_id, run.run_id)
    again, stop = (remote.again("dags", command, *which) for command in ("wait", "stop"))
    return f"To stop it: {stop}. To wait for it again: {again}"


def _as_it_is_now(remote: Remote, run: DagRun) -> DagRun:
    try:
        return _with_created(remote.environment.get_dag_run(run.dag_id, run.run_id), run)
    except MwaaError:
        return run


def _with_created(ended: DagRun, run: DagRun) -> DagRun:
    return replace(ended, created=run.created)
