# SPDX-License-Identifier: Apache-2.0
"""Foreign keys that are not Airflow's: from any schema, with any action, also to partitions and inheriting tables."""

from __future__ import annotations

import dataclasses
import os
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog.schema import read_schema
from airflow_mwaa_provider.metadata.cleaning.deleting.removal import Removal
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.choose import choose_units
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, plan_cleanup, run_cleanup
from tests import seeds
from tests.metadata import history
from tests.metadata.cleanup_model import Model
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.random_metadata import NOW, Catalog, Row, Rows, draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.metadata.lab import Lab

ACTIONS = ["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"]
HISTORIES = 200 if os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1" else 6


@pytest.fixture(scope="module")
def template(lab: Lab) -> str:
    """A year of runs. Nothing is deleted in it."""
    database = lab.copy()
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=40, tasks=2, dags=2)
    connection.close()
    return database


def ask(lab: Lab, name: str, query: str) -> list[tuple[Any, ...]]:
    connection = lab.connect(name)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found
    finally:
        connection.close()


def clean(lab: Lab, name: str, **options: Any) -> Any:
    return run_cleanup(lab.database(name), CleanupOptions(**{"now": NOW, **options}))


def is_refused(lab: Lab, name: str, table: str, to: str, **options: Any) -> None:
    """Check that a cleanup and its plan name the table, and that nothing was deleted."""
    before = ask(lab, name, "SELECT count(*) FROM dag_run")
    asked = CleanupOptions(**{"now": NOW, **options})
    for do in (plan_cleanup, run_cleanup):
        with pytest.raises(
            MwaaInputError, match=f"Table {table} refers to {to}, and is unknown to this version"
        ) as caught:
            do(lab.database(name), asked)
        assert "\n" not in str(caught.value)
        assert "Nothing was deleted" in str(caught.value)
    assert ask(lab, name, "SELECT count(*) FROM dag_run") == before


@pytest.mark.parametrize(("schema", "action"), [("public", "SET NULL"), *(("reporting", action) for action in ACTIONS)])
def test_what_refers_to_runs_and_is_not_known_is_refused(lab: Lab, filled: str, schema: str, action: str) -> None:
    lab.execute(
        filled,
        f"CREATE SCHEMA IF NOT EXISTS {schema}",
        f"CREATE TABLE {schema}.cost (run integer REFERENCES public.dag_run (id) ON DELETE {action}, eur numeric)",
        f"INSERT INTO {schema}.cost SELECT id, 1 FROM dag_run",
    )
    is_refused(lab, filled, "cost" if schema == "public" else "reporting.cost", "dag_run")
    assert ask(lab, filled, f"SELECT count(*) FROM {schema}.cost WHERE run IS NOT NULL") == [(40,)]
    assert clean(lab, filled, exclude=["dag_run"]).is_complete
    lab.execute(filled, f"DROP TABLE {schema}.cost")
    assert clean(lab, filled).deleted > 0


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "NO ACTION"])
def test_what_refers_to_something_of_a_run_is_refused(lab: Lab, filled: str, action: str) -> None:
    lab.execute(
        filled,
        'CREATE SCHEMA "my Schema"',
        f'CREATE TABLE "my Schema"."a ""table""" (r integer REFERENCES task_reschedule (id) ON DELETE {action})',
    )
    is_refused(lab, filled, 'my Schema.a "table"', "task_reschedule")
    is_refused(lab, filled, 'my Schema.a "table"', "task_reschedule", tables=["task_instance"])
    assert clean(lab, filled, tables=["xcom"]).is_complete


@KNOWS_NO_AIRFLOW
def test_a_copy_of_airflow_in_another_schema_is_no_matter(lab: Lab, filled: str) -> None:
    lab.execute(
        filled,
        "CREATE SCHEMA older",
        "CREATE TABLE older.dag_run (id integer PRIMARY KEY)",
        "CREATE TABLE older.task_instance (run integer REFERENCES older.dag_run (id) ON DELETE CASCADE)",
        "CREATE TABLE public.of_older (run integer REFERENCES older.dag_run (id) ON DELETE CASCADE)",
    )
    assert clean(lab, filled).deleted > 0


