# SPDX-License-Identifier: Apache-2.0
"""Metrics arrive unchanged, in as few requests as possible, or are refused before the first request."""

from __future__ import annotations

import math
import random
import uuid
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.exceptions import AccessDenied, MetricsNotSent, MwaaInputError
from airflow_mwaa_provider.hooks.cloudwatch import CloudWatchMetricsHook
from airflow_mwaa_provider.monitoring.metrics import UNITS, Metric, StatisticSet
from airflow_mwaa_provider.monitoring.publishing import MAX_REQUEST_BYTES, put_metrics
from tests import seeds
from tests.metadata.once import FULL
from tests.monitoring.conftest import CloudWatchService

ONCE = RetryPolicy(deadline_s=0.0)
SOON = RetryPolicy(deadline_s=30.0, first_delay_s=0.01, max_delay_s=0.02)
NOW = datetime.now(UTC).replace(second=0, microsecond=0)


def _namespace() -> str:
    return f"Test/{uuid.uuid4().hex[:12]}"


def _generated(series: int, minutes: int, chance: random.Random) -> list[Metric]:
    """Metrics of every form: series with their own name, unit and dimensions, each with one number per minute."""
    found = []
    for each in range(series):
        dimensions = {"Number": str(each)}
        for more in range(chance.randrange(0, 4)):
            dimensions[f"name {more} &=%+"] = chance.choice(["a b", "x/y", "100%", "'\"<>", "a=b&c=d", "+"])
        name, unit = f"metric {each % 20} %&", chance.choice(UNITS)
        resolution_s = chance.choice([1, 60])
        begin = NOW - timedelta(minutes=chance.randrange(minutes, 12 * 24 * 60))
        for minute in range(minutes):
            moment = begin + timedelta(minutes=minute)
            common: dict[str, Any] = {"unit": unit, "dimensions": dimensions, "resolution_s": resolution_s}
            found.append(Metric(name, timestamp=moment, **common, **_numbers(chance)))
    chance.shuffle(found)
    return found


def _numbers(chance: random.Random) -> dict[str, Any]:
    match chance.randrange(3):
        case 0:
            return {"value": chance.choice([0.0, -1.5, 1e-30, 1e80, chance.random(), 123456789.0])}
        case 1:
            values = [float(value) for value in range(chance.randrange(1, 6))]
            return {"values": values, "counts": [float(chance.randrange(1, 9)) for _ in values]}
        case _:
            return {"statistics": StatisticSet(4.0, 10.0, 1.0, 4.0)}


def _expected(metric: Metric) -> tuple[float, float, float, float]:
    """Return sample count, sum, minimum and maximum, computed differently from the code."""
    if metric.statistics is not None:
        assert isinstance(metric.statistics, StatisticSet)
        given = metric.statistics
        return given.sample_count, given.sum, given.minimum, given.maximum
    if metric.values:
        many = [value for value, count in zip(metric.values, metric.counts, strict=True) for _ in range(int(count))]
        return float(len(many)), math.fsum(many), min(many), max(many)
    assert metric.value is not None
    return 1.0, metric.value, metric.value, metric.value


def test_generated_metrics_are_read_back_equal(cloudwatch: CloudWatchService) -> None:
    """2,000 of them (10,000 with --full), compressed; get_metric_data returns value, unit, dimensions and time."""
    namespace = _namespace()
    metrics = _generated(50 if FULL else 10, 200, random.Random(seeds.of_the_day()))
    requests = put_metrics(cloudwatch.client(), namespace, metrics, policy=ONCE)
    assert requests == len(cloudwatch.sent) == len(metrics) / 1000
    assert all(each.is_compressed for each in cloudwatch.sent)
    assert all(len(each.plain) <= MAX_REQUEST_BYTES for each in cloudwatch.sent)
    series = defaultdict(list)
    for metric in metrics:
        series[metric.dimensions["Number"]].append(metric)
    assert len(series) == len(metrics) / 200
    for each in series.values():
        expected = {metric.timestamp: _expected(metric) for metric in each}
        assert _read_back(cloudwatch.client(), namespace, each) == {
            moment: pytest.approx(numbers, rel=1e-12, abs=0.0) for moment, numbers in expected.items()
        }


