# SPDX-License-Identifier: Apache-2.0
"""Route cli: `db clean` deletes old rows and nothing else, and its own output is not trusted."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    MwaaInputError,
    TableNotFound,
    UnexpectedAnswer,
    WebServerUnreachable,
)
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome
from airflow_mwaa_provider.metadata.cleaning.routes.db_clean import CliCleanup
from airflow_mwaa_provider.metadata.cleaning.routes.db_clean_output import error_line
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from tests.metadata.db_clean_stub import NOW, VERSIONS, WITHOUT_DAG, Answer, Environment, Old, RunsApi
from tests.metadata.history import XCOM, insert
from tests.metadata.lab import Lab
from tests.metadata.once import KNOWS_NO_AIRFLOW


def cleanup(environment: Environment, **options: Any) -> CliCleanup:
    def sleep(seconds: float) -> None:
        environment.time_s += seconds

    return CliCleanup(
        environment,
        CleanupOptions(now=NOW, **options),
        clock=lambda: environment.time_s,
        sleep=sleep,
        notify=said.append,
    )


said: list[str] = []


@pytest.fixture(params=VERSIONS)
def there(request: pytest.FixtureRequest) -> Environment:
    """Twelve runs, one for each month of a year, and rows of the other tables that grow."""
    environment = Environment(request.param)
    for month in range(12):
        environment.run(month * 30 + 2)
    environment.fill("log", [day + 0.5 for day in range(100)])
    environment.fill("job", [1, 40])
    environment.fill("trigger", [50, 60])
    environment.fill("dag", [70], dag_id="removed")
    environment.api.tables["dags"].append({"dag_id": "removed"})
    environment.fill("asset_event" if environment.is_3 else "dataset_event", [50])
    return environment


# -- what is deleted, and what is kept -------------------------------------------------------------


@KNOWS_NO_AIRFLOW
def test_plan_counts_and_deletes_nothing(there: Environment) -> None:
    before = {name: list(rows) for name, rows in there.tables.items()}
    plan = cleanup(there).plan()
    assert there.tables == before
    assert not there.deletes
    assert (plan.route, plan.airflow_version, plan.now) == ("cli", there.airflow_version, NOW)
    rows = {table.table: table.rows for table in plan.tables}
    assert rows.pop("dag_run") == 11
    assert rows.pop("task_instance") == rows.pop("xcom") == rows.pop("task_reschedule") == 22
    assert (rows.pop("log"), rows.pop("job")) == (70, 1)
    assert set(rows.values()) == {0}
    assert {table.older_than for table in plan.tables} == {NOW - timedelta(days=30)}
    order = [table.table for table in plan.tables]
    assert order.index("xcom") < order.index("task_instance") < order.index("dag_run")
    kept = {item.table: item for item in plan.kept}
    event = "asset_event" if there.is_3 else "dataset_event"
    assert set(kept) == {"trigger", "dag", event, "dag_run"}
    assert (kept["trigger"].rows, kept["dag"].rows, kept[event].rows) == (2, 1, 1)
    assert "even if other rows refer to it" in kept["trigger"].why


@KNOWS_NO_AIRFLOW
def test_what_is_old_goes_and_nothing_else(there: Environment) -> None:
    seen: list[tuple[str, int, int | None]] = []
    outcome = cleanup(there).run(lambda *told: seen.append(told))
    assert (outcome.route, outcome.is_complete, outcome.skipped, outcome.failures) == ("cli", True, [], {})
    assert there.runs() == there.runs("task_instance") == there.runs("xcom") == {"run0"}
    assert len(there.tables["log"]) == 30
    assert [len(there.tables[name]) for name in ("job", "trigger", "dag")] == [1, 2, 2]
    assert outcome.tables["log"].to_dict() | {"seconds": 0, "longest_transaction_s": 0} == {
        "matched": 70, "deleted": 70, "batches": 1, "seconds": 0, "longest_transaction_s": 0,
    }  # fmt: skip
    assert there.archives == []
    assert ("log", 70, 70) in seen
    assert [name for name, _ in there.deletes] == ["task_reschedule", "xcom", "task_instance", "dag_run", "log", "job"]


@KNOWS_NO_AIRFLOW
def test_by_table(there: Environment) -> None:
    options = {"tables": ["xcom", "log"], "retention_by_table": {"log": timedelta(days=90)}}
    cleanup(there, **options).run()
    assert len(there.runs()) == len(there.runs("task_instance")) == 12
    assert there.runs("xcom") == {"run0"}
    assert len(there.tables["log"]) == 90


@KNOWS_NO_AIRFLOW
def test_what_hangs_on_a_table_that_is_named_goes_with_it(there: Environment) -> None:
    outcome = cleanup(there, tables=["dag_run"], retention_by_table={"dag_run": timedelta(days=100)}).run()
    assert "log" not in outcome.tables
    assert there.runs() == there.runs("xcom") == {"run0", "run1", "run2", "run3"}


@KNOWS_NO_AIRFLOW
def test_rows_in_use_are_kept_even_by_force(there: Environment) -> None:
    tables = ["job", *(["connection_test_request"] if there.is_3 else [])]
    for table in tables:
        there.tables[table] = []
        there.fill(table, [0.0001, 1, 40])
    cleanup(there, retention=timedelta(0), force=True, tables=tables).run()
    assert [len(there.tables[table]) for table in tables] == [2] * len(tables)


@KNOWS_NO_AIRFLOW
def test_what_is_kept_of_the_last_day_is_shown(there: Environment) -> None:
    names = ["celery_taskmeta", "job", *(["connection_test_request"] if there.is_3 else [])]
    for name in names:
        there.tables[name] = []
        there.fill(name, [0.2, 0.4, 0.6, 0.8, 2])
    cleaning = cleanup(there, retention=timedelta(hours=1), force=True, tables=names)
    kept = {item.table: item.why for item in cleaning.plan().kept}
    assert kept == dict.fromkeys(names[1:], "it may be in use: route cli keeps the last day of this table")
    cleaning.run()
    assert [len(there.tables[name]) for name in names] == [0, *[4] * len(names[1:])]


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("state", ["running", "queued"])
def test_an_unfinished_run_keeps_what_began_after_it(there: Environment, state: str) -> None:
    stays = there.run(100, state=state)
    cleaning = cleanup(there)
    assert any("run12" in item.why and item.rows == 4 for item in cleaning.plan().kept if item.table == "dag_run")
    outcome = cleaning.run()
    assert not outcome.is_complete
    assert any(f"run {stays} of DAG d is {state}" in sentence and "api" in sentence for sentence in outcome.skipped)
    assert there.runs() == there.runs("task_instance") == {"run0", "run1", "run2", "run3", stays}
    assert len(there.tables["log"]) == 30


@KNOWS_NO_AIRFLOW
def test_a_run_that_was_cleared_keeps_tasks_from_before(there: Environment) -> None:
    stays = there.run(0.1, state="running", dated=NOW - timedelta(days=200))
    there.tables["task_instance"].append(Old(NOW - timedelta(days=199), "d", stays))
    cleanup(there).run()
    assert Old(NOW - timedelta(days=199), "d", stays) in there.tables["task_instance"]
    assert "run6" in there.runs()
    assert "run7" not in there.runs()


@KNOWS_NO_AIRFLOW
def test_a_run_that_ended_lately_stays(there: Environment) -> None:
    stays = there.run(45, lasted=timedelta(days=20))
    outcome = cleanup(there).run()
    assert outcome.is_complete
    assert there.runs() == {"run0", "run1", stays}
    assert cleanup(there).plan().tables[-1].older_than == NOW - timedelta(days=30)


@KNOWS_NO_AIRFLOW
def test_a_run_that_begins_again_meanwhile_stays(there: Environment) -> None:
    def clear(call: int) -> None:
        if there.deletes:
            there.api.tables["dag_runs"][5].update(state="queued", start_date=None, end_date=None)

    there.api.before = clear
    outcome = cleanup(there).run()
    assert {"run5", "run4"} <= there.runs() & there.runs("task_instance")
    assert any("run run5 of DAG d is queued" in sentence for sentence in outcome.skipped)


@KNOWS_NO_AIRFLOW
def test_nothing_of_runs_goes_if_the_role_sees_not_all(there: Environment) -> None:
    hidden = there.api.tables["dags"].pop()
    with pytest.raises(AccessDenied, match="sees 1 of 2 DAGs"):
        cleanup(there).run()
    assert not there.deletes
    assert cleanup(there, tables=["log"]).run().deleted == 70
    there.api.tables["dags"].append(hidden)
    assert cleanup(there).run().is_complete


@KNOWS_NO_AIRFLOW
def test_own_run_needs_no_word(there: Environment) -> None:
    own = there.run(0.02, state="running", dag_id="cleanup")
    outcome = cleanup(there, own_run=("cleanup", own)).run()
    assert outcome.is_complete
    assert own in there.runs()


# -- by DAG ----------------------------------------------------------------------------------------


@KNOWS_NO_AIRFLOW
def test_only_rows_of_some_dags() -> None:
    there = Environment("3.3.1")
    for dag_id in ("a", "b"):
        for month in range(4):
            there.run(month * 30 + 2, dag_id=dag_id)
    there.run(100, dag_id="b", state="running")
    there.fill("log", [40, 50], dag_id="a")
    there.fill("log", [40], dag_id="b")
    there.fill("import_error", [40])
    there.fill("deadline", [40], dag_id="a")
    cleaning = cleanup(there, dag_ids=["a"])
    assert any(item.table == "deadline" and "to a DAG" in item.why for item in cleaning.plan().kept)
    outcome = cleaning.run()
    assert outcome.is_complete, outcome.skipped
    assert "import_error" not in outcome.tables
    assert Counter(row.dag_id for row in there.tables["dag_run"]) == {"a": 1, "b": 5}
    assert Counter(row.dag_id for row in there.tables["log"]) == {"b": 1}


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("table", sorted(WITHOUT_DAG - {"trigger", "callback_request"}))
def test_a_table_without_dags_is_refused(table: str) -> None:
    with pytest.raises(MwaaInputError, match=f"cannot assign rows of table {table} to a DAG"):
        cleanup(Environment("3.3.1"), dag_ids=["a"], tables=[table]).plan()


@KNOWS_NO_AIRFLOW
def test_dag_ids_need_airflow_3_3() -> None:
    with pytest.raises(MwaaInputError, match=r"Airflow 2.10.3 of environment 'env' has no --dag-ids"):
        cleanup(Environment("2.10.3"), dag_ids=["a"]).plan()


@KNOWS_NO_AIRFLOW
def test_a_name_that_no_dag_has_is_refused() -> None:
    there = Environment("3.3.1")
    for month in range(4):
        there.run(month * 30 + 2, dag_id="loading")
    for act in ("plan", "run"):
        with pytest.raises(MwaaInputError) as caught:
            getattr(cleanup(there, dag_ids=["loading", "loadin"]), act)()
        assert str(caught.value) == (
            "dag_ids: no DAG is named 'loadin' (did you mean loading?). Correct it, or leave it out."
        )
    assert not there.deletes


@KNOWS_NO_AIRFLOW
def test_a_dag_is_known_by_its_row_or_by_its_runs() -> None:
    """A DAG whose row the REST API does not show, and one that no longer has a row."""
    there = Environment("3.3.1")
    for dag_id in ("hidden", "removed"):
        for month in range(3):
            there.run(month * 30 + 2, dag_id=dag_id)
    there.api.tables["dags"] = [{"dag_id": f"dag_{number}"} for number in range(250)]
    there.tables["dag"] = [Old(NOW, row["dag_id"]) for row in there.api.tables["dags"]] + [Old(NOW, "hidden")]
    assert cleanup(there, dag_ids=["hidden"], tables=["log"]).plan().rows == 0
    assert cleanup(there, dag_ids=["hidden", "removed", "dag_249"], tables=["log"]).plan().rows == 0
    with pytest.raises(MwaaInputError, match=r"no DAG is named 'dag_2490' \(did you mean dag_249 or "):
        cleanup(there, dag_ids=["hidden", "removed", "dag_2490"], tables=["log"]).plan()


# -- what is refused -------------------------------------------------------------------------------


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_age": timedelta(days=90)}, "Route cli does not support max_age"),
        ({"tables": ["trigger"]}, "cannot clean table trigger: .*refer to it. Leave it out, or use route database"),
        ({"tables": ["dag"]}, r"cannot clean table dag: it holds what exists, not what happened. Leave it out\.$"),
        ({"tables": ["serialized_dag"]}, "cannot clean table serialized_dag:"),
        ({"exclude": ["xcom"]}, "Table xcom cannot be excluded: its rows are deleted with those of dag_run"),
        ({"exclude": ["xcom", "dag_run"]}, "Exclude task_instance as well"),
        ({"tables": ["log"], "retention_by_table": {"job": timedelta(days=5)}}, "not among the tables"),
        ({"retention_by_table": {"xcom": timedelta(days=50)}}, "cannot be kept for longer"),
        ({"tables": ["log"], "exclude": ["log"]}, "No table is left"),
        ({"dag_ids": ["a,b"]}, "cannot be the name of a DAG"),
    ],
)
def test_refused_before_anything(there: Environment, options: dict[str, Any], words: str) -> None:
    with pytest.raises(MwaaInputError, match=words):
        cleanup(there, **options).run()
    assert not there.deletes


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("options", [{"tables": ["logs"]}, {"exclude": ["logs"]}])
def test_an_unknown_table_is_refused(there: Environment, options: dict[str, Any]) -> None:
    with pytest.raises(TableNotFound, match=r"knows no table 'logs'; .*celery_taskmeta, .*log, ") as caught:
        cleanup(there, **options).plan()
    assert caught.value.table == "logs"
    for name in ("variable", "connection"):
        with pytest.raises(TableNotFound, match=f"knows no table '{name}'"):
            cleanup(there, exclude=[name]).plan()
    cleanup(there, exclude=["asset_event", "serialized_dag"]).plan()
    if there.is_3:
        with pytest.raises(TableNotFound, match="sla_miss"):
            cleanup(there, tables=["sla_miss"]).plan()


@KNOWS_NO_AIRFLOW
def test_it_says_what_it_cannot_keep(there: Environment) -> None:
    assert "no other last run" in cleanup(there).plan().advice[0]
    assert "keep_last_run has no effect" in cleanup(there, keep_last_run=False).plan().advice[0]
    assert any("--batch-size" in text for text in cleanup(there).plan().advice) != there.is_3
    there.dependent["dag_run"] = [*there.dependent.get("dag_run", []), "xcom_v2"]
    there.tables["xcom_v2"] = [Old(NOW - timedelta(days=40))]
    assert any(item.table == "xcom_v2" and "does not know" in item.why for item in cleanup(there).plan().kept)
    outcome = cleanup(there).run()
    assert "also deletes rows of xcom_v2" in outcome.failures["dag_run"]
    assert len(there.runs()) == 12


@KNOWS_NO_AIRFLOW
def test_it_says_which_options_it_ignores(there: Environment) -> None:
    def ignored(**options: Any) -> list[str]:
        said.clear()
        cleaning = cleanup(there, **options)
        advice = [text for text in cleaning.plan().advice if "ignores" in text]
        cleaning.run()
        assert [text for text in said if "ignores" in text] == advice
        return advice

    assert ignored(batch_rows=10_000, workers=1) == []
    [text] = ignored(workers=2, max_pause=timedelta(0), batch_rows=500)
    names = "max_pause, workers" if there.is_3 else "max_pause, workers, batch_rows"
    assert text == f"Route cli ignores {names}: db clean has no such option."


@KNOWS_NO_AIRFLOW
def test_tables_are_those_of_the_rules(there: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a rule reads other rows, which db clean does not, this route skips its table."""
    rule = rules.RetentionRule("somebody reads it", query="SELECT 1 FROM {job} j WHERE j.id = t.id")
    monkeypatch.setitem(rules.ROOTS, "log", dataclasses.replace(rules.ROOTS["log"], retention_rules=(rule,)))
    plan = cleanup(there).plan()
    [kept] = [item for item in plan.kept if item.table == "log"]
    assert "log" not in {table.table for table in plan.tables}
    assert kept.why == "db clean deletes a row even if somebody reads it; use route database or api"
    with pytest.raises(MwaaInputError, match="table log: db clean deletes a row even if somebody reads it"):
        cleanup(there, tables=["log"]).plan()


