# SPDX-License-Identifier: Apache-2.0
"""Run ids that belong to a task instance, so that its retries find the run that an earlier try made."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_mwaa_provider._compat import Context


def derived_run_id(context: Context, *more: str, one_for_all_rounds: bool = False) -> str:
    """Derive a run id from a task instance: the same for every retry, another one after the task was cleared.

    :param more: what tells several runs of one task apart.
    :param one_for_all_rounds: the same also after the task was cleared.
    """
    ti: Any = context["ti"]
    tries_so_far = 0 if one_for_all_rounds else _tries_of_earlier_rounds(ti)
    identity = json.dumps([ti.dag_id, ti.run_id, ti.task_id, getattr(ti, "map_index", -1), tries_so_far, *more])
    return f"mwaa__{hashlib.sha256(identity.encode()).hexdigest()[:24]}"


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
