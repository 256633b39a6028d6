# SPDX-License-Identifier: Apache-2.0
"""Delete all but 30 days of a year's metadata while a scheduler works on it; compare with what people use today.

Each contender is one process, including its start, on its own copy of a database, beside a load of a scheduler and a
worker at a fixed rate. The load's transactions are timed from when they were due, so that a wait counts for all that it
delays. The WAL that the load itself writes is subtracted, at its rate before.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from runpy import run_module
from subprocess import PIPE
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psycopg2

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.metadata import history  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.metadata.lab import Lab

NOW = datetime.fromisoformat(history.BEGIN.split("'")[1]) + timedelta(days=365)
RETENTION = timedelta(days=30)
ROOTS = ["dag_run", "log", "job"]
TASKS = 10
RATE = 50.0
TEMPLATE, COPY = "cleanup_template", "cleanup_copy"
RAW, OURS, OURS_2, DB_CLEAN = "raw DELETE", "ours", "ours, 2 workers", "db clean"
LOCKS = "AccessShare RowShare RowExclusive ShareUpdateExclusive Share ShareRowExclusive Exclusive AccessExclusive"

# Dependent rows of the tasks of history.fill(): {table: (columns, if it has them; for which tasks)}.
_TASK = {"dag_id": "t.dag_id", "task_id": "t.task_id", "run_id": "t.run_id", "map_index": "-1", "ti_id": "t.id"}
_TASK |= {"start_date": "t.start_date", "end_date": "t.end_date", "reschedule_date": "t.end_date"}
_TRY = {**history.TASK_INSTANCE, **_TASK, "id": None, "task_instance_id": "gen_random_uuid()"}
_JOB = {**_TASK, "state": "'success'", "job_type": "'LocalTaskJob'", "latest_heartbeat": "t.end_date"}
_TASKS = "dag_run r JOIN task_instance t USING (dag_id, run_id), (VALUES (0, 1)) v (i, j) WHERE substr(task_id, 6)::int"
_FIELDS = """'{{"bash_command": "python -m etl --day 2026-01-01", "env": null, "append_env": false, "cwd": "/tmp"}}'"""
CHILDREN: dict[str, tuple[dict[str, Any], str]] = {
    "xcom": ({**history.XCOM, "value": """'{{"rows": 1250}}'"""}, " % 2 = 0"),
    "rendered_task_instance_fields": ({**_TASK, "rendered_fields": _FIELDS}, " > 0"),
    "task_reschedule": (_TASK, " = 2"),
    "task_instance_history": (_TRY, " = 3"),
    "task_fail": (_TASK, " = 3"),
    "job": (_JOB, " = 4"),
}

_RUNS = """SELECT id FROM dag_run WHERE state = '{}' ORDER BY last_scheduling_decision NULLS FIRST, id LIMIT 20
    FOR UPDATE SKIP LOCKED"""
_TASK_IN = """(dag_id, task_id, run_id) = (SELECT dag_id, task_id, run_id FROM task_instance WHERE state = '{}' LIMIT 1
    FOR UPDATE SKIP LOCKED) RETURNING dag_id, task_id, run_id"""
_BASE = "dag_id = %(base_dag)s AND run_id = %(base_run)s"
_NEXT = "nextval(pg_get_serial_sequence('{}', 'id'))"


def new(table: str, values: dict[str, str], rows: int = 1, base: str = _BASE) -> str:
    """Insert a copy of an old row with some values changed, which fits the schema of any version."""
    items = ", ".join(f"'{name}', {value}" for name, value in values.items())
    return f"""INSERT INTO {table} SELECT n.* FROM (SELECT b FROM {table} b WHERE {base} LIMIT 1) old,
        generate_series(1, {rows}) j, jsonb_populate_record(old.b, jsonb_build_object({items})) n"""


_THIS = {"dag_id": "%(dag)s", "run_id": "%(run)s", "task_id": "%(task)s"}
_RUN = {**_THIS, "start_date": "NULL", "end_date": "NULL", "logical_date": "%(now)s", "execution_date": "%(now)s"}
_LOG = {**_THIS, "id": _NEXT.format("log"), "dttm": "%(now)s", "owner": "'load'"}
_NEW_TASK = {**_RUN, "id": "gen_random_uuid()", "task_id": "'task_' || j", "state": "'scheduled'"}
# Transactions that are repeated in a cycle; as many tasks begin as end.
SCHEDULER = f"""
UPDATE job SET latest_heartbeat = %(now)s WHERE id = %(job)s
--
{new("dag_run", _RUN | {"id": _NEXT.format("dag_run"), "state": "'queued'"})};
{new("task_instance", _NEW_TASK, rows=3)}
--
UPDATE dag_run SET state = 'running', start_date = %(now)s WHERE id IN ({_RUNS.format("queued")})
--
UPDATE dag_run SET last_scheduling_decision = %(now)s WHERE id IN ({_RUNS.format("running")});
UPDATE task_instance SET state = 'queued', queued_dttm = %(now)s WHERE state = 'scheduled'
AND (dag_id, run_id) IN (SELECT dag_id, run_id FROM dag_run WHERE state = 'running')
--
SELECT pool, state, sum(pool_slots) FROM task_instance WHERE state IN ('queued', 'running') GROUP BY 1, 2
--
UPDATE dag_run d SET state = 'success', end_date = %(now)s WHERE id IN ({_RUNS.format("running")})
AND NOT EXISTS (SELECT FROM task_instance t WHERE t.dag_id = d.dag_id AND t.run_id = d.run_id
                AND t.state IN ('scheduled', 'queued', 'running'))
