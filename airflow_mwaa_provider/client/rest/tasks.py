# SPDX-License-Identifier: Apache-2.0
"""Lists of task instances by the REST API: every instance once, however many there are.

Airflow 3 sorts its list by ids, which change only when a task runs again. Airflow 2 does not sort it, and PostgreSQL
returns each page in a different order: pages of 1,000 tasks, all of which had ended, lacked 190 of them (2.10.3).
There, a list that exceeds a page is requested in parts of a page each: by runs, then by tasks, then by map index,
because that last list is sorted.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import RestRequest, TaskInstance, parse_time
from airflow_mwaa_provider.client.rest.pages import LOOKS, PAGE_ROWS, Page, pages
from airflow_mwaa_provider.client.rest.request import RestCaller, quoted
from airflow_mwaa_provider.client.states import TaskState
from airflow_mwaa_provider.exceptions import RemoteNotFound, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Pairs = Sequence[tuple[str, str]]
    Names = Sequence[str] | None

# Parts are divided by what a page is expected to hold; a part that holds more is divided again.
_ROWS_A_PART = PAGE_ROWS * 3 // 5


class TaskListsApi(RestCaller):
    """The task instances of runs."""

    def get_tasks_of_runs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of runs, a hundred runs per call (and at most a hundred rows per answer)."""
        wanted = list(dict.fromkeys(pairs))
        found: list[TaskInstance] = []
        for first in range(0, len(wanted), PAGE_ROWS):
            chunk = wanted[first : first + PAGE_ROWS]
            rows = (self._in_pages if self.major >= 3 else self._in_parts)(chunk, task_ids, states)
            # The filters are two independent lists: rows of other pairs of the two are left out here.
            found += [row for row in rows if (row.dag_id, row.run_id) in chunk]
        return found

    def _page(self, pairs: Pairs, task_ids: Names, states: Sequence[TaskState], offset: int = 0) -> Page[TaskInstance]:
        body: dict[str, Any] = {
            "dag_ids": sorted({dag_id for dag_id, _ in pairs}),
            "dag_run_ids": sorted({run_id for _, run_id in pairs}),
            "page_limit": PAGE_ROWS,
            "page_offset": offset,
        }
        if self.major >= 3:
            body["order_by"] = "id"
        if task_ids is not None:
            body["task_ids"] = list(task_ids)
        if states:
            body["state"] = [state.value for state in states]
        path = "/dags/~/dagRuns/~/taskInstances/list"
        answer = self.request_fields(RestRequest("POST", path, json=body), "task_instances", "total_entries")
        rows = [self._task_instance(row) for row in self.list_in(answer, "task_instances")]
        return Page(rows, int(answer["total_entries"]))

    def _in_pages(self, pairs: Pairs, task_ids: Names, states: Sequence[TaskState]) -> list[TaskInstance]:
        found: list[TaskInstance] = []
        for _ in range(LOOKS):
            for page in pages(lambda offset: self._page(pairs, task_ids, states, offset)):
                found += page.rows
            found, total = _distinct(found), page.total or 0
            if len(found) >= total:
                return found
            # A task that runs again gets a new id and moves to the last page, so that another moved up, out of sight.
        raise self._incomplete(pairs, len(found), total)

    # -- Airflow 2 ---------------------------------------------------------------------------------

    def _in_parts(self, pairs: Pairs, task_ids: Names, states: Sequence[TaskState]) -> list[TaskInstance]:
        rows, counted = self._page(pairs, task_ids, states)
        total = counted or 0
        if total <= len(rows):
            return rows
        if len(pairs) > 1:
            parts = [self._in_parts(part, task_ids, states) for part in _divided(pairs, total)]
        elif task_ids is None:
            return self._of_all_tasks(pairs, states)
        elif len(task_ids) > 1:
            parts = [self._in_parts(pairs, part, states) for part in _divided(list(task_ids), total)]
        else:
            return self._mapped(pairs[0], task_ids[0], states)
        return _distinct(row for part in parts for row in part)

    def _of_all_tasks(self, pairs: Pairs, states: Sequence[TaskState]) -> list[TaskInstance]:
        """List a run of many tasks, whose ids are those that its DAG has, or had when the run began."""
        names: set[str] = set()
        for look in range(LOOKS):
            rows, counted = self._page(pairs, None, states)
            total = counted or 0
            names |= {row.task_id for row in rows} | (self._tasks_of_dag(pairs[0][0]) if look == 0 else set())
            found = self._in_parts(pairs, sorted(names), states)
            if len(found) >= total:
                return found
            # Tasks that the DAG no longer has: pages that do not fit together still show most of them.
            for page in pages(lambda offset: self._page(pairs, None, states, offset)):
                names |= {row.task_id for row in page.rows}
        raise self._incomplete(pairs, len(found), total)

    def _tasks_of_dag(self, dag_id: str) -> set[str]:
        try:
            answer = self.request_fields(RestRequest("GET", f"/dags/{quoted(dag_id)}/tasks"), "tasks")
        except RemoteNotFound:
            return set()
        found = set()
        for task in self.list_in(answer, "tasks"):
            try:
                found.add(str(task["task_id"]))
            except (KeyError, TypeError) as error:
                raise self._unrecognized("a task of a DAG", error, came=task) from error
        return found

    def _mapped(self, pair: tuple[str, str], task_id: str, states: Sequence[TaskState]) -> list[TaskInstance]:
        """List the instances of one mapped task, which are sorted by their map index."""
        dag_id, run_id = map(quoted, pair)
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{quoted(task_id)}/listMapped"

        def ask(offset: int) -> Page[TaskInstance]:
            params: dict[str, Any] = {"limit": PAGE_ROWS, "offset": offset}
            if states:
                params["state"] = [state.value for state in states]
            try:
                answer = self.request_fields(RestRequest("GET", path, params=params), "task_instances", "total_entries")
            except RemoteNotFound:  # deleted since the page before
                return Page([], None)
            rows = [self._task_instance(row) for row in self.list_in(answer, "task_instances")]
            return Page(rows, int(answer["total_entries"]))

        read = list(pages(ask))
        found, total = _distinct(row for page in read for row in page.rows), read[-1].total
        if total is not None and len(found) < total:
            raise self._incomplete([pair], len(found), total)
        return found

    # -- within ------------------------------------------------------------------------------------

    def _incomplete(self, pairs: Pairs, count: int, total: int) -> UnexpectedAnswer:
        (dag_id, run_id), *others = pairs
        and_others = f" and {len(others)} others" if others else ""
        return UnexpectedAnswer(
            f"Environment {self._env_name!r}: run {run_id!r} of DAG {dag_id!r}{and_others}: Airflow counts {total} "
            f"task instances and listed only {count}, because they change while they are read. Try again later.",
            env_name=self._env_name,
            transient=True,
        )

    def _task_instance(self, row: Any) -> TaskInstance:
        try:
            return TaskInstance(
                dag_id=row["dag_id"],
                run_id=row["dag_run_id"],
                task_id=row["task_id"],
                state=TaskState(row["state"] or TaskState.NONE),
                map_index=row.get("map_index", -1),
                try_number=row.get("try_number"),
                start_date=parse_time(row.get("start_date")),
                end_date=parse_time(row.get("end_date")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._unrecognized("a task instance", error, came=row) from error


def _divided(items: Sequence[Any], total: int) -> list[Sequence[Any]]:
    """Divide a list of two or more into at least two parts, each of which may fit a page."""
    count = min(len(items), max(2, -(-total // _ROWS_A_PART)))
    cuts = [len(items) * part // count for part in range(count + 1)]
    return [items[low:high] for low, high in pairwise(cuts)]


def _distinct(rows: Iterable[TaskInstance]) -> list[TaskInstance]:
    """Leave out duplicates, because parts are not read at the same time."""
    return list({(row.dag_id, row.run_id, row.task_id, row.map_index): row for row in rows}.values())