@KNOWS_NO_AIRFLOW
def test_a_table_of_a_known_name_in_another_schema_is_not_known(lab: Lab, filled: str) -> None:
    lab.execute(
        filled,
        "CREATE SCHEMA older",
        "CREATE TABLE older.xcom (run integer REFERENCES public.dag_run (id) ON DELETE CASCADE)",
    )
    is_refused(lab, filled, "older.xcom", "dag_run")


@KNOWS_NO_AIRFLOW
def test_partitions_are_told_by_their_table(lab: Lab, filled: str) -> None:
    lab.execute(
        filled,
        "CREATE SCHEMA reporting",
        "CREATE TABLE reporting.cost (run integer, day date) PARTITION BY RANGE (day)",
        "CREATE TABLE reporting.cost_2026 PARTITION OF reporting.cost FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "ALTER TABLE reporting.cost ADD FOREIGN KEY (run) REFERENCES public.dag_run (id) ON DELETE CASCADE",
    )
    is_refused(lab, filled, "reporting.cost", "dag_run")
    lab.execute(
        filled,
        "DROP TABLE reporting.cost",
        "CREATE TABLE reporting.cost (run integer, day date) PARTITION BY RANGE (day)",
        "CREATE TABLE reporting.cost_2026 PARTITION OF reporting.cost FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "ALTER TABLE reporting.cost_2026 ADD FOREIGN KEY (run) REFERENCES public.dag_run (id) ON DELETE SET NULL",
    )
    is_refused(lab, filled, "reporting.cost_2026", "dag_run")


@KNOWS_NO_AIRFLOW
def test_what_refers_to_a_partition_or_an_heir_refers_to_the_whole(lab: Lab, filled: str) -> None:
    """A DELETE from a parent table deletes rows of the tables below it, and what refers to these."""
    lab.execute(
        filled,
        "CREATE TABLE public.dag_run_of_old (PRIMARY KEY (id)) INHERITS (public.dag_run)",
        "CREATE SCHEMA reporting",
        "CREATE TABLE reporting.cost (run integer REFERENCES public.dag_run_of_old (id) ON DELETE CASCADE)",
    )
    is_refused(lab, filled, "reporting.cost", "dag_run")
    lab.execute(
        filled,
        "DROP TABLE reporting.cost",
        "DROP TABLE dag_run_of_old",
        "ALTER TABLE log RENAME TO log_before",
        "CREATE TABLE log (LIKE log_before INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
        "CREATE TABLE log_p1 PARTITION OF log FOR VALUES FROM (0) TO (1000000)",
        "INSERT INTO log SELECT * FROM log_before",
        "DROP TABLE log_before CASCADE",
        "CREATE TABLE reporting.of_log (log integer REFERENCES public.log_p1 (id) ON DELETE SET NULL)",
        "INSERT INTO reporting.of_log SELECT min(id) FROM public.log",
    )
    before = ask(lab, filled, "SELECT count(*) FROM log")[0][0]
    outcome = clean(lab, filled, tables=["log"])
    assert outcome.is_complete
    assert ask(lab, filled, "SELECT count(*) FROM log") == [(before - outcome.deleted,)]
    assert 0 < outcome.deleted < before
    assert ask(lab, filled, "SELECT count(log) FROM reporting.of_log") == [(1,)]


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize(("schema", "action"), [("public", "CASCADE"), *(("reporting", action) for action in ACTIONS)])
def test_what_refers_to_something_else_keeps_it(lab: Lab, filled: str, schema: str, action: str) -> None:
    lab.execute(
        filled,
        f"CREATE SCHEMA IF NOT EXISTS {schema}",
        f"CREATE TABLE {schema}.audit (job integer REFERENCES public.job (id) ON DELETE {action})",
        "INSERT INTO job (id, latest_heartbeat) VALUES (1, '2020-01-01'), (2, '2020-01-01')",
        f"INSERT INTO {schema}.audit VALUES (2)",
    )
    assert clean(lab, filled, tables=["job"]).deleted == 1
    assert ask(lab, filled, f"SELECT job FROM {schema}.audit") == ask(lab, filled, "SELECT id FROM job") == [(2,)]
    [kept] = plan_cleanup(lab.database(filled), CleanupOptions(now=NOW, tables=["job"])).kept
    name = "audit" if schema == "public" else "reporting.audit"
    assert (kept.table, kept.why, kept.rows) == ("job", f"{name} refers to it", 1)


