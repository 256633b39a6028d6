# SPDX-License-Identifier: Apache-2.0
"""Exports of new and changed rows: nothing is missed, changes are marked, repetition writes the same."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from airflow_mwaa_provider.exceptions import DatabaseUnavailable, MwaaInputError
from airflow_mwaa_provider.metadata import sources
from tests.metadata import history
from tests.metadata.exports import body, export, keys, manifest, rows, uploads
from tests.metadata.once import KNOWS_NO_AIRFLOW

DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 8)]
TABLES = ["dag_run", "task_instance", "log", "dag"]


@pytest.fixture
def history_of_march(lab, database):
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=365, tasks=2, dags=1)
        for table, column in (("task_instance", "start_date"), ("log", "dttm"), ("dag_run", "start_date")):
            cursor.execute(f"DELETE FROM {table} WHERE {column} < '2026-02-20'")
    yield database, connection
    connection.close()


def read_back(lab, bucket, tmp_path, table, key_columns):
    """Return the table as readers see it: the last exported version of each row."""
    for key in keys(lab, bucket):
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body(lab, bucket, key))
    return duckdb.sql(
        f"SELECT * FROM read_csv_auto('{tmp_path}/files/export/table={table}/**/*.csv', hive_partitioning = true, "
        "hive_types_autocast = false, all_varchar = true) "
        f"QUALIFY row_number() OVER (PARTITION BY {key_columns} ORDER BY until DESC) = 1"
    )


def test_each_increment_has_what_is_new_and_what_has_changed(lab, history_of_march, bucket, tmp_path) -> None:
    database, connection = history_of_march
    cursor = connection.cursor()
    cursor.execute("SELECT run_id FROM dag_run WHERE start_date >= '2026-03-01' ORDER BY id LIMIT 1")
    late = cursor.fetchone()[0]
    # A run of March 1 that is still running when it is exported, and ends on March 2.
    cursor.execute(
        "UPDATE dag_run SET state = 'running', end_date = NULL, updated_at = start_date WHERE run_id = %s", (late,)
    )
    first = export(lab, database, bucket, incremental=True, until=DAYS[1], tables=TABLES)
    assert first.key == "files/export/manifests/20260302T000000Z.json"
    cursor.execute("SELECT count(*) FROM dag_run WHERE start_date < %s", (DAYS[1],))
    assert first.tables["dag_run"].rows == cursor.fetchone()[0] > 5
    assert first.tables["dag_run"].rows_changed == 0
    cursor.execute(
        "UPDATE dag_run SET state = 'success', end_date = '2026-03-02 01:00:00+00', "
        "updated_at = '2026-03-02 01:00:00+00' WHERE run_id = %s",
        (late,),
    )
    second = export(lab, database, bucket, incremental=True, until=DAYS[2], tables=TABLES)
    table = second.tables["dag_run"]
    assert (table.since, table.until) == (DAYS[1], DAYS[2])
    assert (table.rows, table.rows_changed) == (2, 1)
    changed = [file for file in table.files if file.partition["change"] == "changed"]
    assert [file.key for file in changed] == [
        "files/export/table=dag_run/until=20260302T000000Z/change=changed/date=2026-03-01/part-00000.csv".replace(
            "0302T", "0303T"
        )
    ]
    assert second.tables["dag"].rows == 1  # a table without a history is exported in full each time
    third = export(lab, database, bucket, incremental=True, until=DAYS[3], tables=TABLES)
    assert (third.tables["dag_run"].rows, third.tables["dag_run"].rows_changed) == (1, 0)

    found = read_back(lab, bucket, tmp_path, "dag_run", "id")
    cursor.execute("SELECT count(*), min(run_id), max(run_id) FROM dag_run WHERE start_date < %s", (DAYS[3],))
    assert found.aggregate("count(*), min(run_id), max(run_id)").fetchall()[0] == cursor.fetchone()
    assert found.filter(f"run_id = '{late}'").project("state").fetchall() == [("success",)]
    cursor.execute("SELECT count(*) FROM task_instance WHERE start_date < %s", (DAYS[3],))
    keys_of_ti = "dag_id, task_id, run_id, map_index"
    (count,) = read_back(lab, bucket, tmp_path, "task_instance", keys_of_ti).aggregate("count(*)").fetchall()[0]
    assert count == cursor.fetchone()[0]


def test_repeating_an_increment_writes_the_same_objects(lab, history_of_march, bucket) -> None:
    database, connection = history_of_march
    export(lab, database, bucket, incremental=True, until=DAYS[1], tables=TABLES)
    again = {"incremental": True, "until": DAYS[2], "tables": TABLES}
    first = export(lab, database, bucket, **again)
    third = export(lab, database, bucket, incremental=True, until=DAYS[3], tables=TABLES)
    before = {key: body(lab, bucket, key) for key in keys(lab, bucket) if "/table=" in key}
    assert export(lab, database, bucket, **again).tables == first.tables
    assert {key: body(lab, bucket, key) for key in keys(lab, bucket) if "/table=" in key} == before
    # The last increment stays the last.
    assert manifest(lab, bucket)["until"] == DAYS[3].isoformat()
    fourth = export(lab, database, bucket, incremental=True, until=DAYS[4], tables=TABLES)
    assert fourth.tables["dag_run"].since == DAYS[3] == third.until
    with pytest.raises(MwaaInputError, match="there is nothing to add"):
        export(lab, database, bucket, incremental=True, until=DAYS[0], tables=TABLES)
    # One row fewer, and its file is deleted.
    connection.cursor().execute("DELETE FROM log WHERE dttm >= %s AND dttm < %s", (DAYS[1], DAYS[2]))
    export(lab, database, bucket, **again)
    gone = set(before) - set(keys(lab, bucket))
    assert gone == {"files/export/table=log/until=20260303T000000Z/change=new/date=2026-03-02/part-00000.csv"}


def test_a_transaction_that_commits_late_is_not_missed(lab, history_of_march, bucket) -> None:
    database, _ = history_of_march
    slow = lab.connect(database)
    slow.autocommit = False
    cursor = slow.cursor()
    cursor.execute("INSERT INTO log (dttm, event) VALUES (now(), 'slow') RETURNING dttm")
    (written,) = cursor.fetchone()
    first = export(lab, database, bucket, incremental=True, tables=["log"])
    assert first.until is not None
    assert first.until <= written - timedelta(seconds=59)
    slow.commit()
    slow.close()
    lab.execute(database, "UPDATE log SET dttm = dttm - interval '2 minutes' WHERE event = 'slow'")
    # As if two minutes had passed: the next one begins where no more rows can appear.
    lab.execute(database, f"UPDATE log SET dttm = '{first.until.isoformat()}' WHERE event = 'slow'")
    later = export(
        lab, database, bucket, incremental=True, tables=["log"], until=datetime.now(UTC) + timedelta(seconds=1)
    )
    assert later.tables["log"].rows == 1
    assert later.tables["log"].watermark is not None
    assert later.tables["log"].watermark <= datetime.now(UTC) - timedelta(seconds=59)


def test_rows_that_come_late_are_in_the_next_increment(lab, short_history, bucket) -> None:
    """With old times, without times, and with future times; in tables of Airflow and of a plugin."""
    connection = lab.connect(short_history)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE plugin_events (id int PRIMARY KEY, created_at timestamptz)")
    tables = ["log", "plugin_events", "dag"]
    first = export(lab, short_history, bucket, incremental=True, until=DAYS[1], tables=tables)
    assert first.tables["plugin_events"].rows == 0
    times = ["'2020-01-01'", "NULL", "'2099-01-01'", "'infinity'", "'-infinity'"]
    for number, time in enumerate(times):
        cursor.execute(f"INSERT INTO log (dttm, event) VALUES ({time}, 'late')")
        cursor.execute(f"INSERT INTO plugin_events VALUES ({number}, {time})")
    second = export(lab, short_history, bucket, incremental=True, until=DAYS[2], tables=tables)
    assert {name: table.rows for name, table in second.tables.items() if name != "dag"} == {
        "log": 5,
        "plugin_events": 5,
    }
    # An exported row is not exported again unless it is written again, even if none of its times shows that.
    third = export(lab, short_history, bucket, incremental=True, until=DAYS[3], tables=tables)
    assert {name: table.rows for name, table in third.tables.items() if name != "dag"} == {
        "log": 0,
        "plugin_events": 0,
    }
    cursor.execute("UPDATE log SET owner = 'me' WHERE dttm = '2020-01-01'")
    fourth = export(lab, short_history, bucket, incremental=True, until=DAYS[4], tables=tables)
    assert fourth.tables["log"].rows == 1
    # A repeated increment also has the rows that were late for it.
    cursor.execute("INSERT INTO log (dttm, event) VALUES (NULL, 'later')")
    again = export(lab, short_history, bucket, incremental=True, until=DAYS[4], tables=tables)
    assert again.tables["log"].rows == 2
    fifth = export(lab, short_history, bucket, incremental=True, until=DAYS[5], tables=tables)
    assert fifth.tables["log"].rows == 0
    connection.close()


def test_the_first_increment_has_what_is_dated_in_the_future(lab, short_history, bucket) -> None:
    lab.execute(short_history, "INSERT INTO log (dttm, event) VALUES ('2099-01-01', 'early')")
    first = export(lab, short_history, bucket, incremental=True, until=DAYS[6], tables=["log"])
    assert "early" in {row["event"] for file in first.tables["log"].files for row in rows(lab, bucket, file.key)}


def test_a_table_without_a_key_is_whole_in_each_increment(lab, short_history, bucket) -> None:
    lab.execute(short_history, "CREATE TABLE plugin_beats (host text, created_at timestamptz)")
    lab.execute(short_history, "INSERT INTO plugin_beats VALUES ('a', '2026-01-01'), ('a', '2026-01-01'), ('b', NULL)")
    for until, count in ((DAYS[1], 3), (DAYS[2], 4)):
        table = export(lab, short_history, bucket, incremental=True, until=until, tables=["plugin_beats"]).tables[
            "plugin_beats"
        ]
        assert (table.rows, table.by) == (count, None)
        lab.execute(short_history, "INSERT INTO plugin_beats VALUES ('c', '2026-01-01')")


def test_a_partitioned_table_tells_what_was_written_too(lab, short_history, bucket) -> None:
    lab.execute(
        short_history,
        "CREATE TABLE plugin_parts (id int PRIMARY KEY, created_at timestamptz) PARTITION BY HASH (id)",
        "CREATE TABLE plugin_part PARTITION OF plugin_parts FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    )
    options = {"incremental": True, "tables": ["plugin_parts"]}
    export(lab, short_history, bucket, until=DAYS[1], **options)
    lab.execute(short_history, "INSERT INTO plugin_parts VALUES (1, '2020-01-01')")
    assert export(lab, short_history, bucket, until=DAYS[2], **options).tables["plugin_parts"].rows == 1


@pytest.mark.parametrize("fault", ["older version", "migrated", "other server", "restored", "long ago"])
def test_where_it_cannot_be_told_what_was_written_the_increment_is_whole(lab, short_history, bucket, fault) -> None:
    options = {"incremental": True, "tables": ["log"]}
    first = export(lab, short_history, bucket, until=DAYS[1], **options)
    document = manifest(lab, bucket)
    snapshot = document["tables"]["log"]["snapshot"]
    if fault == "older version":
        del document["tables"]["log"]["snapshot"], document["tables"]["log"]["written_since"]
    elif fault == "migrated":
        snapshot["database"] = f"{snapshot['database']}1"
    elif fault == "other server":
        snapshot["database"] = f"1{snapshot['database']}"
    elif fault == "restored":
        snapshot["oldest"] += 10_000
    else:
        snapshot["oldest"] -= 1 << 31
    for key in ("files/export/manifest.json", first.key):
        lab.s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())
    lab.execute(short_history, "INSERT INTO log (dttm, event) VALUES ('2020-01-01', 'late')")
    second = export(lab, short_history, bucket, until=DAYS[2], **options)
    assert second.tables["log"].rows == first.tables["log"].rows + 1
    assert export(lab, short_history, bucket, until=DAYS[3], **options).tables["log"].rows == 0


def test_a_column_that_is_new_has_its_values_in_the_next_increment(lab, short_history, bucket) -> None:
    """PostgreSQL writes no row for it."""
    options = {"incremental": True, "tables": ["log"]}
    first = export(lab, short_history, bucket, until=DAYS[1], **options)
    lab.execute(short_history, "ALTER TABLE log ADD COLUMN colour text DEFAULT 'blue'")
    second = export(lab, short_history, bucket, until=DAYS[2], **options)
    assert second.tables["log"].rows == first.tables["log"].rows > 0
    found = [row["colour"] for file in second.tables["log"].files for row in rows(lab, bucket, file.key)]
    assert set(found) == {"blue"}
    assert export(lab, short_history, bucket, until=DAYS[3], **options).tables["log"].rows == 0


def test_a_server_that_does_not_speak_of_its_log(lab, short_history, bucket, monkeypatch) -> None:
    """As on Aurora, where such functions fail, and would make the transaction fail."""
    lab.execute(
        short_history,
        "CREATE FUNCTION refuse() RETURNS TABLE (system_identifier int, timeline_id int) LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE feature_not_supported USING MESSAGE = 'Function is currently not supported for Aurora'; END $$",
    )
    monkeypatch.setattr(sources, "_SERVER", "SELECT system_identifier, timeline_id FROM refuse()")
    options = {"incremental": True, "tables": ["log"]}
    first = export(lab, short_history, bucket, until=DAYS[1], **options)
    assert first.tables["log"].rows
    lab.execute(short_history, "INSERT INTO log (dttm, event) VALUES (NULL, 'late')")
    assert export(lab, short_history, bucket, until=DAYS[2], **options).tables["log"].rows == 1


def test_a_user_who_sees_nobody_else_may_export_increments(lab, short_history, bucket) -> None:
    """The user may not see since when others write; rows that they add late are in the next increment."""
    lab.execute(short_history, "CREATE SCHEMA seen")
    lab.execute(
        short_history,
        "CREATE VIEW seen.pg_stat_activity AS SELECT current_database() AS datname, NULL::timestamptz AS xact_start, "
        "NULL::xid AS backend_xid",
        f'ALTER ROLE airflow_user IN DATABASE "{short_history}" SET search_path TO seen, pg_catalog, public',
    )
    slow = lab.connect(short_history)
    slow.autocommit = False
    slow.cursor().execute("INSERT INTO public.log (dttm, event) VALUES (now() - interval '1 hour', 'slow')")
    options = {"incremental": True, "tables": ["log"]}
    first = export(lab, short_history, bucket, **options)
    slow.commit()
    slow.close()
    second = export(lab, short_history, bucket, until=datetime.now(UTC) + timedelta(seconds=1), **options)
    assert [row["event"] for file in second.tables["log"].files for row in rows(lab, bucket, file.key)] == ["slow"]
    assert first.until is not None


def test_what_a_killed_increment_has_left_is_cleared_away(lab, history_of_march, bucket, monkeypatch) -> None:
    from airflow_mwaa_provider.metadata.storage.bucket import Storage

    database, _ = history_of_march
    export(lab, database, bucket, incremental=True, until=DAYS[1], tables=TABLES)
    before = keys(lab, bucket)

    class Killed(BaseException):
        pass

    put = Storage.put

    def put_or_die(self, key, content, content_type="application/json"):
        if key.endswith("20260303T000000Z.json"):
            raise Killed
        put(self, key, content, content_type)

    monkeypatch.setattr(Storage, "put", put_or_die)
    with pytest.raises(Killed):
        export(lab, database, bucket, incremental=True, until=DAYS[2], tables=TABLES)
    monkeypatch.undo()
    assert [key for key in keys(lab, bucket) if "until=20260303T" in key]  # visible, without a manifest
    export(lab, database, bucket, incremental=True, until=DAYS[3], tables=TABLES)
    assert [key for key in keys(lab, bucket) if "until=20260303T" in key or "writing" in key] == []
    assert set(before) < set(keys(lab, bucket))
    assert manifest(lab, bucket)["tables"]["dag_run"]["since"] == DAYS[1].isoformat()


@KNOWS_NO_AIRFLOW
def test_days_that_are_exported_one_by_one_stay_beside_each_other(lab, history_of_march, bucket) -> None:
    database, _ = history_of_march
    for since, until in itertools.pairwise(DAYS):
        export(lab, database, bucket, layout="hive", since=since, until=until, tables=["dag_run"])
    assert len([key for key in keys(lab, bucket) if "table=dag_run/date=2026-03-0" in key]) == 6


@KNOWS_NO_AIRFLOW
def test_windows_that_divide_a_day_stay_beside_each_other(lab, history_of_march, bucket) -> None:
    database, _ = history_of_march
    lab.execute(database, "UPDATE log SET dttm = timestamptz '2026-03-01 00:00:00+00' + (id % 24) * interval '1 hour'")
    whole = export(lab, database, bucket, layout="hive", tables=["log"], prefix="whole").tables["log"].rows
    hours = [DAYS[0] + timedelta(hours=hour) for hour in (0, 5, 6, 23, 24)]
    for since, until in itertools.pairwise([None, *hours, None]):
        export(lab, database, bucket, layout="hive", since=since, until=until, tables=["log"], prefix="hours")
    found = [key for key in keys(lab, bucket) if key.startswith("hours/table=log/date=2026-03-01/")]
    assert len(found) == 4
    assert sum(body(lab, bucket, key).count(b"\n") - 1 for key in found) == whole


@KNOWS_NO_AIRFLOW
def test_an_export_leaves_alone_what_another_window_is_uploading(lab, history_of_march, bucket) -> None:
    database, _ = history_of_march
    s3 = lab.s3()
    place = "files/export/table=log/date=2026-03-0{day}/part-{window}00000.csv"
    left = {name: place.format(day=day, window=window) for name, day, window in (
        ("day 1", 1, ""), ("day 2", 2, ""), ("noon of day 2", 2, "20260302T120000Z-"),
    )}  # fmt: skip
    for key in left.values():
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    last_day = "files/export/table=log/date=9999-12-31/part-00000.csv"
    s3.create_multipart_upload(Bucket=bucket, Key=last_day)
    export(lab, database, bucket, layout="hive", since=DAYS[6], tables=["log"])
    assert last_day not in uploads(lab, bucket)
    export(lab, database, bucket, layout="hive", since=DAYS[1], until=DAYS[2], tables=["log"])
    assert sorted(uploads(lab, bucket)) == sorted([left["day 1"], left["noon of day 2"]])
    export(lab, database, bucket, layout="hive", since=DAYS[1] + timedelta(hours=12), until=DAYS[2], tables=["log"])
    assert uploads(lab, bucket) == [left["day 1"]]
    export(lab, database, bucket, layout="hive", tables=["log"])
    assert uploads(lab, bucket) == []


def test_an_increment_of_a_given_span_leaves_what_came_late_to_the_next(lab, database, bucket) -> None:
    days = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 5)]
    how = {"incremental": True, "tables": ["log"]}
    lab.execute(database, "INSERT INTO log (dttm, event) VALUES ('2026-03-01', 'a')")
    export(lab, database, bucket, until=days[1], **how)
    lab.execute(database, "INSERT INTO log (dttm, event) VALUES ('2026-02-01', 'late')")
    given = export(lab, database, bucket, since=days[1], until=days[2], **how)
    following = export(lab, database, bucket, until=days[3], **how)
    assert (given.tables["log"].rows, following.tables["log"].rows) == (0, 1)


def test_nothing_to_add_yet_is_no_misuse(lab, database, bucket) -> None:
    """A session has been writing since before the last increment; a later try may succeed."""
    export(lab, database, bucket, incremental=True, tables=["log"], until=datetime(2126, 1, 1, tzinfo=UTC))
    with pytest.raises(DatabaseUnavailable, match="there is nothing to add yet") as caught:
        export(lab, database, bucket, incremental=True, tables=["log"])
    assert caught.value.transient
