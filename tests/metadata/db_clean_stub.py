# SPDX-License-Identifier: Apache-2.0
"""An environment whose ``airflow db clean`` prints what Airflow's own prints, and deletes what that would."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_mwaa_provider.exceptions import (
    CallTimeout,
)
from tests.metadata.rest_stub import Row, StubApi

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
VERSIONS = ["2.10.3", "3.3.1"]

TIMES = {
    "callback_request": "created_at", "celery_taskmeta": "date_done", "celery_tasksetmeta": "date_done",
    "dag": "last_parsed_time", "dag_run": "start_date", "dataset_event": "timestamp", "import_error": "timestamp",
    "job": "latest_heartbeat", "log": "dttm", "session": "expiry", "sla_miss": "timestamp", "task_fail": "start_date",
    "task_instance": "start_date", "task_instance_history": "start_date", "task_reschedule": "start_date",
    "trigger": "created_date", "xcom": "timestamp", "asset_event": "timestamp", "task_state_store": "expires_at",
    "_xcom_archive": "timestamp", "dag_version": "created_at", "deadline": "deadline_time", "revoked_token": "exp",
    "connection_test_request": "updated_at", "xcom_v2": "timestamp",
}  # fmt: skip
ONLY_3 = {"asset_event", "task_state_store", "_xcom_archive", "dag_version", "deadline", "revoked_token",
          "connection_test_request", "xcom_v2"}  # fmt: skip
ONLY_2 = {"dataset_event", "session", "task_fail"}
WITHOUT_DAG = {"import_error", "callback_request", "celery_taskmeta", "celery_tasksetmeta", "trigger", "revoked_token",
               "connection_test_request"}  # fmt: skip
DEPENDENT = {
    "dag": ["dag_version", "deadline"],
    "dag_run": ["task_instance", "task_state_store", "deadline"],
    "task_instance": ["task_instance_history", "xcom"],
    "trigger": ["task_instance"],
    "dag_version": ["task_instance", "dag_run"],
}
CHILDREN = {
    "dag_run": ("task_instance", "xcom", "task_reschedule", "deadline", "task_instance_history", "task_fail"),
    "task_instance": ("xcom", "task_reschedule", "task_instance_history", "task_fail"),
}


class RunsApi(StubApi):
    """A stub that also lists runs by state."""

    def _filter(self, name: str, filters: dict[str, Any], method: str) -> list[Callable[[Row], bool]]:
        states = filters.pop("states", None)
        passes = super()._filter(name, filters, method)
        return passes if states is None else [*passes, lambda row: row["state"] in states]


@dataclass(frozen=True)
class Old:
    """A row, with its time and its run."""

    time: datetime
    dag_id: str = "d"
    run: str = ""
    is_manual: bool = False


@dataclass
class Answer:
    stdout: str
    stderr: str = ""
    exit_status: int = 0


class Environment:
    """An environment whose `db clean` works on lists of rows, and prints what that of 2.10.3 or 3.3.1 prints.

    :param fails: by table, the exception that deleting raises. With a leading minus it is swallowed; with a plus
        nothing is raised and nothing is deleted.
    :param fails_above: by table, the largest number of rows for which a call does not fail.
    :param lost: for each following call, whether its answer is lost ``"before"`` or ``"after"`` it takes effect, it
        takes effect ``"late"``, or the process is ``"killed"``.
    """

    def __init__(self, airflow_version: str, rows_per_s: float = 20_000) -> None:
        self.name = "env"
        self.airflow_version = airflow_version
        self.api = RunsApi(airflow_version)
        self.is_3 = airflow_version.startswith("3")
        self.tables: dict[str, list[Old]] = {
            name: [] for name in TIMES if name not in ((ONLY_2 if self.is_3 else ONLY_3) | {"xcom_v2"})
        }
        self.missing = {"sla_miss", "_xcom_archive", "callback_request"} if self.is_3 else set()
        self.dependent = {name: list(others) for name, others in DEPENDENT.items()} if self.is_3 else {}
        self.fails: dict[str, str] = {}
        self.fails_above: dict[str, int] = {}
        self.lost: list[str] = []
        self.late: list[tuple[float, Callable[[], Any]]] = []
        self.archives: list[str] = []
        self.deletes: list[tuple[str, int]] = []
        self.counted = 0
        self.time_s = 0.0
        self.rows_per_s = rows_per_s

    def request(self, method: str, path: str, params: Any = None, json: Any = None) -> Any:
        return self.api(method, path, params=params, json=json)

    def run(self, days: float, *, state: str = "success", lasted: timedelta = timedelta(hours=1), **fields: Any) -> str:
        """Create a run that began a number of days ago, with two tasks and their dependent rows."""
        began = NOW - timedelta(days=days)
        dag_id, run_id = fields.pop("dag_id", "d"), f"run{len(self.api.tables['dag_runs'])}"
        if dag_id not in {row["dag_id"] for row in self.api.tables["dags"]}:
            self.api.tables["dags"].append({"dag_id": dag_id})
            self.tables["dag"].append(Old(NOW, dag_id))
        ended = began + lasted if state == "success" else None
        self.api.run(
            dag_id, run_id, fields.pop("dated", began), start_date=began, end_date=ended, state=state, **fields
        )
        self.tables["dag_run"].append(Old(began, dag_id, run_id))
        for name in ("task_instance", "xcom", "task_reschedule"):
            self.tables[name] += [Old(began + timedelta(minutes=i), dag_id, run_id) for i in range(2)]
        return run_id

    def fill(self, table: str, days: list[float], **fields: Any) -> None:
        self.tables[table] += [Old(NOW - timedelta(days=day), **fields) for day in days]

    def runs(self, table: str = "dag_run") -> set[str]:
        return {row.run for row in self.tables[table]}

    # -- the command -------------------------------------------------------------------------------

    def run_cli(self, argv: list[str], *, idempotent: bool = False) -> Answer:
        assert argv[:2] == ["db", "clean"]
        given, unknown = self._parser().parse_known_args(argv[2:])
        if unknown:
            return Answer(
                "Usage: …", f"airflow command error: unrecognized arguments: {' '.join(unknown)}, see help above.", 1
            )
        self.time_s += 4.0
        if given.dry_run:
            self.counted += 1
            while self.late and self.late[0][0] <= self.time_s:
                self.late.pop(0)[1]()
            return self._clean(given)
        assert not idempotent
        assert given.yes
        fate = self.lost.pop(0) if self.lost else ""
        if fate == "killed":
            self.deletes.append((given.tables[0], 0))
            moving = f"Moving data to table _airflow_deleted__{given.tables[0]}__1"
            return Answer(f"Checking table {given.tables[0]}\nFound 1 rows\n{moving}\n", "FutureWarning: old\n", 1)
        if fate == "late":
            self.late.append((self.time_s + 60.0, lambda: self._clean(given)))
        elif fate != "before":
            answer = self._clean(given)
        if fate:
            raise CallTimeout("no answer within 60 s", transient=True, ambiguous=True)
        return answer

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for flag in ("--dry-run", "--yes", "--skip-archive", "--verbose"):
            parser.add_argument(flag, action="store_true")
        parser.add_argument("--clean-before-timestamp", type=datetime.fromisoformat, required=True)
        names = lambda text: [name.strip() for name in text.split(",")]  # noqa: E731 - as Airflow's own
        parser.add_argument("--tables", type=names)
        if self.is_3:
            parser.add_argument("--dag-ids", type=names)
            parser.add_argument("--batch-size", type=int)
        return parser

    def _effective(self, wanted: list[str]) -> list[str]:
        found: list[str] = []
        for name in wanted:
            if name not in found:
                found += [child for child in self._effective(self.dependent.get(name, [])) if child not in found]
                found.append(name)
        return found

    def _clean(self, given: argparse.Namespace) -> Answer:
        lines, errors = [], []
        names = self._effective(given.tables or random.sample(list(self.tables), len(self.tables)))
        if given.dry_run:
            listed = ", ".join(map(repr, names))
            listed = f"[{listed}]" if self.is_3 else f"{{{listed}}}"
            asked = f"Data prior to {given.clean_before_timestamp} would be purged from tables {listed}"
            lines += ["Performing dry run for db cleanup.", f"{asked} with the following config:", ""]
            lines += self._config(names)
        swallowed = []
        for name in names:
            if name in self.missing:
                lines.append(self._log(f"Table {name} not found.  Skipping."))
                continue
            lines += [
                "",
                *([f"Performing dry run for table {name}"] if given.dry_run else []),
                f"Checking table {name}",
            ]
            if getattr(given, "dag_ids", None) and name in ("deadline", "asset_event"):
                lines.append(self._log(f"Encountered error when attempting to clean table '{name}'. "))
                continue
            rows = self._old(name, given)
            lines.append(f"Found {len(rows)} rows meeting deletion criteria.")
            if given.dry_run or not rows:
                continue
            self.time_s += len(rows) / self.rows_per_s
            self.deletes.append((name, len(rows)))
            archive = f"_airflow_deleted__{name}__2026112312{len(self.deletes):04}"
            batched = getattr(given, "batch_size", None)
            lines += [f"Performing Delete (batch 1, max {batched} rows)..." if batched else "Performing Delete...",
                      f"Moving data to table {archive}{'__b1' if batched else ''}"]  # fmt: skip
            if not given.skip_archive:
                self.archives.append(archive)
            failure = self.fails.get(name) if len(rows) > self.fails_above.get(name, 0) else None
            if failure and failure != "+":
                if not self.is_3:
                    self.archives.append(archive)
                if not failure.startswith("-"):
                    errors += ["Traceback (most recent call last):", '  File "db_cleanup.py", line 2', failure,
                               "DETAIL:  Key (id)=(1) is still there.", "", "[SQL: DELETE FROM log]"]  # fmt: skip
                    return Answer("\n".join(lines) + "\n", "\n".join(errors) + "\n", 1)
                lines.append(self._log(f"Encountered error when attempting to clean table '{name}'. "))
                if given.verbose and not self.is_3:
                    lines += ["Traceback (most recent call last):", failure[1:], ""]
                swallowed.append(name)
                continue
            self._delete(name, [] if failure else rows)
            lines.append("Finished Performing Delete")
        if swallowed and self.is_3:
            lines.append(
                self._log(f"The following tables were not cleaned due to errors: {swallowed}. Check the logs.")
            )
        return Answer("\n".join(lines) + "\n", "FutureWarning: something is deprecated\n")

    def _old(self, name: str, given: argparse.Namespace) -> list[Old]:
        rows = [row for row in self.tables[name] if row.time < given.clean_before_timestamp]
        if name == "dag_run":
            last: dict[str, datetime] = {}
            for row in self.tables[name]:
                if not row.is_manual:
                    last[row.dag_id] = max(row.time, last.get(row.dag_id, row.time))
            rows = [row for row in rows if row.time != last.get(row.dag_id)]
        dag_ids = getattr(given, "dag_ids", None) if name not in WITHOUT_DAG else None
        return [row for row in rows if dag_ids is None or row.dag_id in dag_ids]

    def _delete(self, name: str, rows: list[Old]) -> None:
        gone = set(rows)
        self.tables[name] = [row for row in self.tables[name] if row not in gone]
        for child in CHILDREN.get(name, ()):
            runs = {row.run for row in rows}
            if child in self.tables:
                self.tables[child] = [row for row in self.tables[child] if row.run not in runs or not row.run]

    def _config(self, names: list[str]) -> Iterator[str]:
        keeps = "['run_type != :run_type_1']" if self.is_3 else "['external_trigger = false']"
        cells = [["table", "recency_column", *(["dag_id_column"] if self.is_3 else []), "keep_last",
                  "keep_last_filters", "keep_last_group_by"]]  # fmt: skip
        for name in names if self.is_3 else sorted(names):
            keeps_last = name in ("dag_run", "dag_version")
            dag = ["None" if name in WITHOUT_DAG else f"{name}.dag_id"] if self.is_3 else []
            cells.append([name, f"{name}.{TIMES[name]}", *dag, str(keeps_last), keeps if name == "dag_run" else "None",
                          "['dag_id']" if keeps_last else "None"])  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        header, *rows = [" | ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)) for row in cells]
        yield from [header, "=+=".join("=" * n for n in widths), *rows, " " * len(header)]

    def _log(self, text: str) -> str:
        if self.is_3:
            return f"2026-11-23T12:00:00.724935Z [warning  ] {text} [airflow.utils.db_cleanup] loc=db_cleanup.py:703"
        return f"[2026-11-23T12:00:00.075+0000] {{db_cleanup.py:359}} WARNING - {text}"
