# SPDX-License-Identifier: Apache-2.0
"""Airflow's REST API in its two dialects: v1 (Airflow 2) and v2 (Airflow 3), over any transport.

One class, because the two differ in a few fields and parameters, not in structure. Each method sends one request, or
one per page, and repeats nothing; retries are up to the caller.

Source: the OpenAPI documents of Airflow 2.10.3 and 3.3.1.
"""

from __future__ import annotations

import ast
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import DagRun, RestRequest, parse_time
from airflow_mwaa_provider.client.rest.dags import DagListsApi
from airflow_mwaa_provider.client.rest.pages import PAGE_ROWS, Page, pages
from airflow_mwaa_provider.client.rest.request import quoted
from airflow_mwaa_provider.client.rest.roles import RolesApi
from airflow_mwaa_provider.client.rest.stored_objects import StoredObjectsApi
from airflow_mwaa_provider.client.rest.tasks import TaskListsApi
from airflow_mwaa_provider.client.rest.transports import INVOKE_REST_API_MAX_PATH
from airflow_mwaa_provider.client.states import DagRunState, TransportName
from airflow_mwaa_provider.exceptions import (
    DagNotFound,
    DagRunNotFound,
    TaskInstanceNotFound,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.client.models import RunRequest, TasksToClear

# Rows that are read in search of a run whose own path is too long for InvokeRestApi: ten calls.
_NEWEST_RUNS = 10 * PAGE_ROWS
_ROWS_ABOUT_A_MOMENT = 25


class AirflowApi(DagListsApi, TaskListsApi, StoredObjectsApi, RolesApi):
    """One environment's Airflow, by its REST API."""

    # -- DAGs and runs -----------------------------------------------------------------------------

    def is_paused(self, dag_id: str) -> bool:
        path, what = f"/dags/{quoted(dag_id)}", f"DAG {dag_id!r}"
        return bool(
            self.request_fields(RestRequest("GET", path), "is_paused", what=what, not_found=DagNotFound)["is_paused"]
        )

    def missing_dags(self, dag_ids: Sequence[str]) -> list[str]:
        """Return which of these DAGs do not exist, or may not be seen; one call for each."""

        def is_missing(dag_id: str) -> bool:
            try:
                self.is_paused(dag_id)
            except DagNotFound:
                return True
            return False

        return [dag_id for dag_id in dag_ids if is_missing(dag_id)]

    def create_run(self, dag_id: str, run_id: str, request: RunRequest) -> DagRun:
        body: dict[str, Any] = {"dag_run_id": run_id, "conf": dict(request.conf or {})}
        if request.logical_date is not None or self.major >= 3:
            # Airflow 3 requires the key and accepts null; Airflow 2 rejects null, and fills in a missing date.
            body["logical_date"] = request.logical_date.isoformat() if request.logical_date else None
        if request.data_interval is not None:
            start, end = request.data_interval
            body |= {"data_interval_start": start.isoformat(), "data_interval_end": end.isoformat()}
        if request.note is not None:
            body["note"] = request.note
        path, what = f"/dags/{quoted(dag_id)}/dagRuns", f"DAG {dag_id!r}"
        run = self._run(
            self.request(RestRequest("POST", path, json=body), what=what, not_found=DagNotFound), ambiguous=True
        )
        if run.run_id != run_id:
            raise UnexpectedAnswer(
                f"Environment {self._env_name!r}: POST {path} returned another run than {run_id!r}. Check that "
                "nothing but Airflow answers there.",
                env_name=self._env_name,
                ambiguous=True,
            )
        return run

    def find_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        recent: bool = False,
        with_conf: bool = False,  # noqa: ARG002 - every answer has both
    ) -> DagRun | None:
        """Read one run; ``None`` if it, or its DAG, does not exist.

        If its path is too long for InvokeRestApi, it is searched for among the newest runs of the DAG.

        :param recent: the run is new or does not exist, so that only those are searched.
        :raises UnsupportedByTransport: the run is not among the newest, and its path is too long for InvokeRestApi.
        """
        path = f"/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}"
        if not self._fits(path):
            seen = 0
            for seen, run in enumerate(self._list_runs([dag_id]), start=1):
                if run.run_id == run_id:
                    return run
                if seen == _NEWEST_RUNS:
                    break
            if recent or seen < _NEWEST_RUNS:
                return None
        try:
            what = f"run {run_id!r} of DAG {dag_id!r}"
            return self._run(self.request(RestRequest("GET", path), what=what, not_found=DagRunNotFound))
        except DagRunNotFound:
            return None

    def find_runs(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], DagRun]:
        """Read many runs by (dag_id, run_id) in few calls; those that do not exist are left out.

        Reads the newest runs of these DAGs page by page, then one by one those that were not among them.
        """
        wanted = dict.fromkeys(pairs)
        found: dict[tuple[str, str], DagRun] = {}
        if len(wanted) > 1:
            for seen, run in enumerate(self._list_runs(sorted({dag_id for dag_id, _ in wanted})), start=1):
                if (run.dag_id, run.run_id) in wanted:
                    found[run.dag_id, run.run_id] = run
                if len(found) == len(wanted) or seen >= max(PAGE_ROWS, 3 * len(wanted)):
                    break
            else:
                return found  # these were all runs of these DAGs
        for pair in wanted:
            if pair not in found and (run_of_pair := self.find_run(*pair)) is not None:
                found[pair] = run_of_pair
        return found

    def ended_runs(self, dag_ids: Sequence[str], since: datetime) -> Iterator[DagRun]:
        """Read the runs of these DAGs that ended at that time or after it: few, however many are running."""
        return self._list_runs(dag_ids, states=["success", "failed"], end_date_gte=since.isoformat())

    def recent_runs(
        self, dag_id: str, limit: int, *, states: Sequence[DagRunState] = (), until: datetime | None = None
    ) -> list[DagRun]:
        """Read the latest runs of a DAG by their dates, the latest first; one call for up to a page of them."""
        order_by = "-run_after" if self.major >= 3 else "-execution_date"
        filters: dict[str, Any] = {"states": [state.value for state in states]} if states else {}
        page_rows = min(limit, PAGE_ROWS)
        if until is not None and self.major >= 3:
            filters["run_after_lte"] = until.isoformat()
        elif until is not None:
            # The filter is by logical date, which is before the end of the run's interval: some rows are too late.
            filters["execution_date_lte"] = until.isoformat()
            page_rows = max(page_rows, _ROWS_ABOUT_A_MOMENT)
        runs = self._list_runs([dag_id], order_by=order_by, page_rows=page_rows, **filters)
        in_time = (run for run in islice(runs, max(limit, _NEWEST_RUNS)) if until is None or _could_begin(run, until))
        found = list(islice(in_time, limit))
        if not found:
            self.is_paused(dag_id)
        return found

    def last_runs(self, dag_ids: Sequence[str]) -> dict[str, DagRun]:
        # Each call requests the DAGs without a run, so that one that runs every minute hides no other.
        found: dict[str, DagRun] = {}
        order_by = "-run_after" if self.major >= 3 else "-execution_date"
        for first in range(0, len(dag_ids), PAGE_ROWS):
            left = list(dag_ids[first : first + PAGE_ROWS])
            while left:
                asked = {"dag_ids": left, "order_by": order_by, "page_offset": 0, "page_limit": PAGE_ROWS}
                answer = self.request_fields(RestRequest("POST", "/dags/~/dagRuns/list", json=asked), "dag_runs")
                rows = [self._run(row) for row in self.list_in(answer, "dag_runs")]
                for run in rows:
                    found.setdefault(run.dag_id, run)
                total = answer.get("total_entries")
                still_left = [dag_id for dag_id in left if dag_id not in found]
                if not rows or (total is not None and len(rows) >= total) or len(still_left) == len(left):
                    break
                left = still_left
        return found

    def _list_runs(
        self, dag_ids: Sequence[str], *, order_by: str = "-id", page_rows: int = PAGE_ROWS, **filters: Any
    ) -> Iterator[DagRun]:
        """List the runs of these DAGs, newest first, one call per page. The path is short enough for InvokeRestApi."""

        def ask(offset: int) -> Page[DagRun]:
            asked = {"dag_ids": list(dag_ids), "order_by": order_by, "page_offset": offset, "page_limit": page_rows}
            answer = self.request_fields(
                RestRequest("POST", "/dags/~/dagRuns/list", json={**asked, **filters}), "dag_runs"
            )
            return Page([self._run(row) for row in self.list_in(answer, "dag_runs")], answer.get("total_entries"))

        for page in pages(ask):
            yield from page.rows

    def set_run_state(self, dag_id: str, run_id: str, state: DagRunState) -> DagRun:
        path = f"/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}"
        what = f"run {run_id!r} of DAG {dag_id!r}"
        return self._run(
            self.request(RestRequest("PATCH", path, json={"state": state.value}), what=what, not_found=DagRunNotFound)
        )

    def clear_run(self, dag_id: str, run_id: str) -> None:
        path = f"/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}/clear"
        what = f"run {run_id!r} of DAG {dag_id!r}"
        self.request(RestRequest("POST", path, json={"dry_run": False}), what=what, not_found=DagRunNotFound)

    # -- tasks -------------------------------------------------------------------------------------

    def clear_tasks(
        self, dag_id: str, run_id: str, selection: TasksToClear, *, dry_run: bool
    ) -> list[tuple[str, str, int | None]]:
        body: dict[str, Any] = {
            "dag_run_id": run_id,
            "dry_run": dry_run,
            "include_downstream": selection.downstream,
            "only_failed": selection.only_failed,
            "reset_dag_runs": True,
        }
        if selection.task_ids is not None:
            body["task_ids"] = list(selection.task_ids)
        path, what = f"/dags/{quoted(dag_id)}/clearTaskInstances", f"run {run_id!r} of DAG {dag_id!r}"
        answer = self.request_fields(
            RestRequest("POST", path, json=body), "task_instances", what=what, not_found=DagRunNotFound
        )
        cleared = []
        for row in self.list_in(answer, "task_instances", ambiguous=not dry_run):
            try:
                cleared.append((row["dag_run_id"], row["task_id"], row.get("map_index")))  # v1 returns no index
            except (KeyError, TypeError) as error:
                raise self._unrecognized("a task that it cleared", error, came=row, ambiguous=not dry_run) from error
        return cleared

    def get_task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int, map_index: int = -1) -> str:
        path = f"/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}/taskInstances/{quoted(task_id)}/logs/{try_number}"
        what = f"task {task_id!r} of run {run_id!r}"
        params: dict[str, Any] = {"full_content": "true", "map_index": map_index}
        lines: list[str] = []
        while True:
            answer = self.request(RestRequest("GET", path, params=params), what=what, not_found=TaskInstanceNotFound)
            more = _log_lines(answer)
            lines += more
            token = answer.get("continuation_token") if isinstance(answer, dict) else None
            # Airflow 2 also returns a token at the end, with the whole log; Airflow 3 returns one while the task runs,
            # whether there is more or not.
            if self.major == 2 or not token or (not more and "token" in params) or token == params.get("token"):
                return "\n".join(lines)
            params["token"] = token

    def get_xcom(self, dag_id: str, run_id: str, task_id: str, key: str, *, map_index: int = -1) -> Any:
        path = (
            f"/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}/taskInstances/{quoted(task_id)}/xcomEntries/{quoted(key)}"
        )
        label = task_id if map_index < 0 else f"{task_id}[{map_index}]"
        what = f"XCom {key!r} of task {label!r} of run {run_id!r}"
        params: dict[str, Any] = {"map_index": map_index, "stringify": "false"}
        answer = self.request_fields(
            RestRequest("GET", path, params=params), "value", what=what, not_found=TaskInstanceNotFound
        )
        return answer["value"]

    # -- within ------------------------------------------------------------------------------------

    def _fits(self, path: str) -> bool:
        return self._transport.name != TransportName.REST_API or len(path) <= INVOKE_REST_API_MAX_PATH

    def _run(self, row: Any, *, ambiguous: bool = False) -> DagRun:
        try:
            return DagRun(
                dag_id=row["dag_id"],
                run_id=row["dag_run_id"],
                state=DagRunState(row["state"]),
                logical_date=parse_time(row.get("logical_date")),
                start_date=parse_time(row.get("start_date")),
                end_date=parse_time(row.get("end_date")),
                conf=row.get("conf") or {},
                note=row.get("note"),
                run_after=parse_time(row.get("run_after")) or _latest(row, "logical_date", "data_interval_end"),
                data_interval=_data_interval(row),
                run_type=row.get("run_type"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._unrecognized("a DAG run", error, came=row, ambiguous=ambiguous) from error


def _data_interval(row: Any) -> tuple[datetime, datetime] | None:
    start, end = (parse_time(row.get(name)) for name in ("data_interval_start", "data_interval_end"))
    return (start, end) if start and end else None


def _latest(row: Any, *names: str) -> datetime | None:
    return max((moment for name in names if (moment := parse_time(row.get(name)))), default=None)


def _log_lines(answer: Any) -> list[str]:
    content = answer.get("content") if isinstance(answer, dict) else answer
    if isinstance(content, list):
        return [_log_line(item) for item in content]
    text = str(content or "")
    if text.startswith("[("):
        # Airflow 2 writes its list of (host, text) pairs as Python does.
        try:
            return [line for _, part in ast.literal_eval(text) for line in str(part).splitlines()]
        except (ValueError, SyntaxError):
            return text.splitlines()
    return text.splitlines()


def _log_line(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    moment = f"[{item['timestamp']}] " if item.get("timestamp") else ""
    level = f"{str(item['level']).upper()} - " if item.get("level") else ""
    return "\n".join([f"{moment}{level}{item.get('event', '')}", *_error_lines(item.get("error_detail"))])


def _could_begin(run: DagRun, until: datetime) -> bool:
    return run.run_after is not None and run.run_after <= until


def _error_lines(causes: Any) -> list[str]:
    """Write Airflow 3's structured exceptions as Python would, each frame reduced to its location."""
    lines: list[str] = []
    for cause in causes if isinstance(causes, list) else []:
        lines.extend(
            f'  File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
            for frame in cause.get("frames") or []
        )
        lines.append(f"{cause.get('exc_type')}: {cause.get('exc_value')}")
    return lines
