# SPDX-License-Identifier: Apache-2.0
"""Archives of a cleanup: it deletes exactly the archived rows, and a restore brings them back unchanged.

All tests use the schema of the Airflow that runs them.
"""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    CleanupUnderWay,
    DatabaseRefused,
    MwaaInputError,
    StorageError,
    TableNotFound,
)
from airflow_mwaa_provider.metadata.cleaning.archiving.cleanup import run_archived_cleanup
from airflow_mwaa_provider.metadata.cleaning.archiving.files import RecordCounter
from airflow_mwaa_provider.metadata.cleaning.deleting.lease import Lease
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome
from airflow_mwaa_provider.metadata.cleaning.restore import restore_archive
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests.metadata import history
from tests.metadata.exports import body, keys, manifest, uploads
from tests.metadata.exports import rows as csv_rows
from tests.metadata.faulty_s3 import FaultyS3
from tests.metadata.once import KNOWS_NO_AIRFLOW

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FOLDER = "cold/archive-20261023T000000Z"
SECRET = "hunter2-of-the-secrets"
NASTY = (
    'a "quoted", thing',
    "two\nlines\r\nand\t",
    "",
    None,
    "NULL",
    "\\N",
    "a\n\\.\nb",
    "\\.",
    "😀 Ünïcode",
    '"',
    " ,",
)

_TASK = {"dag_id": "t.dag_id", "task_id": "t.task_id", "run_id": "t.run_id", "map_index": "-1", "ti_id": "t.id"}
_TIMES = {"start_date": "t.start_date", "end_date": "t.end_date"}
_AT = "r.end_date"
TASKS = "dag_run r JOIN task_instance t USING (dag_id, run_id)"
OF_TASKS: dict[str, dict[str, Any]] = {
    "xcom": {**history.XCOM, "value": """'{{"rows": [1, 2.50]}}'"""},
    "rendered_task_instance_fields": {**_TASK, "rendered_fields": """'{{"a":  "b", "a": null}}'"""},
    "task_instance_note": {**_TASK, "content": "'n'", "created_at": _AT, "updated_at": _AT},
    "task_reschedule": {**_TASK, **_TIMES, "duration": "1", "reschedule_date": "t.end_date"},
    "task_instance_history": {
        **_TASK, **_TIMES, "try_number": "1", "state": "'failed'", "duration": "'-Infinity'", "pool": "'p'",
        "task_instance_id": "gen_random_uuid()", "queued_dttm": "t.queued_dttm", "updated_at": "t.end_date",
    },
    "task_fail": {**_TASK, **_TIMES},
    "task_map": {**_TASK, "length": "1", "keys": "'[\"a\"]'"},
    "task_state_store": {**_TASK, "dag_run_id": "r.id", "updated_at": _AT},
    "hitl_detail": {**_TASK, "created_at": _AT, "responded_at": _AT},
}  # fmt: skip
OF_RUNS: dict[str, dict[str, Any]] = {
    "dag_run_note": {"dag_run_id": "r.id", "content": "'run'", "created_at": _AT, "updated_at": _AT},
    "backfill": {"id": "r.id", "dag_id": "r.dag_id", "created_at": _AT, "completed_at": _AT, "updated_at": _AT},
    "backfill_dag_run": {"backfill_id": "r.id", "dag_run_id": "r.id", "logical_date": "r.logical_date"},
    "asset_event": {"id": "r.id", "asset_id": "1", "timestamp": _AT},
    "dataset_event": {"id": "r.id", "dataset_id": "1", "timestamp": _AT},
    "dagrun_asset_event": {"dag_run_id": "r.id", "event_id": "r.id"},
    "dagrun_dataset_event": {"dag_run_id": "r.id", "event_id": "r.id"},
    "callback": {"created_at": _AT, "state": "'success'", "data": f"""'{{{{"password": "{SECRET}"}}}}'"""},
    "job": {"dag_id": "r.dag_id", "latest_heartbeat": _AT, "start_date": _AT, "end_date": "'infinity'"},
    "import_error": {"timestamp": _AT, "filename": "'f'", "stacktrace": "repeat(E'\\n\"', 5000)"},
    "celery_taskmeta": {"id": "r.id", "task_id": "r.id", "status": "'SUCCESS'", "date_done": "r.end_date"},
    "sla_miss": {"task_id": "E'a\\nb'", "dag_id": "r.dag_id", "execution_date": _AT, "timestamp": _AT},
    "trigger": {"created_date": _AT, "kwargs": f"'\"{SECRET}\"'", "classpath": "'c'"},
    "session": {"session_id": f"'{SECRET}' || r.id", "data": f"'{SECRET}'::bytea", "expiry": _AT},
    "dag_version": {"dag_id": "r.dag_id", "version_number": "r.id", "created_at": _AT, "last_updated": _AT},
}


