# SPDX-License-Identifier: Apache-2.0
"""What a metadata database's own catalog does not show about its tables: which column is a row's time, what is secret.

Names that a version does not have are skipped, so one registry serves all versions. A table that is not in it is still
exported: its time is guessed from the usual names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["FACTS", "REVISIONS", "TableFacts", "facts_of", "is_bookkeeping", "is_secret", "version_of_revision"]


@dataclass(frozen=True)
class TableFacts:
    """What is known about a table.

    :param time: columns with the time when a row was created; the first that isn't NULL counts.
    :param changed: columns with the time of its last change; the latest counts. Empty: its time.
    :param parent: the table whose row's time is used if its own columns are NULL, or if it has none.
    :param identity: columns that identify a row if its primary key does not, because it may get another one.
    :param secrets: columns that are left out unless they are requested, and are then never in clear.
    :param is_private: credentials, sessions or people: left out unless the table is named.
    :param is_state: what exists rather than what happened: the table has no history, and is always exported whole.
    """

    time: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    parent: str | None = None
    identity: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    is_private: bool = False
    is_state: bool = False


_STATE = TableFacts(is_state=True)
_PERSONAL = TableFacts(is_private=True, is_state=True)

FACTS: dict[str, TableFacts] = {
    # Runs and what they leave behind.
    "dag_run": TableFacts(
        time=("start_date", "run_after", "logical_date", "execution_date", "queued_at", "end_date"),
        changed=("updated_at", "end_date", "start_date", "queued_at"),
    ),
    "task_instance": TableFacts(
        time=("start_date", "end_date"),
        changed=("updated_at", "end_date", "start_date", "queued_dttm"),
        parent="dag_run",
        # Airflow 3 assigns another ID to a task that runs again.
        identity=("dag_id", "task_id", "run_id", "map_index"),
    ),
    "task_instance_history": TableFacts(
        time=("start_date", "end_date"), changed=("updated_at", "end_date", "start_date"), parent="dag_run"
    ),
    "task_reschedule": TableFacts(time=("start_date",), changed=("end_date", "start_date"), parent="task_instance"),
    "task_fail": TableFacts(
        time=("start_date", "end_date"), changed=("end_date", "start_date"), parent="task_instance"
    ),
    "task_map": TableFacts(parent="task_instance"),
    "task_state_store": TableFacts(time=("updated_at",), parent="task_instance"),
    "rendered_task_instance_fields": TableFacts(parent="task_instance"),
    "xcom": TableFacts(time=("timestamp",), parent="task_instance"),
    "dag_run_note": TableFacts(time=("created_at",), changed=("updated_at", "created_at"), parent="dag_run"),
    "task_instance_note": TableFacts(
        time=("created_at",), changed=("updated_at", "created_at"), parent="task_instance"
    ),
    "hitl_detail": TableFacts(time=("created_at",), changed=("responded_at", "created_at"), parent="task_instance"),
    "hitl_detail_history": TableFacts(time=("created_at",), changed=("responded_at", "created_at")),
    "sla_miss": TableFacts(time=("timestamp", "execution_date")),
    "deadline": TableFacts(
        time=("created_at", "deadline_time"), changed=("last_updated_at", "created_at"), parent="dag_run"
    ),
    "backfill": TableFacts(time=("created_at",), changed=("updated_at", "completed_at", "created_at")),
    "backfill_dag_run": TableFacts(parent="backfill"),
    "trigger": TableFacts(time=("created_date",), secrets=("kwargs",)),
    "callback": TableFacts(time=("created_at",), parent="trigger", secrets=("data",)),
    "callback_request": TableFacts(time=("created_at",)),
    # What processes and people did.
    "log": TableFacts(time=("dttm",)),
    "job": TableFacts(time=("start_date", "latest_heartbeat"), changed=("latest_heartbeat", "end_date", "start_date")),
    "import_error": TableFacts(time=("timestamp",)),
    "dag_warning": TableFacts(time=("timestamp",)),
    "celery_taskmeta": TableFacts(time=("date_done",)),
    "celery_tasksetmeta": TableFacts(time=("date_done",)),
    # Data-aware scheduling, under its old and its new name.
    "dataset_event": TableFacts(time=("timestamp",)),
    "asset_event": TableFacts(time=("timestamp",)),
    "dagrun_dataset_event": TableFacts(parent="dataset_event"),
    "dagrun_asset_event": TableFacts(parent="asset_event"),
    "dataset_alias_dataset_event": TableFacts(parent="dataset_event"),
    "asset_alias_asset_event": TableFacts(parent="asset_event"),
    "partitioned_asset_key_log": TableFacts(time=("created_at",)),
    "asset_partition_dag_run": TableFacts(time=("created_at",), changed=("updated_at", "created_at")),
    # What exists, not what happened.
    **dict.fromkeys(
        (
            "asset", "asset_active", "asset_alias", "asset_alias_asset", "asset_dag_run_queue", "asset_state_store",
            "asset_trigger", "asset_watcher", "dag", "dag_bundle", "dag_bundle_team", "dag_code", "dag_favorite",
            "dag_owner_attributes", "dag_priority_parsing_request", "dag_schedule_asset_alias_reference",
            "dag_schedule_asset_name_reference", "dag_schedule_asset_reference", "dag_schedule_asset_uri_reference",
            "dag_schedule_dataset_alias_reference", "dag_schedule_dataset_reference", "dag_tag", "dag_version",
            "dataset", "dataset_alias", "dataset_alias_dataset", "dataset_dag_run_queue", "deadline_alert",
            "log_template", "serialized_dag", "slot_pool", "task_inlet_asset_reference",
            "task_outlet_asset_reference", "task_outlet_dataset_reference", "team", "dag_pickle",
        ),
        _STATE,
    ),
    # Credentials, sessions and people.
    "connection": TableFacts(is_private=True, is_state=True, secrets=("password", "extra")),
    "variable": TableFacts(is_private=True, is_state=True, secrets=("val",)),
    "connection_test_request": TableFacts(
        is_private=True, time=("created_at",), changed=("updated_at",),
        secrets=("password", "extra", "connection_uri", "connection_data"),
    ),
    "session": TableFacts(is_private=True, is_state=True, secrets=("session_id", "data")),
    "revoked_token": TableFacts(is_private=True, is_state=True, secrets=("jti",)),
    "ab_user": TableFacts(is_private=True, is_state=True, secrets=("password",)),
    "ab_register_user": TableFacts(is_private=True, is_state=True, secrets=("password", "registration_hash")),
    **dict.fromkeys(
        ("ab_group", "ab_group_role", "ab_permission", "ab_permission_view", "ab_permission_view_role", "ab_role",
         "ab_user_group", "ab_user_role", "ab_view_menu"),
        _PERSONAL,
    ),
}  # fmt: skip

_USUAL_TIMES = ("created_at", "timestamp", "dttm", "start_date", "created_date", "date_done")
_USUAL_CHANGES = ("updated_at", "last_updated_at", "last_updated")
# The encrypted-or-not flags of connections (is_encrypted) and external ids are no secrets.
_SECRET_NAME = re.compile(r"passw|secret|token|private_?key|api_?key|credential|fernet", re.IGNORECASE)
_BOOKKEEPING = re.compile(r"^(alembic_version.*|_airflow_(deleted|moved)__.*|_.*_archive)$")

REVISIONS: dict[str, str] = {
    "10b52ebd31f7": "2.8.0",
    "88344c1d9134": "2.8.1",
    "1949afb29106": "2.9.0",
    "686269002441": "2.9.2",
    "22ed7efa9da2": "2.10.0",
    "5f2621c13b39": "2.10.3",
    "29ce7909c52b": "3.0.0",
    "fe199e1abd77": "3.0.3",
    "cc92b33c6709": "3.1.0",
    "509b94a1042d": "3.1.8",
    "1d6611b6ab7c": "3.2.0",
    "d2f4e1b3c5a7": "3.3.0",
}
"""Heads of Airflow's migrations, and the first release that has each."""


def facts_of(table: str) -> TableFacts:
    """Return what is known about a table; for an unknown one, the usual meaning of column names."""
    return FACTS.get(table) or TableFacts(time=_USUAL_TIMES, changed=_USUAL_CHANGES)


def is_secret(table: str, column: str) -> bool:
    """Return whether a column may hold secrets; in an unknown table, judging by its name."""
    facts = FACTS.get(table)
    return column in facts.secrets if facts else bool(_SECRET_NAME.search(column))


def is_bookkeeping(table: str) -> bool:
    """Return whether a table belongs to the migrations, or is an archive that ``db clean`` or an upgrade left."""
    return bool(_BOOKKEEPING.match(table))


def version_of_revision(revision: str) -> str | None:
    """Return the first release of Airflow with this head; ``None`` if it is unknown to this version."""
    return REVISIONS.get(revision)
