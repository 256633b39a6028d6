# SPDX-License-Identifier: Apache-2.0
"""Rows that references delete with tasks and runs are counted like others, and never more than were seen."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.metadata.catalog.schema import read_schema
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.unit import array_literal, values_table_sql
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, run_cleanup
from tests.metadata import history
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.random_metadata import NOW

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome
    from tests.metadata.lab import Lab

TASKS = 4
_TASK = {"dag_id": "t.dag_id", "task_id": "t.task_id", "run_id": "t.run_id", "map_index": "-1", "ti_id": "t.id"}
_TASK |= {"start_date": "t.start_date", "end_date": "t.end_date", "reschedule_date": "t.end_date"}
_TASK |= {"rendered_fields": "'{{}}'", "keys": "'{{}}'", "length": "2"}
ALONG = ["xcom", "rendered_task_instance_fields", "task_reschedule", "task_map"]
MAPPED = 60


@pytest.fixture(scope="module")
def template(lab: Lab) -> str:
    """A year of runs with dependent rows of each kind on their tasks. Nothing is deleted in it."""
    database = lab.copy()
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=100, tasks=TASKS, dags=4)
        tasks = "dag_run r JOIN task_instance t USING (dag_id, run_id)"
        history.insert(cursor, "xcom", history.XCOM, tasks)
        for table in ALONG[1:]:
            history.insert(cursor, table, _TASK, f"{tasks}, generate_series(1, 1) j")
        cursor.execute("ANALYZE")
    connection.close()
    return database


def contents(lab: Lab, name: str) -> dict[str, int]:
    connection = lab.connect(name)
    found = {}
    with connection.cursor() as cursor:
        for table in ["dag_run", "task_instance", "dag_run_note", *ALONG]:
            cursor.execute(f"SELECT count(*) FROM {table}")
            [(found[table],)] = cursor.fetchall()
    connection.close()
    return found


def ask(lab: Lab, name: str, query: str) -> Any:
    connection = lab.connect(name)
    with connection.cursor() as cursor:
        cursor.execute(query)
        [(value,)] = cursor.fetchall()
    connection.close()
    return value


def columns(lab: Lab, name: str, table: str) -> set[str]:
    connection = lab.connect(name)
    schema = read_schema(connection)
    connection.close()
    return {column.name for column in schema.tables[table].columns}


def clean(lab: Lab, name: str, **options: Any) -> Outcome:
    return run_cleanup(lab.database(name), CleanupOptions(now=NOW, tables=["dag_run"], **options))


def deleted(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {table: before[table] - after[table] for table in before if before[table] - after[table]}


def told(outcome: Outcome) -> dict[str, int]:
    return {name: table.deleted for name, table in outcome.tables.items() if table.deleted}


@KNOWS_NO_AIRFLOW
def test_keys_of_any_text_are_given_as_they_are(lab: Lab, template: str) -> None:
    texts = ["", " ", "NULL", "null", "a'b", 'a"b', "a\\", "\\'", "{a,b}", "a\nb\r\t", "%s %(x)s", "ünï", "$$", "E'\\n"]
    rows = [(text, str(number)) for number, text in enumerate(texts)]
    connection = lab.connect(template)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT a, b::text, number FROM {values_table_sql([('a', 'varchar'), ('b', 'int4')], rows)} k")
        assert cursor.fetchall() == [(*row, number) for number, row in enumerate(rows)]
        cursor.execute(f"SELECT {array_literal(texts)}::varchar[]")
        assert cursor.fetchall() == [(texts,)]
    connection.close()


def test_what_goes_along_is_counted(lab: Lab, filled: str) -> None:
    before = contents(lab, filled)
    outcome = clean(lab, filled)
    gone = deleted(before, contents(lab, filled))
    assert told(outcome) == gone
    assert all(gone[table] == TASKS * gone["dag_run"] for table in ALONG)
    assert outcome.table("rendered_task_instance_fields").seconds == 0, "a statement of its own deleted it"
    assert outcome.table("xcom").seconds > 0, "one that could be written again went unseen"


def test_what_has_a_date_never_goes_unseen(lab: Lab, database: str) -> None:
    """A table of a new Airflow is deleted with runs only if it is in the rules, which must define its dates."""
    connection = lab.connect(database)
    schema = read_schema(connection)
    connection.close()
    for root in rules.ROOTS.values():
        for name in root.cascaded:
            columns = schema.tables[name].columns if name in schema.tables else ()
            # The logical date is what a run is for, not when something happened.
            if any("time" in column.type and column.name != "logical_date" for column in columns):
                # A deadline's definition is written with its serialized DAG, so the DAG's date counts.
                assert name in (*rules.YOUNG, "deadline_alert"), name
    assert set(rules.WRITTEN_ONCE) <= set(rules.YOUNG)


@KNOWS_NO_AIRFLOW
def test_where_the_server_counts_nothing_statements_do(lab: Lab, filled: str) -> None:
    lab.run(lab.postgres.execute(f'ALTER DATABASE "{filled}" SET track_counts TO off'))
    before = contents(lab, filled)
    outcome = clean(lab, filled)
    assert told(outcome) == deleted(before, contents(lab, filled))
    assert outcome.table("rendered_task_instance_fields").seconds > 0
    assert outcome.is_complete


@KNOWS_NO_AIRFLOW
def test_where_references_are_not_heeded_statements_delete(lab: Lab, filled: str) -> None:
    """As in a table left by a restore that was interrupted before it enabled them again."""
    lab.run(lab.postgres.execute("ALTER ROLE airflow_user SUPERUSER"))
    try:
        lab.execute(filled, "ALTER TABLE task_instance DISABLE TRIGGER ALL")
    finally:
        lab.run(lab.postgres.execute("ALTER ROLE airflow_user NOSUPERUSER"))
    before = contents(lab, filled)
    outcome = clean(lab, filled)
    gone = deleted(before, contents(lab, filled))
    assert told(outcome) == gone
    assert all(gone[table] == TASKS * gone["dag_run"] for table in ALONG)


def test_what_goes_with_pieces_of_a_large_run_is_counted(lab: Lab, filled: str) -> None:
    """A task's dependent rows are deleted with it, even if they also refer to the run, as on Airflow 2."""
    connection = lab.connect(filled)
    with connection.cursor() as cursor:
        cursor.execute("SELECT dag_id, run_id FROM dag_run ORDER BY id OFFSET 11 LIMIT 1")
        [(dag_id, run_id)] = cursor.fetchall()
        mapped = {"dag_id": f"'{dag_id}'", "run_id": f"'{run_id}'", "task_id": "'mapped'", "map_index": "j"}
        mapped |= {"start_date": "'2025-12-01'", "end_date": "'2025-12-01'", "state": "'success'"}
        every = f"generate_series(1, {MAPPED}) j, generate_series(1, 1) i"
        history.insert(cursor, "task_instance", {**history.TASK_INSTANCE, **mapped}, every, tasks=9, n=1, dags=1)
        these = "task_instance t, generate_series(1, 1) j WHERE t.map_index > 0"
        for table in ALONG[1:]:
            history.insert(cursor, table, {**_TASK, "map_index": "t.map_index"}, these)
    connection.close()
    lab.execute(filled, *history.endless("task_instance", 30, "map_index > 0"))
    before = contents(lab, filled)
    outcome = clean(lab, filled, max_transaction=timedelta(milliseconds=500))
    gone = deleted(before, contents(lab, filled))
    assert (told(outcome), outcome.skipped) == (gone, [])
    assert gone["task_instance"] == gone["task_reschedule"] == TASKS * gone["dag_run"] + MAPPED