JOBS = "INSERT INTO job (id, latest_heartbeat) SELECT i, '2020-01-01' FROM generate_series(1, 4) i"


@KNOWS_NO_AIRFLOW
def test_names_that_look_alike_are_not_mixed_up(lab: Lab, database: str) -> None:
    tables = ['"a"."b.c"', '"a.b"."c"', '"rep"."t"', 'public."rep.t"']
    lab.execute(database, JOBS, 'CREATE SCHEMA "a"', 'CREATE SCHEMA "a.b"', "CREATE SCHEMA rep")
    for number, name in enumerate(tables, 1):
        lab.execute(
            database,
            f"CREATE TABLE {name} (job integer REFERENCES public.job (id) ON DELETE CASCADE)",
            f"INSERT INTO {name} VALUES ({number})",
        )
    assert clean(lab, database, tables=["job"]).deleted == 0
    assert [ask(lab, database, f"SELECT count(*) FROM {name}") for name in tables] == [[(1,)]] * 4
    kept = plan_cleanup(lab.database(database), CleanupOptions(now=NOW, tables=["job"])).kept
    assert sorted(item.why for item in kept) == sorted(
        f"{name} refers to it" for name in ['"a"."b.c"', '"a.b"."c"', '"rep"."t"', "rep.t"]
    )


@KNOWS_NO_AIRFLOW
def test_rows_that_a_policy_hides_are_an_error_and_not_overlooked(lab: Lab, database: str) -> None:
    lab.execute(
        database,
        JOBS,
        "CREATE SCHEMA rep",
        "CREATE TABLE rep.t (job integer REFERENCES public.job (id) ON DELETE CASCADE)",
        "INSERT INTO rep.t VALUES (1)",
        "ALTER TABLE rep.t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE rep.t FORCE ROW LEVEL SECURITY",
    )
    outcome = clean(lab, database, tables=["job"])
    assert (outcome.deleted, outcome.is_complete) == (0, False)
    assert "row-level security policy" in outcome.failures["job"]
    assert ask(lab, database, "SELECT count(*) FROM job") == [(4,)]


@KNOWS_NO_AIRFLOW
def test_what_may_not_be_read_is_told_and_the_rest_is_counted(lab: Lab, database: str) -> None:
    lab.execute(
        database,
        JOBS,
        "INSERT INTO log (dttm, event) VALUES ('2020-01-01', 'x')",
        "CREATE SCHEMA rep",
        "CREATE TABLE rep.t (job integer REFERENCES public.job (id) ON DELETE CASCADE)",
        "REVOKE ALL ON rep.t FROM current_user",
    )
    outcome = clean(lab, database)
    assert outcome.tables["log"].deleted == 1
    assert list(outcome.failures) == ["job"]
    assert any("could not be counted" in why for why in outcome.skipped)


