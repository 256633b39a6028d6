# SPDX-License-Identifier: Apache-2.0
"""Runs are cleared, marked, deleted and created between batches: rules hold at the time of the deletion."""

from __future__ import annotations

import copy
import dataclasses
import os
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.metadata.catalog.schema import read_schema
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.choose import choose_units
from airflow_mwaa_provider.metadata.cleaning.scope.last_runs import LastRuns, last_runs_sql
from airflow_mwaa_provider.metadata.cleaning.scope.unit import RetentionGuard
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, run_cleanup
from tests import seeds
from tests.metadata.cleanup_model import Model
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.random_metadata import NOW, Catalog, Row, Rows, draw

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.metadata.lab import Lab

HISTORIES = 200 if os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1" else 8
OLD = NOW - timedelta(days=100)


class World:
    """A database and the same rows in memory, changed together."""

    def __init__(self, lab: Lab, name: str, random: Random) -> None:
        self.database = lab.database(name)
        self.connection = lab.connect(name)
        self.cursor = self.connection.cursor()
        self.cursor.execute("SET TimeZone TO 'UTC'")
        self.schema = read_schema(self.connection)
        self.catalog = Catalog(self.cursor)
        self.random = random
        self.rows: Rows = Rows(list)
        self.date = "execution_date" if self.catalog.has("dag_run", "execution_date") else "logical_date"

    def fill(self, rows: Rows) -> None:
        self.catalog.insert(self.cursor, rows)
        self.rows = Rows(list, {table: given for table, given in rows.items() if self.catalog.has(table)})

    def run(self, number: int, state: str = "success", *, days: float = 100, kind: str = "scheduled") -> Row:
        moment = NOW - timedelta(days=days)
        return {
            "id": number, "dag_id": "a", "run_id": f"r{number}", "state": state, "run_type": kind, "start_date": moment,
            "end_date": moment, "execution_date": moment, "logical_date": moment, "run_after": moment,
            "clear_number": 0, "queued_at": moment,
        }  # fmt: skip

    def history(self, *runs: Row) -> None:
        rows = Rows(list)
        rows["dag_bundle"] = [{"name": "bundle"}]
        rows["dag"] = [{"dag_id": "a", "bundle_name": "bundle", "is_paused": False}]
        rows["dag_run"] = list(runs)
        self.fill(rows)

    def keys(self, table: str) -> set[tuple[str, ...]]:
        columns = ", ".join(f'"{name}"::text' for name in self.schema.tables[table].key)
        self.cursor.execute(f"SELECT {columns} FROM {table}")
        return set(self.cursor.fetchall())

    def key(self, table: str, row: Row) -> tuple[str, ...]:
        return tuple(str(row[name]).removesuffix(":00") for name in self.schema.tables[table].key)

    def there(self) -> list[str]:
        self.cursor.execute("SELECT run_id FROM dag_run ORDER BY id")
        return [run_id for (run_id,) in self.cursor.fetchall()]

    def clean(self, between: Callable[[int], None], **options: Any) -> Any:
        """Clean in batches of one row, with a callback after each."""
        batches = 0

        def progress(*_: Any) -> None:
            nonlocal batches
            batches += 1
            between(batches)

        given = {"now": NOW, "batch_rows": 1, "tables": ["dag_run"], **options}
        return run_cleanup(self.database, CleanupOptions(**given), progress=progress)

    def settle(self, before: dict[str, set[tuple[str, ...]]], asked: CleanupOptions) -> None:
        """Check what was deleted since the last check against the rows at that time, and reset."""
        allowed = Model(copy.deepcopy(self.rows), self.catalog, asked).gone
        for table, keys in before.items():
            gone = keys - self.keys(table)
            may_go = {self.key(table, row) for row in allowed.get(table, [])}
            assert gone <= may_go, table
            self.rows[table] = [row for row in self.rows[table] if self.key(table, row) not in gone]

    # -- what people do meanwhile ------------------------------------------------------------------

    def change(self) -> None:
        """Clear, mark, delete or create some run."""
        runs = self.rows["dag_run"]
        if not runs:
            return
        run = self.random.choice(runs)
        what = self.random.choice(("clear", "clear", "mark", "fail", "delete", "make"))
        if what == "clear":
            self.set(run, "queued")
            for task in self.rows["task_instance"]:
                if (task["dag_id"], task["run_id"]) == (run["dag_id"], run["run_id"]):
                    task["state"] = None
                    self.cursor.execute(
                        "UPDATE task_instance SET state = NULL WHERE dag_id = %s AND run_id = %s AND task_id = %s",
                        (task["dag_id"], task["run_id"], task["task_id"]),
                    )
        elif what in ("mark", "fail"):
            self.set(run, "success" if what == "mark" else "failed")
        elif what == "delete":
            self.delete(run)
        else:
            number = max(row["id"] for row in runs) + 1_000
            made = self.run(
                number, "running", days=self.random.choice((1, 25, 45, 89, 399)) + number / 1e8, kind="backfill"
            )
            made["dag_id"] = run["dag_id"]
            self.catalog.insert(self.cursor, Rows(list, {"dag_run": [made]}))
            runs.append(made)

    def set(self, run: Row, state: str) -> None:
        run["state"] = state
        self.cursor.execute("UPDATE dag_run SET state = %s WHERE id = %s", (state, run["id"]))

    def delete(self, run: Row) -> None:
        """As the UI does, with all dependent rows."""
        before = {table: self.keys(table) for table in self.rows}
        for table in ("rendered_task_instance_fields", "task_fail", "task_map", "xcom", "task_instance"):
            if self.catalog.has(table):
                self.cursor.execute(
                    f"DELETE FROM {table} WHERE dag_id = %s AND run_id = %s", (run["dag_id"], run["run_id"])
                )
        self.cursor.execute("DELETE FROM dag_run WHERE id = %s", (run["id"],))
        for table, keys in before.items():
            gone = keys - self.keys(table)
            self.rows[table] = [row for row in self.rows[table] if self.key(table, row) not in gone]
        for link in self.rows.get("backfill_dag_run", []):
            if link["dag_run_id"] == run["id"]:
                link["dag_run_id"] = None


