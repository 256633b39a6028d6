# SPDX-License-Identifier: Apache-2.0
"""A cleanup by route ``api``: the server's service and the task's client, against a real database."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_mwaa_provider.client.rest.transports import Answer
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AirflowError,
    CallTimeout,
    CleanupUnderWay,
    DatabaseRefused,
    DatabaseUnavailable,
    MwaaInputError,
    NoMetadataRoute,
    TableNotFound,
    UnexpectedAnswer,
)
from airflow_mwaa_provider.metadata.cleaning.deleting import session as deletion
from airflow_mwaa_provider.metadata.cleaning.deleting.lease import Lease
from airflow_mwaa_provider.metadata.cleaning.routes.api_messages import PLAN, STEPS, UNITS
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, Outcome, plan_cleanup, run_cleanup
from tests.metadata.api import CleaningServer
from tests.metadata.history import insert
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.varied import fill_varied

NOW = datetime(2025, 4, 15, tzinfo=UTC)
GENTLY = CleanupOptions(retention=timedelta(days=20), now=NOW, batch_rows=4, max_transaction=timedelta(seconds=1))

STEP_S = 0.5


@pytest.fixture
def in_steps(monkeypatch):
    """Advance the clock each time it is read, so that on any machine a step ends after a few transactions."""
    looks = itertools.count()
    monkeypatch.setattr(deletion, "time", SimpleNamespace(monotonic=lambda: next(looks) / 100))


@pytest.fixture(scope="module")
def template(lab):
    name = lab.copy()
    fill_varied(lab, name, days=91, runs=150, tasks=3, dags=5)
    connection = lab.connect(name)
    with connection.cursor() as cursor:
        for number, age in enumerate((1, 15, 25, 60)):
            moment = f"'{NOW:%Y-%m-%d}'::timestamp - interval '{age} days'"
            task = {"id": str(number), "task_id": f"'{number}'", "status": "'SUCCESS'", "date_done": moment}
            insert(cursor, "celery_taskmeta", task, "generate_series(1, 1) i")
            insert(cursor, "job", {"latest_heartbeat": moment, "state": "'success'"}, "generate_series(1, 2) i")
    connection.close()
    return name


def contents(lab, database):
    """Return every row of every table, as strings."""
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        found = {}
        for (name,) in cursor.fetchall():
            cursor.execute(f'SELECT md5(t::text) FROM "{name}" t ORDER BY 1')
            found[name] = cursor.fetchall()
    connection.close()
    return found


def count(lab, database, sql):
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        cursor.execute(sql)
        [(found,)] = cursor.fetchall()
    connection.close()
    return found


def counts(outcome: Outcome):
    return {name: (table.matched, table.deleted) for name, table in outcome.tables.items()}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tables": ["log", "xcom", "task_instance"]},
        {"retention_by_table": {"log": timedelta(days=3)}, "exclude": ["job"], "keep_last_run": False},
    ],
    ids=["all", "some", "by-table"],
)
def test_it_leaves_the_rows_that_a_cleanup_by_the_database_leaves(lab, filled, template, in_steps, options) -> None:
    options = dataclasses.replace(GENTLY, **options)
    server, other = CleaningServer(lab, filled, step_s=STEP_S), lab.copy(template)
    told: list[tuple[str, int]] = []
    outcome = server.cleanup(options).run(lambda table, gone, of: told.append((table, gone)))
    expected = run_cleanup(lab.database(other), options)
    assert contents(lab, filled) == contents(lab, other)
    assert (outcome.route, outcome.is_complete, outcome.skipped, outcome.failures) == ("api", True, [], {})
    assert counts(outcome) == counts(expected)
    assert list(outcome.tables) == list(expected.tables)
    assert outcome.deleted > 200
    assert all(table.batches <= table.deleted for table in outcome.tables.values())
    assert 0 < outcome.longest_transaction_s < outcome.seconds
    steps = [request for request in server.requests if "unit" in request]
    units = {request["unit"] for request in steps}
    assert len(steps) > len(units) + 2, "one step was enough everywhere"
    assert {request["options"]["now"] for request in steps} == {NOW.isoformat()}
    assert told[-1][1] == outcome.tables[told[-1][0]].deleted
    assert server.pauses == []


def test_it_plans_as_the_database_does(lab, filled) -> None:
    plan = CleaningServer(lab, filled).cleanup(GENTLY).plan()
    assert plan == dataclasses.replace(
        plan_cleanup(lab.database(filled), GENTLY), route="api", seconds=plan.seconds
    )  # fmt: skip
    assert plan.rows > 200
    assert plan.kept


@KNOWS_NO_AIRFLOW
def test_ages_are_counted_from_the_databases_own_time(lab, filled) -> None:
    server = CleaningServer(lab, filled)
    before = datetime.now(UTC)
    server.cleanup(CleanupOptions(tables=["job"])).run()
    now = datetime.fromisoformat(server.requests[-1]["options"]["now"])
    assert abs(now - before) < timedelta(minutes=1)
    assert count(lab, filled, "SELECT count(*) FROM job") == 0


def test_the_run_that_asks_for_it_stays(lab, filled) -> None:
    connection = lab.connect(filled)
    with connection.cursor() as cursor:
        cursor.execute("SELECT dag_id, run_id FROM dag_run WHERE state = 'success' ORDER BY start_date LIMIT 1")
        own = cursor.fetchone()
    connection.close()
    options = dataclasses.replace(GENTLY, own_run=own, retention=timedelta(0), force=True, batch_rows=10_000)
    assert CleaningServer(lab, filled).cleanup(options).run().is_complete
    left = "SELECT count(*) FROM dag_run WHERE run_id = '{}'"
    assert count(lab, filled, left.format(own[1])) == 1


@KNOWS_NO_AIRFLOW
def test_the_server_bounds_what_it_is_asked_for(lab, filled) -> None:
    """The caller requests that a step may wait for hours for locked rows."""
    server = CleaningServer(lab, filled, step_s=0.2)
    options = dataclasses.replace(
        GENTLY, tables=["dag_run"], max_duration=timedelta(hours=1), workers=8, max_transaction=timedelta(hours=1),
        lock_timeout=timedelta(hours=1), statement_timeout=timedelta(hours=1), batch_rows=3,
    )  # fmt: skip
    holder = lab.connect(filled)
    holder.autocommit = False
    holder.cursor().execute("SELECT 1 FROM task_instance FOR UPDATE")
    answer = server.service.step(server.caller, {"options": options.document(), "unit": "dag_run", "after": None})
    assert answer.status == 200
    assert answer.body["after"] is not None
    assert answer.body["outcome"]["longest_transaction_s"] < 60
    holder.close()


@KNOWS_NO_AIRFLOW
def test_it_ends_after_max_duration_and_another_one_goes_on(lab, filled, template, in_steps) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    server, other = CleaningServer(lab, filled, step_s=STEP_S), lab.copy(template)
    first = server.cleanup(dataclasses.replace(GENTLY, max_duration=timedelta(seconds=12)), clock=clock).run()
    assert not first.is_complete
    assert first.skipped == ["max_duration of 0:00:12 was over: the next cleanup continues here"]
    assert first.failures == {}
    assert 0 < first.deleted < sum(table.matched for table in first.tables.values())
    assert all(request["options"]["max_duration"] <= 12 for request in server.requests if "unit" in request)
    second = server.cleanup(GENTLY).run()
    whole = run_cleanup(lab.database(other), GENTLY)
    assert second.is_complete
    assert {name: table.matched for name, table in first.tables.items()} == {
        name: table.deleted for name, table in whole.tables.items()
    }
    assert first.deleted + second.deleted == whole.deleted
    assert contents(lab, filled) == contents(lab, other)


def test_a_table_that_fails_is_reported_and_the_others_are_cleaned(lab, filled) -> None:
    lab.execute(
        filled,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept for auditors'; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON log FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    before = count(lab, filled, "SELECT count(*) FROM log")
    plan = plan_cleanup(lab.database(filled), GENTLY)
    server = CleaningServer(lab, filled)
    outcome = server.cleanup(GENTLY).run()
    assert list(outcome.failures) == ["log"]
    assert "kept for auditors" in outcome.failures["log"]
    assert not outcome.is_complete
    assert len(outcome.skipped) == 1
    assert outcome.skipped[0].startswith("log: ")
    assert count(lab, filled, "SELECT count(*) FROM log") == before
    assert counts(outcome)["log"] == (next(t.rows for t in plan.tables if t.table == "log"), 0)
    assert outcome.tables["dag_run"].deleted > 50
    assert outcome.tables["celery_taskmeta"].deleted
    assert "\n" not in "".join(outcome.skipped)


DENIED = [
    ("is_authorized_configuration", None, "may not read the configuration"),
    ("is_authorized_dag", None, "may not read all DAGs"),
    ("DELETE RUN", None, "may not delete runs of all DAGs"),
    ("DELETE TASK_INSTANCE", None, "may not delete task instances of all DAGs"),
    ("AUDIT_LOG", "log", "may not read audit logs of all DAGs"),
    ("is_authorized_connection", "connection_test_request", "may not delete connections"),
    ("DELETE is_authorized_connection", "connection_test_request", "may not delete connections"),
    ("DELETE is_authorized_dag", "dag_version", "may not delete all DAGs"),
]


@pytest.mark.parametrize(("refused", "table", "words"), DENIED)
def test_who_may_not_delete_it_deletes_nothing(lab, filled, refused, table, words) -> None:
    lab.execute(
        filled,
        "CREATE TABLE IF NOT EXISTS connection_test_request (id integer PRIMARY KEY, created_at timestamptz, "
        "updated_at timestamptz, state text)",
        "CREATE TABLE IF NOT EXISTS dag_version (id uuid PRIMARY KEY, dag_id text, version_number int, "
        "created_at timestamptz)",
    )
    before = contents(lab, filled)
    server = CleaningServer(lab, filled, refused=[refused])
    for ask in (server.cleanup(GENTLY).run, server.cleanup(GENTLY).plan):
        with pytest.raises(AccessDenied, match=words) as caught:
            ask()
        assert "\n" not in str(caught.value)
    if table is not None:
        with pytest.raises(AccessDenied, match=rf"table {table}: .* or set exclude=\['{table}'\]"):
            server.cleanup(GENTLY).run()
    # One that does not ask first is refused all the same.
    request = {"options": GENTLY.document(), "unit": table or "dag_run", "after": None}
    answer = server.service.step(server.caller, request)
    assert answer.status == 403
    assert answer.body["detail"].startswith("AccessDenied: ")
    assert words in answer.body["detail"]
    assert contents(lab, filled) == before
    if table is not None:
        without = dataclasses.replace(GENTLY, exclude=[table])
        assert server.cleanup(without).plan().rows
        assert server.cleanup(dataclasses.replace(without, tables=["job"], exclude=[])).run().deleted
        assert contents(lab, filled)[table] == before[table]


OPTIONS = GENTLY.document()
WRONG_OPTIONS = [
    {"retention": "30"}, {"retention": True}, {"retention": float("nan")}, {"retention": -1}, {"retention": 3600},
    {"retention": 1e300}, {"tables": "log"}, {"tables": []}, {"tables": [1]}, {"tables": ["log", "log"]},
    {"tables": ["nothing"]}, {"tables": ["log; DROP TABLE dag"]}, {"tables": {"log": 1}}, {"exclude": ["\0"]},
    {"dag_ids": ["a\0b"]}, {"dag_ids": ["\ud800"]}, {"keep_last_run": "no"}, {"keep_last_run": 0}, {"force": "false"},
    {"batch_rows": "1"}, {"batch_rows": 0}, {"batch_rows": True}, {"batch_rows": 1.5}, {"own_run": "ab"},
    {"own_run": ["a"]}, {"own_run": [1, 2]}, {"now": "yesterday"}, {"now": "2025-01-01"}, {"now": 5},
    {"max_duration": 0}, {"retention_by_table": {"log": "1"}}, {"retention_by_table": ["log"]}, {"only_states": ["x"]},
    {"max_transaction": 0},
]  # fmt: skip


@KNOWS_NO_AIRFLOW
def test_a_request_that_cannot_be_understood(lab, filled) -> None:
    server = CleaningServer(lab, filled)
    before = contents(lab, filled)
    step = {"options": OPTIONS, "unit": "log", "after": None}
    requests = [(path, {**step, "options": {**OPTIONS, **wrong}}) for wrong in WRONG_OPTIONS for path in (UNITS, STEPS)]
    requests += [(path, wrong) for wrong in (None, [], "x", {}, {"options": []}) for path in (UNITS, PLAN, STEPS)]
    requests += [
        (STEPS, {**step, **wrong})
        for wrong in (
            {"unit": 1}, {"unit": None}, {"unit": "nothing"}, {"unit": "log'; DROP TABLE dag; --"}, {"after": "x"},
            {"after": [1]}, {"after": ["\0"]}, {"after": ["1", "2"]}, {"options": {**OPTIONS, "now": None}},
        )
    ]  # fmt: skip
    for path, request in requests:
        answer = server.answer("POST", path, request)
        assert answer.status == 400, (path, request)
        name, _, words = answer.body["detail"].partition(": ")
        assert name in ("MwaaInputError", "TableNotFound"), request
        assert words
        assert "\n" not in words
    # A malicious key is only a key.
    answer = server.answer("POST", STEPS, {**step, "after": ["x'; DROP TABLE dag; --"]})
    assert (answer.status, list(answer.body["outcome"]["tables"])) == (200, ["log"])
    assert "failure" in answer.body["outcome"]["tables"]["log"]
    assert contents(lab, filled) == before


@KNOWS_NO_AIRFLOW
def test_what_the_server_refuses_is_told_as_it_is(lab, filled) -> None:
    server = CleaningServer(lab, filled)
    with pytest.raises(TableNotFound, match=r"Route api, at 'production': .*'dag_runs'"):
        server.cleanup(dataclasses.replace(GENTLY, tables=["dag_runs"])).run()
    with pytest.raises(
        MwaaInputError, match=r"Route api, at 'production': .*its rows are deleted with those of dag_run"
    ):
        server.cleanup(dataclasses.replace(GENTLY, tables=["task_map"])).plan()
    lab.run(lab.postgres.execute(f'ALTER DATABASE "{filled}" RENAME TO "{filled}_gone"'))
    with pytest.raises(DatabaseUnavailable, match="Route api"):
        server.cleanup(GENTLY, wait_timeout_s=0).run()


@KNOWS_NO_AIRFLOW
def test_one_cleanup_at_a_time(lab, filled) -> None:
    """No matter what started the other one, this one waits and continues."""
    server = CleaningServer(lab, filled)
    other = Lease(lab.database(filled))
    other.acquire()
    told: list[str] = []

    def sleep(seconds: float) -> None:
        assert 1.9 < seconds < 3.1
        server.pauses.append(seconds)
        if len(server.pauses) == 3:
            other.release()

    cleanup = server.cleanup(dataclasses.replace(GENTLY, tables=["job"]), sleep=sleep, notify=told.append)
    assert cleanup.run().tables["job"].deleted
    assert len(server.pauses) == 3
    busy = [answer for answer in server.answers if answer.status == 429]
    assert {(answer.retry_after_s, answer.body["detail"].partition(":")[0]) for answer in busy} == {
        (2, "CleanupUnderWay")
    }
    assert told == ["Route api: 'production' is busy with another cleanup; waiting"]
    other.acquire()
    now = [0.0]
    with pytest.raises(CleanupUnderWay, match=r"Route api, at 'production': another cleanup is running"):
        server.cleanup(
            GENTLY,
            wait_timeout_s=20,
            clock=lambda: now[0],
            sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
        ).run()
    assert 15 < now[0] <= 20
    # A cleanup whose time is up meanwhile has not failed.
    options = dataclasses.replace(GENTLY, max_duration=timedelta(seconds=30))
    outcome = server.cleanup(
        options, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds)
    ).run()
    assert (outcome.deleted, outcome.is_complete, outcome.failures) == (0, False, {})
    assert outcome.skipped == ["max_duration of 0:00:30 was over: the next cleanup continues here"]
    other.release()


@KNOWS_NO_AIRFLOW
def test_an_answer_that_is_lost_is_asked_for_again(lab, filled, template, in_steps) -> None:
    server, other = CleaningServer(lab, filled, step_s=STEP_S), lab.copy(template)
    inner, told = server.request, []

    def lossy(method, path, **keywords):
        answer = inner(method, path, **keywords)
        if len(server.requests) % 3 == 2:
            raise CallTimeout("no answer", ambiguous=True, transient=True)
        return answer

    server.request = lossy
    outcome = server.cleanup(GENTLY, notify=told.append).run()
    whole = run_cleanup(lab.database(other), GENTLY)
    assert (outcome.is_complete, outcome.skipped) == (True, [])
    assert contents(lab, filled) == contents(lab, other)
    assert 0 < outcome.deleted < whole.deleted
    assert any("was lost, and what it deleted is not counted. Repeating it: no answer" in line for line in told)
    assert len(server.pauses) == len(told)


@KNOWS_NO_AIRFLOW
def test_counting_that_takes_longer_than_a_request_may(lab, filled) -> None:
    server = CleaningServer(lab, filled, budget_s=0.5)
    holder = lab.connect(filled)
    holder.autocommit = False
    holder.cursor().execute("LOCK TABLE task_instance IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(DatabaseRefused, match=r"Route api, at 'production': .*Plan by a database route, or clean"):
        server.cleanup(GENTLY).plan()
    # A step stops waiting, and may be requested again soon.
    answer = server.answer("POST", STEPS, {"options": GENTLY.document(), "unit": "log", "after": None})
    assert (answer.status, answer.retry_after_s) == (503, 30)
    assert "Clean by a database route" in answer.body["detail"]
    holder.close()
    # It must not be requested again at once, because it would take as long.
    assert (server.answers[0].status, server.answers[0].retry_after_s) == (503, 600)
    now = [0.0]

    def clock() -> float:
        now[0] += 0.1
        return now[0]

    impatient = CleaningServer(lab, filled, budget_s=1, clock=clock)
    with pytest.raises(DatabaseRefused, match=r"longer than the 1 s that a request may. Plan by a database route"):
        impatient.cleanup(GENTLY).plan()
    assert CleaningServer(lab, filled, budget_s=100, clock=clock).cleanup(GENTLY).plan().rows


@KNOWS_NO_AIRFLOW
def test_steps_that_never_get_to_a_row_do_not_go_on_for_ever(lab, filled) -> None:
    server = CleaningServer(lab, filled, step_s=1e-6)
    before = contents(lab, filled)
    outcome = server.cleanup(dataclasses.replace(GENTLY, tables=["log", "job"])).run()
    assert list(outcome.failures) == ["log", "job"]
    assert "Clean it by a database route" in outcome.failures["log"]
    assert not outcome.is_complete
    assert len(server.requests) < 12
    assert contents(lab, filled) == before


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, {"detail": "Not Found"}),
        Answer(404, {"detail": "NoMetadataRoute: The cleanup is turned off here"}),
        Answer(405, {"detail": "Method Not Allowed"}),
        UnexpectedAnswer("the page of the UI", status=200, ambiguous=True),
        UnexpectedAnswer("another page", status=404),
    ],
)
def test_a_web_server_that_does_not_clean(lab, template, answer) -> None:
    server = CleaningServer(lab, template)

    def request(*arguments, **keywords):
        if isinstance(answer, Exception):
            raise answer
        return answer

    server.request = request
    for ask in (server.cleanup(GENTLY).run, server.cleanup(GENTLY).plan):
        with pytest.raises(NoMetadataRoute, match=r"set its configuration option mwaa_provider\.metadata_api_cleanup"):
            ask()


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize(
    "body",
    [
        {}, {"now": "x"}, {"now": "2025-01-01", "units": [], "refused": {}},
        {"now": "2025-01-01T00:00:00+00:00", "units": "log", "refused": {}},
        {"now": "2025-01-01T00:00:00+00:00", "units": [1], "refused": {}},
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_understood(lab, template, body) -> None:
    server = CleaningServer(lab, template)
    server.request = lambda *arguments, **keywords: Answer(200, body)
    for ask in (server.cleanup(GENTLY).run, server.cleanup(GENTLY).plan):
        with pytest.raises(MwaaInputError, match="Install the same version on both sides"):
            ask()


@KNOWS_NO_AIRFLOW
def test_a_server_that_says_how_long_it_paused_but_not_why(lab, filled) -> None:
    """As from a server without ``paused_why``: its seconds count too, in addition to those with a reason."""

    class Server(CleaningServer):
        def answer(self, method, path, document):
            found = super().answer(method, path, document)
            if path == STEPS:
                outcome = found.body["outcome"]
                outcome["paused_s"] = 1.5
                if document["unit"] == "job":
                    del outcome["paused_why"]
                else:
                    outcome["paused_why"] = {"a replica lags behind": 1.5}
            return found

    server = Server(lab, filled)
    outcome = server.cleanup(dataclasses.replace(GENTLY, tables=["job", "log"])).run()
    units = [request["unit"] for request in server.requests if "unit" in request]
    assert {*units} == {"job", "log"}
    assert outcome.paused_s == 1.5 * len(units)
    assert outcome.paused_why == {"a replica lags behind": 1.5 * units.count("log")}


@KNOWS_NO_AIRFLOW
def test_another_error_is_raised_at_once(lab, template) -> None:
    server = CleaningServer(lab, template)
    server.request = lambda *arguments, **keywords: Answer(422, {"detail": "something else"})
    with pytest.raises(AirflowError, match="something else"):
        server.cleanup(GENTLY).run()
    assert server.pauses == []


@KNOWS_NO_AIRFLOW
def test_each_step_is_logged_with_who_and_what(lab, filled, caplog) -> None:
    server = CleaningServer(lab, filled)
    with caplog.at_level("INFO"):
        server.cleanup(dataclasses.replace(GENTLY, tables=["job"])).run()
    assert "The metadata API deleted 4 rows for somebody, in a step of job: job 4" in caplog.text
