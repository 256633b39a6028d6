# SPDX-License-Identifier: Apache-2.0
"""A CloudWatch dashboard for MWAA environments: the user guide's graphs, and what someone on call needs.

Source: the MWAA user guide of 2026, "Monitoring dashboards and alarms"; AWS's "Dashboard body structure and syntax".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.monitoring.alarms import ADDITIONAL_WORKERS, ALARMS, BASE_WORKERS, logical_id
from airflow_mwaa_provider.monitoring.privileges import PRIVILEGES_METRIC
from airflow_mwaa_provider.monitoring.series import (
    OWN,
    Series,
    check_env_names,
    check_region,
    of_airflow,
    of_containers,
    of_own,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["build", "dashboard_name", "is_made_here", "template"]

MARK = "Written by `airflow-mwaa monitor dashboard`; `--apply` writes over changes by hand."
"""Marks each dashboard as created by this package."""

MAX_WIDGETS = 500
MAX_NAME = 255
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME}}}")
_COLUMNS, _WIDTH, _HEIGHT, _HEADING = 24, 8, 6, 1


@dataclass(frozen=True)
class Graph:
    """One graph of an environment.

    :param lines: a series, or a search for all series of a metric.
    :param short: its name where there is no room for the title; empty if the labels of its lines are enough.
    :param alarm: the key of an alarm whose threshold is drawn.
    :param is_percent: whether the axis ends at 100.
    """

    title: str
    lines: Sequence[Series | Search]
    short: str = ""
    alarm: str = ""
    is_percent: bool = False
    is_stacked: bool = False
    shows_max_workers: bool = False


@dataclass(frozen=True)
class Search:
    """All series of a metric, one line for each value of a dimension.

    :param dimensions: the names of its dimensions, including ``Environment``.
    :param by: the dimension whose values are the names of the lines.
    """

    namespace: str
    name: str
    stat: str
    dimensions: Sequence[str]
    by: str
    period_s: int = 300

    def expression(self, env_name: str) -> str:
        """Return the search expression. No environment's name has a character that would end its quotes."""
        parts = (self.namespace, *self.dimensions)
        schema = ",".join(part if re.fullmatch(r"[0-9A-Za-z/]+", part) else f'"{part}"' for part in parts)
        wanted = f'{{{schema}}} MetricName="{self.name}" Environment="{env_name}"'
        return f"SEARCH('{wanted}', '{self.stat}', {self.period_s})"


def _of_clusters(metric: str) -> list[Series]:
    names = {"Scheduler": "schedulers", "BaseWorker": "base workers", "AdditionalWorker": "additional workers",
             "WebServer": "web server", "AdditionalWebservers": "additional web servers"}  # fmt: skip
    return [of_containers(metric, "Average", label, Cluster=cluster) for cluster, label in names.items()]


def _of_workers(metric: str) -> Search:
    return Search(OWN, metric, "Maximum", ("Category", "Environment", "Host"), by="Host")


