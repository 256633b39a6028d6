# SPDX-License-Identifier: Apache-2.0
"""The measures of a metadata database equal a count of its rows, one by one, and cost little."""

from __future__ import annotations

import random
import types
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2.extensions
import pytest

from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AnswerTooLarge,
    DatabaseUnavailable,
    MwaaInputError,
    NoMetadataRoute,
    NotAirflowMetadata,
    UnexpectedAnswer,
)
from airflow_mwaa_provider.metadata import measures
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.metadata.environment_source import measure_environment
from airflow_mwaa_provider.metadata.measures import (
    ENDED_RUNS,
    ENDED_TASKS,
    SIZED_TABLES,
    UNFINISHED_RUNS,
    UNFINISHED_TASKS,
    measure_database,
)
from airflow_mwaa_provider.metadata.rest.measures import MOST_QUEUED, measure_rest
from airflow_mwaa_provider.monitoring.metadata_metrics import METADATA_METRICS, metadata_metrics
from tests import seeds
from tests.metadata import history
from tests.metadata.api import Server
from tests.metadata.lab import Lab
from tests.metadata.random_metadata import Catalog, Row, Rows
from tests.metadata.rest_stub import StubApi
from tests.monitoring.doc_tables import DOCS, row, rows

RUNS, TASKS = 1_500, 2
TOLERANCE = {
    **dict.fromkeys(("queued_task_age", "running_dag_run_age", "oldest_row_age"), 20),
    "table_size": 1 << 16,
    "database_size": 1 << 20,
}
"""Measured one after another: seconds pass, and PostgreSQL's autovacuum adds pages to tables."""
DAGS = {
    "busy": {},
    "paused": {"is_paused": True},
    "once": {"timetable_description": "Once, as soon as possible", "timetable_periodic": False},
}


def recent(dice: random.Random, now: datetime) -> Rows:
    """Draw runs of the last hours, with their tasks, in every state, and none close to the start or end of an hour."""

    def moment() -> datetime:
        return now - timedelta(minutes=dice.choice((1, 5, 30, 45, 75, 90, 600)), seconds=dice.random())

    rows = Rows(list)
    rows["dag"] = [
        {"dag_id": name, "is_paused": False, "bundle_name": "dags-folder", "timetable_periodic": True} | fields
        for name, fields in DAGS.items()
    ]
    for number in range(120):
        state, due = dice.choice((*UNFINISHED_RUNS, *ENDED_RUNS)), moment() - timedelta(minutes=1)
        run: Row = {
            "id": 1_000_000 + number, "dag_id": dice.choice(list(DAGS)), "run_id": f"r{number}", "state": state,
            "run_type": dice.choice(("scheduled", "scheduled", "manual")), "clear_number": int(dice.random() < 0.2),
            "run_after": due, "execution_date": due - timedelta(days=number),
            "logical_date": due - timedelta(days=number), "data_interval_start": due - timedelta(days=1),
            "data_interval_end": due,
            "start_date": None if state == "queued" else due + timedelta(seconds=dice.choice((0.5, 3, 50))),
            "end_date": moment() if state in ENDED_RUNS else None, "queued_at": due,
        }  # fmt: skip
        rows["dag_run"].append(run)
        if dice.random() < 0.2:  # without tasks
            continue
        for task in range(dice.randint(1, 4)):
            state = dice.choice((*UNFINISHED_TASKS, *ENDED_TASKS, None))
            latest = run["end_date"] or now
            rows["task_instance"].append(
                {
                    "id": f"00000000-0000-7000-8000-{number:06d}{task:06d}", "dag_id": run["dag_id"],
                    "run_id": run["run_id"], "task_id": f"t{task}", "map_index": -1, "state": state,
                    "queued_dttm": moment() if dice.random() < 0.9 else None,
                    # As if never retried; tasks of finished runs ended before them.
                    "end_date": min(moment(), latest) if state in ENDED_TASKS else None,
                    "pool": "default_pool", "pool_slots": 1, "try_number": 1,
                }
            )  # fmt: skip
    rows["import_error"] = [{"id": number, "timestamp": now, "filename": f"f{number}"} for number in range(3)]
    return rows


