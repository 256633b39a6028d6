# SPDX-License-Identifier: Apache-2.0
"""The operator: what it returns, logs, measures and refuses."""

from __future__ import annotations

import json
import logging
import pickle
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3, stats
from airflow_mwaa_provider.exceptions import CleanupFailed, MwaaInputError, NoMetadataRoute
from airflow_mwaa_provider.operators.metadata import MetadataCleanupOperator

if TYPE_CHECKING:
    from tests.metadata.lab import Lab

# The history's runs are a month apart: twelve in the year before 2026-11-22, which is in the past.
MADE = {"metadata_conn_id": "metadata", "task_id": "clean"}


def old(lab: Lab, name: str) -> list[str]:
    connection = lab.connect(name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT run_id FROM dag_run ORDER BY end_date")
        found = [row[0] for row in cursor.fetchall()]
    connection.close()
    return found


@pytest.fixture
def of_old_time(lab: Lab, short_history: str, connections: Any) -> str:
    """The history, moved back so far that every run is old."""
    for table, names in {"dag_run": ("start_date", "end_date"), "task_instance": ("start_date", "end_date")}.items():
        items = ", ".join(f"{name} = {name} - interval '2 years'" for name in names)
        lab.execute(short_history, f"UPDATE {table} SET {items}")
    lab.execute(short_history, "UPDATE log SET dttm = dttm - interval '2 years'")
    return short_history


def test_a_task_cleans(lab: Lab, of_old_time: str, caplog: Any, capsys: Any, monkeypatch: Any) -> None:
    counted: dict[str, int] = {}
    backend = SimpleNamespace(
        incr=lambda name, count=1, tags=None, **_: counted.update({f"{name} {tags['table']}": count}),
        gauge=lambda name, value, **_: counted.update({name: value}),
    )
    monkeypatch.setattr("airflow_mwaa_provider.operators.metadata_cleanup.stats", lambda: backend)
    run_id = old(lab, of_old_time)[3]
    connection = lab.connect(of_old_time)
    with connection.cursor() as cursor:
        cursor.execute("SELECT dag_id FROM dag_run WHERE run_id = %s", (run_id,))
        [(dag_id,)] = cursor.fetchall()
    connection.close()
    context: Any = {"dag_run": SimpleNamespace(dag_id=dag_id, run_id=run_id)}
    operator = MetadataCleanupOperator(**MADE, retention_by_table={"log": timedelta(days=60)})
    with caplog.at_level(logging.INFO):
        returned = operator.execute(context)
    json.dumps(returned)  # valid as an XCom
    # The last run of each of the two DAGs is kept.
    keys = {"matched", "deleted", "batches", "seconds", "longest_transaction_s"}
    assert all(set(table) == keys for table in returned.values())
    left = old(lab, of_old_time)
    assert returned["dag_run"]["deleted"] == 12 - len(left)
    assert (len(left), run_id in left) == (3, True)
    assert returned["log"]["deleted"] == 36
    logged = caplog.text + capsys.readouterr().out
    assert "Route database: Database" in logged
    assert "log: 36 rows deleted in 1 transactions" in logged
    assert lab.postgres.password not in logged
    assert counted["mwaa_provider.metadata_cleanup.deleted log"] == 36
    assert counted["mwaa_provider.metadata_cleanup.longest_transaction_s"] > 0


def test_airflows_metrics_take_what_is_counted() -> None:
    stats().incr("mwaa_provider.metadata_cleanup.deleted", 3, tags={"table": "log"})
    stats().gauge("mwaa_provider.metadata_cleanup.longest_transaction_s", 0.2)


def test_a_dry_run_deletes_nothing(lab: Lab, of_old_time: str, caplog: Any, capsys: Any) -> None:
    before = old(lab, of_old_time)
    operator = MetadataCleanupOperator(**MADE, dry_run=True)
    with caplog.at_level(logging.INFO):
        returned = operator.execute({})
    assert old(lab, of_old_time) == before
    assert (returned["dag_run"]["matched"], returned["dag_run"]["deleted"]) == (10, 0)
    logged = caplog.text + capsys.readouterr().out
    assert "dag_run: 10 rows would be deleted" in logged
    assert "dag_run: 2 rows are kept: it is the last run of its DAG" in logged
    assert "nothing was deleted" in logged


def test_a_table_that_fails_fails_the_task(lab: Lab, of_old_time: str) -> None:
    lab.execute(
        of_old_time,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON log FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    with pytest.raises(CleanupFailed, match=r"Cleaning log failed: .*no") as caught:
        MetadataCleanupOperator(**MADE).execute({})
    assert caught.value.failures.keys() == {"log"}
    assert pickle.loads(pickle.dumps(caught.value)).failures == caught.value.failures
    assert len(old(lab, of_old_time)) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"retention": "30"}, "retention='30' is not a timedelta"),
        ({"retention": timedelta(hours=2)}, "below one day"),
        ({"tables": "dag_run"}, "is not a list of names"),
        ({"workers": "many"}, "workers='many' must be a positive number"),
        ({"archive_to": "bucket/prefix"}, "Write s3://BUCKET/PREFIX"),
        ({"route": "rest", "metadata_conn_id": None, "env_name": "e"}, "Route rest can only export"),
        ({"route": "api", "metadata_conn_id": None}, "Set env_name"),
        ({"route": "cli", "metadata_conn_id": None, "env_name": "e", "archive_to": "s3://b/p"}, "do not archive"),
        ({"route": "sql"}, "route='sql' is unknown"),
    ],
)
def test_what_makes_no_sense_is_refused(
    lab: Lab, of_old_time: str, monkeypatch: Any, given: dict[str, Any], message: str
) -> None:
    monkeypatch.delenv("AIRFLOW_ENV_NAME", raising=False)
    before = old(lab, of_old_time)
    with pytest.raises(MwaaInputError, match=message):
        MetadataCleanupOperator(**{**MADE, **given}).execute({})
    assert old(lab, of_old_time) == before


def test_lengths_of_time_are_checked_at_once() -> None:
    with pytest.raises(MwaaInputError, match="max_transaction=1 is not a timedelta"):
        MetadataCleanupOperator(task_id="t", max_transaction=1)
    with pytest.raises(MwaaInputError, match=r"retention_by_table\['xcom'\]=7 is not a timedelta"):
        MetadataCleanupOperator(task_id="t", retention_by_table={"xcom": 7})


def test_without_a_way_to_the_database_it_says_so(connections: Any) -> None:
    with pytest.raises(NoMetadataRoute, match="tasks of Airflow 3 cannot access it" if AIRFLOW_V_3 else "is sqlite"):
        MetadataCleanupOperator(task_id="t", env_name="").execute({})


def test_an_archive_is_taken_first(lab: Lab, of_old_time: str, bucket: str) -> None:
    operator = MetadataCleanupOperator(**MADE, archive_to=f"s3://{bucket}/old", tables=["dag_run", "log"])
    returned = operator.execute({})
    assert returned["dag_run"]["deleted"] == 10
    keys = [item["Key"] for item in lab.s3().list_objects_v2(Bucket=bucket)["Contents"]]
    assert any(key.endswith("/manifest.json") for key in keys)
    assert {"dag_run", "log", "task_instance"} <= {key.rsplit("/", 1)[1].split(".")[0] for key in keys}
