# SPDX-License-Identifier: Apache-2.0
"""Operators and helpers of tasks publish what they were given, in one request."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from airflow import DAG

from airflow_mwaa_provider.exceptions import MetricsNotSent, MwaaInputError
from airflow_mwaa_provider.hooks.cloudwatch import CloudWatchMetricsHook, count_metric, task_metrics, timed_metric
from airflow_mwaa_provider.monitoring.metrics import Metric
from airflow_mwaa_provider.operators.cloudwatch import CloudWatchMetricsOperator, WorkerMetricsOperator
from tests.monitoring.conftest import CloudWatchService, cloudwatch, running_cloudwatch

__all__ = ["cloudwatch", "running_cloudwatch"]

SAMPLE = {
    "virtual_memory_total", "virtual_memory_available", "virtual_memory_used", "virtual_memory_free",
    "virtual_memory_active", "virtual_memory_inactive", "virtual_memory_percent", "cpu_times_percent_user",
    "cpu_times_percent_system", "cpu_times_percent_idle",
}  # fmt: skip


@pytest.fixture
def namespace() -> str:
    return f"Test/{uuid.uuid4().hex[:12]}"


def _published(service: CloudWatchService, namespace: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """By name and dimensions: the sum of what CloudWatch has of this hour."""
    client, found = service.client(), {}
    now = datetime.now(UTC)
    for page in client.get_paginator("list_metrics").paginate(Namespace=namespace):
        for metric in page["Metrics"]:
            (point,) = client.get_metric_statistics(
                **metric, StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1), Period=86_400,
                Statistics=["Sum"],
            )["Datapoints"]  # fmt: skip
            dimensions = frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"])
            found[metric["MetricName"], dimensions] = point["Sum"]
    return found


def test_metrics_given_as_dicts_are_published(cloudwatch: CloudWatchService, namespace: str) -> None:
    task = CloudWatchMetricsOperator(
        task_id="t",
        namespace=namespace,
        metrics=[{"name": "rows", "value": 5, "unit": "Count", "dimensions": {"Table": "a"}}, Metric("cost", 1.5)],
        aws_conn_id=None,
    )
    assert task.execute({}) == {"metrics": 2, "requests": 1}
    assert _published(cloudwatch, namespace) == {
        ("rows", frozenset({("Table", "a")})): 5.0,
        ("cost", frozenset()): 1.5,
    }


@pytest.mark.parametrize("is_native", [False, True])
def test_every_part_of_a_metric_is_a_template(
    cloudwatch: CloudWatchService, namespace: str, *, is_native: bool
) -> None:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1), render_template_as_native_obj=is_native):
        task = CloudWatchMetricsOperator(
            task_id="t",
            namespace="{{ namespace }}",
            metrics=[{"name": "rows_{{ day }}", "value": "{{ rows }}", "dimensions": {"Day": "{{ day }}"}}],
            aws_conn_id=None,
        )
    task.render_template_fields({"namespace": namespace, "rows": 1e3, "day": "20261130"})  # type: ignore[typeddict-item]
    task.execute({})
    assert _published(cloudwatch, namespace) == {("rows_20261130", frozenset({("Day", "20261130")})): 1000.0}


def test_what_another_task_returned_is_published(cloudwatch: CloudWatchService, namespace: str) -> None:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)):
        task = CloudWatchMetricsOperator(task_id="t", namespace=namespace, metrics="{{ returned }}", aws_conn_id=None)
    task.metrics = [{"name": "rows", "value": 7}]  # as Airflow sets it from an XComArg
    task.execute({})
    assert _published(cloudwatch, namespace) == {("rows", frozenset()): 7.0}


def test_what_rendered_to_nothing_is_refused(cloudwatch: CloudWatchService, namespace: str) -> None:
    task = CloudWatchMetricsOperator(task_id="t", namespace=namespace, metrics="{{ none }}", aws_conn_id=None)
    task.render_template_fields({"none": None})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(MwaaInputError, match="metrics"):
        task.execute({})
    assert not cloudwatch.sent


def test_a_namespace_of_aws_is_refused_when_the_dag_is_parsed() -> None:
    with pytest.raises(MwaaInputError, match="belong to AWS"):
        CloudWatchMetricsOperator(task_id="t", namespace="AWS/MWAA", metrics=[])


def test_a_worker_publishes_the_samples_metrics_in_one_request(
    cloudwatch: CloudWatchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = f"Test/{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("AIRFLOW_ENV_NAME", "prod")
    numbers = WorkerMetricsOperator(task_id="t", namespace=namespace, aws_conn_id=None).execute({})
    assert len(cloudwatch.sent) == 1
    published = {name: dict(dimensions) for name, dimensions in _published(cloudwatch, namespace)}
    assert published.keys() == numbers.keys() > SAMPLE
    assert {each["Environment"] for each in published.values()} == {"prod"}
    assert all(set(each) == {"Environment", "Category", "Host"} for each in published.values())
    assert published["virtual_memory_total"]["Category"] == "virtual_memory"


def test_without_the_environments_name_there_is_no_such_dimension(
    cloudwatch: CloudWatchService, namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW_ENV_NAME", raising=False)
    WorkerMetricsOperator(task_id="t", namespace=namespace, aws_conn_id=None).execute({})
    assert all(dict(dimensions).keys() == {"Category", "Host"} for _, dimensions in _published(cloudwatch, namespace))


def test_a_worker_without_permission_fails_by_the_actions_name(cloudwatch: CloudWatchService, namespace: str) -> None:
    cloudwatch.fault = lambda _: (403, "AccessDenied", False)
    with pytest.raises(MetricsNotSent, match="Allow cloudwatch:PutMetricData"):
        WorkerMetricsOperator(task_id="t", namespace=namespace, aws_conn_id=None).execute({})


def test_what_a_task_measures_is_sent_at_its_end(cloudwatch: CloudWatchService, namespace: str) -> None:
    @task_metrics(namespace, dimensions={"Table": "a"}, hook=CloudWatchMetricsHook(None))
    def load(rows: int) -> str:
        """Load."""
        for _ in range(rows):
            count_metric("rows")
        count_metric("bytes", 10, unit="Bytes", dimensions={"Form": "csv"})
        with timed_metric("load"):
            assert not cloudwatch.sent
        return "done"

    assert (load(3), load.__name__, load.__doc__) == ("done", "load", "Load.")
    assert len(cloudwatch.sent) == 1
    published = _published(cloudwatch, namespace)
    assert published.pop(("load", frozenset({("Table", "a")}))) >= 0.0
    assert published == {
        ("rows", frozenset({("Table", "a")})): 3.0,
        ("bytes", frozenset({("Table", "a"), ("Form", "csv")})): 10.0,
    }


def test_a_task_that_fails_sends_what_it_measured(cloudwatch: CloudWatchService, namespace: str) -> None:
    @task_metrics(namespace, hook=CloudWatchMetricsHook(None))
    def fail() -> float:
        count_metric("rows", 2)
        with timed_metric("division"):
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert {name for name, _ in _published(cloudwatch, namespace)} == {"rows", "division"}


def test_metrics_that_cannot_be_sent_do_not_fail_the_task(
    cloudwatch: CloudWatchService, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    cloudwatch.fault = lambda _: (403, "AccessDenied", False)
    with caplog.at_level(logging.WARNING), task_metrics(namespace, hook=CloudWatchMetricsHook(None)):
        count_metric("rows")
    assert "Allow cloudwatch:PutMetricData" in caplog.text
    with caplog.at_level(logging.WARNING), task_metrics(namespace, hook=CloudWatchMetricsHook(None)):
        count_metric("rows", dimensions={"Empty": ""})
    assert "'Empty' is empty" in caplog.text


def test_measuring_without_a_place_to_collect_is_refused_by_name() -> None:
    with pytest.raises(MwaaInputError, match="@task_metrics"):
        count_metric("rows")
    with pytest.raises(MwaaInputError, match="@task_metrics"), timed_metric("load"):
        pass