@pytest.fixture(scope="module")
def dice() -> random.Random:
    return random.Random(seeds.of_the_day())


@pytest.fixture(scope="module")
def template(lab: Lab, dice: random.Random) -> str:
    """A year of finished runs, and some hours with activity of all kinds."""
    name = lab.copy()
    connection = lab.connect(name)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=RUNS, tasks=TASKS)
        runs = "dag_run r JOIN task_instance t ON t.dag_id = r.dag_id AND t.run_id = r.run_id"
        history.insert(cursor, "xcom", {**history.XCOM, "value": "NULL"}, runs)
        cursor.execute("SELECT now()")
        (now,) = cursor.fetchone()
        catalog = Catalog(cursor)
        catalog.insert(cursor, recent(dice, now))
        cursor.execute("ANALYZE")
    connection.close()
    return name


def fetched(lab: Lab, database: str, query: str) -> list[dict[str, Any]]:
    connection = lab.connect(database)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        connection.close()


def counted(rows: list[Row], states: tuple[str, ...], since: datetime | None = None) -> dict[str, int]:
    found = Counter(row["state"] for row in rows if since is None or (row["end_date"] and row["end_date"] > since))
    return {state: found[state] for state in states}


def told_by_rows(lab: Lab, database: str) -> dict[str, Any]:
    """Count and measure all rows, one by one."""
    ((now, size),) = [
        row.values() for row in fetched(lab, database, "SELECT now(), pg_database_size(current_database())")
    ]
    runs, tasks = (fetched(lab, database, f"SELECT * FROM {table}") for table in ("dag_run", "task_instance"))
    dags = {row["dag_id"]: row for row in fetched(lab, database, "SELECT dag_id, is_paused FROM dag")}
    since = now - timedelta(hours=1)

    def age(moments: list[Any]) -> float:
        known = [moment for moment in moments if moment is not None]
        return float((now - min(known)).total_seconds()) if known else 0.0

    delays = [
        (row["start_date"] - row.get("run_after", row["data_interval_end"])).total_seconds()
        for row in runs
        if row["run_type"] == "scheduled" and row["dag_id"] != "once" and not row["clear_number"]
        if row["start_date"] and row["start_date"] > since
    ]
    times = {
        table: age([row["time"] for row in fetched(lab, database, f"SELECT {column} AS time FROM {table}")])
        for table, column in {"log": "dttm", "xcom": "timestamp", "job": "start_date", "dag_run": "start_date"}.items()
    }
    with_tasks = {(row["dag_id"], row["run_id"]) for row in tasks}
    started = [row["start_date"] for row in runs if (row["dag_id"], row["run_id"]) in with_tasks]
    sizes = fetched(lab, database, "SELECT relname, pg_total_relation_size(oid) AS bytes FROM pg_class "
                                   "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")  # fmt: skip
    return {
        "dag_runs": counted(runs, UNFINISHED_RUNS),
        "dag_runs_ended": counted(runs, ENDED_RUNS, since),
        "task_instances": counted(tasks, UNFINISHED_TASKS),
        "task_instances_ended": counted(tasks, ENDED_TASKS, since),
        "queued_task_age": age([row["queued_dttm"] for row in tasks if row["state"] == "queued"]),
        "running_dag_run_age": age([row["start_date"] for row in runs if row["state"] == "running"]),
        "queued_dag_runs_of_paused_dags": len(
            [row for row in runs if row["state"] == "queued" and dags[row["dag_id"]]["is_paused"]]
        ),
        "scheduling_delay": {
            "sample_count": len(delays), "sum": sum(delays), "minimum": min(delays), "maximum": max(delays)
        } if delays else None,
        "import_errors": len(fetched(lab, database, "SELECT id FROM import_error")),
        "table_size": {row["relname"]: row["bytes"] for row in sizes if row["relname"] in SIZED_TABLES},
        "database_size": size,
        "oldest_row_age": {**times, "task_instance": age(started)},
    }  # fmt: skip