def _read_back(client: Any, namespace: str, series: list[Metric]) -> dict[datetime, tuple[float, ...]]:
    """Return get_metric_data's values of a series with its unit and dimensions, by minute."""
    begin, end = (choose(metric.timestamp for metric in series) for choose in (min, max))  # type: ignore[type-var]
    assert isinstance(begin, datetime)
    assert isinstance(end, datetime)
    statistics = ("SampleCount", "Sum", "Minimum", "Maximum")
    metric = series[0]
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions.items()]
    which = {"Namespace": namespace, "MetricName": metric.name, "Dimensions": dimensions}
    answer = client.get_metric_data(
        MetricDataQueries=[
            {
                "Id": each.lower(),
                "Label": "-",  # older releases of moto return the metric's name, unescaped
                "MetricStat": {"Metric": which, "Period": 60, "Stat": each, "Unit": metric.unit},
            }
            for each in statistics
        ],
        StartTime=begin,
        EndTime=end + timedelta(minutes=1),
    )
    found: dict[datetime, dict[str, float]] = defaultdict(dict)
    for result in answer["MetricDataResults"]:
        for moment, value in zip(result["Timestamps"], result["Values"], strict=True):
            found[moment][result["Id"]] = value
    return {moment: tuple(values[each.lower()] for each in statistics) for moment, values in found.items()}


@pytest.mark.parametrize(
    "value",
    [Decimal("1.5"), "1.5", np.float64(1.5), np.float32(1.5), np.float16(1.5), np.longdouble(1.5), np.array(1.5)],
    ids=lambda value: type(value).__name__,
)
def test_a_number_of_any_library_is_taken(value: Any) -> None:
    statistics = {"sample_count": 1, "sum": value, "minimum": value, "maximum": value}
    for metric in (
        Metric("m", value),
        Metric("m", values=[value, value], counts=np.array([1, 2], np.int8)),
        Metric("m", statistics=statistics),
    ):
        (entry,) = metric.entries()
        sent = [entry.get("Value"), *entry.get("Values", ()), *entry.get("StatisticValues", {}).values()]
        assert {number for number in sent if number is not None} <= {1.5, 1.0}
        assert {type(number) for number in sent if number is not None} == {float}


@pytest.mark.parametrize("values", [np.arange(3), (each for each in range(3)), pd.Series([0, 1, 2]), range(3)])
def test_a_metrics_values_come_from_anything_that_is_iterable_and_are_read_once(values: Any) -> None:
    metric = Metric("m", values=values, counts=np.array([3, 2, 1]))
    assert metric.entries(0.0) == metric.entries(0.0)
    (entry,) = metric.entries(0.0)
    assert (entry["Values"], entry["Counts"]) == ([0.0, 1.0, 2.0], [3.0, 2.0, 1.0])
    assert metric == Metric("m", values=[0, 1, 2], counts=[3, 2, 1])


@pytest.mark.parametrize(
    "timestamp",
    [np.datetime64(NOW.replace(tzinfo=None), "ns"), pd.Timestamp(NOW), NOW.timestamp(), f"{NOW.timestamp()}",
     f"{NOW.timestamp():.0f}", NOW.replace(tzinfo=None), NOW.isoformat()],
    ids=lambda timestamp: type(timestamp).__name__,
)  # fmt: skip
def test_a_time_is_taken_in_every_form_that_has_one(timestamp: Any) -> None:
    (entry,) = Metric("m", 1, timestamp=timestamp).entries()
    assert entry["Timestamp"] == NOW


@pytest.mark.parametrize("resolution_s", [1, "1", 1.0, np.int64(1)])
def test_a_resolution_may_come_from_a_template(resolution_s: Any) -> None:
    assert Metric("m", 1, resolution_s=resolution_s).entries()[0]["StorageResolution"] == 1


def test_more_values_than_an_entry_takes_are_divided(cloudwatch: CloudWatchService) -> None:
    namespace = _namespace()
    values = [float(number % 400) for number in range(2_000)]
    put_metrics(cloudwatch.client(), namespace, Metric("m", values=values, timestamp=NOW), policy=ONCE)
    read = _read_back(cloudwatch.client(), namespace, [Metric("m", values=values, timestamp=NOW)])
    assert read == {NOW: (2_000.0, sum(values), 0.0, 399.0)}
    assert len(cloudwatch.sent) == 1


def _named_percent(number: int) -> Metric:
    """Names that triple in size when encoded, 30 dimensions, 150 values: the worst of each kind."""
    dimensions = {f"{each:02}{'%' * 100}": '/"' * 100 for each in range(30)}
    return Metric("n" * 255, values=[number + each / 3 for each in range(150)], dimensions=dimensions)


