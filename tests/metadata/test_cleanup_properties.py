# SPDX-License-Identifier: Apache-2.0
"""For any history and options, exactly the planned rows are deleted, and none that must be kept."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_mwaa_provider.metadata.catalog.schema import read_schema
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, plan_cleanup, run_cleanup
from tests import seeds
from tests.metadata.cleanup_model import Model
from tests.metadata.once import FULL
from tests.metadata.random_metadata import DAGS, NOW, Catalog, Row, Rows, draw

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from tests.metadata.lab import Lab

CASES = 200 if FULL else 25
RETENTIONS = [timedelta(days=days) for days in (1, 7, 30, 60)]
NAMED = (
    "dag_run", "task_instance", "xcom", "task_instance_history", "rendered_task_instance_fields", "task_reschedule",
    "log", "job", "trigger", "import_error", "dag_run_note", "asset_event", "dataset_event", "dag_version", "callback",
)  # fmt: skip


class Metadata:
    """One database that is filled again for each case."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.name = lab.copy()
        self.database = lab.database(self.name)
        self.connection = lab.connect(self.name)
        self.schema: Schema = read_schema(self.connection)
        with self.connection.cursor() as cursor:
            self.catalog = Catalog(cursor)

    def fill(self, rows: Rows) -> None:
        with self.connection.cursor() as cursor:
            names = [f'"{name}"' for name in self.schema.tables if not name.startswith("alembic")]
            cursor.execute(f"TRUNCATE {', '.join(names)} CASCADE")
            self.catalog.insert(cursor, rows)

    def keys(self, table: str) -> set[tuple[str, ...]]:
        columns = ", ".join(f'"{name}"::text' for name in self.schema.tables[table].key)
        with self.connection.cursor() as cursor:
            cursor.execute("SET TimeZone TO 'UTC'")
            cursor.execute(f"SELECT {columns} FROM {table}")
            return set(cursor.fetchall())

    def key(self, table: str, row: Row) -> tuple[str, ...]:
        return tuple(str(row[name]).removesuffix(":00") for name in self.schema.tables[table].key)


@pytest.fixture(scope="module")
def metadata(lab: Lab) -> Any:
    made = Metadata(lab)
    yield made
    made.connection.close()


def options(random: Random, metadata: Metadata, rows: Rows) -> CleanupOptions:
    """Draw valid options."""
    retention = random.choice(RETENTIONS)
    given: dict[str, Any] = {
        "retention": retention,
        "keep_last_run": random.random() < 0.7,
        "batch_rows": random.choice((1, 3, 10, 10_000)),
        "workers": random.choice((1, 1, 2)),
        "now": NOW,
    }
    if random.random() < 0.4:
        known = [name for name in NAMED if metadata.catalog.has(name)]
        given["tables"] = random.sample(known, random.randint(1, 4))
    if random.random() < 0.2:
        given["max_age"] = timedelta(days=random.choice((61, 90, 401)))
    if random.random() < 0.2 and not {"trigger", "import_error", "asset_event", "dataset_event", "callback"} & set(
        given.get("tables", ())
    ):
        given["dag_ids"] = [random.choice(DAGS)]
    if random.random() < 0.4:
        names = given.get("tables") or ["xcom", "task_instance", "log"]
        table = random.choice(names)
        shorter = [r for r in RETENTIONS if r <= retention]
        given["retention_by_table"] = {table: random.choice(shorter)}
    if random.random() < 0.3:
        run = random.choice(rows["dag_run"])
        given["own_run"] = (run["dag_id"], run["run_id"])
    return CleanupOptions(**given)


@hypothesis.seed(seeds.of_the_day())
@settings(
    max_examples=CASES, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(seed=st.integers(0, 2**32))
def test_what_goes_is_what_is_promised(metadata: Metadata, seed: int) -> None:
    random = Random(seed)
    rows = draw(random, metadata.catalog)
    metadata.fill(rows)
    asked = options(random, metadata, rows)
    tables = [name for name in rows if metadata.catalog.has(name)]
    before = {table: metadata.keys(table) for table in tables}
    plan = plan_cleanup(metadata.database, asked)
    outcome = run_cleanup(metadata.database, asked)
    model = Model(rows, metadata.catalog, asked)
    for table in tables:
        gone = before[table] - metadata.keys(table)
        expected = {metadata.key(table, row) for row in model.gone.get(table, [])}
        assert gone == expected, table
    planned = {table.table: table.rows for table in plan.tables if table.rows}
    assert planned == {table: len(found) for table, found in model.gone.items() if found}
    assert outcome.is_complete
    assert {name: table.deleted for name, table in outcome.tables.items() if table.deleted} == planned
    assert all(table.matched == table.deleted for table in outcome.tables.values())
    # Usually nothing remains, but if tasks are deleted before their run, no new row may remain to keep it.
    left = {table: [row for row in found if row not in model.gone.get(table, [])] for table, found in rows.items()}
    following = Model(left, metadata.catalog, asked).gone
    again = {table.table: table.rows for table in plan_cleanup(metadata.database, asked).tables if table.rows}
    assert again == {table: len(found) for table, found in following.items() if found}
    assert set(again) <= {"dag_run", *planned}
    assert not again or asked.retention_by_table