def check(numbers: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, number in numbers.items():
        assert number == pytest.approx(expected[name], abs=TOLERANCE.get(name)), name


def test_the_numbers_are_those_of_all_rows(lab: Lab, template: str) -> None:
    found = measure_database(lab.database(template))
    expected = told_by_rows(lab, template)
    assert all(expected[name][state] for name, states in
               (("dag_runs", UNFINISHED_RUNS), ("dag_runs_ended", ENDED_RUNS), ("task_instances_ended", ENDED_TASKS))
               for state in states)  # fmt: skip
    assert expected["queued_dag_runs_of_paused_dags"]
    assert expected["scheduling_delay"]
    assert found.missing == {}
    assert list(found.numbers) != []
    assert set(found.numbers) == set(METADATA_METRICS)
    check(found.numbers, expected)
    assert len(metadata_metrics(found.numbers, "e")) == 37  # as the docs say
    assert {"dag_run", "task_instance", "log", "xcom", "celery_taskmeta"} <= set(found.numbers["table_size"])


def test_an_empty_database_has_no_load_and_no_age(lab: Lab, database: str) -> None:
    numbers = measure_database(lab.database(database)).numbers
    assert numbers["dag_runs"] == {"queued": 0, "running": 0}
    assert set(numbers["task_instances"]) == set(UNFINISHED_TASKS)
    assert numbers["queued_task_age"] == numbers["running_dag_run_age"] == numbers["import_errors"] == 0
    assert set(numbers["oldest_row_age"].values()) == {0.0}
    assert numbers["scheduling_delay"] is None
    assert "scheduling_delay" not in {metric.name for metric in metadata_metrics(numbers, "e")}


def test_no_question_reads_more_of_a_table_than_it_must(
    lab: Lab, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """According to the server's plans: no full table scan, and few rows read or returned."""
    monkeypatch.setattr(measures, "NEWEST_RUNS", 100)
    plans: list[tuple[str, dict[str, Any]]] = []

    class Explained(psycopg2.extensions.cursor):
        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - its name there
            if query.startswith("SELECT ") and vars is None and "FROM pg_" not in query:
                super().execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")
                plans.append((query, self.fetchall()[0][0][0]["Plan"]))
            super().execute(query, vars)

    def connect() -> Any:
        connection = lab.connect(template)
        connection.cursor_factory = Explained
        return connection

    assert measure_database(Database(connect)).missing == {}
    of_history = {"dag_run", "task_instance", "log", "xcom", "job"}
    seen = set()
    for query, plan in plans:
        assert plan["Actual Rows"] <= 10, query
        for node in _nodes(plan):
            table = node.get("Relation Name")
            if table in of_history:
                seen.add(table)
                assert node["Node Type"] != "Seq Scan", query
                rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                assert rows <= 800, (query, node)
    assert seen == of_history


def _nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def test_a_question_that_takes_too_long_costs_its_number_alone(lab: Lab, filled: str) -> None:
    lab.execute(
        filled,
        "ALTER TABLE import_error RENAME TO import_error_0",
        "CREATE VIEW import_error AS SELECT 1 FROM pg_sleep(60)",
    )
    found = measure_database(lab.database(filled), statement_timeout_s=0.5)
    assert found.missing == {"import_errors": "it took longer than 0.5 s"}
    assert set(found.numbers) == set(METADATA_METRICS) - {"import_errors"}


def test_what_the_user_may_not_read_is_named(lab: Lab, filled: str) -> None:
    lab.run(lab.postgres.execute("CREATE ROLE counter"))
    lab.run(lab.postgres.execute("GRANT counter TO airflow_user"))

    def connect() -> Any:
        connection = lab.connect(filled)
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE counter")
        return connection

    try:
        lab.execute(
            filled, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO counter", "REVOKE SELECT ON log FROM counter"
        )
        found = measure_database(Database(connect))
        assert found.missing == {"oldest_row_age of log": "the database's user may not read it"}
        assert "log" in found.numbers["table_size"]
        assert "xcom" in found.numbers["oldest_row_age"]
    finally:
        lab.drop(filled)
        lab.run(lab.postgres.execute("DROP ROLE counter"))


@pytest.mark.once
def test_a_database_without_an_airflow_or_without_a_server_is_an_error(lab: Lab, database: str) -> None:
    lab.execute(database, "ALTER TABLE alembic_version RENAME TO other")
    with pytest.raises(NotAirflowMetadata):
        measure_database(lab.database(database))

    def refuse() -> Any:
        raise psycopg2.OperationalError("no route to host")

    with pytest.raises(DatabaseUnavailable, match="no route to host"):
        measure_database(Database(refuse))


@pytest.mark.once
def test_the_docs_table_is_what_is_measured() -> None:
    by_rest = measure_rest(StubApi(), "3.3.1").numbers
    expected = [
        row(f"`{name}`", unit, f"`{by}`" if by else "", meaning, "yes" if name in by_rest else "no")
        for name, (by, unit, meaning) in METADATA_METRICS.items()
    ]
    page = rows("metrics.md")
    assert [line for line in page if line in expected] == expected
    assert [line for line in page if line.endswith(("| yes |", "| no |"))] == expected
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert all(f"`{table}`" in text for table in SIZED_TABLES)
    assert f"{measures.NEWEST_RUNS:,}" in text
    assert "*What it costs in CloudWatch.* 37 metrics" in text
    assert f"{len(metadata_metrics(by_rest, 'e'))} by route `rest`," in text


# -- route api -------------------------------------------------------------------------------------


def test_route_api_tells_the_same(lab: Lab, template: str) -> None:
    server = Server(lab, template, "s3://b")
    found = server.source().measure()
    assert found.missing == {}
    check(found.numbers, measure_database(lab.database(template)).numbers)


@pytest.mark.once
@pytest.mark.parametrize("refused", ["RUN", "TASK_INSTANCE", "is_authorized_configuration", "is_authorized_dag"])
def test_route_api_measures_for_those_who_may_read_runs_and_tasks(lab: Lab, template: str, refused: str) -> None:
    server = Server(lab, template, "s3://b", refused=[refused])
    with pytest.raises(AccessDenied, match=r"Route api: .*somebody may not read .* needs a role that may read"):
        server.source().measure()


@pytest.mark.once
def test_a_request_begins_no_question_when_its_time_is_up(lab: Lab, template: str) -> None:
    times = iter([0.0, *[4.0] * 3, *[9.0] * 50])
    server = Server(lab, template, "s3://b", clock=lambda: next(times))
    found = server.source().measure()
    assert set(found.numbers) == {"table_size", "dag_runs", "dag_runs_ended", "task_instances"}
    assert set(found.missing.values()) == {"there was no time for it in 8 s"}
    assert {name.partition(" of ")[0] for name in found.missing} | set(found.numbers) == set(METADATA_METRICS)


@pytest.mark.once
def test_a_server_that_does_not_measure_is_named_or_passed_over() -> None:
    class Older(Server):
        def __init__(self) -> None:
            super(Server, self).__init__(())

        def answer(self, method: str, path: str, document: Any) -> Any:
            return None

    api = StubApi()
    told: list[str] = []
    environment: Any = types.SimpleNamespace(
        name="production", airflow_version="3.3.1", request=api, call_plugin=Older().call
    )
    with pytest.raises(NoMetadataRoute, match=r"older version, which does not measure\. Install this version"):
        measure_environment(environment, "api", notify=told.append)
    assert measure_environment(environment, "auto", notify=told.append).numbers["dag_runs"] == {
        "queued": 0,
        "running": 0,
    }
    assert [line.partition(":")[0] for line in told] == ["Route api cannot be used", "Route rest"]


@pytest.mark.once
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"numbers": [], "missing": 1},
        {"numbers": {}, "missing": []},
        {"numbers": {"dag_runs": {"running": "2"}}, "missing": {}},
        {"numbers": {"import_errors": "2"}, "missing": {}},
    ],
)
def test_an_answer_of_another_form_is_refused(answer: Any) -> None:
    environment: Any = types.SimpleNamespace(name="production", call_plugin=lambda *_, **__: answer)
    with pytest.raises(MwaaInputError, match="Install the same version on both sides"):
        measure_environment(environment, "auto", notify=print)


