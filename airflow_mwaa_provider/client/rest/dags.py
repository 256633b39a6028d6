# SPDX-License-Identifier: Apache-2.0
"""Lists of DAGs, and of DAG files that cannot be imported, by the REST API v1 and v2.

Source: the OpenAPI documents of Airflow 2.8.1, 2.10.3, 3.0.6 and 3.3.1.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import Dag, DagFileError, parse_time
from airflow_mwaa_provider.client.rest.request import RestCaller

if TYPE_CHECKING:
    from collections.abc import Mapping


class DagListsApi(RestCaller):
    """The DAGs of an environment."""

    def list_dags(self) -> list[Dag]:
        rows = self.rows_of("/dags", "dags", "dag_id", "is_paused", order_by="dag_id")
        try:
            return sorted(map(_dag, rows), key=lambda dag: dag.dag_id)
        except (TypeError, ValueError) as error:
            raise self._unrecognized("a DAG", error) from error

    def list_dag_file_errors(self) -> list[DagFileError]:
        fields = ("import_error_id", "filename", "stack_trace")
        rows = self.rows_of("/importErrors", "import_errors", *fields, order_by="import_error_id")
        found = (DagFileError(str(row["filename"]), str(row["stack_trace"])) for row in rows)
        return sorted(found, key=lambda error: error.filename)


def _dag(row: Mapping[str, Any]) -> Dag:
    return Dag(
        dag_id=row["dag_id"],
        is_paused=bool(row["is_paused"]),
        schedule=_schedule(row),
        next_run=parse_time(row.get("next_dagrun_run_after") or row.get("next_dagrun_create_after")),
        has_import_errors=bool(row.get("has_import_errors")),
    )


def _schedule(row: Mapping[str, Any]) -> str | None:
    """Read a schedule: v2 returns a summary; v1 an object, or nothing for a custom timetable."""
    if "timetable_summary" in row:
        summary = row["timetable_summary"]
        return None if summary in (None, "", "None") else str(summary)
    schedule = row.get("schedule_interval")
    if not isinstance(schedule, dict):
        return None
    if schedule.get("value"):
        return str(schedule["value"])
    if schedule.get("__type") == "TimeDelta":
        parts = {name: schedule.get(name) or 0 for name in ("days", "seconds", "microseconds")}
        return f"every {timedelta(**parts)}"
    return str(row.get("timetable_description") or schedule.get("__type") or "") or None
