# SPDX-License-Identifier: Apache-2.0
"""Measure the current contents of a metadata database at little cost: runs and tasks by state, ages, and sizes.

No table with a history is read completely. Each query uses an index that every version of Airflow has, or a fixed
number of the newest or oldest rows, and the server cancels it after a time; a number that is not available is left out,
with the reason.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg2

from airflow_mwaa_provider.metadata.catalog.schema import read_schema, text_literal
from airflow_mwaa_provider.metadata.database import database_errors
from airflow_mwaa_provider.metadata.remote_api.messages import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.database import Database

__all__ = [
    "ENDED_RUNS",
    "ENDED_TASKS",
    "NEWEST_RUNS",
    "SIZED_TABLES",
    "UNFINISHED_RUNS",
    "UNFINISHED_TASKS",
    "WINDOW_S",
    "Measures",
    "measure_database",
]

UNFINISHED_RUNS = ("queued", "running")
ENDED_RUNS = ("success", "failed")
UNFINISHED_TASKS = (
    "scheduled", "queued", "running", "restarting", "deferred", "up_for_retry", "up_for_reschedule", "awaiting_input",
)  # fmt: skip
ENDED_TASKS = ("success", "failed", "skipped", "upstream_failed")
SIZED_TABLES = (
    "dag_run", "task_instance", "task_instance_history", "rendered_task_instance_fields", "xcom", "log", "job",
    "serialized_dag", "session", "celery_taskmeta",
)  # fmt: skip
"""The tables that fill a database. Those that a version does not have are skipped."""
WINDOW_S = 3600
"""What ended or began within this many seconds is counted."""
NEWEST_RUNS = 10_000
"""Number of the most recently created runs that are searched for what ended or began within the window, because no
version of Airflow has an index on these times."""

_OLDEST_ROWS = 100
_DATED_TABLES = ("dag_run", "task_instance", "xcom", "log", "job")
_NOT_PERIODIC = ("Once, as soon as possible", "As frequently as possible, but only one run at a time.")
"""How Airflow describes timetables without a schedule; newer versions have a column for it."""
# An index is to be used however small a table is, and however little the server knows about it. A plan that must read a
# whole table then looks so expensive that it would be compiled, which takes longer than running it.
_SETTINGS = ("enable_seqscan", "jit")
_EXCUSED = {"42501": "the database's user may not read it", "55P03": "another session holds a lock on it"}
_CANCELLED = "57014"


@dataclass(frozen=True)
class Measures:
    """The results of measuring a database.

    :param numbers: by a metric's name, a number, or numbers by state or table; ``scheduling_delay`` has
        ``sample_count``, ``sum``, ``minimum`` and ``maximum``, or is ``None`` if no run began. Ages and delays are in
        seconds, sizes in bytes.
    :param missing: by a metric's name, or ``NAME of TABLE``, why there is no number.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        return {"numbers": self.numbers, "missing": self.missing}

    @classmethod
    def read(cls, document: dict[str, Any]) -> Measures:
        """Parse what :meth:`document` returned.

        :raises MwaaInputError: it has another form.
        """
        with reading("what the server measured"):
            numbers = {str(name): _read_number(number) for name, number in document["numbers"].items()}
            return cls(numbers, {str(name): str(why) for name, why in document["missing"].items()})


@dataclass(frozen=True)
class _Question:
    """A query, and how its rows become a metric's number.

    :param of: the table, for a metric with a number for each table.
    """

    metric: str
    sql: str
    read: Callable[[Sequence[Any]], Any]
    of: str | None = None

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.metric} of {self.of}" if self.of else self.metric