@KNOWS_NO_AIRFLOW
def test_a_row_that_contradicts_itself_goes_as_its_reference_says(lab: Lab, filled: str) -> None:
    """An XCom names its run twice, but only one of these is a reference."""
    lab.execute(filled, "UPDATE xcom SET dag_run_id = dag_run_id + 1000000 WHERE dag_run_id % 7 = 0")
    before = contents(lab, filled)
    outcome = clean(lab, filled)
    gone = deleted(before, contents(lab, filled))
    assert (told(outcome), outcome.skipped, outcome.is_complete) == (gone, [], True)
    assert gone["xcom"] == TASKS * gone["dag_run"]


@KNOWS_NO_AIRFLOW
def test_what_somebody_else_deletes_meanwhile_is_no_reason_to_doubt(lab: Lab, filled: str) -> None:
    """A row that was seen with its task is deleted before the task is: this is detected, and the batch repeated."""
    other = lab.connect(filled)
    lab.execute(
        filled,
        "CREATE SEQUENCE first_of_all",
        """CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF nextval('first_of_all') = 1 THEN PERFORM pg_advisory_xact_lock(77); END IF; RETURN OLD; END $$""",
        "CREATE TRIGGER hold BEFORE DELETE ON task_instance FOR EACH ROW EXECUTE FUNCTION hold()",
    )
    before = contents(lab, filled)
    cursor = other.cursor()
    cursor.execute("SELECT pg_advisory_lock(77)")
    found = []

    def run() -> None:
        long = timedelta(minutes=4)
        found.append(clean(lab, filled, lock_timeout=long, max_transaction=long))

    cleaning = threading.Thread(target=run)
    cleaning.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted"
    while cleaning.is_alive() and not ask(lab, filled, waiting):
        time.sleep(0.01)
    # Of the oldest run, which is among the first to be deleted.
    of_task = "dag_id, run_id, task_id" if "run_id" in columns(lab, filled, "task_reschedule") else "ti_id"
    cursor.execute(
        f"DELETE FROM task_reschedule WHERE ({of_task}) IN (SELECT {of_task.replace('ti_id', 'id')} FROM task_instance "
        "WHERE (dag_id, run_id) = (SELECT dag_id, run_id FROM dag_run ORDER BY id LIMIT 1))"
    )
    assert cursor.rowcount == TASKS
    other.close()
    cleaning.join()
    [outcome] = found
    gone = deleted(before, contents(lab, filled))
    assert told(outcome) == {**gone, "task_reschedule": gone["task_reschedule"] - TASKS}
    assert (outcome.is_complete, outcome.skipped) == (True, [])
    assert outcome.table("rendered_task_instance_fields").seconds == 0, "it is still counted by the database"


