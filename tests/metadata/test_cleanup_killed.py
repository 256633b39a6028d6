# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` at random moments, then again: the end is that of a cleanup that nobody disturbed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.metadata import history
from tests.metadata.once import FULL

if TYPE_CHECKING:
    from tests.metadata.lab import Lab

KILLS = 20 if FULL else 4
CLEAN = """
import sys
from datetime import datetime, UTC
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, run_cleanup
from airflow_mwaa_provider.metadata.database import Database
options = CleanupOptions(now=datetime(2026, 11, 22, 12, tzinfo=UTC), batch_rows=300, workers=int(sys.argv[2]))
print("begun", flush=True)
outcome = run_cleanup(Database.from_url(sys.argv[1]), options, wait_timeout_s=20)
print(outcome.deleted, outcome.is_complete)
"""
TABLES = ("dag_run", "task_instance", "xcom", "log", "rendered_task_instance_fields")


def dump(lab: Lab, name: str) -> dict[str, str]:
    """Every table's rows as one checksum."""
    connection, found = lab.connect(name), {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT count(*) || ' ' || COALESCE(sum(hashtextextended(t::text, 0)), 0) FROM {table} t")
            found[table] = cursor.fetchone()[0]
    connection.close()
    return found


def test_killed_at_random_moments(lab: Lab, database: str) -> None:
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=1500, tasks=6)
        of_tasks = "dag_run r JOIN task_instance t USING (dag_id, run_id)"
        history.insert(cursor, "xcom", history.XCOM, of_tasks)
        fields = {name: history.XCOM[name] for name in ("dag_id", "run_id", "task_id", "map_index")}
        history.insert(cursor, "rendered_task_instance_fields", fields, of_tasks)
        cursor.execute("ANALYZE")
    connection.close()
    undisturbed = lab.copy(database)
    url = lab.postgres.url(database).replace("+psycopg2", "")

    def start(name: str, workers: int) -> subprocess.Popen[str]:
        line = [sys.executable, "-c", CLEAN, url.replace(database, name), str(workers)]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        return process

    began = time.monotonic()
    whole = start(undisturbed, 1)
    assert whole.communicate(timeout=120)[0].endswith("True\n")
    lasts = time.monotonic() - began
    before, after, cut = dump(lab, database), dump(lab, undisturbed), 0
    chosen = random.Random(7)
    for number in range(KILLS):
        process = start(database, 1 + number % 2)
        time.sleep(chosen.uniform(0.05, lasts / 3))
        process.kill()
        process.communicate()
        cut += dump(lab, database) not in (before, after)
    assert cut, "some kill was in the middle"
    end = start(database, 2)
    assert end.communicate(timeout=120)[0].endswith("True\n")
    assert dump(lab, database) == after