@pytest.mark.parametrize(
    ("count", "metric_of"),
    [
        (80, _named_percent),
        (300, lambda _: Metric("m", values=[0.1234567890123456 + each for each in range(150)], counts=[1 / 3] * 150)),
        (1_500, lambda _: Metric("m", -1.5e-300, "Bytes/Second", {f"D{each}": "v" * 60 for each in range(12)})),
    ],
    ids=["encoded", "values", "dimensions"],
)
def test_requests_are_as_large_as_cloudwatch_takes_and_no_larger(
    cloudwatch: CloudWatchService, count: int, metric_of: Callable[[int], Metric]
) -> None:
    cloudwatch.fault = lambda _: (200, "taken", False)
    metrics = [metric_of(number) for number in range(count)]
    put_metrics(cloudwatch.client(), _namespace(), metrics, policy=ONCE)
    sizes = [len(each.plain) for each in cloudwatch.sent]
    assert len(sizes) > 1
    assert max(sizes) <= MAX_REQUEST_BYTES
    assert min(sizes[:-1]) > 0.96 * MAX_REQUEST_BYTES - sum(sizes) / count


def test_a_thousand_metrics_with_six_dimensions_are_one_request(cloudwatch: CloudWatchService) -> None:
    cloudwatch.fault = lambda _: (200, "taken", False)
    dimensions = {f"Dim{each}": f"value{each}" for each in range(6)}
    metrics = [Metric("orders", 1.5, dimensions=dimensions) for _ in range(2_000)]
    assert put_metrics(cloudwatch.client(), _namespace(), metrics, policy=ONCE) == 2


def test_a_metric_is_never_sent_in_part(cloudwatch: CloudWatchService) -> None:
    """What was reported as not sent is sent again; then everything exists once."""
    namespace = _namespace()
    cloudwatch.fault = lambda number: (403, "AccessDenied", False) if number == 2 else None
    metrics = [Metric("m", float(number), timestamp=NOW) for number in range(999)]
    metrics.append(Metric("m", values=range(300), timestamp=NOW))
    with pytest.raises(MetricsNotSent) as caught:
        put_metrics(cloudwatch.client(), namespace, metrics, policy=ONCE)
    assert (caught.value.sent, caught.value.unsent) == (999, metrics[999:])
    put_metrics(cloudwatch.client(), namespace, caught.value.unsent, policy=ONCE)
    ((count, *_),) = _read_back(cloudwatch.client(), namespace, metrics[:1]).values()
    assert count == 999 + 300


