# SPDX-License-Identifier: Apache-2.0
"""A dashboard's values, read back from moto's CloudWatch over HTTP, where known values were published.

moto is used without the check that rejects metrics like CloudWatch, because only MWAA may publish to its namespaces.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.config import Config

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaInputError
from airflow_mwaa_provider.monitoring.alarms import ALARMS, alarm_on
from airflow_mwaa_provider.monitoring.dashboard import GRAPHS, Search
from airflow_mwaa_provider.monitoring.mwaa_metrics import find
from airflow_mwaa_provider.monitoring.readings import Reading, Readings, read_dashboard
from tests.local.conftest import moto_url
from tests.monitoring.test_deployment import Answering, refusal

__all__ = ["moto_url"]

NOW_S = 1_764_500_123.0
END_S = 1_764_500_400.0
"""The end of the current period."""
PERIODS = 36
OWN_UNITS = {"scheduling_delay": "Seconds", "privilege_changes": "Count"}
"""For metrics of this package that the dashboard shows as one line, not as a search."""


class Publisher:
    """Publish series of one environment, with a value for each period of the last three hours."""

    def __init__(self, client: Any, env_name: str) -> None:
        self.client, self.env_name = client, env_name

    def __call__(self, namespace: str, name: str, values: list[float | None], **dimensions: str) -> None:
        given = [{"Name": key, "Value": value} for key, value in {**dimensions, "Environment": self.env_name}.items()]
        begin_s = END_S - len(values) * 300
        data = [
            {
                "MetricName": name,
                "Dimensions": given,
                "Value": value,
                "Timestamp": datetime.fromtimestamp(begin_s + number * 300 + 20, UTC),
            }
            for number, value in enumerate(values)
            if value is not None
        ]
        self.client.put_metric_data(Namespace=namespace, MetricData=data)


@pytest.fixture(scope="module")
def client(moto_url: str) -> Any:
    return boto3.client(
        "cloudwatch",
        endpoint_url=moto_url,
        region_name="eu-west-1",
        aws_access_key_id="AKIA0",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, disable_request_compression=True),  # for old releases
    )


@pytest.fixture
def publish(client: Any, request: pytest.FixtureRequest) -> Publisher:
    return Publisher(client, f"e-{abs(hash(request.node.name))}")


def read(publish: Publisher, **given: Any) -> Readings:
    return read_dashboard(publish.client, publish.env_name, **{"now_s": NOW_S, **given})


def by_name(found: Readings) -> dict[str, Reading]:
    return {reading.name: reading for reading in found.shown}


def steady(value: float) -> list[float | None]:
    return [value] * PERIODS


def test_values_are_those_that_were_published(publish: Publisher) -> None:
    values: list[float | None] = [None if number in (4, 5) else number * 1.5 for number in range(PERIODS)]
    publish("AmazonMWAA", "QueuedTasks", values, Function="Executor")
    publish("AWS/MWAA", "FreeableMemory", [2.0**30 + number for number in range(PERIODS)], DatabaseRole="WRITER")
    publish("AWS/MWAA", "QueuedTasks", steady(77))  # the same name, but not on the dashboard
    found = by_name(read(publish))
    queued = found["queued tasks"]
    begin_s = END_S - 3 * 3600
    assert queued.points == tuple((begin_s + n * 300, value) for n, value in enumerate(values) if value is not None)
    assert (queued.unit, queued.alarm, queued.series.stat) == ("Count", None, "Maximum")
    memory = found["database free memory"]
    assert memory.values == [2.0**30 + number for number in range(PERIODS)]
    assert (memory.unit, memory.worst) == ("Bytes", 2.0**30)
    assert memory.alarm is not None
    assert memory.alarm.key == "database-memory"


@pytest.mark.once
def test_fewer_hours_are_read(publish: Publisher) -> None:
    publish("AmazonMWAA", "QueuedTasks", list(range(PERIODS)), Function="Executor")
    found = read(publish, hours=1)
    assert by_name(found)["queued tasks"].values == list(range(24, 36))
    assert (found.start_s, found.end_s) == (END_S - 3600, END_S)


@pytest.mark.once
def test_what_is_over_a_threshold_comes_first_by_how_far(publish: Publisher) -> None:
    publish("AmazonMWAA", "SchedulerHeartbeat", steady(60), Function="Scheduler")
    publish("AWS/MWAA", "CPUUtilization", steady(97), Cluster="Scheduler")  # 2 % above
    publish("AWS/MWAA", "ApproximateAgeOfOldestTask", [*steady(0)[1:], 5400])  # three times the threshold
    publish("AWS/MWAA", "FreeableMemory", steady(2.0**28), DatabaseRole="WRITER")  # half of it
    publish("AWS/MWAA", "MemoryUtilization", [99, *steady(10)[1:]], Cluster="Scheduler")  # earlier
    publish("AWS/MWAA", "CPUUtilization", [100, *steady(10)[1:]], Cluster="WebServer")  # earlier, and further above
    publish("AmazonMWAA", "QueuedTasks", steady(1e6), Function="Executor")
    found = read(publish)
    assert [(reading.name, reading.is_over, reading.was_over) for reading in found.shown] == [
        ("oldest queued task", True, True),
        ("database free memory", True, True),
        ("CPU, schedulers", True, True),
        ("CPU, web server", False, True),
        ("memory, schedulers", False, True),
        # In the dashboard's order: the sample count of the CPU of base workers is none here.
        ("queued tasks", False, False),
        ("scheduler heartbeats", False, False),
    ]
    assert [round(reading.excess, 3) for reading in found.shown] == [2, 0.5, 0.021, 0.053, 0.042, 0, 0]


@pytest.mark.once
def test_heartbeats_that_are_missing_are_the_worst_of_all(publish: Publisher) -> None:
    publish("AWS/MWAA", "ApproximateAgeOfOldestTask", steady(1e6))
    first, second = read(publish).shown
    assert (first.name, first.points, first.is_over, first.excess) == ("scheduler heartbeats", (), True, math.inf)
    assert second.name == "oldest queued task"


@pytest.mark.once
@pytest.mark.parametrize(("age", "is_over"), [(2, False), (3, True)])
def test_heartbeats_that_ended_are_over_after_the_alarms_time(publish: Publisher, age: int, is_over: bool) -> None:
    beats: list[float | None] = [*steady(60)[age:], *[None] * age]
    publish("AmazonMWAA", "SchedulerHeartbeat", beats, Function="Scheduler")
    assert by_name(read(publish))["scheduler heartbeats"].is_over is is_over


@pytest.mark.once
def test_an_old_failure_was_over_and_is_not(publish: Publisher) -> None:
    failures: list[float | None] = [*[None] * 10, 2, *[None] * 25]
    publish("AmazonMWAA", "OperatorFailures", failures, Operator="MetadataCleanupOperator")
    failed = by_name(read(publish))["cleanups that failed"]
    assert (failed.is_over, failed.was_over, failed.excess) == (False, True, 2)


def test_failed_runs_are_found_by_dag_the_most_first(publish: Publisher) -> None:
    publish("AmazonMWAA", "SchedulerHeartbeat", steady(60), Function="Scheduler")
    publish("AmazonMWAA", "DAGDurationFailed", [1000, *[None] * 35], DAG="once")
    publish("AmazonMWAA", "DAGDurationFailed", [10, 20, 30, *[None] * 33], DAG="often")
    publish("AmazonMWAA", "DAGDurationFailed", [1], DAG="a", Task="with a task")
    Publisher(publish.client, f"{publish.env_name}-other")("AmazonMWAA", "DAGDurationFailed", [1], DAG="others")
    for host in ("10.0.0.1", "10.0.0.2"):
        publish("MWAA-Custom", "disk_percent", steady(40), Environment=publish.env_name, Host=host, Category="disk")
    found = read(publish)
    assert [(reading.name, reading.values, reading.unit) for reading in found.shown if reading.is_found] == [
        ("failed runs, often", [1, 1, 1], "Count"),
        ("failed runs, once", [1], "Count"),
        ("worker disk, 10.0.0.1", steady(40), "Percent"),
        ("worker disk, 10.0.0.2", steady(40), "Percent"),
    ]
    assert {"worker memory", "worker kills", "CPU, schedulers"} <= set(found.without_data)
    assert not {"failed runs", "worker disk", "scheduler heartbeats"} & set(found.without_data)


@pytest.mark.once
def test_an_environment_without_data_has_none(publish: Publisher) -> None:
    found = read(publish)
    assert not found.has_data
    assert [reading.name for reading in found.shown] == ["scheduler heartbeats"]
    assert "queued tasks" in found.without_data


@pytest.mark.once
def test_hours_and_names_that_are_none_are_refused(publish: Publisher) -> None:
    for hours in (0, 337):
        with pytest.raises(MwaaInputError, match="Give 1 to 336"):
            read(publish, hours=hours)
    with pytest.raises(MwaaInputError, match="not a name that MWAA accepts"):
        read_dashboard(publish.client, "1st")


# -- what CloudWatch answers -----------------------------------------------------------------------------


class Many:
    """A CloudWatch with more series than one call accepts, which answers everything in pages."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        self.asked: list[int] = []

    def list_metrics(self, request: dict[str, Any]) -> dict[str, Any]:
        self.listed.append(request)
        if request["MetricName"] != "DAGDurationFailed":
            return {"Metrics": []}
        page = int(request.get("NextToken", "0"))
        metrics = [
            {"Dimensions": [{"Name": "Environment", "Value": "prod"}, {"Name": "DAG", "Value": f"d{page}-{number}"}]}
            for number in range(250)
        ]
        return {"Metrics": metrics, **({"NextToken": str(page + 1)} if page < 3 else {})}

    def get_metric_data(self, request: dict[str, Any]) -> dict[str, Any]:
        ids = [query["Id"] for query in request["MetricDataQueries"]]
        assert len(ids) == len(set(ids))
        page = int(request.get("NextToken", "0"))
        if not page:
            self.asked.append(len(ids))
        at = datetime.fromtimestamp(END_S - 300 * (2 - page), UTC)
        results = [{"Id": each, "Timestamps": [at], "Values": [float(page)]} for each in ids]
        return {"MetricDataResults": results, **({"NextToken": "1"} if not page else {})}