def measure_database(
    database: Database,
    *,
    statement_timeout_s: float = 30.0,
    budget_s: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Measures:
    """Measure a database, in one short transaction that only reads.

    :param statement_timeout_s: the server cancels a query that takes longer, and its number is left out.
    :param budget_s: seconds for all queries.
    :raises DatabaseUnavailable: the database could not be opened, or the connection was lost.
    :raises NotAirflowMetadata: it has no Airflow schema.
    """
    deadline = clock() + budget_s
    with (
        database.snapshot(statement_timeout_s=min(statement_timeout_s, budget_s)) as connection,
        database_errors(database.label, "measuring it"),
        connection.cursor() as cursor,
    ):
        for name in _SETTINGS:
            cursor.execute(f"SET LOCAL {name} TO off")
        schema = read_schema(connection)
        sizes = {name: schema.tables[name].total_bytes for name in SIZED_TABLES if name in schema.tables}
        measures = Measures({"table_size": sizes})
        for question in _questions(schema):
            limit_s = min(statement_timeout_s, deadline - clock())
            rows, why = _answer(cursor, question.sql, limit_s) if limit_s > 0 else ((), "")
            if why is not None:
                measures.missing[question.name] = why or f"there was no time for it in {budget_s:g} s"
            elif question.of is None:
                measures.numbers[question.metric] = question.read(rows)
            else:
                measures.numbers.setdefault(question.metric, {})[question.of] = question.read(rows)
    return measures


def _answer(cursor: Any, sql: str, limit_s: float) -> tuple[Sequence[Any], str | None]:
    """Return rows, or the reason why there are none."""
    cursor.execute("SET LOCAL statement_timeout TO %s", (f"{max(1, round(limit_s * 1000))}",))
    cursor.execute("SAVEPOINT question")
    try:
        cursor.execute(sql)
        return cursor.fetchall(), None
    except psycopg2.Error as error:
        why = f"it took longer than {limit_s:.3g} s" if error.pgcode == _CANCELLED else _EXCUSED.get(error.pgcode or "")
        if why is None:
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT question")
        return (), why


def _questions(schema: Schema) -> Iterator[_Question]:
    """Return the queries for a database."""
    runs, tasks = schema.qualified("dag_run"), schema.qualified("task_instance")
    newest = f"(SELECT * FROM {runs} ORDER BY id DESC LIMIT {NEWEST_RUNS})"
    since = f"now() - interval '{WINDOW_S} seconds'"
    yield _Question(
        "dag_runs",
        # One by one, because each state has an index of its own.
        " UNION ALL ".join(f"SELECT '{state}', count(*) FROM {runs} WHERE state = '{state}'"
                           for state in UNFINISHED_RUNS),
        _by_state(UNFINISHED_RUNS),
    )  # fmt: skip
    yield _Question(
        "dag_runs_ended",
        f"SELECT state, count(*) FROM {newest} r WHERE end_date > {since} AND state IN {_texts(ENDED_RUNS)} "
        "GROUP BY state",
        _by_state(ENDED_RUNS),
    )
    yield _Question(
        "task_instances",
        f"SELECT state, count(*) FROM {tasks} WHERE state IN {_texts(UNFINISHED_TASKS)} GROUP BY state",
        _by_state(UNFINISHED_TASKS),
    )
    unfinished = " ".join(
        f"UNION SELECT dag_id, run_id FROM {runs} WHERE state = '{state}'" for state in UNFINISHED_RUNS
    )
    yield _Question(
        "task_instances_ended",
        # A run ends after its tasks. OFFSET 0 forces the tasks to be read run by run.
        f"SELECT t.state, count(*) FROM (SELECT dag_id, run_id FROM {newest} n WHERE end_date > {since} {unfinished}) "
        f"r CROSS JOIN LATERAL (SELECT state FROM {tasks} t WHERE t.dag_id = r.dag_id AND t.run_id = r.run_id AND "
        f"t.end_date > {since} AND t.state IN {_texts(ENDED_TASKS)} OFFSET 0) t GROUP BY t.state",
        _by_state(ENDED_TASKS),
    )
    yield _Question(
        "queued_task_age", f"SELECT {_age('min(queued_dttm)')} FROM {tasks} WHERE state = 'queued'", _number
    )
    yield _Question(
        "running_dag_run_age", f"SELECT {_age('min(start_date)')} FROM {runs} WHERE state = 'running'", _number
    )
    yield _Question(
        "queued_dag_runs_of_paused_dags",
        f"SELECT count(*) FROM {runs} r JOIN {schema.qualified('dag')} d ON d.dag_id = r.dag_id "
        "WHERE r.state = 'queued' AND d.is_paused",
        _number,
    )
    yield _Question("scheduling_delay", _delay_sql(schema, newest, since), _statistics)
    yield _Question("import_errors", f"SELECT count(*) FROM {schema.qualified('import_error')}", _number)
    yield _Question("database_size", "SELECT pg_database_size(current_database())", _number)
    for name in _DATED_TABLES:
        if (sql := _oldest_sql(schema, name)) is not None:
            yield _Question("oldest_row_age", sql, _number, name)


def _delay_sql(schema: Schema, newest: str, since: str) -> str:
    """Return the query for how late runs began, as ``dagrun.schedule_delay`` of Airflow's own metrics.

    Source: ``SchedulerJobRunner._start_queued_dagruns`` of Airflow 2.8.1 to 3.3.1.
    """
    due = "run_after" if schema.table("dag_run").has("run_after") else "data_interval_end"
    is_periodic = (
        "d.timetable_periodic"
        if schema.table("dag").has("timetable_periodic")
        else f"COALESCE(d.timetable_description, '') NOT IN {_texts(_NOT_PERIODIC)}"
    )
    delay = f"EXTRACT(EPOCH FROM r.start_date - r.{due})::float8"
    return (
        f"SELECT count(delay), sum(delay), min(delay), max(delay) FROM (SELECT {delay} AS delay FROM {newest} r "
        f"JOIN {schema.qualified('dag')} d ON d.dag_id = r.dag_id WHERE r.run_type = 'scheduled' "
        f"AND r.clear_number = 0 AND r.start_date > {since} AND {is_periodic}) late"
    )


def _oldest_sql(schema: Schema, name: str) -> str | None:
    """Return the query for the age of a table's oldest row, by the order in which rows were created.

    Rows of task_instance have no such order in Airflow 2, where those of the oldest run with tasks count.
    """
    table = schema.tables.get("dag_run" if name == "task_instance" else name)
    if table is None or not table.key or (when := schema.time_sql(table)) is None:
        return None
    has_tasks, rows = "", _OLDEST_ROWS
    if name == "task_instance":
        # OFFSET 0 prevents a join of all runs with all tasks.
        has_tasks = (
            f"WHERE EXISTS (SELECT 1 FROM {schema.qualified(name)} c WHERE c.dag_id = t.dag_id AND c.run_id = t.run_id "
            "OFFSET 0) "
        )
        rows = 1
    return (
        f"SELECT {_age('min(o.at)')} FROM (SELECT {when} AS at FROM {schema.qualified(table.name)} t {has_tasks}"
        f"ORDER BY t.{table.key[0]} LIMIT {rows}) o"
    )


def _age(moment: str) -> str:
    """Return the expression of the seconds since a time; 0 for no time, and for one from a clock that is ahead."""
    return f"COALESCE(GREATEST(EXTRACT(EPOCH FROM now() - {moment}), 0), 0)::float8"


def _texts(values: Sequence[str]) -> str:
    return f"({', '.join(map(text_literal, values))})"


def _read_number(found: Any) -> Any:
    """Parse a number, several by name, or none."""
    if isinstance(found, dict):
        return {str(name): _read_number(each) for name, each in found.items()}
    if found is not None and (isinstance(found, bool) or not isinstance(found, int | float)):
        raise TypeError(f"{type(found).__name__} is not a number")
    return found


def _by_state(states: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, int]]:
    return lambda rows: {**dict.fromkeys(states, 0), **dict(rows)}


def _number(rows: Sequence[Any]) -> Any:
    return rows[0][0]


def _statistics(rows: Sequence[Any]) -> dict[str, float] | None:
    count, total, least, greatest = rows[0]
    return {"sample_count": count, "sum": total, "minimum": least, "maximum": greatest} if count else None
