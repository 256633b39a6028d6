# SPDX-License-Identifier: Apache-2.0
"""Foreign keys are created, dropped or disabled while a cleanup runs: no transaction deletes through unknown ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.cleaning.archiving.cleanup import run_archived_cleanup
from airflow_mwaa_provider.metadata.cleaning.deleting import session
from airflow_mwaa_provider.metadata.cleaning.deleting.removal import Removal
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, cleanup_units, run_cleanup, run_cleanup_step
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests.metadata import history
from tests.metadata.api import CleaningServer
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.random_metadata import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.cleanup import Outcome
    from tests.metadata.lab import Lab

pytestmark = KNOWS_NO_AIRFLOW

COST = "CREATE TABLE reporting.cost (run integer REFERENCES public.dag_run (id) ON DELETE {action}, eur numeric)"
PART = "CREATE TABLE reporting.parts_1 PARTITION OF reporting.parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
FILL = "INSERT INTO reporting.cost SELECT id, 1 FROM public.dag_run"


@pytest.fixture(scope="module")
def template(lab: Lab) -> str:
    """A year of runs. Nothing is deleted in it."""
    database = lab.copy()
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=40, tasks=2, dags=2)
        cursor.execute("CREATE SCHEMA reporting")
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


def count(lab: Lab, name: str, table: str) -> int:
    [(rows,)] = ask(lab, name, f"SELECT count(*) FROM {table}")
    return int(rows)


def orphans(lab: Lab, name: str) -> int:
    """Count reschedules whose task no longer exists."""
    ours = ["ti_id"] if AIRFLOW_V_3 else ["dag_id", "task_id", "run_id", "map_index"]
    same = " AND ".join(f"i.{column.removeprefix('ti_')} = r.{column}" for column in ours)
    return count(lab, name, f"task_reschedule r WHERE NOT EXISTS (SELECT 1 FROM task_instance i WHERE {same})")


def once(do: Callable[[], None]) -> Callable[..., None]:
    """Call a function when the first transaction is reported, and only then."""
    done: list[bool] = []

    def progress(*_: Any) -> None:
        if not done:
            done.append(True)
            do()

    return progress


def clean(lab: Lab, name: str, route: str, progress: Callable[..., None], **options: Any) -> Outcome:
    asked = CleanupOptions(**{"now": NOW, "batch_rows": 1, "tables": ["dag_run"], **options})
    if route == "archived":
        with Storage(lab.s3(), lab.bucket()) as storage:
            return run_archived_cleanup(lab.database(name), asked, storage, "archives", progress=progress)
    return run_cleanup(lab.database(name), asked, progress=progress)


def is_stopped(outcome: Outcome, *words: str) -> None:
    assert not outcome.is_complete
    why = outcome.failures["dag_run"]
    assert "\n" not in why
    for word in (*words, "Run it again"):
        assert word in why
    assert f"dag_run: {why}" in outcome.skipped


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "SET DEFAULT"])
def test_a_reference_created_between_two_transactions_stops_it(
    lab: Lab, filled: str, action: str, workers: int
) -> None:
    before, seen = count(lab, filled, "dag_run"), []

    def create() -> None:
        lab.execute(filled, COST.format(action=action), FILL)
        seen.append(count(lab, filled, "reporting.cost"))

    outcome = clean(lab, filled, "database", once(create), workers=workers)
    is_stopped(outcome, "cost_run_fkey", "reporting.cost", "dag_run", f"ON DELETE {action}", "created")
    assert ask(lab, filled, "SELECT count(*), count(run) FROM reporting.cost") == [(seen[0], seen[0])]
    # What was deleted before is counted, and nothing else is deleted.
    gone = outcome.tables["dag_run"].deleted
    assert 0 < gone == before - count(lab, filled, "dag_run")
    assert outcome.tables["dag_run"].matched > gone


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_a_reference_created_after_the_archive_stops_it(
    lab: Lab, filled: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = count(lab, filled, "dag_run")

    def create(_: str) -> None:
        lab.execute(filled, COST.format(action=action), FILL)

    asked = CleanupOptions(now=NOW)
    with Storage(lab.s3(), lab.bucket()) as storage:
        outcome = run_archived_cleanup(lab.database(filled), asked, storage, "archives", tell=create)
    is_stopped(outcome, "reporting.cost", f"ON DELETE {action}")
    assert outcome.archive
    assert ask(lab, filled, "SELECT count(run) FROM reporting.cost") == [(before,)]
    assert outcome.deleted == 0
    assert count(lab, filled, "dag_run") == before


def test_other_tables_are_not_begun_after_it(lab: Lab, filled: str) -> None:
    logs = count(lab, filled, "log")
    outcome = clean(
        lab, filled, "database", once(lambda: lab.execute(filled, COST.format(action="CASCADE"))), tables=None
    )
    is_stopped(outcome)
    assert list(outcome.failures) == ["dag_run"]
    assert count(lab, filled, "log") == logs


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_a_reference_created_within_a_transaction_is_seen_in_it(
    lab: Lab, filled: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs are locked and nothing is deleted: at that point nothing prevents the reference from being created."""
    before, remove, created = count(lab, filled, "dag_run"), Removal.remove, []
    lab.execute(filled, "CREATE TABLE reporting.cost AS SELECT id AS run FROM public.dag_run")
    refer = f"ALTER TABLE reporting.cost ADD FOREIGN KEY (run) REFERENCES public.dag_run (id) ON DELETE {action}"

    def remove_late(self: Removal, *given: Any) -> None:
        if not created:
            lab.execute(filled, "SET lock_timeout TO '5s'", refer)
            created.append(True)
        remove(self, *given)

    monkeypatch.setattr(Removal, "remove", remove_late)
    outcome = clean(lab, filled, "database", lambda *_: None)
    is_stopped(outcome, "reporting.cost")
    assert outcome.deleted == 0
    assert ask(lab, filled, "SELECT count(run) FROM reporting.cost") == [(before,)]


