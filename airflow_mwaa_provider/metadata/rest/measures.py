# SPDX-License-Identifier: Apache-2.0
"""The numbers of :mod:`~airflow_mwaa_provider.metadata.measures`, as far as Airflow's own REST API provides them.

The API filters by state, for which there is an index, and counts. Numbers for which it would have to read the whole
table of task instances, or which it does not provide, are left out, with the reason.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import AnswerTooLarge, UnexpectedAnswer
from airflow_mwaa_provider.metadata.measures import (
    ENDED_RUNS,
    UNFINISHED_RUNS,
    UNFINISHED_TASKS,
    WINDOW_S,
    Measures,
)
from airflow_mwaa_provider.metadata.rest.pagination import PAGE_ROWS, Request, field_of
from airflow_mwaa_provider.metadata.rest.tables import parsed_version
from airflow_mwaa_provider.metadata.rest.values import micros, parse_datetime, written_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MOST_QUEUED", "measure_rest"]

MOST_QUEUED = 2_000
"""Maximum number of queued tasks that are read to find the oldest, by which the API does not sort."""

_RUNS = ("POST", "/dags/~/dagRuns/list", "dag_runs")
_TASKS = ("POST", "/dags/~/dagRuns/~/taskInstances/list", "task_instances")
_ERRORS = ("GET", "/importErrors", "import_errors")
_QUEUED = "queued_when"
_NEWER_STATES = {"awaiting_input": (3, 3)}
_UNSEEN = "the REST API does not provide it"
_DEAR = "the REST API provides it only by reading whole tables"
_MISSING = {
    "task_instances_ended": _DEAR,
    "queued_dag_runs_of_paused_dags": _UNSEEN,
    "scheduling_delay": _UNSEEN,
    "table_size": _UNSEEN,
    "database_size": _UNSEEN,
    "oldest_row_age": _DEAR,
}


def measure_rest(
    request: Request, airflow_version: str, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Measures:
    """Measure what the REST API provides, in some fifteen short calls.

    If the role sees only some of the DAGs, the numbers are those of these DAGs.

    :param request: calls the API, such as ``MwaaEnvironment.request``.
    :param airflow_version: of the environment, such as ``"3.3.1"``.
    :param clock: returns the time, from which ages are computed.
    :raises UnexpectedAnswer: what answers is not Airflow.
    """
    version, now = parsed_version(airflow_version), clock()
    lists = _Lists(request)
    since = written_time(micros(now - timedelta(seconds=WINDOW_S)))
    measures = Measures({}, dict(_MISSING))
    numbers = measures.numbers
    runs = {state: lists.page(_RUNS, {"states": [state], "order_by": "start_date"}, 1) for state in UNFINISHED_RUNS}
    numbers["dag_runs"] = {state: total for state, (_, total) in runs.items()}
    numbers["dag_runs_ended"] = {
        state: lists.page(_RUNS, {"states": [state], "end_date_gte": since}, 1)[1] for state in ENDED_RUNS
    }
    numbers["task_instances"] = {
        state: lists.page(_TASKS, {"state": [state]}, 1)[1] if version >= _NEWER_STATES.get(state, ()) else 0
        for state in UNFINISHED_TASKS
    }
    queued = lists.queued_tasks()
    if queued is None:
        measures.missing["queued_task_age"] = f"more than {MOST_QUEUED:,} tasks are queued"
    else:
        numbers["queued_task_age"] = _age(queued, _QUEUED, _TASKS[1], now)
    numbers["running_dag_run_age"] = _age(runs["running"][0], "start_date", _RUNS[1], now)
    numbers["import_errors"] = lists.page(_ERRORS, {}, 1)[1]
    return measures


class _Lists:
    """The API's lists.

    :param request: sends a call.
    """

    def __init__(self, request: Request) -> None:
        self._request = request

    def page(
        self, listing: tuple[str, str, str], filters: Mapping[str, Any], rows: int, offset: int = 0
    ) -> tuple[list[dict[str, Any]], int]:
        """Return rows, and the number of rows that the filters let through."""
        method, path, name = listing
        is_body = method == "POST"
        paging = {"page_limit": rows, "page_offset": offset} if is_body else {"limit": rows, "offset": offset}
        answer = self._request(method, path, **{"json" if is_body else "params": {**filters, **paging}})
        found = answer.get(name) if isinstance(answer, dict) else None
        total = answer.get("total_entries") if isinstance(answer, dict) else None
        if not isinstance(found, list) or not isinstance(total, int):
            raise UnexpectedAnswer(
                f"{method} {path} was not answered with {name} and total_entries. Check that nothing but Airflow "
                "answers there."
            )
        return found, total

    def queued_tasks(self) -> list[dict[str, Any]] | None:
        """Return when each queued task was queued; ``None`` if there are too many."""
        times: list[dict[str, Any]] = []
        rows, offset = PAGE_ROWS, 0
        while True:
            try:
                found, total = self.page(_TASKS, {"state": ["queued"]}, rows, offset)
            except AnswerTooLarge:
                if rows == 1:
                    raise
                rows = max(1, rows // 4)  # each task comes with its rendered fields
                continue
            if total > MOST_QUEUED:
                return None
            times += [{_QUEUED: field_of(row, _QUEUED, _TASKS[1])} for row in found]
            offset += len(found)
            if not found or offset >= total:
                return times


def _age(rows: list[dict[str, Any]], name: str, path: str, now: datetime) -> float:
    """Return the seconds since the earliest time of some rows; 0 for none."""
    try:
        times = [time for row in rows if (time := parse_datetime(field_of(row, name, path))) is not None]
    except ValueError as error:
        raise UnexpectedAnswer(
            f"{path}: a row was answered with {name!r} of another type ({error}). Check that nothing but Airflow "
            "answers there, or use another route."
        ) from None
    return max(0.0, (now - min(times)).total_seconds()) if times else 0.0
