# SPDX-License-Identifier: Apache-2.0
"""Run ids that belong to a task instance, so that its retries find the run that an earlier try made."""

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
"""Key under which the tries of a task share it; renaming it makes a run of a task that is being retried twice."""


def derived_run_id(context: Context, *more: str, one_for_all_rounds: bool = False) -> str:
    """Derive a run id from a task instance: the same for every retry, another one after the task was cleared.

    It is that of one task instance in the world: of this Airflow, and of this source run, which another run of the
    same id that was deleted before is not. The ids of a request with a date (``one_for_all_rounds``) and of one without
    differ, because the source run is a part of the latter alone.

    :param more: what tells several runs of one task apart.
    :param one_for_all_rounds: the same also after the task, or its run, was cleared.
    """
    # Also for a date: its retries are told by it whose run they find.
    began = _first_start(context)
    source_run = [] if one_for_all_rounds else _source_run(context, began)
    instance = _instance(context, more, one_for_all_rounds=one_for_all_rounds)
    return _run_id({"from": _installation(), "run": source_run, "for": instance})


def former_run_id(context: Context, *more: str, one_for_all_rounds: bool = False) -> str:
    """Derive the id as releases up to 0.1 did, which left out the environment and the source run."""
    return _run_id(_instance(context, more, one_for_all_rounds=one_for_all_rounds))


def was_tried(context: Context, *, one_for_all_rounds: bool = False) -> bool:
    """Whether an earlier try may have made the run, maybe under an earlier release of this package."""
    return tries_before(context) > 0 or (one_for_all_rounds and was_cleared(context))


def _instance(context: Context, more: tuple[str, ...], *, one_for_all_rounds: bool) -> list[Any]:
    ti: Any = context["ti"]
    tries_so_far = 0 if one_for_all_rounds else _tries_of_earlier_rounds(ti)
    return [ti.dag_id, ti.run_id, ti.task_id, getattr(ti, "map_index", -1), tries_so_far, *more]


def began_before(context: Context, run: DagRun) -> bool:
    """Whether a remote run began before the source run did, so that a run of that id before it has made it."""
    began = _first_start(context)
    return began is not None and run.start_date is not None and run.start_date < began - _CLOCKS_DIFFER


def _installation() -> list[str]:
    """Tell this Airflow from others: MWAA's name of the environment, which is one for a region and an account."""
    names = (("AIRFLOW_ENV_NAME",), ("AWS_REGION", "AWS_DEFAULT_REGION"))
    return [next((found for name in known if (found := os.environ.get(name))), "") for known in names]


def _source_run(context: Context, began: datetime | None) -> list[str]:
    """Tell a run of the source DAG from another one of the same id: by its number in the database, or its start.

    Tasks of Airflow 3 do not know the number.
    """
    number = getattr(context.get("dag_run"), "id", None)
    if isinstance(number, int):
        return [str(number)]
    return ["", began.astimezone(UTC).isoformat()] if began is not None else []


def _first_start(context: Context) -> datetime | None:
    """Return when the source run began, as the first try that asked saw it.

    A run gets another start when it is cleared, or put back into the queue while it is under way. From 3.3 on Airflow
    keeps what a task stores for its retries, and deletes it with the run: there the first start is kept. Before,
    nothing that a task of Airflow 3 knows stays the same then and is another for a run that was deleted and made again.
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
    """Count the tries of this round that came before the present one."""
    ti: Any = context["ti"]
    return int(ti.try_number) - 1 - _tries_of_earlier_rounds(ti)


def was_cleared(context: Context) -> bool:
    """Whether the task was cleared after it had been tried."""
    return _tries_of_earlier_rounds(context["ti"]) > 0


def _tries_of_earlier_rounds(ti: Any) -> int:
    """Count the tries before the task was cleared last; 0 when it never was.

    Airflow raises ``max_tries`` when a task is cleared and leaves it alone between retries, so that ``max_tries -
    retries`` tells one round of tries from the next.
    """
    return max(0, (ti.max_tries or 0) - (getattr(ti.task, "retries", 0) or 0))