# -- failures --------------------------------------------------------------------------------------


@KNOWS_NO_AIRFLOW
def test_a_slice_that_fails_is_halved(there: Environment) -> None:
    there.tables["log"] = []
    there.fill("log", [40 + i / 100 for i in range(4000)])
    there.fails["log"], there.fails_above["log"] = "-sqlalchemy.exc.OperationalError: statement timeout", 900
    outcome = cleanup(there, tables=["log"]).run()
    assert (outcome.is_complete or not there.is_3, outcome.failures) == (True, {})
    assert (outcome.tables["log"].deleted, there.tables["log"]) == (4000, [])
    failed = [rows for _, rows in there.deletes if rows > 900]
    assert failed[0] == 4000
    assert all(after <= before / 2 for before, after in pairwise(failed[:2]))


def clean_evenly_dated(airflow_version: str, rows: int, threshold: int) -> tuple[Outcome, Environment, int]:
    """Clean rows with calls that fail above a number of rows; also return how many calls failed."""
    there = Environment(airflow_version)
    there.fill("log", [40 + i / 100 for i in range(rows)])
    there.fails["log"], there.fails_above["log"] = "-sqlalchemy.exc.OperationalError: statement timeout", threshold
    outcome = cleanup(there, tables=["log"]).run()
    return outcome, there, sum(count > threshold for _, count in there.deletes)


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("threshold", [100, 130, 170, 260, 300, 450, 700, 900, 1100, 1700])
@pytest.mark.parametrize("rows", [1500, 4000])
def test_slices_are_halved_until_they_work(rows: int, threshold: int) -> None:
    outcome, there, failing = clean_evenly_dated("3.3.1", rows, threshold)
    assert (outcome.is_complete, outcome.failures, there.tables["log"]) == (True, {}, [])
    assert failing <= math.log2(rows / threshold) + math.log2(len(there.deletes)) + 1


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("airflow_version", VERSIONS)
def test_few_calls_fail(airflow_version: str) -> None:
    """On Airflow 2, each of them leaves a copy of its rows."""
    outcome, there, failing = clean_evenly_dated(airflow_version, 20_000, 900)
    assert (outcome.tables["log"].deleted, there.tables["log"]) == (20_000, [])
    assert 4 <= failing <= 7
    assert len(there.archives) == (0 if there.is_3 else failing)