GRAPHS = (
    Graph(
        "Workers, and the maximum",
        [replace(BASE_WORKERS, label="base workers"), replace(ADDITIONAL_WORKERS, label="additional workers")],
        is_stacked=True,
        shows_max_workers=True,
    ),
    Graph(
        "Age of the oldest queued task",
        [of_containers("ApproximateAgeOfOldestTask", "Maximum", "seconds")],
        short="oldest queued task",
        alarm="oldest-queued-task",
    ),
    Graph(
        "Failed runs, by DAG",
        [Search("AmazonMWAA", "DAGDurationFailed", "SampleCount", ("DAG", "Environment"), by="DAG")],
        short="failed runs",
        is_stacked=True,
    ),
    Graph("CPU of each component", _of_clusters("CPUUtilization"), short="CPU", alarm="scheduler-cpu", is_percent=True),
    Graph(
        "Memory of each component",
        _of_clusters("MemoryUtilization"),
        short="memory",
        alarm="scheduler-memory",
        is_percent=True,
    ),
    Graph(
        "Tasks that failed and succeeded",
        [
            of_airflow("TaskInstanceFailures", "Sum", "failed attempts", DAG="All", Task="All"),
            of_airflow("TaskInstanceSuccesses", "Sum", "succeeded", DAG="All", Task="All"),
            of_airflow("ZombiesKilled", "Sum", "process gone", DAG="All", Task="All"),
            of_airflow("TasksKilledExternally", "Sum", "ended from outside", Function="Scheduler"),
        ],
        short="tasks",
    ),
    Graph("QueuedTasks", [of_airflow("QueuedTasks", "Maximum", "queued", Function="Executor")], short="queued tasks"),
    Graph(
        "RunningTasks",
        [
            of_airflow("RunningTasks", "Maximum", "running", Function="Executor"),
            of_airflow("OpenSlots", "Minimum", "free slots", Function="Executor"),
        ],
        short="tasks",
    ),
    Graph(
        "Tasks that could run",
        [
            of_airflow("TasksExecutable", "Maximum", "could be queued", Function="Scheduler"),
            of_airflow("TasksStarving", "Maximum", "find no slot in their pool", Function="Scheduler"),
        ],
        short="tasks",
    ),
    Graph(
        "SchedulerHeartbeat",
        [of_airflow("SchedulerHeartbeat", "Sum", "heartbeats", Function="Scheduler")],
        short="scheduler heartbeats",
        alarm="scheduler-heartbeat",
    ),
    Graph(
        "TotalParseTime",
        [of_airflow("TotalParseTime", "Maximum", "seconds", Function="DAG Processing")],
        short="parsing time",
    ),
    Graph(
        "DAG files with errors",
        [
            of_airflow("ImportErrors", "Maximum", "import errors", Function="DAG Processing"),
            of_airflow("ProcessorTimeouts", "Maximum", "parsing took too long", Function="DAG Processing"),
        ],
        alarm="import-errors",
    ),
    Graph(
        "CPU of the database",
        [
            of_containers("CPUUtilization", "Average", "writer", DatabaseRole="WRITER"),
            of_containers("CPUUtilization", "Average", "reader", DatabaseRole="READER"),
        ],
        short="database CPU",
        alarm="database-cpu",
        is_percent=True,
    ),
    Graph(
        "Free memory of the database",
        [of_containers("FreeableMemory", "Minimum", "writer", DatabaseRole="WRITER")],
        short="database free memory",
        alarm="database-memory",
    ),
    Graph(
        "Connections to the database",
        [
            of_containers("DatabaseConnections", "Maximum", "writer", DatabaseRole="WRITER"),
            of_containers("DatabaseConnections", "Maximum", "reader", DatabaseRole="READER"),
        ],
        short="database connections",
    ),
    Graph(
        "Latency of writes",
        [of_containers("WriteLatency", "Average", "seconds", DatabaseRole="WRITER")],
        short="write latency",
    ),
    Graph(
        "Triggers",
        [
            of_airflow("TriggersSucceeded", "Sum", "fired", Function="Trigger"),
            of_airflow("TriggersFailed", "Sum", "failed", Function="Trigger"),
            of_airflow("TriggersBlockedMainThread", "Sum", "blocked the triggerer", Function="Trigger"),
        ],
        short="triggers",
    ),
    Graph(
        "Cleanups and exports",
        [
            of_airflow("OperatorSuccesses", "Sum", "cleanups that succeeded", Operator="MetadataCleanupOperator"),
            of_airflow("OperatorFailures", "Sum", "cleanups that failed", Operator="MetadataCleanupOperator"),
            of_airflow("OperatorSuccesses", "Sum", "exports that succeeded", Operator="MetadataToS3Operator"),
            of_airflow("OperatorFailures", "Sum", "exports that failed", Operator="MetadataToS3Operator"),
        ],
    ),
    Graph(
        "Memory of a worker's container",
        [_of_workers("container_memory_percent")],
        short="worker memory",
        is_percent=True,
    ),
    Graph("Disk of a worker", [_of_workers("disk_percent")], short="worker disk", is_percent=True),
    Graph("Processes killed at the memory limit", [_of_workers("container_memory_kills")], short="worker kills"),
    Graph(
        "Size of tables",
        [Search(OWN, "table_size", "Maximum", ("Environment", "Table"), by="Table", period_s=3600)],
        short="size",
        is_stacked=True,
    ),
    Graph(
        "Delay of scheduled runs",
        [replace(of_own("scheduling_delay", "Maximum", "longest"), period_s=3600)],
        short="scheduling delay",
    ),
    Graph(
        "Changes of privileges",
        [of_own(PRIVILEGES_METRIC, "Maximum", "changes")],
        short="changes of privileges",
        alarm="privileges-changed",
    ),
)