def test_of_a_metric_larger_than_a_request_just_the_values_that_were_not_sent_are_named(
    cloudwatch: CloudWatchService,
) -> None:
    cloudwatch.fault = lambda number: (200, "taken", False) if number == 1 else (403, "AccessDenied", False)
    given = Metric("big", values=np.arange(6_000.0) / 7, dimensions={f"{each:02}{'%' * 200}": "/" * 1_000
                                                                     for each in range(30)})  # fmt: skip
    with pytest.raises(MetricsNotSent, match="'big'") as caught:
        put_metrics(cloudwatch.client(), _namespace(), given, policy=ONCE)
    sent = cloudwatch.sent[0].values
    unsent = [value for metric in caught.value.unsent for value in metric.values]
    assert sent
    assert unsent
    assert sorted(sent + unsent) == sorted(given.values)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ({"name": "", "value": 1}, "name is empty"),
        ({"name": "n" * 256, "value": 1}, "256 characters"),
        ({"name": "größe", "value": 1}, "not printable ASCII"),
        ({"name": "a\nb", "value": 1}, "not printable ASCII"),
        ({"name": None, "value": 1}, "is None, not a string"),
        ({"name": "m"}, "has no number"),
        ({"name": "m", "value": 1, "values": [1]}, "has value and values"),
        ({"name": "m", "value": math.nan}, "NaN"),
        ({"name": "m", "value": math.inf}, "2^360"),
        ({"name": "m", "value": -(2.0**361)}, "2^360"),
        ({"name": "m", "value": 10**400}, "2^360"),
        ({"name": "m", "value": "many"}, "'many' is not a number"),
        ({"name": "m", "value": True}, "True is not a number"),
        ({"name": "m", "value": 1, "unit": "bytes"}, "Write 'Bytes'."),
        ({"name": "m", "value": 1, "unit": "Bogus"}, "no unit 'Bogus'"),
        ({"name": "m", "value": 1, "unit": None}, "no unit None"),
        ({"name": "m", "value": 1, "resolution_s": 5}, "1 or 60"),
        ({"name": "m", "value": 1, "resolution_s": True}, "True is not a number"),
        ({"name": "m", "value": np.bool_(True)}, "is not a number"),
        ({"name": "m", "value": np.array([1.0])}, "array([1.]) is not a number"),
        ({"name": "m", "value": np.zeros((20, 20))}, "is not a number"),
        ({"name": "m", "value": np.timedelta64(5, "s")}, "is not a number"),
        ({"name": "m", "value": np.complex64(1)}, "is not a number"),
        ({"name": "m", "value": np.float32("nan")}, "NaN"),
        ({"name": "m", "value": Decimal("sNaN")}, "is not a number"),
        ({"name": "m", "value": []}, "[] is not a number"),
        ({"name": "m", "values": np.array([])}, "has no number"),
        ({"name": "m", "values": np.array(1.0)}, "list of numbers"),
        ({"name": "m", "values": np.zeros((2, 2))}, "is not a number"),
        ({"name": "m", "values": {1: 2}}, "list of numbers"),
        ({"name": "m", "values": [1], "counts": 1}, "list of numbers"),
        ({"name": "m", "value": 1, "counts": np.array([1, 2])}, "counts without values"),
        ({"name": "m", "value": 1, "timestamp": np.datetime64("NaT", "s")}, "not ISO 8601"),
        ({"name": "m", "value": 1, "timestamp": pd.NaT}, "its time NaT is not a time"),
        ({"name": "m", "value": 1, "timestamp": math.nan}, "NaN"),
        ({"name": "m", "value": 1, "timestamp": [1]}, "[1] is not a number"),
        ({"name": np.zeros((20, 20)), "value": 1}, "not a string"),
        ({"name": "m", "value": 1, "dimensions": {str(each): "x" for each in range(31)}}, "31 dimensions"),
        ({"name": "m", "value": 1, "dimensions": {"Environment": ""}}, "is empty"),
        ({"name": "m", "value": 1, "dimensions": {"Environment": "  "}}, "is empty"),
        ({"name": "m", "value": 1, "dimensions": {"Environment": None}}, "'Environment' is None"),
        ({"name": "m", "value": 1, "dimensions": {"Environment": "None"}}, "the text 'None'"),
        ({"name": "m", "value": 1, "dimensions": {":a": "x"}}, "begins with a colon"),
        ({"name": "m", "value": 1, "dimensions": {"": "x"}}, "dimension '' is empty"),
        ({"name": "m", "value": 1, "dimensions": {"a": "x" * 1025}}, "1025 characters"),
        ({"name": "m", "value": 1, "dimensions": [("a", "b")]}, "must be a dict"),
        ({"name": "m", "value": 1, "timestamp": NOW - timedelta(days=15)}, "two weeks ago"),
        ({"name": "m", "value": 1, "timestamp": NOW + timedelta(hours=3)}, "two hours ahead"),
        ({"name": "m", "value": 1, "timestamp": "yesterday"}, "not ISO 8601"),
        ({"name": "m", "values": []}, "has no number"),
        ({"name": "m", "values": "123"}, "list of numbers"),
        ({"name": "m", "values": [1, 2], "counts": [1]}, "2 values and 1 counts"),
        ({"name": "m", "values": [1], "counts": [0]}, "must be positive"),
        ({"name": "m", "value": 1, "counts": [1]}, "counts without values"),
        ({"name": "m", "statistics": {"sum": 1}}, "must have sample_count"),
        ({"name": "m", "statistics": StatisticSet(1, 5, 1, 2)}, "contradict"),
        ({"name": "m", "statistics": StatisticSet(0, 0, 0, 0)}, "contradict"),
        ({"value": 1}, "has no name"),
        ({"name": "m", "wert": 1}, "wert: no such field"),
        ("m", "not a list of metrics"),
        (7, "not a list of metrics"),
        (["m"], "neither a Metric nor a dict"),
    ],
)
def test_what_cloudwatch_refuses_is_refused_before_anything_is_sent(
    cloudwatch: CloudWatchService, metric: Any, words: str
) -> None:
    good = {"name": "good", "value": 1}
    given = metric if not isinstance(metric, dict) else [*[good] * 1500, metric]
    with pytest.raises(MwaaInputError) as caught:
        put_metrics(cloudwatch.client(), _namespace(), given, policy=ONCE)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
    assert not cloudwatch.sent