@KNOWS_NO_AIRFLOW
def test_slices_grow_again_after_a_failure_that_passed() -> None:
    there = Environment("3.3.1")
    there.fill("log", [40 + i / 100 for i in range(30_000)])
    there.fails["log"] = "-sqlalchemy.exc.OperationalError: deadlock"

    def recover(*told: object) -> None:
        there.fails.clear()

    there.fails_above["log"] = 4000
    assert cleanup(there, tables=["log"]).run(recover).is_complete
    failing = [count for _, count in there.deletes if count > 4000]
    assert len(there.deletes) <= 12
    assert max(count for _, count in there.deletes[len(failing) :]) > 4000


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("shape", ["spread", "moment"])
def test_a_table_whose_slices_all_fail_is_given_up(there: Environment, shape: str) -> None:
    there.tables["log"] = []
    there.fill("log", [40 + (i / 100 if shape == "spread" else 0) for i in range(4000)])
    there.fails["log"] = "-sqlalchemy.exc.ProgrammingError: (psycopg2.errors.InsufficientPrivilege) log is audited"
    outcome = cleanup(there, tables=["log"]).run()
    assert "4000 rows were not deleted" in outcome.failures["log"]
    assert len(there.tables["log"]) == 4000
    sizes = [rows for _, rows in there.deletes]
    assert sizes == [4000] if shape == "moment" else all(b <= a / 2 for a, b in pairwise(sizes))
    assert len(sizes) < 8


