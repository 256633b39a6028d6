# SPDX-License-Identifier: Apache-2.0
"""Cleanups by route api: web servers of a real Airflow 2 and 3 delete old rows, for authorized users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import psycopg2
import pytest

from airflow_mwaa_provider.exceptions import NoMetadataRoute, UnsupportedByTransport
from airflow_mwaa_provider.metadata.cleaning.deleting.lease import Lease
from airflow_mwaa_provider.metadata.cleaning.routes import api as api_route
from airflow_mwaa_provider.metadata.cleaning.routes.api import ApiCleanup
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions
from airflow_mwaa_provider.metadata.database import Database
from tests.integration.test_metadata_api import answers, logged_in
from tests.integration.users import User
from tests.integration.world import World
from tests.metadata.history import LOG, TASK_INSTANCE, insert

__all__ = ["answers"]  # a fixture

# The scheduler starts nothing of a paused DAG.
DAG_ID = "paused"
RUNS = 30
# Older than anything that other tests leave behind, including an unfinished run of 2020.
OLD = "'2004-01-01 00:00:00+00'::timestamptz + i * interval '1 hour'"
RETENTION = timedelta(days=20 * 365)
RUN = {
    "dag_id": f"'{DAG_ID}'", "run_id": "'old__' || i", "run_type": "'manual'", "state": "'success'",
    "external_trigger": "true",
    **dict.fromkeys(
        ("execution_date", "logical_date", "run_after", "queued_at", "start_date", "end_date", "updated_at"), OLD
    ),
}  # fmt: skip
OF_RUN = {"dag_id": f"'{DAG_ID}'", "run_id": "'old__' || i"}
TASK = {
    **TASK_INSTANCE, **OF_RUN, **dict.fromkeys(("start_date", "end_date", "updated_at", "queued_dttm"), OLD),
    "state": "'success'",
}  # fmt: skip
OPTIONS = CleanupOptions(retention=RETENTION)


def database_url(world: World, env_name: str) -> str:
    scheduler = psutil.Process(world.status(env_name)["pids"]["scheduler"])
    return str(scheduler.environ()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])


def counted(world: World, env_name: str) -> dict[str, int]:
    with world.metadata(env_name) as cursor:
        found = {}
        for table in ("dag_run", "task_instance", "log"):
            cursor.execute(f"SELECT count(*) FROM {table} WHERE run_id LIKE 'old\\_\\_%'")
            [(found[table],)] = cursor.fetchall()
    return found


@pytest.fixture
def old_runs(world: World, env_name: str) -> Iterator[None]:
    """Thirty runs of more than twenty years ago with two tasks each; the tenth is unfinished."""
    world.environment(env_name)  # waits for the DAGs
    forget = [f"DELETE FROM {table} WHERE run_id LIKE 'old\\_\\_%'" for table in ("log", "task_instance", "dag_run")]
    with world.metadata(env_name) as cursor:
        every = f"generate_series(1, {RUNS}) i"
        insert(cursor, "dag_run", RUN, every)
        insert(cursor, "task_instance", TASK, f"{every}, generate_series(1, 2) j", tasks=2)
        insert(cursor, "log", {**LOG, **OF_RUN, "dttm": OLD}, f"{every}, generate_series(1, 3) j")
        cursor.execute("UPDATE dag_run SET state = 'running', end_date = NULL WHERE run_id = 'old__10'")
    yield
    with world.metadata(env_name) as cursor:
        for statement in forget:
            cursor.execute(statement)


def cleanup_of(world: World, env_name: str, options: CleanupOptions = OPTIONS, **more: Any) -> ApiCleanup:
    return ApiCleanup(world.environment(env_name).call_plugin, f"environment {env_name!r}", options, **more)


def test_the_web_server_deletes_what_is_old_and_nothing_else(world: World, env_name: str, old_runs: None) -> None:
    before = counted(world, env_name)
    assert before == {"dag_run": RUNS, "task_instance": 2 * RUNS, "log": 3 * RUNS}
    with world.metadata(env_name) as cursor:
        cursor.execute("SELECT count(*) FROM dag_run")
        [(runs,)] = cursor.fetchall()
    plan = cleanup_of(world, env_name).plan()
    rows = {table.table: table.rows for table in plan.tables if table.rows}
    # The unfinished run, the one before it, and the last of its DAG are kept with their dependent rows. So is the
    # last one if other tests have created queued runs of this DAG, because then it precedes them.
    expected = {"dag_run": RUNS - 3, "task_instance": 2 * RUNS - 6, "log": 3 * RUNS}
    assert rows == expected
    kept = {found.why: found.rows or 0 for found in plan.kept if found.table == "dag_run"}
    assert kept.pop("the run has not ended") == 1
    assert sum(kept.values()) == 2
    assert counted(world, env_name) == before
    told: list[tuple[str, int]] = []
    outcome = cleanup_of(world, env_name).run(lambda table, gone, of: told.append((table, gone)))
    assert (outcome.route, outcome.is_complete, outcome.skipped, outcome.failures) == ("api", True, [], {})
    deleted = {name: table.deleted for name, table in outcome.tables.items() if table.deleted}
    assert deleted == expected
    assert ("dag_run", RUNS - 3) in told
    assert 0 < outcome.longest_transaction_s < 5
    assert counted(world, env_name) == {"dag_run": 3, "task_instance": 6, "log": 0}
    with world.metadata(env_name) as cursor:
        cursor.execute("SELECT run_id, state FROM dag_run WHERE run_id LIKE 'old\\_\\_%' ORDER BY 1")
        assert cursor.fetchall() == [("old__10", "running"), (f"old__{RUNS}", "success"), ("old__9", "success")]
        cursor.execute("SELECT count(*) FROM dag_run")
        assert cursor.fetchall()[0][0] >= runs - (RUNS - 3)
    assert cleanup_of(world, env_name).run().deleted == 0


def step(unit: str) -> dict[str, Any]:
    options = CleanupOptions(retention=RETENTION, now=datetime.now(UTC)).document()
    return {"options": options, "unit": unit, "after": None}


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("Public", set()), ("Viewer", set()), ("User", set()), ("Op", {"units", "dag_run", "session"}),
     ("Admin", {"units", "plan", "dag_run", "log", "session"})],
)  # fmt: skip
def test_what_each_role_may_clean(
    world: World, env_name: str, answers: Any, old_runs: None, role: str, allowed: set[str]
) -> None:  # fmt: skip
    before = counted(world, env_name)
    session = logged_in(answers, User(world, env_name, role), world)
    got = set()
    for name, path, body in (
        ("units", "/cleanup/units", {"options": OPTIONS.document()}),
        ("plan", "/cleanup/plan", {"options": OPTIONS.document()}),
        *((unit, "/cleanup/steps", step(unit)) for unit in ("dag_run", "log", "session")),
    ):
        status, text = answers("POST", path, session, json=body)
        assert status in (200, 403), text
        if status == 200:
            got.add(name)
            if name == "units":
                refused = json.loads(text)["refused"]
        else:
            assert "AccessDenied: " in text
            assert ("may not read audit logs of all DAGs" if role == "Op" else "may not read the configuration") in text
    if role == "Op" and env_name == "airflow-2-8-1":
        allowed = allowed | {"plan", "log"}  # all users could read the audit log there
    assert got == allowed
    if "units" in allowed:
        assert set(refused) == {"log"} - allowed
    after = counted(world, env_name)
    assert after["dag_run"] == (3 if "dag_run" in allowed else before["dag_run"])
    assert after["log"] == (0 if "log" in allowed else before["log"])


def test_nobody_who_is_not_logged_in_deletes_anything(
    world: World, env_name: str, answers: Any, old_runs: None
) -> None:  # fmt: skip
    before = counted(world, env_name)
    wrong: list[dict[str, Any]] = [
        {},
        {"headers": {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."}},
        {"cookies": {"session": "x", "_token": "x"}},
        {"auth": ("admin", "admin")},
    ]
    for credentials in wrong:
        for path in ("/cleanup/units", "/cleanup/plan", "/cleanup/steps"):
            status, text = answers("POST", path, json=step("dag_run"), **credentials)
            assert status in (401, 403), (path, status)
            assert "dag_run" not in text
    # A form on another site, which a browser sends with the user's cookie.
    session = logged_in(answers, User(world, env_name, "Admin"), world)
    body = json.dumps(step("dag_run")).encode()
    for kind in (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = {"Content-Type": kind} if kind else {}
        assert answers("POST", "/cleanup/steps", session, data=body, headers=headers)[0] in (415, 422), kind
    assert answers("GET", "/cleanup/steps", session)[0] in (404, 405)
    assert counted(world, env_name) == before


def test_a_step_waits_for_another_cleanup(
    world: World, env_name: str, answers: Any, old_runs: None
) -> None:  # fmt: skip
    session = logged_in(answers, User(world, env_name, "Admin"), world)
    with Lease(Database.from_url(database_url(world, env_name))):
        status, text = answers("POST", "/cleanup/steps", session, json=step("dag_run"))
        assert (status, "CleanupUnderWay: " in text) == (429, True), text
    status, text = answers("POST", "/cleanup/steps", session, json=step("dag_run"))
    assert (status, json.loads(text)["outcome"]["tables"]["dag_run"]["deleted"]) == (200, RUNS - 3), text


@pytest.fixture
def kept_log(world: World, env_name: str) -> Iterator[None]:
    """Make every deletion from the audit log fail."""
    url = database_url(world, env_name).replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept for auditors'; END $$; "
            "CREATE TRIGGER refuse BEFORE DELETE ON log FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        try:
            yield
        finally:
            cursor.execute("DROP TRIGGER refuse ON log; DROP FUNCTION refuse()")


def test_a_table_that_fails_is_reported(world: World, env_name: str, old_runs: None, kept_log: None) -> None:
    outcome = cleanup_of(world, env_name).run()
    assert list(outcome.failures) == ["log"]
    assert "kept for auditors" in outcome.failures["log"]
    assert (outcome.is_complete, outcome.tables["log"].matched, outcome.tables["log"].deleted) == (False, 3 * RUNS, 0)
    assert outcome.tables["dag_run"].deleted == RUNS - 3


def test_a_web_server_without_the_plugin_is_told_from_one_that_has_it(
    world: World, env_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_route, "PREFIX", "/mwaa-provider/nothing/v1")
    for ask in (cleanup_of(world, env_name).run, cleanup_of(world, env_name).plan):
        with pytest.raises(NoMetadataRoute, match=r"set its configuration option mwaa_provider\.metadata_api_cleanup"):
            ask()
    monkeypatch.undo()
    call = world.environment(env_name, "cli").call_plugin
    with pytest.raises(UnsupportedByTransport, match="web session"):
        ApiCleanup(call, "x", OPTIONS).run()