@pytest.fixture
def filled(lab, database):
    """A year with rows of every kind, and values that are hard to preserve."""
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=36, tasks=3, dags=2)
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        there = {name for (name,) in cursor.fetchall()}
        for parent in {"asset", "dataset"} & there:
            history.insert(cursor, parent, {"id": "1", "uri": "'x'", "created_at": "now()"}, "generate_series(1, 1) i")
        for name, values in OF_TASKS.items():
            if name in there:
                every = "" if name in ("xcom", "rendered_task_instance_fields") else " WHERE t.task_id = 'task_2'"
                history.insert(cursor, name, values, TASKS + every)
        for name, values in OF_RUNS.items():
            if name in there:
                history.insert(cursor, name, values, "dag_run r WHERE r.id % 3 = 0")
        for number, text in enumerate(NASTY):
            cursor.execute(
                "UPDATE task_instance SET hostname = COALESCE(%s, ''), operator = %s WHERE task_id = 'task_1' AND "
                "run_id = (SELECT run_id FROM dag_run ORDER BY id OFFSET %s LIMIT 1)",
                (text, text, number),
            )
        every_byte = psycopg2.Binary(bytes(range(256)) * 4000)
        of_first = "run_id = (SELECT run_id FROM dag_run ORDER BY id LIMIT 1)"
        binary = f"UPDATE task_instance SET executor_config = %s WHERE task_id = 'task_3' AND {of_first}"
        cursor.execute(binary, (every_byte,))
        cursor.execute("UPDATE task_instance SET duration = 'NaN' WHERE task_id = 'task_2'")
        cursor.execute(
            "UPDATE dag_run SET queued_at = 'infinity', end_date = '2026-01-02 03:04:05.000001' WHERE id = 3"
        )
        cursor.execute("UPDATE dag_run SET queued_at = '-infinity', conf = NULL WHERE id = 5")
        cursor.execute("UPDATE log SET extra = repeat('é\"x\n', 250000), event = '' WHERE id = 7")
        if "backfill" in there:
            cursor.execute("UPDATE dag_run SET backfill_id = id WHERE id % 3 = 0")
    connection.close()
    return database


def dump(lab, name) -> dict[str, list[str]]:
    """Return every row of every table, as strings."""
    connection = lab.connect(name)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TimeZone TO 'UTC'; SET bytea_output TO 'escape'")
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            found = {}
            for (table,) in cursor.fetchall():
                cursor.execute(f'SELECT t::text FROM "{table}" t')
                found[table] = sorted(row[0] for row in cursor.fetchall())
            return found
    finally:
        connection.close()


def but_for_forgotten(tables: dict[str, list[str]]) -> dict[str, list[str]]:
    """A kept backfill loses its references to deleted runs, as its foreign key defines."""
    return {name: rows for name, rows in tables.items() if name != "backfill_dag_run"}


def rows(lab, name, query) -> list[tuple[Any, ...]]:
    connection = lab.connect(name)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()


def clean(lab, name, bucket, *, s3=None, tell=lambda _: None, progress=None, **options) -> Outcome:
    chosen = CleanupOptions(**{"now": NOW, "max_transaction": timedelta(seconds=10), **options})
    with Storage(s3 or lab.s3(), bucket) as storage:
        return run_archived_cleanup(
            lab.database(name), chosen, storage, "cold", tell=tell, progress=progress, wait_timeout_s=5
        )


def restore(lab, name, bucket, key=FOLDER, **options):
    return restore_archive(lab.database(name), lab.s3(), bucket, key, **options)


def once(do):
    """Call a function when the archive is complete, before anything is deleted."""

    def tell(text: str) -> None:
        if text.startswith("Archived"):
            do()

    return tell


