# SPDX-License-Identifier: Apache-2.0
"""What somebody may have meant who named a DAG, run or task that isn't there."""

from __future__ import annotations

import contextlib
import difflib
from typing import TYPE_CHECKING

from airflow_mwaa_provider.cli.support.errors import error_text, fail
from airflow_mwaa_provider.cli.support.output import some_of
from airflow_mwaa_provider.exceptions import DagNotFound, DagRunNotFound, MwaaError, TaskInstanceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_mwaa_provider.cli.support.remote import Remote

_RUNS_LOOKED_AT = 100


@contextlib.contextmanager
def naming_the_nearest(
    remote: Remote, dag_id: str, run_ids: Sequence[str] = (), task_ids: Sequence[str] = ()
) -> Iterator[None]:
    """Add to the error of what isn't there the names that are nearest to it, as far as they can be asked for."""
    try:
        yield
    except (DagNotFound, DagRunNotFound, TaskInstanceNotFound) as error:
        hint = None
        with contextlib.suppress(MwaaError):
            hint = _hint(remote, dag_id, run_ids, task_ids)
        if hint is None:
            raise
        fail(f"{error_text(error)} {hint}")


def _hint(remote: Remote, dag_id: str, run_ids: Sequence[str], task_ids: Sequence[str]) -> str | None:
    environment = remote.environment
    dag_ids = [dag.dag_id for dag in environment.list_dags()]
    if dag_id not in dag_ids:
        return _nearest("DAG", dag_id, dag_ids) or f"To see all: {remote.again('dags', 'list', remote.env_name)}"
    known_runs = [run.run_id for run in environment.get_recent_dag_runs(dag_id, _RUNS_LOOKED_AT)] if run_ids else []
    for run_id in run_ids:
        if run_id not in known_runs:
            latest = f"Its latest runs: {some_of([repr(known) for known in known_runs], 3)}." if known_runs else None
            return _nearest("run", run_id, known_runs) or latest or f"DAG {dag_id!r} has no runs."
    known_tasks = sorted(
        {task.task_id for task in environment.get_task_instances(dag_id, run_ids[0])} if run_ids else ()
    )
    for task_id in task_ids:
        if task_id not in known_tasks:
            return _nearest("task", task_id, known_tasks) or f"Its tasks: {some_of(list(map(repr, known_tasks)))}."
    return None


def _nearest(noun: str, name: str, known: Sequence[str]) -> str | None:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"The nearest to {noun} {name!r}: {', '.join(map(repr, close))}." if close else None
