# SPDX-License-Identifier: Apache-2.0
"""Small random metadata for any Airflow's schema: runs in every state, and all that may depend on or keep them."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg2.extras import execute_values

if TYPE_CHECKING:
    from random import Random

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAGS = ("a", "b'%s", "c")
AGES = (-1.0, 0.5, 2.0, 6.9, 7.1, 20.0, 29.9, 30.1, 45.0, 89.0, 400.0)
RUN_STATES = ("success", "failed", "success", "failed", "success", "running", "queued", None)
TASK_STATES = (
    "success", "failed", "skipped", "upstream_failed", "removed", None, "scheduled", "up_for_retry",
)  # fmt: skip
ACTIVE = ("running", "restarting", "queued", "deferred")

Row = dict[str, Any]
Rows = defaultdict[str, list[Row]]

_SIMPLEST: dict[str, Any] = {"bool": False, "json": "{}", "jsonb": "{}", "bytea": b"\x80", "timestamptz": NOW}


class Catalog:
    """The columns of all tables, read once."""

    def __init__(self, cursor: Any) -> None:
        cursor.execute(
            """SELECT c.relname, a.attname, y.typname, a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
               FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type y ON y.oid = a.atttypid
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
               AND NOT a.attisdropped"""
        )
        self.tables: dict[str, dict[str, tuple[str, bool]]] = defaultdict(dict)
        for table, column, kind, is_needed in cursor.fetchall():
            self.tables[table][column] = (kind, is_needed)

    def has(self, table: str, column: str | None = None) -> bool:
        return table in self.tables and (column is None or column in self.tables[table])

    def insert(self, cursor: Any, rows: Rows) -> None:
        """Insert rows, table by table in the given order; skip what this version lacks."""
        for table, given in rows.items():
            if not given or table not in self.tables:
                continue
            columns = [
                name for name, (_, needed) in self.tables[table].items() if needed or any(name in row for row in given)
            ]
            values = [[self._value(row, table, name) for name in columns] for row in given]
            names = ", ".join(f'"{name}"' for name in columns)
            execute_values(cursor, f"INSERT INTO {table} ({names}) VALUES %s", values)

    def _value(self, row: Row, table: str, name: str) -> Any:
        kind, is_needed = self.tables[table][name]
        if name in row:
            return row[name]
        if not is_needed:
            return None
        if kind == "uuid":
            return str(uuid.uuid4())
        return _SIMPLEST.get(kind, 0 if kind.startswith(("int", "float")) else "x")


class Dice:
    """Draws the parts of a history."""

    def __init__(self, random: Random, catalog: Catalog) -> None:
        self.random = random
        self.catalog = catalog
        self._number = 0

    def number(self) -> int:
        self._number += 1
        return self._number

    def id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128)))

    def moment(self, *, maybe: bool = False) -> datetime | None:
        if maybe and self.random.random() < 0.3:
            return None
        return NOW - timedelta(days=self.random.choice(AGES), seconds=self.number())

    def chance(self, of: float) -> bool:
        return self.random.random() < of

    def some(self, most: int) -> range:
        return range(self.random.randint(0, most))


def draw(random: Random, catalog: Catalog) -> Rows:
    """Draw rows of all tables, parents first, with a value for everything that a cleanup reads."""
    dice, rows = Dice(random, catalog), Rows(list)
    rows["dag_bundle"] = [{"name": "bundle"}]
    rows["dag"] = [{"dag_id": dag_id, "bundle_name": "bundle", "is_paused": False} for dag_id in DAGS]
    _versions(dice, rows)
    for _ in dice.some(4):
        rows["trigger"].append({"id": dice.number(), "created_date": dice.moment(), "classpath": "t", "kwargs": "{}"})
    for _ in dice.some(3):
        done = dice.moment(maybe=True)
        rows["backfill"].append(
            {"id": dice.number(), "dag_id": "a", "created_at": dice.moment(), "completed_at": done, "is_paused": False}
        )
    for _ in range(random.randint(1, 10)):
        _run(dice, rows)
    for backfill in rows["backfill"]:
        for _ in dice.some(2):
            run = random.choice(rows["dag_run"]) if dice.chance(0.6) else None
            link = {"id": dice.number(), "backfill_id": backfill["id"], "dag_run_id": run and run["id"]}
            if not any(x["backfill_id"] == link["backfill_id"] and x["dag_run_id"] for x in rows["backfill_dag_run"]):
                rows["backfill_dag_run"].append({**link, "sort_ordinal": dice.number()})
    _events(dice, rows)
    _others(dice, rows)
    return rows


def _versions(dice: Dice, rows: Rows) -> None:
    if not dice.catalog.has("dag_version"):
        return
    for dag_id in DAGS:
        for number in range(1, dice.random.randint(1, 3) + 1):
            moment = dice.moment()
            version = {"id": dice.id(), "dag_id": dag_id, "version_number": number, "created_at": moment}
            rows["dag_version"].append({**version, "last_updated": moment})
            if dice.chance(0.8):
                serialized = {"id": dice.id(), "dag_version_id": version["id"], "dag_id": dag_id}
                rows["serialized_dag"].append({**serialized, "created_at": moment, "last_updated": dice.moment()})
                if dice.catalog.has("deadline_alert") and dice.chance(0.5):
                    rows["deadline_alert"].append({"id": dice.id(), "serialized_dag_id": serialized["id"]})
                code = {"id": dice.id(), "dag_version_id": version["id"], "dag_id": dag_id, "fileloc": version["id"]}
                rows["dag_code"].append({**code, "created_at": moment, "last_updated": moment})


def _run(dice: Dice, rows: Rows) -> None:
    random = dice.random
    end, start, logical = dice.moment(maybe=True), dice.moment(maybe=True), dice.moment()
    dag_id, run_id = random.choice(DAGS), f"run '{dice.number()}'"
    run: Row = {
        "id": dice.number(),
        "dag_id": dag_id,
        "run_id": run_id,
        "state": random.choice(RUN_STATES),
        "run_type": random.choice(("scheduled", "scheduled", "manual", "backfill")),
        "end_date": end,
        "start_date": start,
        "execution_date": logical,
        "logical_date": logical if dice.chance(0.8) else None,
        "run_after": logical,
        "queued_at": dice.moment(maybe=True),
        "clear_number": 0,
    }
    versions = [version for version in rows["dag_version"] if version["dag_id"] == dag_id]
    if versions:
        run["created_dag_version_id"] = random.choice(versions)["id"] if dice.chance(0.4) else None
    if rows["backfill"] and dice.chance(0.2):
        run["backfill_id"] = random.choice(rows["backfill"])["id"]
    rows["dag_run"].append(run)
    at = {"dag_id": dag_id, "run_id": run_id}
    if dice.chance(0.2):
        rows["dag_run_note"].append({"dag_run_id": run["id"], "content": "n", "updated_at": _mostly_old(dice, run)})
    if dice.catalog.has("deadline", "callback_id") and dice.chance(0.3):
        rows["callback"].append(
            {
                "id": dice.id(),
                "created_at": dice.moment(),
                "state": random.choice(("success", "failed", "pending", None)),
            }
        )
        deadline = {"id": dice.id(), "dagrun_id": run["id"], "callback_id": rows["callback"][-1]["id"]}
        old = _mostly_old(dice, run)
        rows["deadline"].append({**deadline, "created_at": old, "last_updated_at": old, "missed": False})
    for number in dice.some(4):
        _task(dice, rows, run, {**at, "task_id": f"t{number}", "map_index": -1}, versions)


def _mostly_old(dice: Dice, run: Row) -> datetime:
    """Return a time as old as its run's, or occasionally newer."""
    moment = run["end_date"] or run["start_date"] or run["execution_date"]
    return dice.moment() if dice.chance(0.08) else moment  # type: ignore[return-value]