def test_all_pages_of_all_series_are_read_in_few_calls() -> None:
    service = Many()
    client = Answering(list_metrics=service.list_metrics, get_metric_data=service.get_metric_data)
    found = read_dashboard(client, "prod", now_s=NOW_S)
    lines = sum(not isinstance(line, Search) for graph in GRAPHS for line in graph.lines)
    assert service.asked == [500, 500, lines]
    assert {tuple(reading.points) for reading in found.shown} == {((END_S - 600, 0.0), (END_S - 300, 1.0))}
    assert len(found.shown) == 1000 + lines


def test_only_a_short_time_leaves_out_series_that_are_long_silent() -> None:
    service = Many()
    client = Answering(list_metrics=service.list_metrics, get_metric_data=service.get_metric_data)
    for hours, expected in ((3, {"PT3H"}), (4, {None})):
        service.listed.clear()
        read_dashboard(client, "prod", now_s=NOW_S, hours=hours)
        assert {request.get("RecentlyActive") for request in service.listed} == expected


@pytest.mark.parametrize("operation", ["ListMetrics", "GetMetricData"])
def test_a_refusal_names_the_action_to_allow(operation: str) -> None:
    denied = refusal("AccessDenied", 403)
    answers = {"list_metrics": {"Metrics": []}, "get_metric_data": {"MetricDataResults": []}}
    answers["list_metrics" if operation == "ListMetrics" else "get_metric_data"] = denied  # type: ignore[assignment]
    with pytest.raises(AccessDenied, match=f"Environment 'prod': .*Allow cloudwatch:{operation}"):
        read_dashboard(Answering(**answers), "prod")


