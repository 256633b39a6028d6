# SPDX-License-Identifier: Apache-2.0
"""Operators and task helpers publish their metrics in one request."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import math
import os
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from airflow import DAG

try:  # Airflow 3
    from airflow.sdk import task as task_decorator
except ImportError:  # Airflow 2
    from airflow.decorators import task as task_decorator

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
    """Return the sums of this hour in CloudWatch, by name and dimensions."""
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


@pytest.mark.parametrize(
    ("variables", "given"),
    [
        ({"AWS_DEFAULT_REGION": "no where"}, {}),
        ({"AWS_PROFILE": "nope"}, {}),
        ({"AWS_ENDPOINT_URL": "nonsense"}, {}),
        ({}, {"botocore_config": {"bogus": 1}}),
        ({}, {"aws_conn_id": "not_there"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("fails", [False, True], ids=["task well", "task fails"])
def test_a_wrong_configuration_is_a_warning_and_hides_no_error_of_the_task(
    cloudwatch: CloudWatchService, namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    variables: dict[str, str], given: dict[str, Any], *, fails: bool,
) -> None:  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as stack:
        if fails:
            stack.enter_context(pytest.raises(ZeroDivisionError))
        with task_metrics(namespace, hook=CloudWatchMetricsHook(**{"aws_conn_id": None, **given})):
            count_metric("rows")
            assert 1 / (not fails)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
               and record.name == CloudWatchMetricsHook.__module__]  # fmt: skip
    assert "\n" not in line


def test_any_failure_to_send_is_a_warning(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(CloudWatchMetricsHook):
        def put_metrics(self, *_: Any, **__: Any) -> int:
            raise MemoryError("full")

    with task_metrics(namespace, hook=Broken(None, "eu-west-1")):
        count_metric("rows")
    assert "MemoryError: full" in caplog.text


def test_what_cannot_be_counted_is_left_out_and_the_rest_is_sent(
    cloudwatch: CloudWatchService, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with task_metrics(namespace, hook=CloudWatchMetricsHook(None)):
        for number in (Decimal(2), 1, np.float32(0.5), np.int8(100), np.int8(100)):
            count_metric("good", number)
        for number in (1.0, math.nan, "x", None):
            count_metric("bad", number)  # type: ignore[arg-type]
        count_metric("bad", dimensions={"Good": "yes"})
        count_metric("unit", unit="Foo")
        count_metric("large", 2.0**360)
        count_metric("large", 2.0**360)
        count_metric("pairs", dimensions=[("a", "b")])  # type: ignore[arg-type]
        count_metric("lists", dimensions={"a": ["b"]})  # type: ignore[dict-item]
        with timed_metric("timed", dimensions=["a"]):  # type: ignore[arg-type]
            pass
    assert _published(cloudwatch, namespace) == {
        ("good", frozenset()): 203.5,
        ("bad", frozenset({("Good", "yes")})): 1.0,
    }
    assert "6 metrics of this task were left out" in caplog.text


def test_a_coroutines_metrics_are_sent_at_its_end(cloudwatch: CloudWatchService, namespace: str) -> None:
    """Several calls of one decorated function at once, each with its own block."""

    @task_metrics(namespace, hook=CloudWatchMetricsHook(None))
    async def load(rows: int) -> int:
        for _ in range(rows):
            await asyncio.sleep(0)
            count_metric("rows")
        await asyncio.to_thread(count_metric, "rows")
        await asyncio.get_running_loop().run_in_executor(None, count_metric, "in another thread")
        return rows

    async def both() -> list[int]:
        return await asyncio.gather(load(3), load(5))

    assert inspect.iscoroutinefunction(load)
    assert asyncio.run(both()) == [3, 5]
    assert len(cloudwatch.sent) == 2
    assert _published(cloudwatch, namespace) == {
        ("rows", frozenset()): 10.0,
        ("in another thread", frozenset()): 2.0,
    }


def test_a_generators_metrics_are_its_own(cloudwatch: CloudWatchService, namespace: str) -> None:
    """What its consumer measures between the steps belongs to the consumer."""
    hook = CloudWatchMetricsHook(None)

    @task_metrics(namespace, dimensions={"Of": "generator"}, hook=hook)
    def read(rows: int) -> Iterator[int]:
        for row in range(rows):
            count_metric("rows")
            try:
                yield row
            except KeyError:
                yield -1
        return "end"

    with task_metrics(namespace, dimensions={"Of": "reader"}, hook=hook):
        one, other = read(3), read(5)
        assert next(one) == next(other) == 0
        count_metric("rows")
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(count_metric, ["rows"] * 4))
        assert one.throw(KeyError) == -1  # type: ignore[attr-defined]
        assert list(one) == [1, 2]
        other.close()  # type: ignore[attr-defined]
    assert len(cloudwatch.sent) == 3
    assert _published(cloudwatch, namespace) == {
        ("rows", frozenset({("Of", "generator")})): 4.0,
        ("rows", frozenset({("Of", "reader")})): 5.0,
    }


def test_threads_count_for_the_block_that_they_were_started_in(cloudwatch: CloudWatchService, namespace: str) -> None:
    def count() -> None:
        for _ in range(3_000):
            count_metric("rows")

    hook = CloudWatchMetricsHook(None)
    switched_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with task_metrics(namespace, dimensions={"Block": "outer"}, hook=hook):
            count_metric("rows")
            with task_metrics(namespace, dimensions={"Block": "inner"}, hook=hook), ThreadPoolExecutor(8) as threads:
                with_context = [threads.submit(copy_context().run, count) for _ in range(4)]
                without = [threads.submit(count) for _ in range(4)]
                for each in with_context + without:
                    each.result()
    finally:
        sys.setswitchinterval(switched_s)
    assert _published(cloudwatch, namespace) == {
        ("rows", frozenset({("Block", "outer")})): 1.0,
        ("rows", frozenset({("Block", "inner")})): 24_000.0,
    }


def test_a_forked_process_does_not_send_what_the_task_has_counted(
    cloudwatch: CloudWatchService, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with task_metrics(namespace, hook=CloudWatchMetricsHook(None)):
        count_metric("rows")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(MwaaInputError, match="return their numbers"):
            count_metric("rows")
    assert not cloudwatch.sent


def test_a_task_does_not_wait_for_cloudwatch(
    cloudwatch: CloudWatchService, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    is_over = threading.Event()

    def hang(_: int) -> None:
        is_over.wait(60)

    cloudwatch.fault = hang
    with task_metrics(namespace, hook=CloudWatchMetricsHook(None), timeout_s=0.2):
        count_metric("rows")
    assert not is_over.is_set()
    is_over.set()
    assert "did not answer within 0.2 seconds. It may have accepted them" in caplog.text


def test_what_cannot_be_measured_is_refused_when_it_is_decorated() -> None:
    async def read() -> AsyncIterator[int]:
        yield 1

    def load() -> None:
        """Load nothing."""

    with pytest.raises(MwaaInputError, match="read is an asynchronous generator"):
        task_metrics("N")(read)
    with pytest.raises(MwaaInputError, match="Put @task_metrics below @task"):
        task_metrics("N")(task_decorator(load))
    with pytest.raises(MwaaInputError, match="must be a dict"):
        task_metrics("N", dimensions=["a"])  # type: ignore[arg-type]


def test_measuring_without_a_place_to_collect_is_refused_by_name() -> None:
    with pytest.raises(MwaaInputError, match="@task_metrics"):
        count_metric("rows")
    with pytest.raises(MwaaInputError, match="@task_metrics"), timed_metric("load"):
        pass