def test_a_reference_waits_for_what_has_deleted(lab: Lab, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check relies on this: after it, no reference can be added before the transaction ends."""
    remove, tried = Removal.remove, []
    connection = lab.connect(filled)

    def remove_first(self: Removal, *given: Any) -> None:
        remove(self, *given)
        with connection.cursor() as cursor:
            for table in ("dag_run", "task_instance"):
                cursor.execute("SET lock_timeout TO '100ms'")
                refer = f"FOREIGN KEY (id) REFERENCES public.{table} (id)"
                with pytest.raises(psycopg2.errors.LockNotAvailable):
                    cursor.execute(f"CREATE TABLE reporting.late (LIKE public.{table}, {refer})")
                tried.append(table)

    monkeypatch.setattr(Removal, "remove", remove_first)
    assert clean(lab, filled, "database", lambda *_: None, batch_rows=10_000).is_complete
    connection.close()
    assert tried[:2] == ["dag_run", "task_instance"]


def test_a_reference_on_what_goes_along_is_seen(lab: Lab, filled: str) -> None:
    create = "CREATE TABLE public.of_reschedules (of integer REFERENCES task_reschedule (id) ON DELETE CASCADE)"
    outcome = clean(lab, filled, "database", once(lambda: lab.execute(filled, create)))
    is_stopped(outcome, "of_reschedules_of_fkey", "task_reschedule")


def test_a_reference_on_a_table_without_dependents_is_seen(lab: Lab, filled: str) -> None:
    """One plain statement deletes these rows."""
    create = [
        "CREATE TABLE reporting.of_log (log integer REFERENCES public.log (id) ON DELETE CASCADE)",
        "INSERT INTO reporting.of_log SELECT id FROM public.log",
    ]
    before = count(lab, filled, "log")
    outcome = clean(lab, filled, "database", once(lambda: lab.execute(filled, *create)), tables=["log"], batch_rows=5)
    assert "of_log_log_fkey" in outcome.failures["log"]
    left = count(lab, filled, "log")
    assert 0 < outcome.deleted == before - left
    assert count(lab, filled, "reporting.of_log") == left
    # The next cleanup knows the reference, and what it keeps.
    again = clean(lab, filled, "database", lambda *_: None, tables=["log"])
    assert (again.deleted, again.is_complete) == (0, True)


@pytest.mark.parametrize("how", ["PARTITION", "INHERIT"])
def test_a_reference_on_a_table_below_is_seen(lab: Lab, filled: str, how: str) -> None:
    """A partition or an inheriting table is added meanwhile, and something refers to it."""
    if how == "PARTITION":
        lab.execute(
            filled,
            "ALTER TABLE log RENAME TO log_before",
            "CREATE TABLE log (LIKE log_before INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
            "CREATE TABLE log_p1 PARTITION OF log FOR VALUES FROM (0) TO (1000000)",
            "INSERT INTO log SELECT * FROM log_before",
            "DROP TABLE log_before CASCADE",
        )
        create = ["CREATE TABLE reporting.of_log (log integer REFERENCES public.log_p1 (id) ON DELETE SET NULL)"]
    else:
        create = [
            "CREATE TABLE public.log_heir (PRIMARY KEY (id)) INHERITS (public.log)",
            "CREATE TABLE reporting.of_log (log integer REFERENCES public.log_heir (id) ON DELETE SET NULL)",
        ]
    outcome = clean(lab, filled, "database", once(lambda: lab.execute(filled, *create)), tables=["log"], batch_rows=5)
    assert "of_log_log_fkey" in outcome.failures["log"]


def test_a_reference_that_is_dropped_stops_it(lab: Lab, filled: str) -> None:
    """Rows that it would have deleted would remain, with dangling references."""
    [(name,)] = ask(
        lab, filled,
        "SELECT conname FROM pg_constraint WHERE conrelid = 'task_reschedule'::regclass AND confrelid = "
        "'task_instance'::regclass AND contype = 'f'",
    )  # fmt: skip
    drop = f"ALTER TABLE task_reschedule DROP CONSTRAINT {name}"
    outcome = clean(lab, filled, "database", once(lambda: lab.execute(filled, drop)))
    is_stopped(outcome, name, "task_reschedule", "dropped")
    assert orphans(lab, filled) == 0


def test_a_reference_that_is_switched_off_stops_it(lab: Lab, filled: str) -> None:
    lab.run(lab.postgres.execute("ALTER ROLE airflow_user SUPERUSER"))
    try:
        off = "ALTER TABLE task_instance DISABLE TRIGGER ALL"
        outcome = clean(lab, filled, "database", once(lambda: lab.execute(filled, off)))
    finally:
        lab.run(lab.postgres.execute("ALTER ROLE airflow_user NOSUPERUSER"))
    is_stopped(outcome, "task_instance", "disabled or enabled")
    assert orphans(lab, filled) == 0


def test_what_has_nothing_to_do_with_it_stops_nothing(lab: Lab, filled: str) -> None:
    lab.execute(
        filled,
        "CREATE TABLE reporting.parts (job integer REFERENCES public.job (id), day date) PARTITION BY RANGE (day)",
    )

    def create() -> None:
        lab.execute(
            filled,
            "CREATE TABLE reporting.of_jobs (job integer REFERENCES public.job (id) ON DELETE CASCADE)",
            PART,
            "CREATE TABLE public.log_heir () INHERITS (public.log)",
        )

    assert clean(lab, filled, "database", once(create), tables=["dag_run", "log"]).is_complete


def test_a_new_partition_of_what_refers_is_no_new_reference(lab: Lab, filled: str) -> None:
    lab.execute(
        filled,
        "INSERT INTO job (id, latest_heartbeat) SELECT i, '2020-01-01' FROM generate_series(1, 20) i",
        "CREATE TABLE reporting.parts (job integer REFERENCES public.job (id), day date) PARTITION BY RANGE (day)",
    )
    outcome = clean(lab, filled, "database", once(lambda: lab.execute(filled, PART)), tables=["job"], batch_rows=5)
    assert (outcome.deleted, outcome.is_complete) == (20, True)


def test_a_step_is_stopped_and_the_next_knows_the_reference(
    lab: Lab, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = CleanupOptions(now=NOW, tables=["log"], batch_rows=5)
    _, [unit] = cleanup_units(lab.database(filled), asked)
    create = "CREATE TABLE reporting.of_log (log integer REFERENCES public.log (id) ON DELETE CASCADE)"
    known = session.CleanupSession.work
    monkeypatch.setattr(
        session.CleanupSession, "work", lambda self, *given: (lab.execute(filled, create), known(self, *given))[1]
    )
    outcome, after = run_cleanup_step(lab.database(filled), asked, unit)
    monkeypatch.undo()
    assert "of_log_log_fkey" in outcome.failures["log"]
    assert after == ()
    outcome, after = run_cleanup_step(lab.database(filled), asked, unit)
    assert (outcome.is_complete, after) == (True, None)
    assert outcome.deleted > 0


def test_by_the_api_what_steps_have_deleted_before_is_told(lab: Lab, filled: str) -> None:
    """Each step reads the schema again, and refuses a reference that was added since the previous one."""
    asked = CleanupOptions(now=NOW, tables=["log", "dag_run"], batch_rows=5)
    server, before = CleaningServer(lab, filled), count(lab, filled, "log")
    units = cleanup_units(lab.database(filled), asked)[1]
    assert units == ["dag_run", "log"]

    def create(*_: Any) -> None:
        lab.execute(filled, COST.format(action="CASCADE"))

    runs = count(lab, filled, "dag_run")
    outcome = server.cleanup(asked).run(once(create))
    assert outcome.deleted > 0
    assert outcome.tables["dag_run"].deleted == runs - count(lab, filled, "dag_run")
    assert list(outcome.failures) == ["log"]
    assert "reporting.cost refers to dag_run" in outcome.failures["log"]
    assert "\n" not in outcome.failures["log"]
    assert not outcome.is_complete
    assert count(lab, filled, "log") == before
    with pytest.raises(MwaaInputError, match="Nothing was deleted"):
        server.cleanup(asked).run()