@KNOWS_NO_AIRFLOW
def test_a_table_that_fails_is_told_although_the_status_was_0(there: Environment) -> None:
    there.fails["log"] = "-sqlalchemy.exc.ProgrammingError: (psycopg2.errors.InsufficientPrivilege) log is audited"
    outcome = cleanup(there).run()
    assert len(there.tables["log"]) == 100
    assert set(outcome.failures) == {"log"}
    assert "70 rows were not deleted" in outcome.failures["log"]
    assert ("Encountered error" if there.is_3 else "log is audited") in outcome.failures["log"]
    assert "\n" not in outcome.failures["log"]
    assert outcome.tables["log"].deleted == 0
    assert not outcome.is_complete
    assert there.runs() == {"run0"}
    assert bool(there.archives) == any(there.archives[:1] and there.archives[0] in text for text in outcome.skipped)
    assert bool(there.archives) != there.is_3


@KNOWS_NO_AIRFLOW
def test_what_a_failed_table_goes_with_is_left_alone(there: Environment) -> None:
    there.fails["xcom"] = "sqlalchemy.exc.IntegrityError: (psycopg2.errors.RestrictViolation) violates it"
    outcome = cleanup(there).run()
    assert set(outcome.failures) == {"xcom", "task_instance", "dag_run"}
    assert outcome.failures["xcom"].startswith("IntegrityError: (psycopg2.errors.RestrictViolation) violates it")
    assert "xcom, which is deleted with it" in outcome.failures["dag_run"]
    assert len(there.runs()) == len(there.runs("task_instance")) == 12
    assert len(there.tables["log"]) == 30


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("x.OperationalError: connection to postgresql://me:hunter2@host/db failed", "postgresql://***@host/db failed"),
        ("OperationalError: fe_sendauth: no password supplied, password=hunter2 sent", "password=*** sent"),
        ("ValueError: {'secret_key': 'hunter2', 'a': 1}", "'secret_key': ***, 'a': 1"),
    ],
)
def test_errors_show_no_secrets(line: str, shown: str) -> None:
    found = error_line(Answer("", f"Traceback (most recent call last):\n{line}\n", 1))
    assert found is not None
    assert "hunter2" not in found
    assert shown in found