def build(env_names: Iterable[str], region: str, *, max_workers: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return the body of a dashboard with one or more environments, one below the other.

    The same arguments return the same body, so it can be compared with an existing one.

    :param env_names: the environments, in the order in which they are shown; up to 19.
    :param region: the AWS region of all of them.
    :param max_workers: the maximum number of workers by environment, MaxWorkers of GetEnvironment, which is drawn as a
        line.
    :raises MwaaInputError: a name or the region is invalid, or a dashboard has no room for that many environments.
    """
    names = check_env_names(env_names)
    check_region(region)
    most = (MAX_WIDGETS - 1) // (len(GRAPHS) + 1)
    if len(names) > most:
        raise MwaaInputError(
            f"{len(names)} environments: a dashboard has room for {most}, because CloudWatch accepts {MAX_WIDGETS} "
            "widgets. Create several, each with its own name."
        )
    widgets = [_text(0, f"{_heading(names)}\n{MARK}", height=2)]
    y = 2
    for env_name in names:
        widgets.append(_text(y, f"## {_markdown(env_name)}", height=_HEADING))
        y += _HEADING
        for number, graph in enumerate(GRAPHS):
            place = {"x": number % (_COLUMNS // _WIDTH) * _WIDTH, "y": y + number // (_COLUMNS // _WIDTH) * _HEIGHT}
            properties = _properties(graph, env_name, region, (max_workers or {}).get(env_name))
            widgets.append({"type": "metric", **place, "width": _WIDTH, "height": _HEIGHT, "properties": properties})
        y += -(-len(GRAPHS) // (_COLUMNS // _WIDTH)) * _HEIGHT
    return {"start": "-PT6H", "periodOverride": "inherit", "widgets": widgets}


def is_made_here(body: Mapping[str, Any], env_names: Iterable[str] | None = None) -> bool:
    """Return whether a dashboard was created by :func:`build`, according to its first text.

    :param body: the body of any dashboard.
    :param env_names: also check that it was created for these environments.
    """
    widgets = body.get("widgets")
    first = widgets[0] if isinstance(widgets, list) and widgets else None
    properties = first.get("properties") if isinstance(first, dict) and first.get("type") == "text" else None
    markdown = str(properties.get("markdown", "")) if isinstance(properties, dict) else ""
    heading, _, rest = markdown.partition("\n")
    return rest == MARK and (env_names is None or heading == _heading(env_names))


def dashboard_name(env_names: Iterable[str], name: str | None = None) -> str:
    """Return the name of a dashboard: the given one, or one made of the environments' names.

    :raises MwaaInputError: CloudWatch would reject it.
    """
    found = name or "MWAA-" + "-".join(check_env_names(env_names))
    if not _NAME.fullmatch(found):
        raise MwaaInputError(
            f"Dashboard {found[:80]!r}: a name has 1 to {MAX_NAME} letters, digits, - and _. Give another."
        )
    return found


def body_text(body: Mapping[str, Any]) -> str:
    """Return a body in the form that CloudWatch takes."""
    return json.dumps(body, separators=(",", ":"))


def template(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dashboard as a CloudFormation template.

    :param name: the name of the dashboard.
    :param body: the result of :func:`build`.
    """
    properties = {"DashboardName": name, "DashboardBody": body_text(body)}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "A dashboard of Amazon MWAA environments, written by airflow-mwaa.",
        "Resources": {logical_id(name): {"Type": "AWS::CloudWatch::Dashboard", "Properties": properties}},
    }


def _heading(env_names: Iterable[str]) -> str:
    return f"# {', '.join(map(_markdown, env_names))}"


def _text(y: int, markdown: str, *, height: int) -> dict[str, Any]:
    return {
        "type": "text", "x": 0, "y": y, "width": _COLUMNS, "height": height, "properties": {"markdown": markdown},
    }  # fmt: skip


def _markdown(name: str) -> str:
    """Return a name with its underscores escaped, so that they are not emphasis."""
    return name.replace("_", "\\_")


def _properties(graph: Graph, env_name: str, region: str, max_workers: int | None) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "title": f"{graph.title} - {env_name}",
        "view": "timeSeries",
        "stacked": graph.is_stacked,
        "region": region,
        "period": graph.lines[0].period_s,
        "metrics": [_line(line, number, env_name) for number, line in enumerate(graph.lines, 1)],
        "yAxis": {"left": {"min": 0, **({"max": 100} if graph.is_percent else {})}},
    }
    marks = [mark for mark in (_threshold(graph.alarm), _max_workers(graph, max_workers)) if mark]
    if marks:
        properties["annotations"] = {"horizontal": marks}
    return properties


def _line(line: Series | Search, number: int, env_name: str) -> list[Any]:
    if isinstance(line, Search):
        return [{"expression": line.expression(env_name), "id": f"e{number}"}]
    dimensions = [part for pair in line.all_dimensions(env_name).items() for part in pair]
    return [line.namespace, line.name, *dimensions, {"stat": line.stat, "label": line.label}]


def _threshold(key: str) -> dict[str, Any] | None:
    for alarm in ALARMS:
        if alarm.key == key:
            return {"value": alarm.threshold, "label": f"alarm {alarm.condition()}", "color": "#d62728"}
    return None


def _max_workers(graph: Graph, max_workers: int | None) -> dict[str, Any] | None:
    if not graph.shows_max_workers or max_workers is None:
        return None
    return {"value": max_workers, "label": "maximum", "color": "#d62728"}
