# SPDX-License-Identifier: Apache-2.0
"""A model of what a cleanup must delete, for rows in memory: written from its documentation, without its SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.metadata.random_metadata import ACTIVE, NOW, Catalog, Row, Rows

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow_mwaa_provider.metadata.cleanup import CleanupOptions

OF_TASKS = (
    "task_instance_history", "task_instance_note", "task_reschedule", "task_fail", "task_map", "hitl_detail",
    "rendered_task_instance_fields", "xcom", "task_state_store",
)  # fmt: skip
OF_RUNS = ("task_instance", "dag_run_note", "deadline", "asset_partition_dag_run", "dagrun_asset_event",
           "dagrun_dataset_event", "hitl_detail_history", *OF_TASKS)  # fmt: skip
TIMES = {
    "task_instance": ("end_date", "start_date"), "task_instance_history": ("end_date", "start_date"),
    "task_instance_note": ("updated_at",), "dag_run_note": ("updated_at",), "xcom": ("timestamp",),
    "task_reschedule": ("end_date",), "task_fail": ("end_date",), "hitl_detail": ("created_at",),
    "hitl_detail_history": ("created_at",), "task_state_store": ("updated_at",), "deadline": ("last_updated_at",),
    "asset_partition_dag_run": ("updated_at",),
}  # fmt: skip
SIMPLE = {
    "log": ("dttm",), "job": ("latest_heartbeat", "start_date"), "import_error": ("timestamp",),
    "celery_taskmeta": ("date_done",), "session": ("expiry",), "callback_request": ("created_at",),
    "connection_test_request": ("updated_at",), "sla_miss": ("execution_date",), "revoked_token": ("exp",),
}  # fmt: skip


class Model:
    """The rows of a database, and which of them are deleted."""

    def __init__(self, rows: Rows, catalog: Catalog, options: CleanupOptions) -> None:
        self.rows = {table: given for table, given in rows.items() if catalog.has(table)}
        self.catalog = catalog
        self.options = options
        self.gone: dict[str, list[Row]] = {}
        self._clean()

    def _there(self, table: str) -> list[Row]:
        gone = self.gone.get(table, [])
        return [row for row in self.rows.get(table, []) if not any(row is other for other in gone)]

    def _go(self, table: str, row: Row) -> None:
        if not any(row is other for other in self.gone.setdefault(table, [])):
            self.gone[table].append(row)

    def _wants(self, table: str) -> bool:
        if table in self.options.exclude:
            return False
        if self.options.dag_ids is not None and not self.catalog.has(table, "dag_id"):
            return False
        return self.options.tables is None or table in self.options.tables

    def _time(self, table: str, row: Row, names: tuple[str, ...]) -> datetime | None:
        for name in names:
            value = row.get(name) if self.catalog.has(table, name) else None
            if value is not None:
                return value if value.tzinfo else value.replace(tzinfo=UTC)  # type: ignore[no-any-return]
        return None

    def _is_old(self, moment: datetime | None, retention: timedelta) -> bool:
        oldest = self.options.max_age
        return (
            moment is not None and moment < NOW - retention and (oldest is None or moment >= NOW - oldest)
        )  # fmt: skip

    def _is_of_dags(self, row: Row) -> bool:
        return self.options.dag_ids is None or row.get("dag_id") in self.options.dag_ids

    def _clean(self) -> None:
        runs_go = self._wants("dag_run")
        if runs_go:
            for run in self._runs(self.options.retention_of("dag_run"), OF_RUNS):
                for table in OF_RUNS:
                    for row in self._of_run(table, run):
                        self._go(table, row)
                self._go("dag_run", run)
                for link in self.rows.get("backfill_dag_run", []):
                    if link["dag_run_id"] == run["id"]:
                        link["dag_run_id"] = None
        for table in ("task_instance", *OF_TASKS, "dag_run_note"):
            named = table in (self.options.tables or ()) or (runs_go and table in self.options.retention_by_table)
            if not named or table not in self.rows or table in self.options.exclude:
                continue
            retention = self.options.retention_of(table)
            if runs_go and retention >= self.options.retention_of("dag_run"):
                continue
            along = {
                "task_instance": (*OF_TASKS[:-1], "hitl_detail_history", "task_instance"),
                "task_instance_history": ("task_instance_history", "hitl_detail_history"),
            }.get(table, (table,))
            going = [(t, row) for run in self._runs(retention, along) for t in along for row in self._of_run(t, run)]
            for name, row in going:
                self._go(name, row)
        self._clean_others()

    def _runs(self, retention: timedelta, along: tuple[str, ...]) -> list[Row]:
        """Runs that are old enough for these of their tables."""
        names = tuple(
            name
            for name in ("end_date", "start_date", "run_after", "logical_date", "execution_date", "queued_at")
            if self.catalog.has("dag_run", name)
        )
        found = []
        for run in self._there("dag_run"):
            tasks = self._of_run("task_instance", run)
            if (
                run["state"] in ("success", "failed")
                and self._is_of_dags(run)
                and self._is_old(self._time("dag_run", run, names), retention)
                and (run["dag_id"], run["run_id"]) != self.options.own_run
                and not (self.options.keep_last_run and self._is_last(run))
                and not self._is_before_unfinished(run)
                and not any(task["state"] in ACTIVE for task in tasks)
                and not any(self._is_young(t, row, retention) for t in along for row in self._of_run(t, run))
            ):
                found.append(run)
        return found

    def _is_young(self, table: str, row: Row, retention: timedelta) -> bool:
        moment = self._time(table, row, TIMES.get(table, ()))
        return moment is not None and moment >= NOW - retention

    def _is_last(self, run: Row) -> bool:
        def moment(other: Row) -> Any:
            if self.catalog.has("dag_run", "execution_date"):
                return other["execution_date"], other["id"]
            return other["logical_date"] or other["run_after"], other["id"]

        alike = [o for o in self.rows["dag_run"] if (o["dag_id"], o["run_type"]) == (run["dag_id"], run["run_type"])]
        successes = [other for other in alike if other["state"] == "success"]
        return run is max(alike, key=moment) or bool(successes and run is max(successes, key=moment))

    def _is_before_unfinished(self, run: Row) -> bool:
        name = "execution_date" if self.catalog.has("dag_run", "execution_date") else "logical_date"
        dated = [r for r in self.rows["dag_run"] if r["dag_id"] == run["dag_id"] and r[name] is not None]
        for unfinished in dated:
            if unfinished["state"] not in ("success", "failed"):
                earlier = [r for r in dated if r[name] < unfinished[name]]
                for among in (earlier, [r for r in earlier if r["run_type"] != "manual"]):
                    if among and run is max(among, key=lambda r: r[name]):
                        return True
        return False

    def _of_run(self, table: str, run: Row) -> list[Row]:
        there = self._there(table)
        if table == "hitl_detail_history":
            ids = {row["task_instance_id"] for row in self._of_run("task_instance_history", run)}
            return [row for row in there if row["ti_history_id"] in ids]
        if table in ("dag_run_note", "dagrun_asset_event", "dagrun_dataset_event"):
            return [row for row in there if row["dag_run_id"] == run["id"]]
        if table == "deadline":
            return [row for row in there if row["dagrun_id"] == run["id"]]
        if table == "asset_partition_dag_run":
            return [row for row in there if row["created_dag_run_id"] == run["id"]]
        return [row for row in there if (row["dag_id"], row["run_id"]) == (run["dag_id"], run["run_id"])]

    def _clean_others(self) -> None:
        for kind in ("asset", "dataset"):
            self._clean_events(kind)
        for row in self._old("partitioned_asset_key_log", ("created_at",)):
            if not self._is_awaited(row["asset_partition_dag_run_id"]):
                self._go("partitioned_asset_key_log", row)
        for row in self._old("backfill", ("completed_at",)):
            if not any(run.get("backfill_id") == row["id"] for run in self._there("dag_run")):
                self._go("backfill", row)
                for link in self._there("backfill_dag_run"):
                    if link["backfill_id"] == row["id"]:
                        self._go("backfill_dag_run", link)
        for row in self._old("callback", ("created_at",)):
            is_used = any(deadline["callback_id"] == row["id"] for deadline in self._there("deadline"))
            if row["state"] in ("success", "failed") and not is_used:
                self._go("callback", row)
        for row in self._old("trigger", ("created_date",)):
            users = ("task_instance", "asset_watcher", "asset_trigger", "callback")
            if not any(other.get("trigger_id") == row["id"] for user in users for other in self._there(user)):
                self._go("trigger", row)
        self._clean_versions()
        for table, names in SIMPLE.items():
            for row in self._old(table, names):
                if table == "celery_taskmeta" and row["status"] not in ("SUCCESS", "FAILURE"):
                    continue
                if table == "connection_test_request" and row["state"] not in ("success", "failed"):
                    continue
                self._go(table, row)

    def _clean_events(self, kind: str) -> None:
        for row in self._old(f"{kind}_event", ("timestamp",)):
            queued = any(q[f"{kind}_id"] == row[f"{kind}_id"] for q in self._there(f"{kind}_dag_run_queue"))
            used = any(link["event_id"] == row["id"] for link in self._there(f"dagrun_{kind}_event"))
            keys = [log for log in self._there("partitioned_asset_key_log") if log["asset_event_id"] == row["id"]]
            later = [e for e in self.rows[f"{kind}_event"] if e[f"{kind}_id"] == row[f"{kind}_id"]]
            if row is max(later, key=lambda e: (e["timestamp"], e["id"])):
                continue
            if queued or used or any(self._is_awaited(key["asset_partition_dag_run_id"]) for key in keys):
                continue
            self._go(f"{kind}_event", row)
            for link in self._there(f"{kind}_alias_{kind}_event"):
                if link["event_id"] == row["id"]:
                    self._go(f"{kind}_alias_{kind}_event", link)

    def _is_awaited(self, partition: int) -> bool:
        there = self._there("asset_partition_dag_run")
        return any(row["id"] == partition and row["created_dag_run_id"] is None for row in there)

    def _clean_versions(self) -> None:
        retention = self.options.retention_of("dag_version")
        for row in self._old("dag_version", ("last_updated",)):
            newest = max(v["version_number"] for v in self.rows["dag_version"] if v["dag_id"] == row["dag_id"])
            users = [
                *(task.get("dag_version_id") for task in self._there("task_instance")),
                *(task.get("dag_version_id") for task in self._there("task_instance_history")),
                *(run.get("created_dag_version_id") for run in self._there("dag_run")),
            ]
            of_it = [s for s in self._there("serialized_dag") if s["dag_version_id"] == row["id"]]
            young = any(s["last_updated"] >= NOW - retention for s in of_it)
            if row["version_number"] == newest or row["id"] in users or young:
                continue
            for serialized in of_it:
                self._go("serialized_dag", serialized)
                for alert in self._there("deadline_alert"):
                    if alert["serialized_dag_id"] == serialized["id"]:
                        self._go("deadline_alert", alert)
            for code in self._there("dag_code"):
                if code["dag_version_id"] == row["id"]:
                    self._go("dag_code", code)
            self._go("dag_version", row)

    def _old(self, table: str, names: tuple[str, ...]) -> list[Row]:
        if not self._wants(table) or table not in self.rows:
            return []
        retention = self.options.retention_of(table)
        there = [row for row in self._there(table) if self._is_of_dags(row)]
        old = [row for row in there if self._is_old(self._time(table, row, names), retention)]
        if self.options.max_age is None and old and "id" in old[0] and isinstance(old[0]["id"], int):
            last = max(row["id"] for row in old)
            dateless = [row for row in there if self._time(table, row, names) is None and row["id"] < last]
            return old + (dateless if table in ("log", "job", "import_error") else [])
        return old
