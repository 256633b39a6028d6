# SPDX-License-Identifier: Apache-2.0
"""Measures of the metadata database reach CloudWatch in one request, and what cannot be measured is reported."""

from __future__ import annotations

import json
import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_mwaa_provider.exceptions import DatabaseUnavailable, MetricsNotSent, MwaaInputError, NoMetadataRoute
from airflow_mwaa_provider.hooks.metadata import MetadataHook
from airflow_mwaa_provider.metadata.measures import Measures
from airflow_mwaa_provider.monitoring.metadata_metrics import METADATA_METRICS
from airflow_mwaa_provider.operators.cloudwatch import MetadataMetricsOperator
from tests.metadata.lab import Lab
from tests.metadata.random_metadata import Catalog
from tests.monitoring.conftest import CloudWatchService, cloudwatch, running_cloudwatch

__all__ = ["cloudwatch", "running_cloudwatch"]

Series = dict[tuple[str, frozenset[tuple[str, str]]], dict[str, Any]]


def published(service: CloudWatchService, namespace: str) -> Series:
    """Return CloudWatch's metrics of this hour, by name and dimensions."""
    client, now, found = service.client(), datetime.now(UTC), {}
    for page in client.get_paginator("list_metrics").paginate(Namespace=namespace):
        for metric in page["Metrics"]:
            (point,) = client.get_metric_statistics(
                **metric, StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1), Period=86_400,
                Statistics=["Sum", "SampleCount", "Minimum", "Maximum"],
            )["Datapoints"]  # fmt: skip
            dimensions = frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"])
            found[metric["MetricName"], dimensions] = point
    return found


def connect(lab: Lab, database: str, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Define the connection to a database as a variable, as on MWAA."""
    address = {"host": "127.0.0.1", "port": lab.postgres.port, "schema": database, "login": "airflow_user"}
    postgres = {"conn_type": "postgres", **address, "password": lab.postgres.password, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_METADATA", json.dumps(postgres))


@pytest.fixture
def operator(
    lab: Lab, short_history: str, cloudwatch: CloudWatchService, monkeypatch: pytest.MonkeyPatch
) -> MetadataMetricsOperator:
    connect(lab, short_history, monkeypatch)
    return MetadataMetricsOperator(
        task_id="t", namespace=f"Test/{uuid.uuid4().hex[:12]}", env_name="prod", metadata_conn_id="metadata",
        aws_conn_id=None,
    )  # fmt: skip


def test_all_that_is_measured_is_published_in_one_request(
    lab: Lab,
    short_history: str,
    cloudwatch: CloudWatchService,
    operator: MetadataMetricsOperator,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = "start_date = now() - interval '10 minutes'"
    lab.execute(
        short_history,
        f"UPDATE dag_run SET state = 'running', {began} WHERE id = (SELECT max(id) FROM dag_run)",
        "UPDATE task_instance SET state = 'queued', queued_dttm = now() - interval '5 minutes' "
        "WHERE task_id = 'task_1'",
        *(
            f"UPDATE {table} SET {column} = {value}"
            for table, column, value in (
                ("dag_run", "clear_number", "0"),
                ("dag_run", "data_interval_end", "start_date - interval '3 seconds'"),
                ("dag_run", "run_after", "start_date - interval '3 seconds'"),
                ("dag", "timetable_periodic", "true"),
            )
            if has(lab, short_history, table, column)
        ),
    )
    with caplog.at_level(logging.INFO):
        returned = operator.execute({})
    assert json.loads(json.dumps(returned)) == returned  # valid as an XCom
    assert set(returned) == set(METADATA_METRICS)
    logged = caplog.text + capsys.readouterr().out
    assert len(cloudwatch.sent) == 1
    assert lab.postgres.password not in logged
    series = published(cloudwatch, operator.namespace)
    for (name, dimensions), point in series.items():
        by, unit, _ = METADATA_METRICS[name]
        assert point["Unit"] == unit
        of = dict(dimensions)
        assert of.pop("Environment") == "prod"
        assert set(of) == ({by} if by else set())
        if name != "scheduling_delay":
            number = returned[name][of[by]] if by else returned[name]
            assert (point["SampleCount"], point["Sum"]) == (1.0, pytest.approx(number))
    assert {name for name, _ in series} == set(METADATA_METRICS)
    late = series["scheduling_delay", frozenset({("Environment", "prod")})]
    assert [late[each] for each in ("SampleCount", "Minimum", "Maximum")] == [1.0, 3.0, 3.0]
    assert returned["running_dag_run_age"] == pytest.approx(600, abs=30)
    assert returned["queued_task_age"] == pytest.approx(300, abs=30)
    assert returned["task_instances"]["queued"] == 12


def has(lab: Lab, database: str, table: str, column: str) -> bool:
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        found = Catalog(cursor).has(table, column)
    connection.close()
    return found


@pytest.mark.once
def test_what_is_left_out_is_told_in_one_line_a_reason(
    operator: MetadataMetricsOperator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing = {"table_size": "the API does not tell it", "database_size": "the API does not tell it", "x": "too slow"}
    measured = Measures({"import_errors": 1}, missing)
    monkeypatch.setattr(MetadataHook, "measure", lambda self, **_: measured)
    with caplog.at_level(logging.WARNING):
        assert operator.execute({}) == {"import_errors": 1}
    logged = caplog.text + capsys.readouterr().out
    assert "Not published: table_size, database_size: the API does not tell it" in logged
    assert "Not published: x: too slow" in logged
    measured.numbers.clear()
    with pytest.raises(MwaaInputError, match="nothing could be measured"):
        operator.execute({})


@pytest.mark.once
def test_without_the_environments_name_nothing_is_published(
    cloudwatch: CloudWatchService, operator: MetadataMetricsOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_ENV_NAME", raising=False)
    operator.env_name = None
    with pytest.raises(MwaaInputError, match=r"AIRFLOW_ENV_NAME is not set, .* Give env_name"):
        operator.execute({})
    assert not cloudwatch.sent
    monkeypatch.setenv("AIRFLOW_ENV_NAME", "own")
    operator.execute({})
    assert {dict(dimensions)["Environment"] for _, dimensions in published(cloudwatch, operator.namespace)} == {"own"}


@pytest.mark.once
def test_the_ways_that_fail_say_so_in_one_line(
    lab: Lab,
    short_history: str,
    cloudwatch: CloudWatchService,
    operator: MetadataMetricsOperator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloudwatch.fault = lambda _: (403, "AccessDenied", False)
    with pytest.raises(MetricsNotSent, match="Allow cloudwatch:PutMetricData"):
        operator.execute({})
    cloudwatch.fault = lambda number: (400, "Throttling", False) if number == 2 else None
    operator.execute({})
    assert len(cloudwatch.sent) == 3
    connect(lab, short_history, monkeypatch, password="wrong")
    with pytest.raises(DatabaseUnavailable, match="Check the connection's user and password") as caught:
        operator.execute({})
    assert "\n" not in str(caught.value)


@pytest.mark.once
def test_what_is_wrong_when_the_dag_is_parsed() -> None:
    with pytest.raises(NoMetadataRoute, match="can only clean"):
        MetadataMetricsOperator(task_id="t", route="cli")
    with pytest.raises(MwaaInputError, match="Leave metadata_conn_id out"):
        MetadataMetricsOperator(task_id="t", route="rest", metadata_conn_id="m")
    with pytest.raises(MwaaInputError, match="statement_timeout"):
        MetadataMetricsOperator(task_id="t", statement_timeout=timedelta(0))