def _task(dice: Dice, rows: Rows, run: Row, at: Row, versions: list[Row]) -> None:
    random = dice.random
    state = random.choice(ACTIVE) if dice.chance(0.05) else random.choice(TASK_STATES)
    started = _mostly_old(dice, run) if dice.chance(0.8) else None
    task: Row = {
        **at,
        "id": dice.id(),
        "state": state,
        "start_date": started,
        "end_date": started if dice.chance(0.8) else None,
        "pool": "default_pool",
        "pool_slots": 1,
        "try_number": 1,
    }
    if rows["trigger"] and dice.chance(0.1):
        task["trigger_id"] = random.choice(rows["trigger"])["id"]
    if versions and dice.chance(0.5):
        task["dag_version_id"] = random.choice(versions)["id"]
    rows["task_instance"].append(task)
    of_ti = {**at, "ti_id": task["id"]}
    old = _mostly_old(dice, run)
    if dice.chance(0.5):
        rows["xcom"].append({**at, "dag_run_id": run["id"], "key": "k", "timestamp": old})
    for table, row in {
        "rendered_task_instance_fields": {**at, "rendered_fields": "{}"},
        "task_instance_note": {**of_ti, "content": "n", "updated_at": old, "created_at": old},
        "task_reschedule": {
            **of_ti, "id": dice.number(), "start_date": old, "end_date": old, "reschedule_date": old, "try_number": 1,
        },
        "task_fail": {**at, "id": dice.number(), "start_date": old, "end_date": old},
        "task_map": {**at, "length": 1},
        "hitl_detail": {**of_ti, "created_at": old, "responded_at": None},
        "task_state_store": {
            "id": dice.number(), "dag_run_id": run["id"], **at, "key": "k", "value": "v", "updated_at": old,
        },
    }.items():  # fmt: skip
        if dice.chance(0.25):
            rows[table].append(row)
    if dice.chance(0.2):
        by_uuid = dice.catalog.has("task_instance_history", "task_instance_id")
        history = {**at, "try_number": 1, "task_instance_id": dice.id(), "start_date": old, "end_date": old}
        rows["task_instance_history"].append(
            {**history, "dag_version_id": task.get("dag_version_id"), "pool": "p", "pool_slots": 1}
            | ({} if by_uuid else {"id": dice.number()})
        )
        if by_uuid and dice.chance(0.3):
            rows["hitl_detail_history"].append(
                {"ti_history_id": history["task_instance_id"], "created_at": old, "responded_at": None}
            )


