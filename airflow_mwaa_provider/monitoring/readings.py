# SPDX-License-Identifier: Apache-2.0
"""Read the numbers of one environment's dashboard from CloudWatch, in few calls."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.aws.calls import AwsCalls
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.monitoring.alarms import alarm_on
from airflow_mwaa_provider.monitoring.dashboard import GRAPHS, Search
from airflow_mwaa_provider.monitoring.metadata_metrics import METADATA_METRICS
from airflow_mwaa_provider.monitoring.mwaa_metrics import find
from airflow_mwaa_provider.monitoring.series import Series, check_env_names
from airflow_mwaa_provider.monitoring.worker import WORKER_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_mwaa_provider.client.http.retrying import RetryPolicy
    from airflow_mwaa_provider.monitoring.alarms import Alarm
    from airflow_mwaa_provider.monitoring.dashboard import Graph

__all__ = ["MAX_HOURS", "PERIOD_S", "Reading", "Readings", "read_dashboard"]

PERIOD_S = 300
"""The period of most series; a multiple of all of a dashboard's periods."""
MAX_HOURS = 336
"""CloudWatch does not list metrics without values for two weeks, and keeps one-minute values for 15 days."""
_QUERIES_A_CALL = 500
_LISTED_AS_ACTIVE_HOURS = 3
_PERIODS_LATE = 3
"""The newest value may begin this many periods ago: the unfinished period, and the one before it, may have none."""


@dataclass(frozen=True)
class Reading:
    """The values of one line of a dashboard.

    :param name: its name in a terminal, such as ``"CPU, schedulers"``.
    :param graph: the title of its graph.
    :param series: the metric and its statistic.
    :param unit: the unit of the values, in CloudWatch's terms.
    :param points: the time, in seconds since 1970, and the value of each period that has one, oldest first.
    :param end_s: the end of the requested time, in seconds since 1970.
    :param alarm: the alarm on it.
    :param is_found: whether it is one of the results of a search, such as one of all DAGs.
    """

    name: str
    graph: str
    series: Series
    unit: str
    points: tuple[tuple[float, float], ...]
    end_s: float
    alarm: Alarm | None = None
    is_found: bool = False

    @property
    def values(self) -> list[float]:
        """All values, the oldest first."""
        return [value for _, value in self.points]

    @property
    def lowest_counts(self) -> bool:
        """Whether the lowest of several values is the worst."""
        return self.series.stat == "Minimum" or (self.alarm is not None and self.alarm.is_of_low_values)

    @property
    def worst(self) -> float | None:
        """The worst value, ``None`` if there is no value."""
        return (min if self.lowest_counts else max)(self.values, default=None)

    @property
    def is_late(self) -> bool:
        """Whether its newest value is too old to describe the present."""
        return not self.points or self.end_s - self.points[-1][0] > _PERIODS_LATE * self.series.period_s

    @property
    def is_over(self) -> bool:
        """Whether it is beyond its alarm's threshold now, or has no value although missing values set the alarm off."""
        if self.alarm is None:
            return False
        if self.is_late:
            return self.alarm.missing == "breaching"
        return self.alarm.is_wrong(self.points[-1][1])

    @property
    def was_over(self) -> bool:
        """Whether it was beyond its alarm's threshold at any time, including now."""
        is_wrong = self.alarm is not None and self.worst is not None and self.alarm.is_wrong(self.worst)
        return self.is_over or is_wrong

    @property
    def excess(self) -> float:
        """How far it is or was beyond its threshold; infinite if a required value is missing."""
        if self.alarm is None or not self.was_over:
            return 0.0
        if self.is_over and self.is_late:
            return math.inf
        value = self.points[-1][1] if self.is_over else self.worst
        assert value is not None
        return self.alarm.excess(value)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        alarm = self.alarm
        return {
            "name": self.name,
            "graph": self.graph,
            "namespace": self.series.namespace,
            "metric": self.series.name,
            "stat": self.series.stat,
            "dimensions": {name: value for name, value in self.series.dimensions.items() if name != "Environment"},
            "period_s": self.series.period_s,
            "unit": self.unit,
            "alarm": alarm.key if alarm else None,
            "comparison": alarm.comparison if alarm else None,
            "threshold": alarm.threshold if alarm else None,
            "is_over": self.is_over,
            "was_over": self.was_over,
            "times": [iso(at) for at, _ in self.points],
            "values": self.values,
        }


@dataclass(frozen=True)
class Readings:
    """What a dashboard shows of one environment.

    :param env_name: the environment.
    :param start_s: the beginning of the time, in seconds since 1970.
    :param end_s: its end.
    :param shown: the lines that have values, or should have, worst first; see :func:`read_dashboard`.
    :param without_data: the names of lines without values.
    """

    env_name: str
    start_s: float
    end_s: float
    shown: Sequence[Reading]
    without_data: Sequence[str] = field(default_factory=list)

    @property
    def has_data(self) -> bool:
        """Whether there is any value at all."""
        return any(reading.points for reading in self.shown)