@KNOWS_NO_AIRFLOW
def test_an_answer_that_was_lost_is_counted_and_not_repeated(there: Environment) -> None:
    there.lost = ["after"]
    outcome = cleanup(there, tables=["log"]).run()
    assert there.deletes == [("log", 70)]
    assert (outcome.deleted, outcome.failures) == (70, {})
    assert any("_airflow_deleted__log__" in sentence for sentence in outcome.skipped)


@KNOWS_NO_AIRFLOW
def test_a_call_whose_answer_was_lost_is_given_time_to_end(there: Environment) -> None:
    there.lost = ["late"]
    outcome = cleanup(there, tables=["log"]).run()
    assert there.deletes == [("log", 70)]
    assert outcome.deleted == 70
    assert outcome.paused_s > 0


@KNOWS_NO_AIRFLOW
def test_a_call_that_never_ran_is_sent_again_and_not_for_ever(there: Environment) -> None:
    there.lost = ["before", "before"]
    assert cleanup(there, tables=["log"]).run().deleted == 70
    there.fill("log", [40])
    there.lost = ["before"] * 9
    outcome = cleanup(there, tables=["log"]).run()
    assert "no answer within 60 s; 1 rows were not deleted by 3 calls" in outcome.failures["log"]
    assert len(there.lost) == 6