def _events(dice: Dice, rows: Rows) -> None:
    kind = "asset" if dice.catalog.has("asset_event") else "dataset"
    for name in ("x", "y"):
        asset = {"id": dice.number(), "name": name, "uri": name, "group": "g", "extra": "{}", "is_orphaned": False}
        rows[kind].append(asset)
        if dice.chance(0.3):
            rows[f"{kind}_dag_run_queue"].append({f"{kind}_id": asset["id"], "target_dag_id": "a", "created_at": NOW})
        for _ in dice.some(2):
            event = {"id": dice.number(), f"{kind}_id": asset["id"], "timestamp": dice.moment(), "extra": "{}"}
            rows[f"{kind}_event"].append(event)
            if dice.chance(0.5):
                run = dice.random.choice(rows["dag_run"])
                rows[f"dagrun_{kind}_event"].append({"dag_run_id": run["id"], "event_id": event["id"]})
    rows[f"{kind}_alias"].append({"id": dice.number(), "name": "alias", "group": "g"})
    for event in rows[f"{kind}_event"]:
        if dice.chance(0.3):
            link = {"alias_id": rows[f"{kind}_alias"][0]["id"], "event_id": event["id"]}
            rows[f"{kind}_alias_{kind}_event"].append(link)
    if rows["trigger"] and kind == "asset" and dice.chance(0.5):
        watching = {"asset_id": rows["asset"][0]["id"], "trigger_id": rows["trigger"][0]["id"], "name": "w"}
        rows["asset_watcher" if dice.catalog.has("asset_watcher") else "asset_trigger"].append(watching)
    if dice.catalog.has("asset_partition_dag_run", "rollup_fingerprint"):
        for _ in dice.some(2):
            made = dice.random.choice(rows["dag_run"])["id"] if dice.chance(0.5) else None
            old = dice.moment()
            row = {"id": dice.number(), "target_dag_id": "a", "created_dag_run_id": made, "partition_key": "p"}
            rows["asset_partition_dag_run"].append({**row, "created_at": old, "updated_at": old})
            for event in rows["asset_event"][:1]:
                key = {"id": dice.number(), "asset_id": event["asset_id"], "asset_event_id": event["id"]}
                key |= {"asset_partition_dag_run_id": row["id"], "target_dag_id": "a", "created_at": dice.moment()}
                rows["partitioned_asset_key_log"].append(
                    {**key, "source_partition_key": "s", "target_partition_key": "t"}
                )


def _others(dice: Dice, rows: Rows) -> None:
    random = dice.random
    for _ in dice.some(6):
        dag_id = random.choice((*DAGS, None))
        rows["log"].append({"id": dice.number(), "dttm": dice.moment(maybe=True), "dag_id": dag_id, "event": "e"})
    for _ in dice.some(3):
        beat = dice.moment(maybe=True)
        rows["job"].append({"id": dice.number(), "latest_heartbeat": beat, "start_date": dice.moment(), "dag_id": "a"})
    for _ in dice.some(3):
        rows["import_error"].append({"id": dice.number(), "timestamp": dice.moment(maybe=True), "filename": "f"})
        naive = dice.moment()
        assert naive is not None
        states = ("SUCCESS", "FAILURE", "STARTED", None)
        task = {"id": dice.number(), "task_id": dice.id(), "date_done": naive.replace(tzinfo=None)}
        rows["celery_taskmeta"].append({**task, "status": random.choice(states)})
        rows["session"].append({"id": dice.number(), "session_id": dice.id(), "expiry": naive.replace(tzinfo=None)})
        rows["callback_request"].append({"id": dice.number(), "created_at": dice.moment(), "callback_type": "c"})
        state = random.choice(("success", "failed", "running", "pending"))
        test = {"id": dice.id(), "token": dice.id(), "connection_id": dice.id(), "state": state, "conn_type": "x"}
        rows["connection_test_request"].append({**test, "updated_at": dice.moment()})
        rows["sla_miss"].append(
            {"task_id": dice.id(), "dag_id": "a", "execution_date": dice.moment(), "timestamp": None}
        )
        rows["revoked_token"].append({"jti": dice.id().replace("-", ""), "exp": dice.moment()})
