# SPDX-License-Identifier: Apache-2.0
"""Metrics of a metadata database: their names, units, dimensions and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_mwaa_provider.monitoring.metrics import Metric

__all__ = ["METADATA_METRICS", "metadata_metrics"]

METADATA_METRICS: dict[str, tuple[str | None, str, str]] = {
    "dag_runs": ("State", "Count", "runs that have not ended: `queued`, `running`"),
    "dag_runs_ended": ("State", "Count", "runs that ended within the last hour: `success`, `failed`"),
    "task_instances": (
        "State",
        "Count",
        (
            "task instances that have a state and have not ended: `scheduled`, `queued`, `running`, `restarting`, "
            "`deferred`, `up_for_retry`, `up_for_reschedule`, `awaiting_input`"
        ),
    ),
    "task_instances_ended": (
        "State",
        "Count",
        "task instances that ended within the last hour: `success`, `failed`, `skipped`, `upstream_failed`",
    ),
    "queued_task_age": (None, "Seconds", "time since the oldest queued task was queued; 0 when none is queued"),
    "running_dag_run_age": (None, "Seconds", "time since the oldest running run began; 0 when none is running"),
    "queued_dag_runs_of_paused_dags": (None, "Count", "queued runs that wait because their DAG is paused"),
    "scheduling_delay": (
        None,
        "Seconds",
        "how late the scheduled runs of the last hour began; no value when none began",
    ),
    "import_errors": (None, "Count", "DAG files that cannot be imported"),
    "table_size": ("Table", "Bytes", "size of a table on disk, with its indexes and large values"),
    "database_size": (None, "Bytes", "size of the database on disk"),
    "oldest_row_age": ("Table", "Seconds", "age of a table's oldest row; 0 when it is empty"),
}
"""The dimension besides Environment, the unit and the meaning of each metric."""


def metadata_metrics(numbers: Mapping[str, Any], env_name: str) -> list[Metric]:
    """Return numbers as metrics with the dimension Environment, and State or Table if there is one for each.

    :param numbers: by the metric's name; names that are not in :data:`METADATA_METRICS` are skipped, since a newer
        version of the other end may have them.
    """
    found = []
    common = {"Environment": env_name}
    for name, (dimension, unit, _) in METADATA_METRICS.items():
        number = numbers.get(name)
        if number is None:
            continue
        if dimension is not None:
            found += [Metric(name, each, unit, {**common, dimension: of}) for of, each in number.items()]
        elif isinstance(number, Mapping):
            found.append(Metric(name, unit=unit, dimensions=common, statistics=number))
        else:
            found.append(Metric(name, number, unit, common))
    return found