@KNOWS_NO_AIRFLOW
def test_a_process_that_was_killed_is_no_failure_of_the_table(there: Environment) -> None:
    there.lost = ["killed"]
    outcome = cleanup(there, tables=["log"]).run()
    assert there.deletes == [("log", 0), ("log", 70)]
    assert (outcome.deleted, outcome.failures) == (70, {})
    assert any("_airflow_deleted__log__1" in sentence for sentence in outcome.skipped)


@KNOWS_NO_AIRFLOW
def test_what_says_that_it_has_finished_is_not_believed(there: Environment) -> None:
    there.fails["log"] = "+"
    outcome = cleanup(there, tables=["log"]).run()
    assert outcome.failures == {"log": "db clean did not say why; 70 rows were not deleted"}
    assert there.deletes == [("log", 70)]


@KNOWS_NO_AIRFLOW
def test_an_environment_that_goes_away_ends_it(there: Environment) -> None:
    def fail(call: int) -> None:
        if there.deletes:
            raise WebServerUnreachable("no route to it")

    there.api.before = fail
    outcome = cleanup(there).run()
    assert [name for name, _ in there.deletes] == ["task_reschedule"]
    assert "no route" in outcome.failures["xcom"]
    assert not outcome.is_complete


@KNOWS_NO_AIRFLOW
def test_answers_of_something_else_are_refused(there: Environment) -> None:
    there.run_cli = lambda argv, idempotent=False: Answer("", "You need to initialize the database.\n", 1)  # type: ignore
    with pytest.raises(Exception, match=r"db clean --dry-run.*You need to initialize the database"):
        cleanup(there).plan()
    there = Environment("3.3.1")
    there.request = lambda *given, **more: {"html": "…"}  # type: ignore[method-assign]
    with pytest.raises(UnexpectedAnswer, match="cannot tell what is in use"):
        cleanup(there).run()


# -- small calls -----------------------------------------------------------------------------------


@KNOWS_NO_AIRFLOW
def test_max_duration_ends_it_between_calls(there: Environment) -> None:
    outcome = cleanup(there, max_duration=timedelta(seconds=40)).run()
    assert there.deletes == [("task_reschedule", 22), ("xcom", 22), ("task_instance", 22)]
    assert any("max_duration of 0:00:40 was over" in sentence for sentence in outcome.skipped)
    assert cleanup(there).run().is_complete


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("shape", ["even", "growing", "clustered", "moment"])
@pytest.mark.parametrize("rows_per_s", [500, 50_000])
def test_calls_stay_short(shape: str, rows_per_s: float) -> None:
    there, rows = Environment("3.3.1", rows_per_s), 30_000
    chance = random.Random(1)
    at: dict[str, Callable[[], float]] = {
        "even": lambda: chance.uniform(0, 400),
        "growing": lambda: chance.uniform(0, 20) ** 2,
        "clustered": lambda: chance.choice([35, 36, 200]) + chance.uniform(0, 0.001),
        "moment": lambda: chance.choice([40.0, 300.0]),
    }
    there.fill("log", [at[shape]() for _ in range(rows)])
    old = sum(row.time < NOW - timedelta(days=30) for row in there.tables["log"])
    outcome = cleanup(there, tables=["log"]).run()
    assert outcome.is_complete
    assert outcome.deleted == sum(count for _, count in there.deletes) == old
    assert all(row.time >= NOW - timedelta(days=30) for row in there.tables["log"])
    if shape == "moment":
        assert len(there.deletes) == 2  # rows with the same time cannot be split
        return
    assert there.deletes[0][1] <= 20_000
    assert there.counted <= 8 * len(there.deletes) + 20
    if rows_per_s == 500:
        assert all(count <= 5_000 for _, count in there.deletes[4:])
    else:
        assert len(there.deletes) <= 8