@pytest.mark.parametrize("namespace", ["", " ", "AWS/MWAA", "aws/x", ":a", "ä", "n" * 256, "a\nb", None])
def test_namespaces_that_cloudwatch_refuses(cloudwatch: CloudWatchService, namespace: Any) -> None:
    with pytest.raises(MwaaInputError, match="Namespace"):
        put_metrics(cloudwatch.client(), namespace, {"name": "m", "value": 1}, policy=ONCE)
    assert not cloudwatch.sent


def test_what_was_throttled_is_repeated(cloudwatch: CloudWatchService) -> None:
    namespace = _namespace()
    cloudwatch.fault = lambda number: (400, "Throttling", False) if number <= 3 else None
    put_metrics(cloudwatch.client(), namespace, Metric("m", 2.0, timestamp=NOW), policy=SOON)
    assert _read_back(cloudwatch.client(), namespace, [Metric("m", 2.0, timestamp=NOW)]) == {NOW: (1, 2, 2, 2)}


@pytest.mark.parametrize(
    ("status", "code"), [(None, ""), (500, "InternalServiceFault"), (502, ""), (502, "page"), (200, "page")]
)
def test_what_may_have_been_taken_is_counted_once(cloudwatch: CloudWatchService, status: int | None, code: str) -> None:
    """The answer to the second of three requests is lost after CloudWatch has accepted it."""
    namespace = _namespace()
    cloudwatch.fault = lambda number: (status, code, True) if number == 2 else None
    metrics = [Metric("m", float(number), timestamp=NOW) for number in range(2_500)]
    with pytest.raises(MetricsNotSent, match="may have taken effect") as caught:
        put_metrics(cloudwatch.client(), namespace, metrics, policy=SOON)
    assert "Of 2,500 metrics 1,000 were sent" in str(caught.value)
    assert (caught.value.sent, caught.value.doubtful, caught.value.unsent) == (
        1_000, metrics[1_000:2_000], metrics[2_000:],
    )  # fmt: skip
    put_metrics(cloudwatch.client(), namespace, caught.value.unsent, policy=SOON)
    ((count, *_),) = _read_back(cloudwatch.client(), namespace, metrics[:1]).values()
    assert count == 2_500


def test_what_may_have_been_taken_is_repeated_where_that_was_asked_for(cloudwatch: CloudWatchService) -> None:
    namespace = _namespace()
    cloudwatch.fault = lambda number: (None, "", True) if number == 1 else None
    metric = Metric("m", 2.0, timestamp=NOW)
    put_metrics(cloudwatch.client(), namespace, metric, policy=SOON, repeat_unsure=True)
    assert _read_back(cloudwatch.client(), namespace, [metric]) == {NOW: (2, 4, 2, 2)}


def test_a_missing_permission_is_named(cloudwatch: CloudWatchService) -> None:
    cloudwatch.fault = lambda _: (403, "AccessDenied", False)
    with pytest.raises(MetricsNotSent, match="Allow cloudwatch:PutMetricData") as caught:
        put_metrics(cloudwatch.client(), _namespace(), Metric("m", 1), policy=SOON)
    assert isinstance(caught.value.__cause__, AccessDenied)
    assert len(cloudwatch.sent) == 1
    assert not caught.value.doubtful


def test_nobody_there_is_no_doubt(cloudwatch: CloudWatchService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(MetricsNotSent, match="did not answer") as caught:
        CloudWatchMetricsHook(None).put_metrics(_namespace(), Metric("m", 1), policy=ONCE)
    assert (caught.value.ambiguous, caught.value.unsent) == (False, [Metric("m", 1)])


def test_the_hook_takes_no_retries_of_botocores(cloudwatch: CloudWatchService) -> None:
    cloudwatch.fault = lambda _: (500, "InternalServiceFault", True)
    hook = CloudWatchMetricsHook(None, botocore_config={"retries": {"max_attempts": 5}})
    with pytest.raises(MetricsNotSent):
        hook.put_metrics(_namespace(), Metric("m", 1), policy=ONCE)
    assert len(cloudwatch.sent) == 1