@pytest.mark.parametrize("workers", [1, 2])
def test_what_went_comes_back_as_it_was(lab, filled, bucket, workers) -> None:
    before = dump(lab, filled)
    calls: list[tuple[str, int, int | None]] = []
    outcome = clean(lab, filled, bucket, workers=workers, batch_rows=40, progress=lambda *told: calls.append(told))
    assert outcome.archive == f"s3://{bucket}/{FOLDER}/manifest.json"
    assert outcome.failures == {}
    # Old rows that may contain secrets.
    assert all("hold secrets" in why for why in outcome.skipped)
    assert outcome.is_complete is not bool(outcome.skipped)
    after = dump(lab, filled)
    written = manifest(lab, bucket, f"{FOLDER}/manifest.json")
    gone = {name: len(before[name]) - len(after[name]) for name in before if len(before[name]) != len(after[name])}
    assert gone == {name: table["rows"] for name, table in written["tables"].items()}
    assert gone == {name: table.deleted for name, table in outcome.tables.items() if table.deleted}
    assert all(table.matched == table.deleted for table in outcome.tables.values())
    assert {"dag_run", "task_instance", "xcom", "log", "job", "import_error", "celery_taskmeta"} <= set(gone)
    assert gone["dag_run"] > 20
    assert outcome.tables["dag_run"].batches > 3
    assert ("log", gone["log"], gone["log"]) in calls
    objects = {item["key"] for table in written["tables"].values() for item in table["files"]}
    assert set(keys(lab, bucket)) == objects | {f"{FOLDER}/manifest.json"}
    assert uploads(lab, bucket) == []
    assert written["tables"]["dag_run"]["until"] == (NOW - timedelta(days=30)).isoformat()
    told: list[str] = []
    found = restore(lab, filled, bucket, tell=told.append)
    assert found == {name: {"rows": count, "inserted": count} for name, count in gone.items()}
    assert dump(lab, filled) == before
    assert len(told) == len(gone)
    # Again, by the manifest's own key: all rows already exist.
    again = restore(lab, filled, bucket, f"{FOLDER}/manifest.json")
    assert again == {name: {"rows": count, "inserted": 0} for name, count in gone.items()}
    assert dump(lab, filled) == before


def test_a_row_that_changed_since_stays_and_all_else_goes(lab, filled, bucket) -> None:
    ids = [row[0] for row in rows(lab, filled, "SELECT id FROM dag_run ORDER BY id LIMIT 6")]
    noted, cleared, retried, locked, other, pushed = ids
    last = 21
    run = {i: f"(dag_id, run_id) = (SELECT dag_id, run_id FROM dag_run WHERE id = {i})" for i in ids}
    lock = lab.connect(filled)
    lock.autocommit = False

    def change() -> None:
        connection = lab.connect(filled)
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM dag_run_note WHERE dag_run_id = {noted}")
            note = {"dag_run_id": "r.id", "content": "'new'"}
            history.insert(cursor, "dag_run_note", note, f"dag_run r WHERE r.id = {noted}")
            cursor.execute(f"UPDATE dag_run SET state = 'running' WHERE id = {cleared}")
            cursor.execute(f"UPDATE task_instance SET pid = 1 WHERE task_id = 'task_1' AND {run[retried]}")
            cursor.execute("UPDATE log SET extra = extra || ' ' WHERE id = 5; DELETE FROM log WHERE id = 6")
            xcom = {**OF_TASKS["xcom"], "key": "'new'"}
            history.insert(cursor, "xcom", xcom, f"{TASKS} WHERE r.id = {pushed} AND t.task_id = 'task_1'")
            # Other runs are deleted, so one becomes the last of its DAG.
            cursor.execute(f"DELETE FROM dag_run WHERE id > {last} AND dag_id = 'dag_001'")
        connection.close()
        lock.cursor().execute(f"SELECT 1 FROM dag_run WHERE id = {locked} FOR UPDATE")

    stay = [noted, cleared, retried, locked, pushed, last]
    outcome = clean(lab, filled, bucket, tell=once(change), tables=["dag_run", "log"])
    lock.close()
    assert not outcome.is_complete
    assert outcome.failures == {}
    left = {row[0] for row in rows(lab, filled, "SELECT id FROM dag_run")}
    archived = {int(row["id"]) for row in csv_rows(lab, bucket, f"{FOLDER}/dag_run.csv.gz")}
    assert archived & left == set(stay)
    for i in stay:
        assert len(rows(lab, filled, f"SELECT 1 FROM {TASKS} WHERE r.id = {i}")) == 3
    assert (
        rows(lab, filled, f"SELECT 1 FROM task_instance t LEFT JOIN dag_run r USING (run_id) WHERE r.id = {other}")
        == []
    )
    assert rows(lab, filled, "SELECT id FROM log WHERE id < 20") == [(5,)]
    vanished = {i for i in archived if i > last and i % 2}
    assert outcome.tables["dag_run"].matched == len(archived)
    assert outcome.tables["dag_run"].deleted == len(archived) - len(stay) - len(vanished)
    assert outcome.tables["log"].deleted == outcome.tables["log"].matched - 2
    changed = "or a dependent row changed since it was archived, and is kept"
    assert set(outcome.skipped) == {
        f"dag_run {noted} (and 3 others) {changed}",
        f"dag_run {last} is kept because of other rows that changed after it was archived",
        f"dag_run {locked} or a dependent row is locked, and is kept",
        f"log 5 {changed}",
    }
    # A restore does not overwrite changed rows.
    before = dump(lab, filled)
    with pytest.raises(DatabaseRefused, match=r"Table dag_run .* row id = 2.* has other values than in") as caught:
        restore(lab, filled, bucket, tables=["dag_run"])
    assert "\n" not in str(caught.value)
    assert dump(lab, filled) == before
    found = restore(lab, filled, bucket, keep_changed=True)
    assert found["dag_run"] == {"rows": len(archived), "inserted": len(archived) - len(stay)}
    assert found["log"]["inserted"] == found["log"]["rows"] - 1
    after = dump(lab, filled)
    assert all(set(before[name]) <= set(after[name]) for name in before)