@pytest.fixture
def world(lab: Lab, database: str) -> Any:
    made = World(lab, database, Random(0))
    yield made
    made.connection.close()


def test_the_run_before_one_that_is_cleared_meanwhile_stays(world: World) -> None:
    runs = [world.run(number, days=200 - number) for number in range(1, 8)]
    world.history(*runs)

    def clear(batch: int) -> None:
        if batch == 1:
            world.set(runs[4], "queued")

    world.clean(clear)
    assert world.there() == ["r4", "r5", "r7"]


@KNOWS_NO_AIRFLOW
def test_a_run_that_became_the_last_meanwhile_stays(world: World) -> None:
    runs = [world.run(number, days=200 - number) for number in range(1, 8)]
    world.history(*runs)

    def delete(batch: int) -> None:
        if batch == 1:
            world.delete(runs[6])

    world.clean(delete)
    # All of them until the next cleanup, because none is known to be later.
    assert world.there() == ["r2", "r3", "r4", "r5", "r6"]
    world.clean(lambda _: None)
    assert world.there() == ["r6"]


@KNOWS_NO_AIRFLOW
def test_a_run_that_became_the_last_success_meanwhile_stays(world: World) -> None:
    runs = [world.run(number, "success" if number == 1 else "failed", days=200 - number) for number in range(1, 8)]
    world.history(*runs)

    def mark(batch: int) -> None:
        if batch == 1:
            world.set(runs[4], "success")

    world.clean(mark)
    assert world.there() == ["r1", "r5", "r7"]


@KNOWS_NO_AIRFLOW
def test_what_hangs_on_such_runs_stays_where_it_goes_alone(world: World) -> None:
    runs = [world.run(number, days=200 - number) for number in range(1, 6)]
    world.history(*runs)
    notes = [{"dag_run_id": run["id"], "content": "n", "created_at": OLD, "updated_at": OLD} for run in runs]
    world.fill(Rows(list, {"dag_run_note": notes}))

    def clear(batch: int) -> None:
        if batch == 1:
            world.set(runs[2], "queued")

    world.clean(clear, tables=["dag_run_note"])
    world.cursor.execute("SELECT dag_run_id FROM dag_run_note ORDER BY 1")
    assert world.cursor.fetchall() == [(2,), (3,), (5,)]