# -- one definition --------------------------------------------------------------------------------------


def test_each_alarm_on_one_metric_is_found_by_what_the_dashboard_shows() -> None:
    shown = [line for graph in GRAPHS for line in graph.lines if not isinstance(line, Search)]
    found = {alarm.key for alarm in map(alarm_on, shown) if alarm}
    assert found == {alarm.key for alarm in ALARMS if not alarm.expression}


def test_each_line_has_a_name_of_its_own_and_a_unit() -> None:
    client = Answering(list_metrics={"Metrics": []}, get_metric_data=mock.Mock(side_effect=_one_each))
    found = read_dashboard(client, "prod", now_s=NOW_S)
    names = [reading.name for reading in found.shown]
    assert len(names) == len(set(names))
    assert max(map(len, names)) <= 34
    for reading in found.shown:
        if reading.series.namespace == "MWAA-Custom":
            assert (reading.series.name, reading.unit) in OWN_UNITS.items()
            continue
        metric = find(reading.series.namespace, reading.series.name, reading.series.all_dimensions("prod"))
        assert metric is not None
        assert reading.unit == ("Count" if reading.series.stat == "SampleCount" else metric.unit)


def _one_each(request: dict[str, Any]) -> dict[str, Any]:
    at = datetime.fromtimestamp(END_S - 300, UTC)
    return {
        "MetricDataResults": [
            {"Id": query["Id"], "Timestamps": [at], "Values": [1.0]} for query in request["MetricDataQueries"]
        ]
    }
