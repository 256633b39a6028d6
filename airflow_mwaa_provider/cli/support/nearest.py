# SPDX-License-Identifier: Apache-2.0
"""Names that may have been meant, where a DAG, run, task or role was not found."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn

from airflow_mwaa_provider.cli.support.errors import error_text, fail
from airflow_mwaa_provider.cli.support.output import nearest_to, some_of
from airflow_mwaa_provider.exceptions import (
    DagNotFound,
    DagRunNotFound,
    MwaaError,
    RemoteNotFound,
    TaskInstanceNotFound,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.cli.support.remote import Remote

_RUNS_LOOKED_AT = 100


@contextlib.contextmanager
def naming_the_nearest(
    remote: Remote, dag_id: str, run_ids: Sequence[str] = (), task_ids: Sequence[str] = ()
) -> Iterator[None]:
    """Add the nearest names to the error of a DAG, run or task that was not found, where they can be read."""
    try:
        yield
    except (DagNotFound, DagRunNotFound, TaskInstanceNotFound) as error:
        _fail_with_hint(error, lambda: _hint(remote, dag_id, run_ids, task_ids))


@contextlib.contextmanager
def naming_the_nearest_role(remote: Remote, name: str, dag_ids: Sequence[str] = ()) -> Iterator[None]:
    """Add the nearest names to the error of a role that was not found, or of a DAG that it was to see."""

    def hint_for_dags() -> str | None:
        known = [dag.dag_id for dag in remote.environment.list_dags()]
        return next(filter(None, (nearest_to("DAG", each, known) for each in dag_ids if each not in known)), None)

    try:
        yield
    except DagNotFound as error:
        _fail_with_hint(error, hint_for_dags)
    except RemoteNotFound as error:
        _fail_with_hint(
            error, lambda: nearest_to("role", name, [role.name for role in remote.environment.roles.list()])
        )


def _fail_with_hint(error: MwaaError, read_hint: Callable[[], str | None]) -> NoReturn:
    hint = None
    with contextlib.suppress(MwaaError):
        hint = read_hint()
    if hint is None:
        raise error
    fail(f"{error_text(error)} {hint}")


def _hint(remote: Remote, dag_id: str, run_ids: Sequence[str], task_ids: Sequence[str]) -> str | None:
    environment = remote.environment
    dag_ids = [dag.dag_id for dag in environment.list_dags()]
    if dag_id not in dag_ids:
        return nearest_to("DAG", dag_id, dag_ids) or f"To see all: {remote.again('dags', 'list', remote.env_name)}"
    known_runs = [run.run_id for run in environment.get_recent_dag_runs(dag_id, _RUNS_LOOKED_AT)] if run_ids else []
    for run_id in run_ids:
        if run_id not in known_runs:
            latest = f"Its latest runs: {some_of([repr(known) for known in known_runs], 3)}." if known_runs else None
            return nearest_to("run", run_id, known_runs) or latest or f"DAG {dag_id!r} has no runs."
    known_tasks = sorted(
        {task.task_id for task in environment.get_task_instances(dag_id, run_ids[0])} if run_ids else ()
    )
    for task_id in task_ids:
        if task_id not in known_tasks:
            return nearest_to("task", task_id, known_tasks) or f"Its tasks: {some_of(list(map(repr, known_tasks)))}."
    return None