@KNOWS_NO_AIRFLOW
def test_where_the_server_counts_wrongly_statements_do(lab: Lab, filled: str, caplog: pytest.LogCaptureFixture) -> None:
    """As if the counted rows were moved away within a transaction."""
    lab.execute(
        filled,
        "CREATE FUNCTION public.pg_stat_get_xact_tuples_deleted(oid) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
    )
    lab.run(lab.postgres.execute(f'ALTER DATABASE "{filled}" SET search_path TO public, pg_catalog'))
    before = contents(lab, filled)
    outcome = clean(lab, filled)
    assert told(outcome) == deleted(before, contents(lab, filled))
    assert (outcome.is_complete, outcome.skipped) == (True, [])
    assert outcome.table("rendered_task_instance_fields").seconds > 0
    assert caplog.text.count("statistics do not count deleted rows") == 1


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("is_first", [True, False], ids=["first-of-its-table", "one-of-many"])
def test_what_comes_in_between_is_not_deleted_unseen(lab: Lab, filled: str, is_first: bool) -> None:
    """Every time, a note is added to a run after the notes were read and before the run is deleted."""
    connection = lab.connect(filled)
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(id) + 11 FROM dag_run")
        [(some_run,)] = cursor.fetchall()
    values = "(dag_run_id, content, created_at, updated_at)"
    others = (
        f"INSERT INTO dag_run_note {values} SELECT id, 'old', end_date, end_date FROM dag_run WHERE id <> {some_run}"
    )
    lab.execute(
        filled,
        *([] if is_first else [others]),
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"INSERT INTO dag_run_note {values} SELECT r.id, 'look here', now(), now() FROM dag_run r "
        f"WHERE r.id = {some_run} AND EXISTS (SELECT 1 FROM old o WHERE o.dag_id = r.dag_id AND o.run_id = r.run_id) "
        "ON CONFLICT DO NOTHING; RETURN NULL; END $$",
        "CREATE TRIGGER note AFTER DELETE ON xcom REFERENCING OLD TABLE AS old "
        "FOR EACH STATEMENT EXECUTE FUNCTION note()",
    )
    before = contents(lab, filled)
    outcome = clean(lab, filled)
    gone = deleted(before, contents(lab, filled))
    assert told(outcome) == gone
    assert not outcome.is_complete
    assert outcome.failures == {}
    [why] = outcome.skipped
    assert "its dependents changed during the deletion" in why
    assert outcome.table("rendered_task_instance_fields").seconds == 0, "the database's count is still believed"
    assert gone["dag_run"] > 50
    assert gone["task_instance"] == gone["xcom"] == TASKS * gone["dag_run"]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM task_instance JOIN dag_run r USING (dag_id, run_id) WHERE r.id = {some_run}"
        )
        assert cursor.fetchall() == [(TASKS,)]
    connection.close()