"""
WORKER = f"""
UPDATE task_instance SET state = 'running', start_date = %(now)s WHERE {_TASK_IN.format("queued")};
{new("rendered_task_instance_fields", _THIS)};
{new("log", _LOG, base="id = %(log)s")}
--
UPDATE task_instance SET state = 'success', end_date = %(now)s WHERE {_TASK_IN.format("running")};
{new("xcom", _THIS | {"dag_run_id": "(SELECT id FROM dag_run WHERE dag_id = %(dag)s AND run_id = %(run)s)"})};
{new("log", _LOG, base="id = %(log)s")}
"""


def load() -> None:
    """Run the load until stdin ends; then print when each transaction was due and how long it took from then."""
    taken: list[tuple[float, float]] = []
    ended = threading.Event()
    begin = time.monotonic() + 0.5

    def play(script: str, first: float) -> None:
        transactions = [part.split(";") for part in script.split("--")]
        with closing(psycopg2.connect(os.environ["URL"])) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT dag_id, run_id, (SELECT max(id) FROM job), (SELECT max(id) FROM log) FROM dag_run "
                "WHERE run_id LIKE 'sched%' ORDER BY id DESC LIMIT 1"
            )
            known = dict(zip(("base_dag", "base_run", "job", "log"), cursor.fetchall()[0], strict=True))
            connection.commit()
            number = 0
            while not ended.wait(max(0.0, (due := first + number * 2 / RATE) - time.monotonic())):
                now = NOW + timedelta(seconds=time.monotonic() - begin)
                run = {"now": now.isoformat(), "dag": f"dag_{number % 20:03}", "run": f"load__{number}", "task": None}
                try:
                    for statement in transactions[number % len(transactions)]:
                        cursor.execute(statement, {**known, **run})
                        if "RETURNING" in statement:
                            if (found := cursor.fetchone()) is None:
                                break
                            run.update(zip(("dag", "task", "run"), found, strict=True))
                    connection.commit()
                except psycopg2.Error as error:
                    connection.rollback()
                    print(f"The load: {error}", file=sys.stderr)
                taken.append((due, time.monotonic() - due))
                number += 1

    with ThreadPoolExecutor(2) as pool:
        playing = [pool.submit(play, SCHEDULER, begin), pool.submit(play, WORKER, begin + 1 / RATE)]
        sys.stdin.read()
        ended.set()
    for one in playing:
        one.result()
    print(json.dumps(taken))


_NAMES = """(SELECT string_agg(attname, ', ' ORDER BY o) FROM unnest({0}key) WITH ORDINALITY u (n, o)
    JOIN pg_attribute ON attrelid = {0}relid AND attnum = n)"""
REFERENCES = f"""SELECT conrelid::regclass::text, confrelid::regclass::text,
    {_NAMES.format("con")}, {_NAMES.format("conf")},
    EXISTS (SELECT FROM pg_attribute WHERE attrelid = conrelid AND attname = 'run_id')
    FROM pg_constraint WHERE contype = 'f' AND confdeltype <> 'n' AND conrelid <> confrelid ORDER BY 1, 2"""
LOCKED = r"""SELECT DISTINCT mode FROM pg_locks JOIN pg_class c ON c.oid = relation
    WHERE pid = ANY (%s) AND relkind = 'r' AND c.oid >= 16384 AND relname NOT LIKE '\_airflow\_deleted%%'"""
# All except the load, and only transactions that hold row locks or what VACUUM would remove.
SINCE = """SELECT extract(epoch FROM max(clock_timestamp() - xact_start)), array_agg(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> 'load'
    AND pid <> pg_backend_pid() AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)"""


def raw() -> None:
    """Delete as you would by hand: children first, one statement per table."""
    old_runs = "state IN ('success', 'failed') AND end_date < %(cutoff)s"
    of_old_run = f"(dag_id, run_id) IN (SELECT dag_id, run_id FROM dag_run WHERE {old_runs})"
    conditions: dict[str, str] = {}
    with closing(psycopg2.connect(os.environ["URL"])) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(REFERENCES)
        references = cursor.fetchall()

        def descend(table: str, condition: str) -> None:
            for child, parent, columns, referred, names_run in references:
                if parent == table and child not in conditions:
                    other = f"({columns}) IN (SELECT {referred} FROM {table} WHERE {condition})"
                    descend(child, of_old_run if names_run else other)
            conditions[table] = condition

        descend("dag_run", old_runs)
        conditions.update(log="dttm < %(cutoff)s", job="latest_heartbeat < %(cutoff)s")
        tables = {}
        for table, condition in conditions.items():
            began = time.perf_counter()
            cursor.execute(f"DELETE FROM {table} WHERE {condition}", {"cutoff": (NOW - RETENTION).isoformat()})
            tables[table] = {"deleted": cursor.rowcount, "seconds": time.perf_counter() - began}
    print(json.dumps({"tables": tables}))


def ours() -> None:
    from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, run_cleanup
    from airflow_mwaa_provider.metadata.database import Database

    options = CleanupOptions(retention=RETENTION, tables=ROOTS, now=NOW, workers=int((sys.argv[1:] or "1")[0]))
    print(json.dumps(run_cleanup(Database.from_url(os.environ["URL"]), options).document()))


def peak_kb() -> int:
    """Return this process's own peak: what a parent sees of a child includes the parent's memory before exec."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # bytes on macOS


