# SPDX-License-Identifier: Apache-2.0
"""Exports by a user from whom row-level security policies hide rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.manifest import Manifest
from airflow_mwaa_provider.metadata.reading.export import open_export
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests.metadata.api import Server
from tests.metadata.exports import body, export
from tests.metadata.once import KNOWS_NO_AIRFLOW

if TYPE_CHECKING:
    from tests.metadata.lab import Lab

pytestmark = KNOWS_NO_AIRFLOW

SINCE = datetime(2020, 1, 1, tzinfo=UTC)


def hide(lab: Lab, database: str, table: str, condition: str) -> None:
    lab.execute(
        database,
        f"CREATE POLICY partly ON {table} USING ({condition})",
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
    )


@pytest.fixture
def hidden(lab: Lab, database: str) -> str:
    lab.execute(
        database,
        "INSERT INTO log (dttm, event) VALUES ('2026-03-01', 'seen'), ('2026-03-01', 'hidden')",
        "INSERT INTO job (job_type, start_date) VALUES ('x', '2026-03-01')",
    )
    hide(lab, database, "log", "event = 'seen'")
    return database


@pytest.mark.parametrize("route", ["database", "api"])
@pytest.mark.parametrize("incremental", [False, True])
def test_an_export_says_which_tables_may_lack_rows(
    lab: Lab, hidden: str, bucket: str, caplog: Any, route: str, incremental: bool
) -> None:
    options = ExportOptions(tables=["log", "job"], incremental=incremental)
    with Storage(lab.s3(), bucket) as storage:
        if route == "api":
            with Server(lab, hidden, f"s3://{bucket}/files").source() as source:
                written = export_metadata(source, storage, options)
        else:
            written = export(lab, hidden, bucket, tables=["log", "job"], incremental=incremental)
    assert {name: (table.rows, table.may_lack_rows) for name, table in written.tables.items()} == {
        "log": (1, True),
        "job": (1, False),
    }
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("Tables log: row-level security may hide rows")
    assert "BYPASSRLS" in warning
    assert written.summary()["tables"]["log"]["may_lack_rows"] is True
    # Read back, with the marker and its rows.
    found = open_export(f"s3://{bucket}/files/export", lab.s3)
    assert {name: table.may_lack_rows for name, table in found.last.tables.items()} == {"log": True, "job": False}
    assert list(found.batches("log", ["event"])) == [[["seen"]]]
    # A manifest of an earlier version has no such marker.
    document = json.loads(body(lab, bucket, written.key))
    for table in document["tables"].values():
        del table["may_lack_rows"]
    assert not Manifest.read(json.dumps(document).encode(), "it").tables["log"].may_lack_rows


def test_a_window_may_lack_rows_whose_times_are_hidden(lab: Lab, short_history: str, bucket: str, caplog: Any) -> None:
    lab.execute(short_history, "UPDATE task_instance SET start_date = NULL, end_date = NULL")
    hide(lab, short_history, "dag_run", "false")
    whole = export(lab, short_history, bucket, tables=["task_instance"])
    assert (whole.tables["task_instance"].rows, whole.tables["task_instance"].may_lack_rows) == (36, False)
    assert "row-level security" not in caplog.text
    some = export(lab, short_history, bucket, tables=["task_instance", "log"], since=SINCE)
    assert (some.tables["task_instance"].rows, some.tables["task_instance"].may_lack_rows) == (0, True)
    assert some.tables["log"].may_lack_rows is False
    assert "Tables task_instance: row-level security" in caplog.text


def test_a_policy_that_does_not_apply_is_no_reason_to_warn(lab: Lab, database: str, bucket: str, caplog: Any) -> None:
    """The owner is exempt unless the table says otherwise."""
    lab.execute(
        database, "CREATE POLICY nothing ON log USING (false)", "ALTER TABLE log ENABLE ROW LEVEL SECURITY",
        "INSERT INTO log (dttm, event) VALUES (now(), 'x')",
    )  # fmt: skip
    written = export(lab, database, bucket, tables=["log"])
    assert (written.tables["log"].rows, written.tables["log"].may_lack_rows) == (1, False)
    assert "row-level security" not in caplog.text