LISTED = "SELECT l.log_id FROM {keep_logs} l"


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize(
    "rule",
    [
        rules.RetentionRule("it is listed", among=LISTED, needs=("keep_logs",)),
        rules.RetentionRule("it is listed", query=f"SELECT 1 WHERE t.id IN ({LISTED})", needs=("keep_logs",)),
        rules.RetentionRule("it is listed", query="SELECT 1 FROM {keep_logs} l WHERE l.log_id = t.id"),
    ],
    ids=["among", "in", "join"],
)
def test_a_rule_that_reads_other_rows_is_checked_again_under_the_lock(
    world: World, monkeypatch: pytest.MonkeyPatch, rule: rules.RetentionRule
) -> None:
    """Regardless of its SQL: ``IN (SELECT …)`` reads other rows just as ``EXISTS`` does."""
    monkeypatch.setitem(rules.ROOTS, "log", dataclasses.replace(rules.ROOTS["log"], retention_rules=(rule,)))
    world.cursor.execute("CREATE TABLE keep_logs (log_id integer PRIMARY KEY)")
    world.cursor.execute("INSERT INTO keep_logs VALUES (2)")
    world.fill(Rows(list, {"log": [{"id": number, "dttm": OLD} for number in range(1, 8)]}))

    def keep(batch: int) -> None:
        if batch == 1:
            world.cursor.execute("INSERT INTO keep_logs VALUES (6)")

    world.clean(keep, tables=["log"])
    assert world.keys("log") == {("2",), ("6",)}


def test_a_guard_reads_other_rows_or_does_not() -> None:
    for both in ({}, {"sql": "true", "query": "SELECT 1"}, {"sql": "true", "among": "SELECT 1"}):
        with pytest.raises(ValueError, match="a condition on the row itself, or it reads other rows"):
            RetentionGuard("it is both or neither", **both)


@pytest.mark.parametrize("seed", seeds.several(HISTORIES))
def test_random_histories_with_changes_between_batches(lab: Lab, database: str, seed: str) -> None:
    random = Random(f"meanwhile {seed}")
    world = World(lab, database, random)
    world.fill(draw(random, world.catalog))
    keep_last_run, retention = random.random() < 0.7, timedelta(days=random.choice((1, 7, 30)))
    asked = CleanupOptions(now=NOW, retention=retention, keep_last_run=keep_last_run, batch_rows=random.choice((1, 4)))
    tables = [name for name in world.rows if world.catalog.has(name)]
    known = {table: world.keys(table) for table in tables}

    def between(*_: Any) -> None:
        nonlocal known
        world.settle(known, asked)
        while random.random() < 0.6:
            world.change()
        known = {table: world.keys(table) for table in tables}

    run_cleanup(world.database, asked, progress=between)
    world.settle(known, asked)
    # The rest is deleted next time: nothing is kept forever without a reason.
    model = Model(copy.deepcopy(world.rows), world.catalog, asked)
    run_cleanup(world.database, asked)
    for table in tables:
        left = {world.key(table, row) for row in world.rows[table]}
        gone = {world.key(table, row) for row in model.gone.get(table, [])}
        assert world.keys(table) == left - gone, table
    world.connection.close()


@pytest.mark.parametrize("seed", seeds.several(2))
def test_both_forms_of_a_rule_say_the_same(lab: Lab, database: str, seed: str) -> None:
    """Return the previous runs of unfinished ones, and the last runs: for the whole table, and for one run."""
    random = Random(f"forms {seed}")
    world = World(lab, database, random)
    runs = [
        {
            **world.run(
                number, random.choice(("success", "failed", "running", "queued")), days=random.random() * 300,
                kind=random.choice(("manual", "scheduled", "backfill")),
            ),
            "dag_id": random.choice("ab"),
        }
        for number in range(1, 150)
    ]  # fmt: skip
    world.history(*runs)
    [unit] = choose_units(world.schema, CleanupOptions(now=NOW, tables=["dag_run"]), NOW)
    [guard] = [guard for guard in unit.guards if guard.among and guard.query]
    found = []
    for condition in (unit.among_sql(guard), unit.kept_sql(guard)):
        world.cursor.execute(f"SELECT t.id FROM dag_run t WHERE {condition} ORDER BY 1")
        found.append(world.cursor.fetchall())
    assert found[0] == found[1] != []

    def ask(statement: str, _: str) -> list[tuple[Any, ...]]:
        world.cursor.execute(statement)
        return world.cursor.fetchall()  # type: ignore[no-any-return]

    last = LastRuns.look_up(unit, ask)
    world.cursor.execute(f"SELECT id::text FROM dag_run WHERE id IN ({last_runs_sql(world.schema)})")
    assert {key for (key,) in world.cursor.fetchall()} == last.ids
    world.connection.close()