@dataclass
class Measured:
    longest_s: float = 0.0
    modes: set[str] = field(default_factory=set)
    seconds: float = 0.0
    peak_mb: float = 0.0
    wal_mb: float = 0.0
    idle_s: list[float] = field(default_factory=list)
    busy_s: list[float] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)


def watch(url: str, ended: threading.Event, found: Measured) -> None:
    """Look at a contender's transactions every 20 ms, and at their locks every 100 ms."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        number = 0
        while not ended.wait(0.02):
            cursor.execute(SINCE)
            ((age, pids),) = cursor.fetchall()
            found.longest_s = max(found.longest_s, float(age or 0))
            if pids and (number := number + 1) % 5 == 0:
                cursor.execute(LOCKED, (pids,))
                found.modes.update(mode.removesuffix("Lock") for (mode,) in cursor.fetchall())


def there(cursor: Any) -> list[str]:
    tables = ["dag_run", "task_instance", "log", *CHILDREN]
    cursor.execute("SELECT relname FROM pg_class WHERE relname = ANY (%s) ORDER BY 1", (tables,))
    return [name for (name,) in cursor.fetchall()]


def make_template(lab: Lab, runs: int) -> None:
    lab.migrate(TEMPLATE)
    # Its foreign keys would take three quarters of the time to fill it.
    lab.run(lab.postgres.execute("GRANT SET ON PARAMETER session_replication_role TO airflow_user"))
    with closing(lab.connect(TEMPLATE)) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role TO replica")
        history.fill(cursor, runs=runs, tasks=TASKS)
        cursor.execute("VACUUM ANALYZE")
        for table in set(CHILDREN).intersection(there(cursor)):
            columns, which = CHILDREN[table]
            history.insert(cursor, table, columns, _TASKS + which, n=runs, tasks=TASKS, dags=20)
        cursor.execute("VACUUM ANALYZE")


def measure(lab: Lab, command: list[str], idle_s: float) -> Measured:
    """Run a contender on a new copy of the template, with the load beside it."""
    lab.run(lab.postgres.drop_database(COPY))
    # Copied file by file: the default strategy would fill the WAL and the caches.
    make = f"CREATE DATABASE {COPY} OWNER airflow_user TEMPLATE {TEMPLATE} STRATEGY file_copy"
    lab.run(lab.postgres.execute(make))
    lab.execute(COPY, "VACUUM ANALYZE")
    lab.run(lab.postgres.execute("CHECKPOINT"))
    environment = {
        **os.environ,
        "URL": lab.postgres.url(COPY).replace("+psycopg2", ""),
        "AIRFLOW_HOME": str(lab.folder / f"airflow-{TEMPLATE}"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": lab.postgres.url(COPY),
    }
    loading = {**environment, "PGAPPNAME": "load"}
    this = [sys.executable, "-W", "ignore", "-P", __file__]
    found, ended = Measured(), threading.Event()
    with closing(lab.connect(COPY)) as connection, connection.cursor() as cursor:

        def now() -> tuple[float, int]:
            cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
            return time.monotonic(), int(cursor.fetchone()[0])

        with subprocess.Popen([*this, "load"], env=loading, stdin=PIPE, stdout=PIPE, text=True) as load:
            time.sleep(2.0)
            quiet, quiet_wal = now()
            time.sleep(idle_s)
            watcher = threading.Thread(target=watch, args=(environment["URL"], ended, found), daemon=True)
            watcher.start()
            begin, begin_wal = now()
            done = subprocess.run([*this, *command], env=environment, capture_output=True, text=True, check=False)
            end, end_wal = now()
            ended.set()
            watcher.join()
            told = json.loads(load.communicate("")[0].splitlines()[0])
        # Exclude the load's rows and the line that Airflow's commands write to the log.
        counted = "to_jsonb(x)->>'run_id' ~ '^sched' OR NOT to_jsonb(x) ? 'run_id'"
        for table in there(cursor):
            cursor.execute(f"SELECT count(*) FROM {table} x WHERE {counted}")
            found.left[table] = cursor.fetchone()[0]
    if done.returncode:
        sys.exit(f"{command} failed: {done.stdout[-1000:]}{done.stderr[-3000:]}")
    for line in done.stdout.splitlines():
        for table, what in json.loads(line)["tables"].items() if line.startswith('{"') else ():
            print(f"    {table:32}{what['deleted']:>9,} rows{what['seconds']:9.2f} s", file=sys.stderr)
        if line.startswith("PEAK "):
            found.peak_mb = int(line.split()[1]) / 1024
    found.seconds = end - begin
    found.wal_mb = (end_wal - begin_wal - (begin_wal - quiet_wal) / (begin - quiet) * found.seconds) / 2**20
    found.idle_s = [taken for due, taken in told if quiet <= due < begin]
    found.busy_s = [taken for due, taken in told if begin <= due < end]
    return found


def percentile(share: float, values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 task instances, one round")
    parser.add_argument("--rows", type=int, default=1_000_000, help="task instances")
    parser.add_argument("--rounds", type=int, default=1, help="the median of them counts")
    parser.add_argument("--only", action="append", help="a contender, by its full name; can be repeated")
    given = parser.parse_args()
    rows, rounds, idle_s = (20_000, 1, 3.0) if given.quick else (given.rows, given.rounds, 15.0)

    from tests.metadata.lab import Lab

    airflow_version = metadata.version("apache-airflow")
    db_clean = ["airflow", "db", "clean", "--yes", "--skip-archive", "--tables", ",".join(ROOTS)]
    db_clean += ["--clean-before-timestamp", (NOW - RETENTION).isoformat()]
    if tuple(map(int, airflow_version.split(".")[:3])) >= (3, 1, 8):
        db_clean += ["--batch-size", "10000"]
    commands = {RAW: ["raw"], OURS: ["ours"], OURS_2: ["ours", "2"], DB_CLEAN: db_clean}
    chosen = {name: command for name, command in commands.items() if name in (given.only or commands)}
    found: dict[str, list[Measured]] = {name: [] for name in chosen}
    with TemporaryDirectory(prefix="cleanup-benchmark-") as folder, ExitStack() as stack:
        lab = Lab(Path(folder) / "lab")
        lab.start_postgres()
        stack.callback(lab.stop)
        print(f"making {rows:,} task instances ...", file=sys.stderr)
        make_template(lab, rows // TASKS)
        for _ in range(rounds):
            for name, command in chosen.items():
                found[name].append(measure(lab, command, idle_s))
                print(f"{name}: {found[name][-1].seconds:.1f} s", file=sys.stderr)
    report(found, f"{rows:,} task instances of Airflow {airflow_version}")


def report(found: dict[str, list[Measured]], what: str) -> None:
    seconds = {name: statistics.median(run.seconds for run in runs) for name, runs in found.items()}
    wal = {name: statistics.median(run.wal_mb for run in runs) for name, runs in found.items()}
    longest = {name: max(run.longest_s for run in runs) for name, runs in found.items()}
    taken = {name: [taken for run in runs for taken in run.busy_s] for name, runs in found.items()}
    idle = [taken for runs in found.values() for run in runs for taken in run.idle_s]

    def line(name: str, *items: str) -> None:
        print(f"{name:18}" + "".join(f"{item:>10}" for item in items))

    def latencies(values: list[float]) -> list[str]:
        return [f"{1000 * percentile(share, values):.1f}" for share in (0.5, 0.99, 1)]

    print(f"{what}, a year of which 30 days stay; load of {RATE:g} transactions a second; median of the rounds")
    line("", "seconds", "longest s", "WAL MB", "p50 ms", "p99 ms", "max ms", "peak MB", "  strongest lock")
    line("idle", "", "", "", *latencies(idle))
    for name, runs in found.items():
        strongest = max((mode for run in runs for mode in run.modes), key=LOCKS.split().index, default="")
        figures = f"{seconds[name]:.2f}", f"{longest[name]:.2f}", f"{wal[name]:.0f}", *latencies(taken[name])
        line(name, *figures, f"{max(run.peak_mb for run in runs):.0f}", f"  {strongest}")
    left = {json.dumps(run.left): name for name, runs in found.items() for run in runs}
    print("Each left" if len(left) == 1 else f"THE REMAINING ROWS DIFFER ({', '.join(left.values())}):", *left)
    ratios = {
        "cleanup_vs_raw": (seconds, OURS, RAW, 1.0),
        "cleanup_vs_db_clean": (seconds, OURS, DB_CLEAN, 0.77),
        "cleanup_wal_vs_db_clean": (wal, OURS, DB_CLEAN, 0.7),
        "cleanup_2_workers_vs_raw": (seconds, OURS_2, RAW, 0.7),
    }
    values = {name: (of[a] / of[b], most) for name, (of, a, b, most) in ratios.items() if a in of and b in of}
    if OURS in found:
        values["cleanup_longest_transaction_s"] = longest[OURS], 1.0
        values["cleanup_load_p99_vs_idle"] = percentile(0.99, taken[OURS]) / percentile(0.99, idle), 2.0
    print("Wanted:", ", ".join(f"{name} <= {most:g}" for name, (_, most) in values.items()))
    print(json.dumps({name: round(value, 3) for name, (value, _) in values.items()}))


ROLES: dict[str, Callable[[], object]] = {"load": load, "raw": raw, "ours": ours}
ROLES["airflow"] = lambda: run_module("airflow", run_name="__main__")

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in ROLES:
        del sys.argv[0]
        try:
            ROLES[sys.argv[0]]()
        finally:
            print(f"PEAK {peak_kb()}")
    else:
        main()
