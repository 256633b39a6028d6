# SPDX-License-Identifier: Apache-2.0
"""What may be deleted: for each table that grows, what the age of a row is, and what keeps a row of any age.

Tables that are not here, and do not depend on one that is, are never cleaned: they hold what exists, not what happened.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ACTIVE_TASK_STATES",
    "ALONE",
    "FINISHED_RUN_STATES",
    "NOT_GROWING",
    "ROOTS",
    "RUNS",
    "TASKS",
    "WRITTEN_ONCE",
    "YOUNG",
    "RetentionRule",
    "Root",
]

RUNS = "dag_run"
TASKS = "task_instance"
FINISHED_RUN_STATES = ("success", "failed")
ACTIVE_TASK_STATES = ("running", "restarting", "queued", "deferred", "awaiting_input")
"""States in which a task is being worked on, even if its run has ended."""


@dataclass(frozen=True)
class RetentionRule:
    """A reason to keep a row of any age: a condition on the row itself, or on other rows, but never both.

    The row is called ``t``. A rule on other rows is checked again in the transaction that deletes the row.

    :param why: a clause about a row that is kept.
    :param sql: a condition on its own columns, true or NULL if the row is kept; it must not read other rows.
    :param query: instead, a query on other rows that finds something if the row is kept; ``{name}`` stands for the full
        name of a table.
    :param is_lack: the row is kept if the query finds nothing.
    :param among: a query for the keys of all rows that are kept, if that is faster than a query for each row.
    :param needs: tables that must exist for the rule to apply.
    """

    why: str
    sql: str = ""
    query: str = ""
    is_lack: bool = False
    among: str = ""
    needs: tuple[str, ...] = ()

    @property
    def reads_other_rows(self) -> bool:
        """Whether the answer depends on other rows, which may change after the row was chosen."""
        return not self.sql


@dataclass(frozen=True)
class Root:
    """A table whose rows are deleted by their own age, with their dependents.

    :param time: columns with the time when a row ended; the first that isn't NULL counts.
    :param retention_rules: what keeps a row, besides references from tables whose rows are not deleted with it.
    :param cascaded: tables whose rows may be deleted with a row.
    :param referrers: tables and columns that hold its primary key without a foreign key.
    :param forgotten_by: tables and columns whose references to a row may be set to NULL.
    :param is_referred_to: whether other tables of Airflow refer to its rows, which are then kept. A connection to the
        database reads this from its catalog.
    """

    time: tuple[str, ...]
    retention_rules: tuple[RetentionRule, ...] = ()
    cascaded: tuple[str, ...] = ()
    referrers: tuple[tuple[str, str], ...] = ()
    forgotten_by: tuple[tuple[str, str], ...] = ()
    is_referred_to: bool = False


def _states(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_EVENT_IS_AWAITED = (
    RetentionRule(
        "a future run may need it, because its asset is queued",
        query="SELECT 1 FROM {asset_dag_run_queue} q WHERE q.asset_id = t.asset_id",
        needs=("asset_dag_run_queue",),
    ),
    RetentionRule(
        "a future run may need it, because its dataset is queued",
        query="SELECT 1 FROM {dataset_dag_run_queue} q WHERE q.dataset_id = t.dataset_id",
        needs=("dataset_dag_run_queue", "dataset_event"),
    ),
    RetentionRule(
        "a future run may need it, because its DAG waits for other assets",
        query="SELECT 1 FROM {asset_dag_run_queue} q JOIN {dag_schedule_asset_reference} s "
        "ON s.dag_id = q.target_dag_id WHERE s.asset_id = t.asset_id",
        needs=("asset_dag_run_queue", "dag_schedule_asset_reference"),
    ),
    RetentionRule(
        "a future run may need it, because its DAG waits for other datasets",
        query="SELECT 1 FROM {dataset_dag_run_queue} q JOIN {dag_schedule_dataset_reference} s "
        "ON s.dag_id = q.target_dag_id WHERE s.dataset_id = t.dataset_id",
        needs=("dataset_dag_run_queue", "dag_schedule_dataset_reference"),
    ),
    RetentionRule(
        "it is the last event of its asset",
        query="SELECT 1 FROM {asset_event} e WHERE e.asset_id = t.asset_id "
        "AND (e.timestamp, e.id) > (t.timestamp, t.id)",
        is_lack=True,
        among="SELECT DISTINCT ON (e.asset_id) e.id FROM {asset_event} e "
        "ORDER BY e.asset_id, e.timestamp DESC, e.id DESC",
        needs=("asset_event",),
    ),
    RetentionRule(
        "it is the last event of its dataset",
        query="SELECT 1 FROM {dataset_event} e WHERE e.dataset_id = t.dataset_id "
        "AND (e.timestamp, e.id) > (t.timestamp, t.id)",
        is_lack=True,
        among="SELECT DISTINCT ON (e.dataset_id) e.id FROM {dataset_event} e "
        "ORDER BY e.dataset_id, e.timestamp DESC, e.id DESC",
        needs=("dataset_event",),
    ),
    RetentionRule(
        "its partition has no run yet",
        query="SELECT 1 FROM {partitioned_asset_key_log} l JOIN {asset_partition_dag_run} p "
        "ON p.id = l.asset_partition_dag_run_id WHERE l.asset_event_id = t.id AND p.created_dag_run_id IS NULL",
        needs=("partitioned_asset_key_log", "asset_partition_dag_run"),
    ),
)

ROOTS: dict[str, Root] = {
    RUNS: Root(
        ("end_date", "start_date", "run_after", "logical_date", "execution_date", "queued_at"),
        retention_rules=(
            RetentionRule(
                "the run has not ended",
                f"t.state IS NULL OR t.state NOT IN ({_states(FINISHED_RUN_STATES)})",
            ),
        ),
        cascaded=(
            "task_instance", "task_instance_history", "task_instance_note", "task_reschedule", "task_fail", "task_map",
            "task_state_store", "rendered_task_instance_fields", "xcom", "dag_run_note", "hitl_detail",
            "hitl_detail_history", "deadline", "dagrun_dataset_event", "dagrun_asset_event", "asset_partition_dag_run",
        ),
        forgotten_by=(("backfill_dag_run", "dag_run_id"),),
    ),
    "dataset_event": Root(
        ("timestamp",), _EVENT_IS_AWAITED, cascaded=("dataset_alias_dataset_event",), is_referred_to=True
    ),
    "asset_event": Root(("timestamp",), _EVENT_IS_AWAITED, cascaded=("asset_alias_asset_event",), is_referred_to=True),
    "partitioned_asset_key_log": Root(
        ("created_at",),
        (
            RetentionRule(
                "its partition has no run yet",
                query="SELECT 1 FROM {asset_partition_dag_run} p WHERE p.id = t.asset_partition_dag_run_id "
                "AND p.created_dag_run_id IS NULL",
                needs=("asset_partition_dag_run",),
            ),
        ),
    ),
    "backfill": Root(
        ("completed_at", "created_at"),
        (RetentionRule("the backfill has not ended", "t.completed_at IS NULL"),),
        cascaded=("backfill_dag_run",),
        is_referred_to=True,
    ),
    "callback": Root(
        ("created_at",),
        (RetentionRule("it has not run yet", "t.state IS NULL OR t.state NOT IN ('success', 'failed')"),),
        is_referred_to=True,
    ),
    "trigger": Root(("created_date",), is_referred_to=True),
    "dag_version": Root(
        ("last_updated", "created_at"),
        (
            RetentionRule(
                "it is the DAG's latest version",
                query="SELECT 1 FROM {dag_version} v WHERE v.dag_id = t.dag_id "
                "AND v.version_number > t.version_number",
                is_lack=True,
            ),
        ),
        cascaded=("serialized_dag", "dag_code", "deadline_alert"),
        referrers=(("task_instance_history", "dag_version_id"),),
        is_referred_to=True,
    ),
    "callback_request": Root(("created_at",)),
    "connection_test_request": Root(
        ("updated_at", "created_at"),
        (RetentionRule("the test has not ended", "t.state IS NULL OR t.state NOT IN ('success', 'failed')"),),
    ),
    "sla_miss": Root(("timestamp", "execution_date")),
    "log": Root(("dttm",)),
    "job": Root(("latest_heartbeat", "end_date", "start_date")),
    "import_error": Root(("timestamp",)),
    "celery_taskmeta": Root(
        ("date_done",),
        (
            RetentionRule(
                "the task has not ended",
                "t.status IS NULL OR t.status NOT IN ('SUCCESS', 'FAILURE', 'REVOKED', 'IGNORED', 'REJECTED')",
            ),
        ),
    ),
    "celery_tasksetmeta": Root(("date_done",)),
    "session": Root(("expiry",)),
    "revoked_token": Root(("exp",)),
}  # fmt: skip
"""In the order in which they are cleaned: children before their parents."""

YOUNG: dict[str, tuple[str, ...]] = {
    "task_instance": ("end_date", "start_date"),
    "task_instance_history": ("end_date", "start_date"),
    "task_reschedule": ("end_date", "start_date"),
    "task_fail": ("end_date", "start_date"),
    "task_state_store": ("updated_at",),
    "xcom": ("timestamp",),
    "dag_run_note": ("updated_at", "created_at"),
    "task_instance_note": ("updated_at", "created_at"),
    "hitl_detail": ("responded_at", "created_at"),
    "hitl_detail_history": ("responded_at", "created_at"),
    "deadline": ("last_updated_at", "created_at"),
    "asset_partition_dag_run": ("updated_at", "created_at"),
    "serialized_dag": ("last_updated", "created_at"),
    "dag_code": ("last_updated", "created_at"),
}
"""Tables that are deleted with others, and the columns by which a row that is too young keeps its parent."""

ALONE = (
    "task_instance", "task_instance_history", "task_instance_note", "task_reschedule", "task_fail", "task_state_store",
    "rendered_task_instance_fields", "xcom", "dag_run_note",
)  # fmt: skip
"""Dependents of runs whose rows of finished runs may be deleted without them."""

WRITTEN_ONCE = ("task_instance_history", "task_reschedule", "task_fail")
"""Tables whose rows never change: what was checked of a row holds when it is deleted."""

NOT_GROWING = ("dag_warning", "dag_priority_parsing_request", "dag_pickle")
"""Tables that hold what exists, although their rows have a date."""
