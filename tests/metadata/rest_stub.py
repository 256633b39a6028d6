# SPDX-License-Identifier: Apache-2.0
"""A stock REST API in memory, with exact lists: filters, order, pages of a hundred, NULLs, counts."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

BEGIN = datetime(2025, 11, 22, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

Row = dict[str, Any]


def told(time: datetime | None, major: int) -> str | None:
    """Write a time as Airflow 2 (marshmallow) or 3 (pydantic) does."""
    if time is None:
        return None
    return time.isoformat() if major == 2 else time.isoformat().replace("+00:00", "Z")


class StubApi:
    """Rows are dictionaries of Python values; keys that begin with an underscore are not shown."""

    def __init__(self, version: str = "3.3.1", *, page_rows: int = 100) -> None:
        self.version = version
        self.major = int(version[0])
        self.page_rows = page_rows
        self.tables: dict[str, list[Row]] = {
            "dag_runs": [], "task_instances": [], "event_logs": [], "pools": [], "jobs": [], "dags": [],
            "import_errors": [], "dag_warnings": [], "asset_events": [],
        }  # fmt: skip
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.before: Callable[[int], None] | None = None
        """Called with the number of each call before it is answered."""
        self.most_rows: int | None = None
        self.too_large: type[Exception] | None = None

    def run(self, dag_id: str, run_id: str, born: datetime, **fields: Any) -> Row:
        row: Row = {
            "dag_id": dag_id, "dag_run_id": run_id, "start_date": born, "end_date": born, "state": "success",
            "run_type": "scheduled", "data_interval_start": None, "data_interval_end": None,
            "last_scheduling_decision": None, "conf": {}, "note": None, "_id": len(self.tables["dag_runs"]),
            "_updated_at": born,
        }  # fmt: skip
        if self.major == 2:
            row |= {"execution_date": born, "logical_date": born, "external_trigger": False}
        else:
            row |= {
                "logical_date": born, "run_after": born, "queued_at": born, "triggered_by": "timetable",
                "triggering_user_name": None, "bundle_version": None, "partition_key": None, "partition_date": None,
            }  # fmt: skip
        self.tables["dag_runs"].append(row | fields)
        return self.tables["dag_runs"][-1]

    def task(self, run: Row, task_id: str, map_index: int = -1, **fields: Any) -> Row:
        number = len(self.tables["task_instances"])
        row: Row = {
            "task_id": task_id, "dag_id": run["dag_id"], "dag_run_id": run["dag_run_id"], "map_index": map_index,
            "start_date": run["start_date"], "end_date": run["end_date"], "duration": 0.0, "state": "success",
            "try_number": 1, "max_tries": 0, "hostname": "h", "unixname": "airflow", "pool": "default_pool",
            "pool_slots": 1, "queue": "default", "priority_weight": 1, "operator": "PythonOperator",
            "queued_when": None, "pid": None, "executor": None, "trigger": None, "_id": number,
            "_updated_at": run["_updated_at"], "rendered_fields": {},
        }  # fmt: skip
        if self.major == 2:
            row |= {"execution_date": run["execution_date"]}
        else:
            row |= {
                "id": f"00000000-0000-7000-8000-{number:012d}", "run_after": run["run_after"],
                "logical_date": run["logical_date"], "scheduled_when": None, "dag_version": None,
            }  # fmt: skip
        self.tables["task_instances"].append(row | fields)
        return self.tables["task_instances"][-1]

    def log(self, when: datetime | None, **fields: Any) -> Row:
        row: Row = {
            "event_log_id": len(self.tables["event_logs"]) + 1, "when": when, "dag_id": None, "task_id": None,
            "run_id": None, "map_index": None, "try_number": None, "event": "e", "owner": None, "extra": None,
            "execution_date" if self.major == 2 else "logical_date": None,
        }  # fmt: skip
        self.tables["event_logs"].append(row | fields)
        return self.tables["event_logs"][-1]

    def __call__(self, method: str, path: str, *, params: Any = None, json: Any = None) -> Any:
        assert len(path) <= 64
        given = dict(params if method == "GET" else json)
        self.calls.append((method, path, dict(given)))
        if self.before is not None:
            self.before(len(self.calls))
        name = {
            ("POST", "/dags/~/dagRuns/list"): "dag_runs",
            ("GET", "/dags/~/dagRuns"): "dag_runs",
            ("POST", "/dags/~/dagRuns/~/taskInstances/list"): "task_instances",
            ("GET", "/dags/~/dagRuns/~/taskInstances"): "task_instances",
            ("GET", "/eventLogs"): "event_logs",
            ("GET", "/pools"): "pools",
            ("GET", "/dags"): "dags",
            ("GET", "/jobs"): "jobs",
            ("GET", "/importErrors"): "import_errors",
            ("GET", "/dagWarnings"): "dag_warnings",
            ("GET", "/assets/events"): "asset_events",
        }[method, path]
        limit = min(given.pop("page_limit" if json is not None else "limit", 100), self.page_rows)
        offset = given.pop("page_offset" if json is not None else "offset", 0)
        order = given.pop("order_by", None)
        passes = self._filter(name, given, method)
        rows = [row for row in self.tables[name] if all(test(row) for test in passes)]
        total = len(self.tables[name]) if name == "event_logs" and self.version.startswith("2.8") else len(rows)
        rows = self._sorted(name, rows, order)[offset : offset + limit]
        if self.too_large is not None and self.most_rows is not None and len(rows) > self.most_rows:
            raise self.too_large("over 6 MB")
        return {name: [self._shown(row) for row in rows], "total_entries": total}

    def _filter(self, name: str, filters: dict[str, Any], method: str) -> list[Callable[[Row], bool]]:
        tests: list[Callable[[Row], bool]] = []
        if name == "event_logs" and self.major == 3:
            tests.append(lambda row: row["when"] is not None)
        for parameter, value in filters.items():
            if parameter == "dag_ids":
                assert method == "POST"
                tests.append(lambda row, dags=frozenset(value): row["dag_id"] in dags)  # type: ignore[misc]
            elif parameter in ("state", "states"):
                assert (method, parameter) == ("POST", "states" if name == "dag_runs" else "state")
                tests.append(lambda row, states=frozenset(value): row["state"] in states)  # type: ignore[misc]
            elif parameter in ("only_active", "exclude_stale"):
                assert value == "false"
            else:
                tests.append(self._in_time(parameter, value, method))
        return tests

    def _in_time(self, parameter: str, value: str, method: str) -> Callable[[Row], bool]:
        field, _, kind = ("when", "", parameter) if parameter in ("after", "before") else parameter.rpartition("_")
        if field == "updated_at":
            assert method == "GET"  # the lists by POST ignore or reject it
            field = "_updated_at"
        if field == "start_date":
            assert method == "POST"  # the other lists of Airflow 3 include rows without one
        bound = datetime.fromisoformat(value)
        compare = {"gte": operator.ge, "lte": operator.le, "after": operator.gt, "before": operator.lt}[kind]
        return lambda row: row[field] is not None and compare(row[field], bound)

    def _sorted(self, name: str, rows: list[Row], order: str | None) -> list[Row]:
        if name == "task_instances" and self.major == 2:
            assert order is None  # not supported; some versions ignore it
            return rows
        if order is None:
            return rows
        is_down, field = order.startswith("-"), order.lstrip("-")
        field = {"id": "_id"}.get(field, field)
        if name in ("jobs", "asset_events", "import_errors") and field == "_id":
            field = "import_error_id" if name == "import_errors" else "id"
        known = sorted((row for row in rows if row[field] is not None), key=lambda row: row[field], reverse=is_down)
        unknown = [row for row in rows if row[field] is None]
        return unknown + known if is_down and self.major == 2 else known + unknown

    def _shown(self, row: Row) -> Row:
        return {
            name: told(value, self.major) if isinstance(value, datetime) else value
            for name, value in row.items()
            if not name.startswith("_")
        }
