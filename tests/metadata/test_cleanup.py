# SPDX-License-Identifier: Apache-2.0
"""A cleanup refused before anything is deleted, disturbed while it works, and cut off."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import (
    CleanupUnderWay,
    DatabaseRefused,
    MwaaInputError,
    NotAirflowMetadata,
    TableNotFound,
)
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.catalog.schema import read_schema
from airflow_mwaa_provider.metadata.cleaning.deleting import session as deletion
from airflow_mwaa_provider.metadata.cleaning.deleting.lease import Lease
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.choose import choose_units
from airflow_mwaa_provider.metadata.cleaning.scope.graph import dependents, referrers
from airflow_mwaa_provider.metadata.cleaning.scope.plan import make_plan
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, plan_cleanup, run_cleanup
from airflow_mwaa_provider.metadata.database import Database
from tests.metadata import history
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.random_metadata import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.metadata.lab import Lab

RUNS, TASKS = 300, 4
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
OLD = "SELECT count(*) FROM dag_run WHERE end_date < timestamptz '2026-10-23 12:00:00+00'"


@pytest.fixture(scope="module")
def template(lab: Lab) -> str:
    """A year of runs; the last thirty days of it are young. Nothing is deleted in it."""
    database = lab.copy()
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=RUNS, tasks=TASKS, dags=4)
        history.insert(cursor, "xcom", history.XCOM, "dag_run r JOIN task_instance t USING (dag_id, run_id)")
        cursor.execute("ANALYZE")
    connection.close()
    return database


def ask(lab: Lab, name: str, query: str) -> Any:
    connection = lab.connect(name)
    with connection.cursor() as cursor:
        cursor.execute(query)
        [(value,)] = cursor.fetchall()
    connection.close()
    return value


def clean(lab: Lab, name: str, **options: Any) -> Any:
    return run_cleanup(lab.database(name), CleanupOptions(**{"now": NOW, **options}))


def test_every_table_that_grows_is_known(lab: Lab, database: str) -> None:
    """A new Airflow may add one; decide here what happens to its rows."""
    connection = lab.connect(database)
    schema = read_schema(connection)
    connection.close()
    cleaned = {name for name in rules.ROOTS if name in schema.tables}
    for name in list(cleaned):
        root = rules.ROOTS[name]
        is_guarded = name != rules.RUNS
        cleaned |= set(dependents(schema, name, root.cascaded, forgotten_by=root.forgotten_by, is_guarded=is_guarded))
    stays = {name for name, facts in registry.FACTS.items() if facts.is_state} | set(rules.NOT_GROWING)
    unknown = {name for name in schema.tables if not registry.is_bookkeeping(name)} - cleaned - stays
    assert unknown == set()


def test_the_rules_know_what_is_referred_to(lab: Lab, database: str) -> None:
    """With a connection, the catalog shows it. Route cli has none, and uses the rules."""
    connection = lab.connect(database)
    schema = read_schema(connection)
    connection.close()
    for name, root in rules.ROOTS.items():
        if name in schema.tables and name != rules.RUNS and not root.is_referred_to:
            assert {child for child, _ in referrers(schema, name)} <= set(root.cascaded), name
            assert not root.referrers, name


def test_each_rule_names_columns_that_some_version_has(lab: Lab, database: str) -> None:
    connection = lab.connect(database)
    schema = read_schema(connection)
    connection.close()
    for name, root in rules.ROOTS.items():
        if name in schema.tables:
            assert schema.tables[name].first_of(root.time), name
    for name, columns in rules.YOUNG.items():
        if name in schema.tables:
            assert schema.tables[name].first_of(columns) or name == "deadline", name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retention": timedelta(hours=23)}, "below one day.*set force"),
        ({"retention": timedelta(days=-1)}, "negative"),
        ({"retention_by_table": {"xcom": timedelta(hours=1)}}, r"retention_by_table\['xcom'\].*below one day"),
        ({"max_age": timedelta(days=30)}, "not longer than the retention"),
        ({"tables": "dag_run"}, "is a string. Pass a list"),
        ({"tables": []}, "tables is empty"),
        ({"tables": ["log", "log"]}, "names 'log' twice"),
        ({"batch_rows": 0}, "batch_rows=0"),
        ({"workers": 9}, "between 1 and 8"),
        ({"max_transaction": timedelta(milliseconds=1)}, "too short"),
        ({"lock_timeout": timedelta(0)}, "must be positive"),
        ({"now": NOW.replace(tzinfo=None)}, "no time zone"),
        ({"max_pause": timedelta(seconds=-1)}, "max_pause=.* must be between 0"),
        ({"max_pause": timedelta(hours=2)}, "max_pause=2:00:00 must be between 0 and 1:00:00"),
        ({"retention": timedelta(days=999_999)}, "retention=999999 days.* is longer than a hundred years"),
        ({"retention_by_table": {"log": timedelta.max}}, r"retention_by_table\['log'\]=.*longer than a hundred years"),
        ({"max_age": timedelta(days=999_999)}, "max_age=999999 days.*longer than a hundred years"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MwaaInputError, match=message):
        CleanupOptions(**options)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"tables": ["dagrun"]}, TableNotFound, "did you mean dag_run"),
        ({"exclude": ["nothing"]}, TableNotFound, "no table 'nothing'"),
        ({"tables": ["slot_pool"]}, MwaaInputError, "slot_pool cannot be cleaned: it holds what exists"),
        ({"tables": ["connection"]}, MwaaInputError, "connection cannot be cleaned"),
        (
            {"tables": ["task_map"]},
            MwaaInputError,
            "task_map cannot be cleaned alone: its rows are deleted with those of dag_run",
        ),
        ({"exclude": ["xcom"]}, MwaaInputError, "xcom cannot be excluded: its rows are deleted with those of dag_run"),
        ({"tables": ["log"], "exclude": ["log"]}, MwaaInputError, "No table is left"),
        ({"retention_by_table": {"xcom": timedelta(days=60)}}, MwaaInputError, "cannot be kept longer"),
        ({"retention_by_table": {"task_map": timedelta(days=7)}}, MwaaInputError, "cannot have another retention"),
        ({"tables": ["log"], "retention_by_table": {"job": timedelta(days=7)}}, MwaaInputError, "not among the tables"),
        ({"tables": ["trigger"], "dag_ids": ["a"]}, MwaaInputError, "trigger has no DAG names"),
    ],
)
def test_what_cannot_be_cleaned_is_refused(
    lab: Lab, template: str, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    before = ask(lab, template, OLD)
    for work in (plan_cleanup, run_cleanup):
        with pytest.raises(kind, match=message):
            work(lab.database(template), CleanupOptions(now=NOW, **options))
    assert ask(lab, template, OLD) == before


def test_a_database_that_is_not_known_is_refused(lab: Lab, filled: str) -> None:
    with pytest.raises(NotAirflowMetadata):
        clean(lab, "postgres")
    lab.execute(filled, "UPDATE alembic_version SET version_num = 'abcdef'")
    with pytest.raises(MwaaInputError, match=r"schema abcdef, which is unknown to this version.*Nothing was deleted"):
        clean(lab, filled)


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("table", ["log", "dag_run", "task_instance"])
def test_a_table_without_a_key_is_refused(lab: Lab, filled: str, table: str) -> None:
    before = ask(lab, filled, "SELECT count(*) FROM dag_run")
    lab.execute(filled, f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey CASCADE")
    for do in (plan_cleanup, run_cleanup):
        with pytest.raises(MwaaInputError, match=f"Table {table} has no primary key.*nothing was deleted"):
            do(lab.database(filled), CleanupOptions(now=NOW))
    assert ask(lab, filled, "SELECT count(*) FROM dag_run") == before
    assert clean(lab, filled, tables=["job"] if table != "log" else ["dag_run"]).is_complete


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"retention_by_table": {"xcom": timedelta(days=7)}},
        {"retention_by_table": {"task_instance": timedelta(days=14), "xcom": timedelta(days=7)}},
        {"tables": ["xcom"]},
        {"dag_ids": ["dag_001"]},
        {"keep_last_run": False, "max_age": timedelta(days=90)},
    ],
)
def test_a_plan_goes_through_no_expression_once_for_each_row(lab: Lab, filled: str, options: dict[str, Any]) -> None:
    """With 100,000 tasks and 50,000 XComs, a plan with a separate retention for XComs took more than 13 minutes."""
    connection = lab.connect(filled)
    looked_at: list[str] = []

    def ask(statement: str, doing: str) -> list[tuple[Any, ...]]:
        *settings, query = statement.split("; ")
        with connection.cursor() as cursor:
            cursor.execute("; ".join(["BEGIN", *settings]))
            if "counting" in doing or "keeps" in doing:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {query}")
                [[plan]] = cursor.fetchone()
                looked_at.append(doing)
                assert not list(endless_loops(plan["Plan"])), doing
            cursor.execute(query)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            cursor.execute("COMMIT")
        return found

    schema = read_schema(connection)
    units = choose_units(schema, CleanupOptions(now=NOW, **options), NOW, is_for_counting=True)
    make_plan(schema, units, ask, NOW)
    connection.close()
    assert len(looked_at) >= 1


def test_rows_that_name_their_run_are_counted_without_their_task(lab: Lab, filled: str) -> None:
    """Joining a million tasks again for each table that refers to them made a plan take a minute."""
    connection = lab.connect(filled)
    schema = read_schema(connection)
    connection.close()
    runs = rules.ROOTS["dag_run"]
    paths = dependents(schema, "dag_run", runs.cascaded, forgotten_by=runs.forgotten_by)
    [shortened] = paths["rendered_task_instance_fields"].shortened(schema).steps
    assert (shortened.table, shortened.columns) == ("dag_run", ("dag_id", "run_id"))
    own = schema.tables["rendered_task_instance_fields"]
    nullable = tuple(replace(column, is_nullable=True) for column in own.columns)
    tables = {**schema.tables, own.name: replace(own, columns=nullable)}
    assert paths[own.name].shortened(replace(schema, tables=tables)) == paths[own.name]


def endless_loops(plan: dict[str, Any]) -> Iterator[str]:
    """Find nested loops and subplans that read a common table expression."""
    for place, child in enumerate(plan.get("Plans", ())):
        is_inner = plan["Node Type"] == "Nested Loop" and place == 1
        is_asked_often = child.get("Parent Relationship") == "SubPlan"
        if is_inner or is_asked_often:
            yield from scans_of_expressions(child)
        yield from endless_loops(child)


def scans_of_expressions(plan: dict[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "CTE Scan" and plan["CTE Name"].startswith("expired rows of"):
        yield plan["CTE Name"]
    for child in plan.get("Plans", ()):
        yield from scans_of_expressions(child)


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("max_pause_s", [1, 0])
def test_a_pause_is_bounded_and_told(lab: Lab, filled: str, max_pause_s: int) -> None:
    """A scheduler that was stopped two minutes ago looks like a slow one for three more minutes."""
    lab.execute(
        filled,
        "INSERT INTO job (id, job_type, state, latest_heartbeat) "
        "VALUES (1, 'SchedulerJob', 'running', now() - interval '2 minutes')",
    )
    told: list[str] = []
    options = CleanupOptions(now=NOW, tables=["dag_run"], max_pause=timedelta(seconds=max_pause_s))
    outcome = run_cleanup(lab.database(filled), options, tell=told.append)
    assert outcome.is_complete
    why = "the scheduler's heartbeat was late; after 5 minutes it counts as stopped"
    if max_pause_s:
        assert list(outcome.paused_why) == [why]
        assert outcome.paused_why[why] == outcome.paused_s >= 1
        assert told[0].startswith("Pausing for up to 1 s: the scheduler's last heartbeat is 12")
        assert outcome.document()["paused_why"] == {why: round(outcome.paused_s, 3)}
    else:
        assert (outcome.paused_s, outcome.paused_why, told) == (0.0, {}, [])


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
def test_the_servers_own_isolation_does_not_matter(lab: Lab, filled: str, level: str) -> None:
    expected = {table.table: table.rows for table in plan_cleanup(lab.database(filled), CleanupOptions(now=NOW)).tables}
    lab.execute(filled, f"ALTER DATABASE {filled} SET default_transaction_isolation = '{level}'")
    outcome = clean(lab, filled, workers=3, batch_rows=50)
    assert (outcome.is_complete, outcome.skipped) == (True, [])
    assert {name: table.deleted for name, table in outcome.tables.items()} == expected


@KNOWS_NO_AIRFLOW
def test_the_least_number_that_a_key_can_have(lab: Lab, filled: str) -> None:
    for number in (-(2**31), 2**31 - 1):
        lab.execute(filled, f"INSERT INTO job (id, latest_heartbeat) VALUES ({number}, '2020-01-01')")
    outcome = clean(lab, filled, tables=["job"])
    assert (outcome.deleted, outcome.failures) == (2, {})


def test_who_may_not_delete_is_refused(lab: Lab, filled: str) -> None:
    role = f"reader_{filled}"
    lab.run(lab.postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'"))
    lab.execute(filled, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    options = {"host": "127.0.0.1", "port": lab.postgres.port, "dbname": filled, "user": role}
    database = Database.from_options(options, lambda: "x")
    asked = CleanupOptions(now=NOW, tables=["dag_run"])
    assert plan_cleanup(database, asked).rows > 0
    with pytest.raises(DatabaseRefused, match=rf"user {role} may not SELECT, UPDATE and DELETE .*nothing was deleted"):
        run_cleanup(database, asked)
    lab.run(lab.postgres.execute(f"ALTER ROLE {role} SET default_transaction_read_only TO on"))
    with pytest.raises(DatabaseRefused, match=r"is read-only for user"):
        run_cleanup(database, asked)


@KNOWS_NO_AIRFLOW
def test_one_cleanup_at_a_time(lab: Lab, filled: str) -> None:
    now = [0.0]
    with Lease(lab.database(filled), clock=lambda: now[0]) as lease:
        for _ in range(4):
            with pytest.raises(CleanupUnderWay, match="another cleanup is running"):
                clean(lab, filled)
            now[0] += 0.3  # every second time, another one gets it
            lease.renew()
        opened = []

        def open_one() -> Any:
            opened.append(len(opened))
            if len(opened) == 4:  # one to work with, and two that found it taken: the wait has begun
                lease.release()
            return lab.database(filled).open()

        outcome = run_cleanup(Database(open_one), CleanupOptions(now=NOW), wait_timeout_s=200)
    assert outcome.is_complete
    assert len(opened) > 4


@KNOWS_NO_AIRFLOW
def test_a_lease_outlives_its_connections(lab: Lab, filled: str) -> None:
    now = [0.0]
    with Lease(lab.database(filled), clock=lambda: now[0]) as lease:
        for _ in range(3):
            lab.execute(
                filled, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND usename = current_user"
            )  # fmt: skip
            now[0] += 0.6
            lease.renew()
            with pytest.raises(CleanupUnderWay):
                clean(lab, filled)


def test_what_somebody_has_locked_is_passed_over(lab: Lab, filled: str) -> None:
    """A run, and a task of another run, locked as by a scheduler or a worker."""
    holder = lab.connect(filled)
    with holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM dag_run WHERE id = (SELECT min(id) + 7 FROM dag_run) FOR UPDATE")
        cursor.execute(
            "SELECT 1 FROM task_instance WHERE (dag_id, run_id) = (SELECT dag_id, run_id FROM dag_run WHERE id = "
            "(SELECT min(id) + 50 FROM dag_run)) LIMIT 1 FOR UPDATE"
        )
        outcome = clean(lab, filled, lock_timeout=timedelta(milliseconds=50))
        assert not outcome.is_complete
        assert outcome.failures == {}
        assert any("locked" in why for why in outcome.skipped)
        assert outcome.table("dag_run").matched == outcome.table("dag_run").deleted + 2
        assert ask(lab, filled, OLD) == 2
        assert outcome.table("task_instance").matched == outcome.table("task_instance").deleted + 2 * TASKS
        cursor.execute("ROLLBACK")
    holder.close()
    again = clean(lab, filled)
    assert (again.is_complete, again.table("dag_run").deleted, ask(lab, filled, OLD)) == (True, 2, 0)


def test_a_run_that_comes_to_life_meanwhile_stays(lab: Lab, filled: str) -> None:
    """A task of the run is cleared in a transaction that ends while the cleanup waits for it."""
    other = lab.connect(filled)
    number = ask(lab, filled, "SELECT min(id) + 30 FROM dag_run")
    one = f"(SELECT dag_id, run_id FROM dag_run WHERE id = {number})"
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            f"UPDATE task_instance SET state = 'queued' WHERE (dag_id, run_id) = {one} AND task_id = 'task_1'"
        )
        is_over, waited = threading.Event(), []

        def commit_when_waited_for() -> None:
            while not waited and not is_over.wait(0.01):
                waited.extend([True] * ask(lab, filled, WAITING))
            cursor.execute("COMMIT")

        done = threading.Thread(target=commit_when_waited_for)
        done.start()
        try:
            outcome = clean(lab, filled, lock_timeout=timedelta(minutes=4), max_transaction=timedelta(minutes=4))
        finally:
            is_over.set()
            done.join()
    other.close()
    assert waited
    assert outcome.is_complete
    assert ask(lab, filled, OLD) == 1
    assert ask(lab, filled, f"SELECT count(*) FROM task_instance WHERE (dag_id, run_id) = {one}") == TASKS


@KNOWS_NO_AIRFLOW
def test_a_connection_that_is_lost_is_opened_again(lab: Lab, filled: str) -> None:
    """Once in the middle of a transaction, and sometimes all connections at once."""
    lab.execute(
        filled,
        "CREATE SEQUENCE deletions",
        """CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF nextval('deletions') IN (50, 400) THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
           RETURN OLD; END $$""",
        "CREATE TRIGGER die BEFORE DELETE ON task_instance FOR EACH ROW EXECUTE FUNCTION die()",
    )
    told: list[str] = []
    killed = []

    def kill(table: str, rows: int, expected: int | None) -> None:
        if rows and len(killed) < 2:
            killed.append(table)
            lab.execute(
                filled, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND usename = current_user"
            )  # fmt: skip

    asked = CleanupOptions(now=NOW, batch_rows=100)
    planned = plan_cleanup(lab.database(filled), asked).rows
    outcome = run_cleanup(lab.database(filled), asked, progress=kill, tell=told.append)
    assert (outcome.is_complete, outcome.deleted) == (True, planned)
    assert plan_cleanup(lab.database(filled), asked).rows == 0
    assert len(killed) == 2
    assert sum("lost" in words for words in told) >= 3


@KNOWS_NO_AIRFLOW
def test_an_end_by_time_is_gone_on_from(lab: Lab, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is up when some runs are deleted, but most are not."""
    now = [0.0]
    monkeypatch.setattr(deletion, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def pass_time(table: str, rows: int, expected: int | None) -> None:
        now[0] += 3.0 if table == "dag_run" else 0.0

    asked = CleanupOptions(now=NOW, max_duration=timedelta(seconds=5), batch_rows=30)
    planned = plan_cleanup(lab.database(filled), CleanupOptions(now=NOW)).rows
    outcome = run_cleanup(lab.database(filled), asked, progress=pass_time)
    assert not outcome.is_complete
    assert 0 < outcome.table("dag_run").deleted < outcome.table("dag_run").matched
    assert "max_duration of 0:00:05 was over" in outcome.skipped[0]
    assert 0 < outcome.deleted < planned
    assert sum(table.matched for table in outcome.tables.values()) == planned
    rest = clean(lab, filled)
    assert (rest.is_complete, rest.deleted) == (True, planned - outcome.deleted)


@KNOWS_NO_AIRFLOW
def test_what_takes_too_long_is_done_in_smaller_parts(lab: Lab, filled: str) -> None:
    """No transaction exceeds its limit, although the first estimate of a size was far too large."""
    most = 5 * TASKS
    lab.execute(filled, *history.endless("task_instance", most))
    of_one_dag = {"max_transaction": timedelta(seconds=1), "tables": ["dag_run"], "dag_ids": ["dag_001"]}
    outcome = clean(lab, filled, **of_one_dag)
    assert outcome.is_complete
    assert ask(lab, filled, f"{OLD} AND dag_id = 'dag_001'") == 0
    batches = outcome.table("task_instance")
    assert batches.deleted / batches.batches <= most
    assert outcome.longest_transaction_s >= 1, "the first guess was too large"


@KNOWS_NO_AIRFLOW
def test_a_run_of_many_tasks_goes_piece_by_piece(lab: Lab, filled: str) -> None:
    """Deleting it in one transaction would never end."""
    one = "id = (SELECT min(id) + 11 FROM dag_run)"
    connection = lab.connect(filled)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT dag_id, run_id FROM dag_run WHERE {one}")
        dag_id, run_id = cursor.fetchone()
        mapped = {"dag_id": f"'{dag_id}'", "run_id": f"'{run_id}'", "task_id": "'mapped'", "map_index": "j"}
        mapped |= {"start_date": "'2025-12-01'", "end_date": "'2025-12-01'", "state": "'success'"}
        history.insert(
            cursor,
            "task_instance",
            {**history.TASK_INSTANCE, **mapped},
            "generate_series(1, 120) j, generate_series(1, 1) i",
            tasks=9,
            n=1,
            dags=1,
        )
    connection.close()
    lab.execute(filled, *history.endless("task_instance", 30, "map_index > 0"))
    outcome = clean(lab, filled, max_transaction=timedelta(milliseconds=500), tables=["dag_run"])
    assert (outcome.is_complete, outcome.skipped) == (True, [])
    assert ask(lab, filled, OLD) == 0
    assert ask(lab, filled, "SELECT count(*) FROM task_instance WHERE map_index > 0") == 0


def test_a_table_that_fails_is_told_and_the_others_go(lab: Lab, filled: str) -> None:
    lab.execute(
        filled,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not\n\"this\"'; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON xcom FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    outcome = clean(lab, filled)
    assert outcome.failures.keys() == {"dag_run", "xcom"}
    assert "not" in outcome.failures["xcom"]
    assert "\n" not in outcome.failures["xcom"]
    assert not outcome.is_complete
    assert outcome.table("log").deleted > 0
    assert outcome.table("task_instance").deleted == 0
    assert outcome.table("xcom").matched == ask(lab, filled, OLD) * TASKS