@pytest.mark.once
def test_what_only_a_newer_server_measures_is_passed_over() -> None:
    assert [metric.name for metric in metadata_metrics({"newer": 1, "import_errors": 2}, "e")] == ["import_errors"]


# -- route rest ------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("version", ["2.8.1", "3.0.6", "3.3.1"])
def test_route_rest_tells_what_the_api_shows(dice: random.Random, version: str) -> None:
    now = datetime.now(UTC)
    rows = recent(dice, now)
    api = StubApi(version)
    runs = {}
    for run in rows["dag_run"]:
        shown = {name: run[name] for name in ("state", "start_date", "end_date")}
        runs[run["run_id"]] = api.run(run["dag_id"], run["run_id"], run["run_after"], **shown)
    for task in rows["task_instance"]:
        api.task(runs[task["run_id"]], task["task_id"], state=task["state"], end_date=task["end_date"],
                 queued_when=task["queued_dttm"])  # fmt: skip
    api.tables["import_errors"] = [{"import_error_id": number} for number in range(3)]
    found = measure_rest(api, version, clock=lambda: now)
    queued = [
        task["queued_dttm"] for task in rows["task_instance"] if task["state"] == "queued" and task["queued_dttm"]
    ]
    running = [run["start_date"] for run in rows["dag_run"] if run["state"] == "running"]
    tasks = counted(rows["task_instance"], UNFINISHED_TASKS)
    if version != "3.3.1":
        tasks["awaiting_input"] = 0  # a state that it does not know, and rejects in requests
        assert all("awaiting_input" not in str(filters) for _, _, filters in api.calls)
    assert found.numbers == {
        "dag_runs": counted(rows["dag_run"], UNFINISHED_RUNS),
        "dag_runs_ended": counted(rows["dag_run"], ENDED_RUNS, now - timedelta(hours=1)),
        "task_instances": tasks,
        "queued_task_age": (now - min(queued)).total_seconds(),
        "running_dag_run_age": (now - min(running)).total_seconds(),
        "import_errors": 3,
    }
    assert set(found.numbers) | set(found.missing) == set(METADATA_METRICS)
    assert not set(found.numbers) & set(found.missing)
    # The other requests are as short: one row at most, except for the queued tasks.
    assert len(api.calls) <= 15


