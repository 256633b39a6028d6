# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` after random rows, then again: the result is that of an uninterrupted cleanup."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests import seeds
from tests.metadata import history
from tests.metadata.once import FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.metadata.lab import Lab

KILLS = 20 if FULL else 3
RUNS, TASKS = (1500, 6) if FULL else (300, 3)
BATCH_ROWS, FIRST_RUNS = 100, 20
# It is stopped in a transaction, which must not time out.
CLEAN = f"""
import sys
from datetime import datetime, timedelta, UTC
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, run_cleanup
from airflow_mwaa_provider.metadata.database import Database
options = CleanupOptions(
    now=datetime(2026, 11, 22, 12, tzinfo=UTC), batch_rows={BATCH_ROWS}, workers=int(sys.argv[2]),
    max_transaction=timedelta(hours=1), lock_timeout=timedelta(hours=1),
)
outcome = run_cleanup(Database.from_url(sys.argv[1]), options)
print(outcome.deleted, outcome.is_complete)
"""
TABLES = ("dag_run", "task_instance", "xcom", "log", "rendered_task_instance_fields")
_LOCK = 77
# Each deleted row counts, whether its transaction commits or not; at zero, all wait for the lock.
HOLD = (
    "CREATE SEQUENCE gone MINVALUE -1000000000",
    f"""CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF nextval('gone') >= 0 THEN PERFORM pg_advisory_xact_lock({_LOCK}); END IF; RETURN OLD; END $$""",
    *(f"CREATE TRIGGER hold BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION hold()" for table in TABLES),
)


def dump(lab: Lab, name: str) -> dict[str, str]:
    """Return one checksum of the rows of every table."""
    connection, found = lab.connect(name), {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT count(*) || ' ' || COALESCE(sum(hashtextextended(t::text, 0)), 0) FROM {table} t")
            found[table] = cursor.fetchone()[0]
    connection.close()
    return found


def ask(lab: Lab, name: str, query: str) -> int:
    connection = lab.connect(name)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return int(cursor.fetchone()[0])
    finally:
        connection.close()


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 200
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_after_random_rows(lab: Lab, database: str) -> None:
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=RUNS, tasks=TASKS)
        of_tasks = "dag_run r JOIN task_instance t USING (dag_id, run_id)"
        history.insert(cursor, "xcom", history.XCOM, of_tasks)
        fields = {name: history.XCOM[name] for name in ("dag_id", "run_id", "task_id", "map_index")}
        history.insert(cursor, "rendered_task_instance_fields", fields, of_tasks)
        cursor.execute("ANALYZE")
    connection.close()
    lab.execute(database, *HOLD)
    undisturbed = lab.copy(database)
    url = lab.postgres.url(database).replace("+psycopg2", "")

    def start(name: str, workers: int, hold_after: int) -> subprocess.Popen[str]:
        lab.execute(name, f"SELECT setval('gone', {-hold_after})")
        line = [sys.executable, "-c", CLEAN, url.replace(database, name), str(workers)]
        return subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=dict(os.environ))

    def finish(name: str, workers: int) -> None:
        assert start(name, workers, 10**9).communicate(timeout=200)[0].endswith("True\n")

    finish(undisturbed, 1)
    before, after = dump(lab, database), dump(lab, undisturbed)
    rows = sum(int(before[table].split()[0]) - int(after[table].split()[0]) for table in TABLES)
    # More than two workers delete in their first transactions, and some rows remain in the end.
    least, most = max(rows // (2 * KILLS), 2 * FIRST_RUNS * (1 + 4 * TASKS) + 1), rows // KILLS - 1
    chosen = random.Random(seeds.of_the_day())
    waiting = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {_LOCK} AND NOT granted"
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    for number in range(KILLS):
        holder = lab.connect(database)
        holder.cursor().execute(f"SELECT pg_advisory_lock({_LOCK})")
        process = start(database, 1 + number % 2, chosen.randint(least, most))
        wait_until(lambda process=process: ask(lab, database, waiting) or process.poll() is not None)
        assert process.poll() is None, "it was in the middle"
        process.kill()
        process.communicate()
        assert dump(lab, database) not in (before, after)
        holder.close()
        # The server has detected it, too.
        wait_until(lambda: ask(lab, database, others) == 0)
    finish(database, 2)
    assert dump(lab, database) == after
    lab.drop(undisturbed)