def test_a_deadline_keeps_the_version_that_its_alert_is_of(
    lab: Lab, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting the version also deletes its alert, and would empty the deadline of a run that may be unfinished."""
    connection = lab.connect(database)
    schema = read_schema(connection)
    if not ("deadline_alert" in schema.tables and schema.tables["deadline"].has("deadline_alert_id")):
        pytest.skip("deadlines have no alerts in this version")
    rows = Rows(list)
    rows["dag_bundle"] = [{"name": "bundle"}]
    rows["dag"] = [{"dag_id": "a", "bundle_name": "bundle", "is_paused": False}]
    old = NOW - timedelta(days=100)
    ids = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(4)]
    for number in range(3):
        version = {"id": ids[number], "dag_id": "a", "version_number": number + 1}
        rows["dag_version"].append({**version, "created_at": old, "last_updated": old})
        serialized = {"id": ids[number], "dag_version_id": ids[number], "dag_id": "a"}
        rows["serialized_dag"].append({**serialized, "created_at": old, "last_updated": old})
        rows["deadline_alert"].append({"id": ids[number], "serialized_dag_id": ids[number]})
    run = {"id": 1, "dag_id": "a", "run_id": "r", "state": "running", "run_type": "manual", "start_date": old}
    rows["dag_run"] = [{**run, "logical_date": old, "run_after": old, "clear_number": 0}]
    rows["callback"] = [{"id": ids[0], "created_at": old, "state": "pending"}]
    deadline = {"id": ids[0], "dagrun_id": 1, "callback_id": ids[0], "deadline_alert_id": ids[0], "missed": False}
    rows["deadline"] = [{**deadline, "created_at": old, "last_updated_at": old}]
    with connection.cursor() as cursor:
        Catalog(cursor).insert(cursor, rows)
    connection.close()
    with lab.connect(database) as other, other.cursor() as cursor:
        # A deadline that is inserted while a version is being deleted waits, and then refers to nothing.
        cursor.execute("SET lock_timeout TO '100ms'")
        deadline = "UPDATE deadline SET deadline_alert_id = %s"
        remove, tried = Removal.remove, []

        def remove_late(self: Removal, *given: Any) -> None:
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                cursor.execute(deadline, (ids[1],))
            tried.append(self)
            remove(self, *given)

        monkeypatch.setattr(Removal, "remove", remove_late)
        clean(lab, database, tables=["dag_version"])
        monkeypatch.undo()
        assert len(tried) == 1
    other.close()
    plan = plan_cleanup(lab.database(database), CleanupOptions(now=NOW))
    assert [kept.why for kept in plan.kept if kept.table == "dag_version"] == [
        "it is the DAG's latest version",
        "deadline refers to its dependent row of deadline_alert",
    ]
    clean(lab, database)
    assert ask(lab, database, "SELECT version_number FROM dag_version ORDER BY 1") == [(1,), (3,)]
    assert ask(lab, database, "SELECT deadline_alert_id::text FROM deadline") == [(ids[0],)]


def test_a_rule_that_reads_other_rows_says_so(lab: Lab, database: str) -> None:
    """A rule on other rows is checked again under the lock. PostgreSQL's plan shows what it reads."""
    connection = lab.connect(database)
    schema = read_schema(connection)
    options = CleanupOptions(own_run=("d", "r"))
    shorter = {"xcom": timedelta(days=1), "task_instance": timedelta(days=1)}
    checked = 0
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan TO on")
        for asked in (options, dataclasses.replace(options, retention_by_table=shorter)):
            for unit in choose_units(schema, asked, NOW):
                for guard in unit.guards:
                    for sql in {
                        unit.kept_sql(guard) if not guard.among else unit.among_sql(guard),
                        unit.row_condition_sql,
                    }:
                        cursor.execute(
                            f"EXPLAIN (FORMAT JSON, COSTS off) SELECT * FROM {unit.root_table.name} t WHERE {sql}"
                        )
                        [[plan]] = cursor.fetchone()
                        read = list(relations(plan["Plan"]))
                        reads_others = sql != unit.row_condition_sql and guard.reads_other_rows
                        assert (len(read) > 1) is reads_others, (unit.name, guard.why, read)
                        checked += 1
    connection.close()
    assert checked > 30


def test_a_rule_is_on_the_row_or_on_others() -> None:
    for name, root in rules.ROOTS.items():
        for rule in root.retention_rules:
            assert bool(rule.sql) is not bool(rule.query), (name, rule.why)
            assert not (rule.is_lack and rule.sql), (name, rule.why)


def relations(plan: dict[str, Any]) -> Iterator[str]:
    if "Relation Name" in plan:
        yield plan["Relation Name"]
    for child in plan.get("Plans", ()):
        yield from relations(child)


# -- random histories with third-party tables ----------------------------------------------------------


class Foreign:
    """A third-party table that refers to rows of one of Airflow's."""

    def __init__(self, random: Random, catalog: Catalog, rows: Rows) -> None:
        targets = {
            "dag_run": "id", "task_instance": "id" if catalog.has("task_instance", "id") else "", "trigger": "id",
            "job": "id", "log": "id", "import_error": "id", "dag_version": "id", "callback": "id", "backfill": "id",
            "asset_event": "id", "dataset_event": "id", "task_reschedule": "id", "deadline_alert": "id",
        }  # fmt: skip
        self.target = random.choice(
            [name for name, key in targets.items() if key and catalog.has(name, key) and rows[name]]
        )
        self.schema = random.choice(("public", "reporting", 'other "schema"'))
        self.name = f"foreign_{random.randrange(10**6)}"
        self.action = random.choice(ACTIONS)
        kind = catalog.tables[self.target]["id"][0]
        some = [row for row in rows[self.target] if random.random() < 0.4]
        self.referred: list[Row] = some if random.random() < 0.8 else []
        quoted = '"' + self.schema.replace('"', '""') + '"'
        theirs = f"theirs {kind} REFERENCES public.{self.target} (id) ON DELETE {self.action}"
        self.statements = [
            f"CREATE SCHEMA IF NOT EXISTS {quoted}",
            f"CREATE TABLE {quoted}.{self.name} ({theirs})",
        ]
        self.statements += [f"INSERT INTO {quoted}.{self.name} VALUES ('{row['id']}')" for row in self.referred]
        self.count = f"SELECT count(theirs) FROM {quoted}.{self.name}"
        self.drop = f"DROP TABLE {quoted}.{self.name}"


class GuardedModel(Model):
    """The oracle, with rows that a third-party table refers to."""

    def __init__(self, foreign: list[Foreign], *given: Any) -> None:
        self._referred = {id(row) for one in foreign for row in one.referred}
        super().__init__(*given)

    def _old(self, table: str, names: tuple[str, ...]) -> list[Row]:
        return [row for row in super()._old(table, names) if not self._is_referred(table, row)]

    def _is_referred(self, table: str, row: Row) -> bool:
        if table != "dag_version":
            return id(row) in self._referred
        serialized = {one["id"] for one in self.rows["serialized_dag"] if one["dag_version_id"] == row["id"]}
        alerts = [one for one in self.rows.get("deadline_alert", []) if one["serialized_dag_id"] in serialized]
        return any(id(one) in self._referred for one in (row, *alerts))


@pytest.mark.parametrize("seed", seeds.several(HISTORIES))
def test_random_histories_with_tables_of_others(lab: Lab, database: str, seed: str) -> None:
    random = Random(f"foreign {seed}")
    connection = lab.connect(database)
    schema = read_schema(connection)
    with connection.cursor() as cursor:
        catalog = Catalog(cursor)
        rows = draw(random, catalog)
        catalog.insert(cursor, rows)
        foreign = [Foreign(random, catalog, rows) for _ in range(random.randint(1, 3))]
        for one in foreign:
            for statement in one.statements:
                cursor.execute(statement)
    asked = CleanupOptions(now=NOW, retention=timedelta(days=random.choice((1, 7, 30))))
    model = GuardedModel(foreign, rows, catalog, asked)

    def keys(table: str) -> set[tuple[str, ...]]:
        columns = ", ".join(f'"{name}"::text' for name in schema.tables[table].key)
        with connection.cursor() as cursor:
            cursor.execute("SET TimeZone TO 'UTC'")
            cursor.execute(f"SELECT {columns} FROM {table}")
            return set(cursor.fetchall())

    tables = [name for name in rows if catalog.has(name)]
    before = {table: keys(table) for table in tables}
    in_trees = [one for one in foreign if one.target in ("dag_run", "task_instance", "task_reschedule")]
    on_alerts = [o for o in foreign if o.target == "deadline_alert" and not o.action.startswith("SET")]
    if in_trees or on_alerts:
        with pytest.raises(MwaaInputError, match=r"foreign_\d+ refers to (\w+), and is unknown to this version"):
            run_cleanup(lab.database(database), asked)
        assert {table: keys(table) for table in tables} == before
        with connection.cursor() as cursor:
            for one in (*in_trees, *on_alerts):
                cursor.execute(one.drop)
        foreign = [one for one in foreign if one not in in_trees and one not in on_alerts]
        model = GuardedModel(foreign, rows, catalog, asked)
    counts = [ask(lab, database, one.count) for one in foreign]
    plan = plan_cleanup(lab.database(database), asked)
    outcome = run_cleanup(lab.database(database), asked)
    assert [ask(lab, database, one.count) for one in foreign] == counts
    for table in tables:
        gone = before[table] - keys(table)
        expected = {
            tuple(str(row[name]).removesuffix(":00") for name in schema.tables[table].key)
            for row in model.gone.get(table, [])
        }
        assert gone == expected, table
    assert {table.table: table.rows for table in plan.tables if table.rows} == {
        name: table.deleted for name, table in outcome.tables.items() if table.deleted
    }
    connection.close()