def test_a_lost_connection_is_opened_again(lab, filled, bucket) -> None:
    before = dump(lab, filled)
    killed: list[str] = []

    def progress(table: str, rows: int, of: int | None) -> None:
        if table == "dag_run" and rows > 10 and not killed:
            killed.append(table)
            lab.run(
                lab.postgres.execute(
                    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{filled}'"
                )
            )

    outcome = clean(lab, filled, bucket, tables=["dag_run", "log"], progress=progress, batch_rows=40)
    assert killed
    assert outcome.is_complete
    assert all(table.deleted == table.matched for table in outcome.tables.values())
    restore(lab, filled, bucket)
    assert but_for_forgotten(dump(lab, filled)) == but_for_forgotten(before)


def test_a_run_before_one_that_is_cleared_after_the_archive_stays(lab, filled, bucket) -> None:
    """The run itself has not changed: another run keeps it."""
    third = "(SELECT id FROM dag_run WHERE dag_id = 'dag_000' ORDER BY start_date OFFSET 2 LIMIT 1)"
    lab_rows = "SELECT count(*) FROM dag_run WHERE dag_id = 'dag_000' AND start_date < '2026-06-01'"

    def clear() -> None:
        lab.execute(filled, f"UPDATE dag_run SET state = 'queued' WHERE id = {third}")

    outcome = clean(lab, filled, bucket, tell=once(clear), tables=["dag_run"])
    assert rows(lab, filled, lab_rows) == [(2,)]
    assert [
        text for text in outcome.skipped if "is kept because of other rows that changed after it was archived" in text
    ]


def test_rows_that_two_units_take_are_archived_once(lab, filled, bucket) -> None:
    before = dump(lab, filled)
    outcome = clean(
        lab, filled, bucket, retention=timedelta(days=200),
        retention_by_table={"xcom": timedelta(days=30), "task_instance": timedelta(days=100)}, workers=2,
    )  # fmt: skip
    assert outcome.failures == {}
    folder = outcome.archive.removeprefix(f"s3://{bucket}/").rpartition("/")[0]
    tables = manifest(lab, bucket, f"{folder}/manifest.json")["tables"]
    assert len(tables["xcom"]["files"]) == 3
    after = dump(lab, filled)
    for name, table in tables.items():
        assert table["rows"] == len(before[name]) - len(after[name]) == outcome.tables[name].deleted, name
    assert tables["xcom"]["rows"] > tables["task_instance"]["rows"] > 3 * tables["dag_run"]["rows"] > 0
    restore(lab, filled, bucket, folder)
    assert dump(lab, filled) == before