def read_dashboard(
    client: Any, env_name: str, *, hours: int = 3, now_s: float | None = None, policy: RetryPolicy | None = None
) -> Readings:
    """Read the last hours of what a dashboard shows for an environment.

    Lines beyond their alarm's threshold come first, the furthest beyond it on top; then those that were beyond it in
    these hours; then the rest in the dashboard's order, with the largest results of a search first. The thresholds are
    those of
    :mod:`monitoring.alarms`.

    :param client: a boto3 client for CloudWatch, without retries of its own.
    :param env_name: the environment.
    :param hours: 1 to 336.
    :param now_s: the end, in seconds since 1970; by default now. The unfinished period is included.
    :param policy: how calls are retried.
    :raises MwaaInputError: the name or the number of hours is invalid.
    :raises MwaaError: a call failed.
    """
    check_env_names([env_name])
    if not 1 <= hours <= MAX_HOURS:
        raise MwaaInputError(f"{hours} hours cannot be read. Give 1 to {MAX_HOURS}.")
    end_s = math.ceil((time.time() if now_s is None else now_s) / PERIOD_S) * PERIOD_S
    start_s = end_s - hours * 3600
    calls = AwsCalls(client, "CloudWatch", "cloudwatch", policy=policy)
    lines = list(_lines(calls, env_name, recent=hours <= _LISTED_AS_ACTIVE_HOURS))
    points = _points(calls, env_name, [series for _, series, _ in lines], start_s, end_s)
    readings = [
        Reading(
            name=_name(graph, series),
            graph=graph.title,
            series=series,
            unit=_unit(series, env_name),
            points=each,
            end_s=end_s,
            alarm=alarm_on(series),
            is_found=is_found,
        )
        for (graph, series, is_found), each in zip(lines, points, strict=True)
    ]
    found = {reading.graph for reading in readings if reading.is_found and reading.points}
    without = [reading.name for reading in readings if not (reading.points or reading.is_found or reading.is_over)]
    without += [
        graph.short
        for graph in GRAPHS
        if any(isinstance(line, Search) for line in graph.lines) and graph.title not in found
    ]
    shown = [reading for reading in readings if reading.points or reading.is_over]
    return Readings(env_name, start_s, end_s, sorted(shown, key=_rank), without)


def iso(at_s: float) -> str:
    """Return a time as an ISO 8601 string in UTC."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rank(reading: Reading) -> tuple[float, ...]:
    graph = next(number for number, graph in enumerate(GRAPHS) if graph.title == reading.graph)
    counted = sum if reading.series.stat in ("Sum", "SampleCount") else max
    largest = float(counted(reading.values)) if reading.is_found else 0.0
    return (not reading.is_over, not reading.was_over, -reading.excess, graph, -largest)


def _lines(calls: AwsCalls, env_name: str, *, recent: bool) -> Iterator[tuple[Graph, Series, bool]]:
    for graph in GRAPHS:
        for line in graph.lines:
            if isinstance(line, Search):
                for series in _found(calls, env_name, line, recent=recent):
                    yield graph, series, True
            else:
                yield graph, line, False


def _found(calls: AwsCalls, env_name: str, search: Search, *, recent: bool) -> list[Series]:
    """Return the series of a search, by listing metrics: an answer to the search expression does not name them."""
    found: dict[str, Series] = {}
    pages = calls.pages(
        "ListMetrics",
        f"Environment {env_name!r}",
        member="Metrics",
        Namespace=search.namespace,
        MetricName=search.name,
        Dimensions=[{"Name": "Environment", "Value": env_name}],
        **({"RecentlyActive": "PT3H"} if recent else {}),
    )
    for page in pages:
        for metric in page["Metrics"]:
            dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            if dimensions.keys() == set(search.dimensions):
                label = dimensions[search.by]  # in the listed order, which stand-ins for AWS require
                found[label] = Series(search.namespace, search.name, search.stat, dimensions, label, search.period_s)
    return [found[label] for label in sorted(found)]


def _points(
    calls: AwsCalls, env_name: str, lines: Sequence[Series], start_s: float, end_s: float
) -> list[tuple[tuple[float, float], ...]]:
    """Return the points of each line."""
    queries = [{**series.query(f"m{number}", env_name), "ReturnData": True} for number, series in enumerate(lines)]
    found: dict[str, dict[float, float]] = {query["Id"]: {} for query in queries}
    for begin in range(0, len(queries), _QUERIES_A_CALL):
        pages = calls.pages(
            "GetMetricData",
            f"Environment {env_name!r}",
            member="MetricDataResults",
            MetricDataQueries=queries[begin : begin + _QUERIES_A_CALL],
            StartTime=datetime.fromtimestamp(start_s, UTC),
            EndTime=datetime.fromtimestamp(end_s, UTC),
            ScanBy="TimestampAscending",
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                times = [at.timestamp() for at in result.get("Timestamps", ())]
                found[result["Id"]].update(zip(times, result.get("Values", ()), strict=True))
    return [tuple(sorted(found[query["Id"]].items())) for query in queries]


def _name(graph: Graph, series: Series) -> str:
    """Return the name of a line. For a graph with one line, its short name is enough."""
    is_alone = len(graph.lines) == 1 and not isinstance(graph.lines[0], Search)
    parts = (graph.short, "" if is_alone and graph.short else series.label)
    return ", ".join(part for part in parts if part)


def _unit(series: Series, env_name: str) -> str:
    if series.stat == "SampleCount":
        return "Count"
    metric = find(series.namespace, series.name, series.all_dimensions(env_name))
    if metric is not None:
        return metric.unit
    own = {**WORKER_METRICS, **METADATA_METRICS}
    return own[series.name][1] if series.name in own else "Count"