# -- the real command ------------------------------------------------------------------------------

# Forks of one interpreter, because importing Airflow takes 3-6 s.
_WARM = """
import json, os, sys, traceback
import airflow.cli.cli_parser, airflow.cli.commands.db_command, airflow.utils.db_cleanup
from airflow.__main__ import main
from airflow.models import import_all_models
from sqlalchemy.orm import configure_mappers
import_all_models()
configure_mappers()
print("ready", flush=True)
for line in sys.stdin:
    argv, *paths = json.loads(line)
    if (pid := os.fork()) == 0:
        for number, path in enumerate(paths, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv, status = ["airflow", *argv], 0
        try:
            main()
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class RealEnvironment:
    """The installed Airflow's command line on a database, and its runs through a REST API in memory."""

    def __init__(self, lab: Lab, database: str, folder: Path) -> None:
        self.name = "real"
        self.airflow_version = version("apache-airflow")
        self.answers: list[tuple[list[str], Answer]] = []
        self._lab, self._database, self._folder = lab, database, folder
        variables = {
            **os.environ,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": lab.postgres.url(database),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_HOME": str(folder / "airflow"),
        }
        with (folder / "warm.log").open("w") as log:
            self._warm = subprocess.Popen(
                [sys.executable, "-c", _WARM], env=variables, stdin=-1, stdout=-1, stderr=log, text=True
            )
        while (line := self._read()) != "ready":
            assert line, (folder / "warm.log").read_text()

    def _read(self) -> str:
        assert self._warm.stdout is not None
        return self._warm.stdout.readline().strip()

    def stop(self) -> None:
        self._warm.communicate(timeout=60)

    def run_cli(self, argv: list[str], *, idempotent: bool = False) -> Answer:
        assert self._warm.stdin is not None
        paths = [self._folder / "stdout", self._folder / "stderr"]
        self._warm.stdin.write(json.dumps([argv, *map(str, paths)]) + "\n")
        self._warm.stdin.flush()
        status = int(self._read())
        answer = Answer(paths[0].read_text(), paths[1].read_text(), 0 if status == 0 else 1)
        self.answers.append((argv, answer))
        return answer

    def request(self, method: str, path: str, params: Any = None, json: Any = None) -> Any:
        api = RunsApi(self.airflow_version)
        for dag_id, run_id, start_date, end_date, state in self.rows(
            "SELECT dag_id, run_id, start_date, end_date, state FROM dag_run"
        ):
            api.run(dag_id, run_id, start_date, end_date=end_date, state=state)
        api.tables["dags"] = [{"dag_id": dag_id} for (dag_id,) in self.rows("SELECT dag_id FROM dag")]
        return api(method, path, params=params, json=json)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = self._lab.connect(self._database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        finally:
            connection.close()


@pytest.fixture
def real(lab: Lab, database: str, tmp_path: Path) -> Iterator[RealEnvironment]:
    environment = RealEnvironment(lab, database, tmp_path)
    yield environment
    environment.stop()


def days_ago(days: str) -> str:
    return f"('{NOW.isoformat()}'::timestamptz - ({days}) * interval '1 day')"


def test_the_real_db_clean(lab: Lab, database: str, real: RealEnvironment) -> None:
    """One DAG's runs of 90, 60 and 5 days ago; another's that has run for 45 days, and its newer one of 40 days ago."""
    ages = "unnest(ARRAY[90, 60, 45, 40, 5]) WITH ORDINALITY AS ages (i, place)"
    dag_id = "CASE i WHEN 45 THEN 'live' ELSE 'done' END"
    began = days_ago("i")
    run = {"dag_id": dag_id, "run_id": "'run' || i", "start_date": began, "state": "'success'"}
    run |= dict.fromkeys(("execution_date", "logical_date", "run_after", "queued_at"), began)
    ended = {"end_date": f"CASE i WHEN 45 THEN NULL ELSE {began} + interval '1 hour' END"}
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('dag_bundle') IS NOT NULL")
        if cursor.fetchone()[0]:
            insert(cursor, "dag_bundle", {"name": "'dags-folder'"}, "generate_series(1, 1) i")
        names = {"dag_id": "x", "last_parsed_time": days_ago("0")}
        insert(
            cursor,
            "dag",
            {"is_paused": "false", "bundle_name": "'dags-folder'", **names},
            "unnest(ARRAY['done', 'live']) x",
        )
        running = {"state": "CASE i WHEN 45 THEN 'running' ELSE 'success' END"}
        insert(cursor, "dag_run", {**run, **ended, **running, "run_type": "'scheduled'"}, ages)
        insert(cursor, "task_instance", {**run, **ended, "task_id": "'t'", "map_index": "-1"}, ages)
        # No deleted run has one: each table that does takes three more calls.
        task = f"{ages} JOIN task_instance t ON t.run_id = 'run' || i JOIN dag_run r ON r.run_id = t.run_id"
        insert(cursor, "xcom", {**XCOM, "timestamp": "t.start_date"}, f"{task} WHERE i < 50")
        insert(cursor, "log", {"dttm": days_ago("i"), "event": "'e'"}, "generate_series(31, 40) i")
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'log is audited by password=hunter2' USING ERRCODE = 'insufficient_privilege'; END $$"
        )
        cursor.execute("CREATE TRIGGER audit BEFORE DELETE ON log FOR EACH STATEMENT EXECUTE FUNCTION refuse()")
    connection.close()

    options = CleanupOptions(now=NOW, tables=["dag_run", "log"])
    outcome = CliCleanup(real, options).run()

    assert set(outcome.failures) == {"log"}, outcome
    assert "10 rows were not deleted" in outcome.failures["log"]
    assert "hunter2" not in outcome.failures["log"]
    assert [answer.exit_status for argv, answer in real.answers] == [0] * len(real.answers)
    for table, rows in {"dag_run": 2, "task_instance": 2, "xcom": 0}.items():
        assert {row[0] for row in real.rows(f"SELECT run_id FROM {table}")} == {"run45", "run40", "run5"}
        assert outcome.tables[table].deleted == outcome.tables[table].matched == rows
    assert any("run run45 of DAG live is running" in sentence for sentence in outcome.skipped)
    if real.airflow_version.startswith("3.3"):
        assert CliCleanup(real, CleanupOptions(now=NOW, tables=["log"], dag_ids=["done"])).plan().rows == 0
        with pytest.raises(MwaaInputError, match=r"no DAG is named 'lives' \(did you mean live\?\)"):
            CliCleanup(real, CleanupOptions(now=NOW, tables=["log"], dag_ids=["done", "lives"])).plan()
    left = {row[0] for row in real.rows("SELECT relname FROM pg_class WHERE relname LIKE '\\_airflow\\_deleted%'")}
    assert {found for text in outcome.skipped for found in re.findall(r"_airflow_deleted__\w+", text)} == left
    check_the_stub(real)


def check_the_stub(real: RealEnvironment) -> None:
    """The stub of the tests above prints what this Airflow has just printed."""
    like = "2.10.3" if real.airflow_version.startswith("2.") else "3.3.1"
    if real.airflow_version != like:
        return
    stub = Environment(like)
    stub.fill("log", [float(day) for day in range(31, 41)])
    stub.fails["log"] = "-sqlalchemy.exc.ProgrammingError: …"
    of_log = [(argv, answer) for argv, answer in real.answers if "log" in argv]
    assert len(of_log) == 3
    for argv, answer in of_log:
        assert words(stub.run_cli([item for item in argv if item != "--verbose"]).stdout) == words(answer.stdout)


def words(text: str) -> list[str]:
    """Return the relevant lines, without what differs between calls and what only Airflow 2 adds."""
    lines = [
        re.sub(r"^.*(WARNING -|\[warning  \])|\[airflow\.utils.*|__\d{14}", "", line) for line in text.splitlines()
    ]
    of_clean = re.compile(r" ?(Performing|Data prior|table|=+|log |Checking|Found|Moving|Encountered)")
    return [line.strip() for line in lines if of_clean.match(line)]
