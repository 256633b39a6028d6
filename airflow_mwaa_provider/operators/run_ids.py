# SPDX-License-Identifier: Apache-2.0
"""Run ids that belong to a task instance, so that its retries find the run that an earlier try created."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.client.models import DagRun

_CLOCKS_DIFFER = timedelta(minutes=1)
_STORED = "airflow_mwaa_provider.source_run_began"
"""Key under which the tries of a task share it. If it is renamed, a task that is being retried creates a second run."""


def derived_run_id(context: Context, *more: str, one_for_all_rounds: bool = False) -> str:
    """Derive a run id from a task instance: the same for every retry, and another one after the task was cleared.

    The id is globally unique to the task instance: to this Airflow, and to this source run, not to an earlier run of
    the same id that was deleted. The ids of requests with a date (``one_for_all_rounds``) and without one differ,
    because only the latter include the source run.

    :param more: strings that distinguish several runs of one task.
    :param one_for_all_rounds: derive the same id also after the task, or its run, was cleared.
    """
    # Also with a date, because its retries compare it to find out whose run they found.
    began = _first_start(context)
    source_run = [] if one_for_all_rounds else _source_run(context, began)
    instance = _instance(context, more, one_for_all_rounds=one_for_all_rounds)
    return _run_id({"from": _installation(), "run": source_run, "for": instance})


def former_run_id(context: Context, *more: str, one_for_all_rounds: bool = False) -> str:
    """Derive the id as releases up to 0.1 did, without the environment and the source run."""
    return _run_id(_instance(context, more, one_for_all_rounds=one_for_all_rounds))


def was_tried(context: Context, *, one_for_all_rounds: bool = False) -> bool:
    """Return whether an earlier try may have created the run, possibly under an earlier release of this package."""
    return tries_before(context) > 0 or (one_for_all_rounds and was_cleared(context))


def _instance(context: Context, more: tuple[str, ...], *, one_for_all_rounds: bool) -> list[Any]:
    ti: Any = context["ti"]
    earlier_tries = 0 if one_for_all_rounds else _tries_of_earlier_rounds(ti)
    return [ti.dag_id, ti.run_id, ti.task_id, getattr(ti, "map_index", -1), earlier_tries, *more]


def began_before(context: Context, run: DagRun) -> bool:
    """Return whether a remote run began before the source run, so that an earlier source run must have created it."""
    began = _first_start(context)
    return began is not None and run.start_date is not None and run.start_date < began - _CLOCKS_DIFFER


def _installation() -> list[str]:
    """Identify this Airflow by MWAA's name of the environment, which is unique to a region and an account."""
    names = (("AIRFLOW_ENV_NAME",), ("AWS_REGION", "AWS_DEFAULT_REGION"))
    return [next((found for name in known if (found := os.environ.get(name))), "") for known in names]


def _source_run(context: Context, began: datetime | None) -> list[str]:
    """Identify a run of the source DAG among others of the same id, by its number in the database, or by its start.

    Tasks of Airflow 3 do not know the number.
    """
    number = getattr(context.get("dag_run"), "id", None)
    if isinstance(number, int):
        return [str(number)]
    return ["", began.astimezone(UTC).isoformat()] if began is not None else []


def _first_start(context: Context) -> datetime | None:
    """Return when the source run began, as the first try that asked saw it.

    A run gets another start when it is cleared, or queued again while it runs. Airflow 3.3 and later keep what a task
    stores for its retries, and delete it with the run. There the first start is stored. In Airflow 3.0 to 3.2, a task
    knows nothing that stays the same in this case, but differs for a run that was deleted and created again.
    """
    began = getattr(context.get("dag_run"), "start_date", None)
    if not isinstance(began, datetime):
        return None
    store: Any = context.get("task_state_store")
    if store is None:
        return began
    if kept := store.get(_STORED):
        return datetime.fromisoformat(kept)
    store.set(_STORED, began.astimezone(UTC).isoformat())
    return began


def _run_id(identity: Any) -> str:
    return f"mwaa__{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]}"


def tries_before(context: Context) -> int:
    """Count the tries of this round before the current one."""
    ti: Any = context["ti"]
    return int(ti.try_number) - 1 - _tries_of_earlier_rounds(ti)


def was_cleared(context: Context) -> bool:
    """Return whether the task was cleared after it had been tried."""
    return _tries_of_earlier_rounds(context["ti"]) > 0


def _tries_of_earlier_rounds(ti: Any) -> int:
    """Count the tries before the task was last cleared; 0 if it never was.

    Airflow raises ``max_tries`` when a task is cleared, and does not change it between retries. ``max_tries - retries``
    therefore distinguishes one round of tries from the next.
    """
    return max(0, (ti.max_tries or 0) - (getattr(ti.task, "retries", 0) or 0))