def queued_api(count: int) -> StubApi:
    api = StubApi()
    now = datetime.now(UTC)
    run = api.run("d", "r", now)
    for number in range(count):
        api.task(run, "t", number, state="queued", queued_when=now - timedelta(seconds=number))
    return api


@pytest.mark.once
def test_the_oldest_of_some_pages_of_queued_tasks_is_found() -> None:
    api = queued_api(250)
    api.page_rows = 50  # the environment's own limit
    age = measure_rest(api, "3.3.1").numbers["queued_task_age"]
    assert age == pytest.approx(249, abs=5)
    api.most_rows, api.too_large = 10, AnswerTooLarge
    assert measure_rest(api, "3.3.1").numbers["queued_task_age"] == pytest.approx(age, abs=5)


@pytest.mark.once
def test_too_many_queued_tasks_are_counted_only() -> None:
    api = queued_api(MOST_QUEUED + 1)
    found = measure_rest(api, "3.3.1")
    assert found.missing["queued_task_age"] == "more than 2,000 tasks are queued"
    assert found.numbers["task_instances"]["queued"] == MOST_QUEUED + 1
    assert len(api.calls) <= 15


@pytest.mark.once
def test_what_is_not_airflows_answer_is_refused() -> None:
    with pytest.raises(UnexpectedAnswer, match="was not answered with dag_runs and total_entries"):
        measure_rest(lambda *_, **__: {"dag_runs": []}, "3.3.1")
    api = StubApi()
    api.task(api.run("d", "r", datetime.now(UTC)), "t", state="queued", queued_when="yesterday")
    with pytest.raises(UnexpectedAnswer, match="'queued_when' of another type"):
        measure_rest(api, "3.3.1")