def test_nothing_is_deleted_that_does_not_read_as_it_was_written(lab, filled, bucket) -> None:
    before = dump(lab, filled)
    key = f"{FOLDER}/task_instance.csv.gz"

    def flipped(content: bytes) -> bytes:
        return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]

    def cut(content: bytes) -> bytes:
        return content[: len(content) // 2]

    for damage, words in ((flipped, "is damaged: "), (cut, "in its manifest"), (None, "does not exist")):

        def answer(method, path, damage=damage) -> None:
            if method == "GET" and path.partition("?")[0].endswith(key):
                there = lab.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
                if damage is None:
                    lab.s3().delete_object(Bucket=bucket, Key=key)
                else:
                    lab.s3().put_object(Bucket=bucket, Key=key, Body=damage(there))

        with FaultyS3(lab.moto.url, answer) as s3, pytest.raises(StorageError, match=words) as caught:
            clean(lab, filled, bucket, s3=s3.client())
        assert "task_instance.csv.gz" in str(caught.value)
        assert "nothing was deleted" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert dump(lab, filled) == before
        assert keys(lab, bucket) == uploads(lab, bucket) == []


def test_what_fails_before_leaves_nothing_visible(lab, filled, bucket) -> None:
    before = dump(lab, filled)
    for refused, name in (("POST", "?uploads"), ("PUT", "xcom.csv.gz"), ("PUT", "manifest.json"), ("GET", "/cold/")):

        def answer(method, path, refused=refused, name=name):
            return (403, "AccessDenied", "Denied") if method == refused and name in path else None

        with FaultyS3(lab.moto.url, answer) as s3, pytest.raises(AccessDenied, match=r"was refused") as caught:
            clean(lab, filled, bucket, s3=s3.client())
        assert "\n" not in str(caught.value)
        assert ("s3:ListBucket" in str(caught.value)) is (refused == "GET")
        assert dump(lab, filled) == before
        assert keys(lab, bucket) == uploads(lab, bucket) == []


def test_an_archive_is_never_written_over(lab, filled, bucket) -> None:
    before = dump(lab, filled)
    # The archive is written, but the time is up before anything is deleted.
    first = clean(lab, filled, bucket, tables=["dag_run"], max_duration=timedelta(microseconds=1))
    assert first.deleted == 0
    assert any("max_duration" in why for why in first.skipped)
    assert dump(lab, filled) == before
    second = clean(lab, filled, bucket, tables=["dag_run"])
    assert second.archive == f"s3://{bucket}/{FOLDER}-2/manifest.json"
    assert second.deleted > 0
    both = [manifest(lab, bucket, f"{folder}/manifest.json")["tables"] for folder in (FOLDER, f"{FOLDER}-2")]
    assert {name: table["rows"] for name, table in both[0].items()} == {
        name: table["rows"] for name, table in both[1].items()
    }
    # Nothing is left to delete, so there is no archive.
    there = keys(lab, bucket)
    third = clean(lab, filled, bucket, tables=["dag_run"])
    assert (third.archive, third.deleted, third.is_complete) == (None, 0, True)
    assert keys(lab, bucket) == there
    restore(lab, filled, bucket)
    restore(lab, filled, bucket, f"{FOLDER}-2")
    assert but_for_forgotten(dump(lab, filled)) == but_for_forgotten(before)


def test_what_a_transaction_has_no_time_for_stays(lab, filled, bucket) -> None:
    slow = """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(CASE WHEN OLD.id = 4 THEN 3600 ELSE 0 END); RETURN OLD; END $$;
        CREATE TRIGGER slow BEFORE DELETE ON log FOR EACH ROW EXECUTE FUNCTION slow()"""
    lab.execute(filled, slow)
    outcome = clean(lab, filled, bucket, tables=["log"], max_transaction=timedelta(milliseconds=500))
    assert rows(lab, filled, "SELECT id FROM log WHERE id < 20") == [(4,)]
    assert [why.partition(":")[0] for why in outcome.skipped] == [
        "log 4 takes longer than max_transaction to delete, and is kept"
    ]


def test_secrets_are_in_no_archive(lab, filled, bucket) -> None:
    outcome = clean(lab, filled, bucket)
    for key in keys(lab, bucket):
        assert SECRET.encode() not in body(lab, bucket, key)
    names = {why.partition(":")[0] for why in outcome.skipped}
    assert names & {"trigger", "session"}
    assert not names & set(outcome.tables)
    written = manifest(lab, bucket, f"{FOLDER}/manifest.json")
    assert not {"trigger", "session", "callback", "revoked_token", "connection_test_request"} & set(written["tables"])
    there = set(dump(lab, filled))
    for name in {"trigger", "session", "callback", "revoked_token", "connection_test_request"} & there:
        with pytest.raises(MwaaInputError, match=f"{name} cannot be archived.*in a task without archive_to") as caught:
            clean(lab, filled, bucket, tables=[name])
        assert "\n" not in str(caught.value)


def test_a_restore_that_is_cut_off_leaves_whole_tables(lab, filled, bucket) -> None:
    before = but_for_forgotten(dump(lab, filled))
    clean(lab, filled, bucket, tables=["dag_run", "log"])
    cleaned = but_for_forgotten(dump(lab, filled))

    def stop(table: str, done: int, of: int) -> None:
        if table == "task_instance" and done > of // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(lab, filled, bucket, progress=stop)
    half = but_for_forgotten(dump(lab, filled))
    assert half["dag_run"] == before["dag_run"]
    assert half["task_instance"] == cleaned["task_instance"] != before["task_instance"]
    assert all(half[name] in (before[name], cleaned[name]) for name in before)
    found = restore(lab, filled, bucket)
    assert found["dag_run"]["inserted"] == 0 < found["task_instance"]["inserted"]
    assert but_for_forgotten(dump(lab, filled)) == before


def test_what_a_restore_refuses(lab, filled, bucket) -> None:
    clean(lab, filled, bucket)
    cleaned = dump(lab, filled)
    key = f"{FOLDER}/task_instance.csv.gz"
    good = lab.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    plain = gzip.decompress(good)

    def refused(error, words: str, **options: Any) -> None:
        with pytest.raises(error, match=words) as caught:
            restore(lab, filled, bucket, **options)
        assert "\n" not in str(caught.value)

    damaged = (
        gzip.compress(plain.replace(b"task_1", b"task_9", 1)),
        gzip.compress(plain[: len(plain) // 2]),
        good[:-9] + b"x" + good[-8:],
        good + b"tail",
    )
    for content in damaged:
        lab.s3().put_object(Bucket=bucket, Key=key, Body=content)
        refused(StorageError, r"Table task_instance was not restored, and has not changed: .*task_instance\.csv\.gz")
        now = dump(lab, filled)
        assert now["task_instance"] == cleaned["task_instance"]
    lab.s3().put_object(Bucket=bucket, Key=key, Body=good)
    lab.execute(filled, "DELETE FROM dag_run WHERE id IN (SELECT id FROM dag_run ORDER BY id LIMIT 3)")
    words = r'Table task_instance was not restored, .*not present in table "dag_run"\. Restore the row that it'
    refused(DatabaseRefused, words, tables=["task_instance"])
    assert dump(lab, filled)["task_instance"] == cleaned["task_instance"]
    refused(TableNotFound, "has no table 'dag'; it has ", tables=["dag"])
    refused(MwaaInputError, "no finished metadata export", key="cold/nowhere")
    with Lease(lab.database(filled)):
        refused(CleanupUnderWay, "another cleanup")
    lab.execute(filled, "ALTER TABLE log ADD COLUMN new text")
    refused(MwaaInputError, r"Table log has other columns than in s3://.*: new\. ", tables=["log"])
    assert restore(lab, filled, bucket, tables=["dag_run", "task_instance"])["task_instance"]["inserted"] > 0


def test_another_database_is_noticed_before_anything_is_inserted(lab, filled, bucket) -> None:
    clean(lab, filled, bucket)
    document = json.loads(body(lab, bucket, f"{FOLDER}/manifest.json"))
    assert document["database"] == {
        "system_identifier": rows(lab, filled, "SELECT system_identifier::text FROM pg_control_system()")[0][0],
        "initialized": document["database"]["initialized"],
        "database": filled,
        "revision": document["schema_version"],
    }
    made = "SELECT to_char(min(created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM log_template"
    assert document["database"]["initialized"] == rows(lab, filled, made)[0][0]
    other = lab.copy(filled)
    before = dump(lab, other)
    with pytest.raises(MwaaInputError, match=f"of another database: database '{filled}' and not '{other}'") as caught:
        restore(lab, other, bucket)
    assert "other_database" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert dump(lab, other) == before
    assert restore(lab, other, bucket, other_database=True)["dag_run"]["inserted"] > 0
    lab.drop(other)

    def changed(**fields: Any) -> None:
        content = json.dumps({**document, "database": {**document["database"], **fields}})
        lab.s3().put_object(Bucket=bucket, Key=f"{FOLDER}/manifest.json", Body=content.encode())

    for field, words in {
        "system_identifier": "system identifier 7 and not",
        "revision": "schema 7 and not",
        "initialized": "tables made at 7 and not",
    }.items():
        changed(**{field: "7"})
        with pytest.raises(MwaaInputError, match=words):
            restore(lab, filled, bucket)
    changed(system_identifier=None, initialized=None)  # if the user may not read it
    assert restore(lab, filled, bucket)["dag_run"]["inserted"] > 0
    told: list[str] = []
    del document["database"]  # as written by an earlier version of this package
    lab.s3().put_object(Bucket=bucket, Key=f"{FOLDER}/manifest.json", Body=json.dumps(document).encode())
    assert restore(lab, filled, bucket, tell=told.append)["dag_run"]["inserted"] == 0
    assert "does not name its database" in told[0]


def test_the_next_archive_takes_away_what_a_killed_one_has_left(lab, filled, bucket) -> None:
    s3 = lab.s3()
    clean(lab, filled, bucket, tables=["log"], retention=timedelta(days=200))
    [first] = [key for key in keys(lab, bucket) if key.endswith("/manifest.json")]
    folder = first.removesuffix("/manifest.json")
    # Killed between the manifest and the deletion of its note; and during an upload, at another time.
    s3.put_object(Bucket=bucket, Key=f"{folder}/manifest.writing.json", Body=b"{}")
    s3.put_object(Bucket=bucket, Key="cold/archive-20260101T000000Z/manifest.writing.json", Body=b"{}")
    s3.put_object(Bucket=bucket, Key="cold/archive-of-mine/manifest.writing.json", Body=b"{}")
    for name in ("manifest.json", "manifest.writing.json"):  # its name if ages are relative to the present
        s3.put_object(Bucket=bucket, Key=f"cold/archive-20251030T230805.081671Z/{name}", Body=b"{}")
    s3.create_multipart_upload(Bucket=bucket, Key="cold/archive-20251030T230805.081671Z-2/log.csv.gz")
    for key in ("cold/archive-20260101T000000Z/log.csv.gz", "cold/archive-of-mine/x", "elsewhere/x"):
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    clean(lab, filled, bucket, tables=["log"])
    assert sorted(uploads(lab, bucket)) == ["cold/archive-of-mine/x", "elsewhere/x"]
    notes = [key for key in keys(lab, bucket) if key.endswith(".writing.json")]
    assert notes == [
        "cold/archive-20260101T000000Z/manifest.writing.json",
        "cold/archive-of-mine/manifest.writing.json",
    ]


def test_an_incompatible_unique_row_is_named(lab, filled, bucket) -> None:
    clean(lab, filled, bucket, tables=["dag_run"])
    connection = lab.connect(filled)
    with connection.cursor() as cursor:
        first = gzip.decompress(lab.s3().get_object(Bucket=bucket, Key=f"{FOLDER}/dag_run.csv.gz")["Body"].read())
        name = first.decode().splitlines()[0].split(",")
        values = dict(zip(name, first.decode().splitlines()[1].split(","), strict=False))
        run = {"id": "1000", "dag_id": f"'{values['dag_id']}'", "run_id": f"'{values['run_id']}'"}
        history.insert(cursor, "dag_run", {**history.DAG_RUN, **run}, "generate_series(1, 1) i", n=1, dags=1)
    connection.close()
    there = dump(lab, filled)
    with pytest.raises(
        DatabaseRefused, match=r"Table dag_run was not restored, .* already exists\. Delete the existing row"
    ):
        restore(lab, filled, bucket)
    assert dump(lab, filled) == there


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_records_are_counted_wherever_they_are_cut(size) -> None:
    text = b'a,b\n1,"x\ny"\n"","""\n"\n,\n"""""",""\n2,"\n\n"\n'
    counter, stream = RecordCounter(), io.BytesIO(text)
    while block := stream.read(size):
        counter.count(block)
    assert counter.records == 6
