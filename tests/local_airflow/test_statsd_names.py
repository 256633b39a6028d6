# SPDX-License-Identifier: Apache-2.0
"""Airflow's StatsD lines become MWAA's metrics, with the names, units and dimensions of the package's own list."""

from __future__ import annotations

import pytest

from airflow_mwaa_provider.local.airflow import environment_metrics, statsd_names
from airflow_mwaa_provider.local.machine.metric_publishing import Datum, Statistics
from airflow_mwaa_provider.local.machine.statsd import Kind, Totals
from airflow_mwaa_provider.monitoring import mwaa_metrics

pytestmark = pytest.mark.once

E = ("Environment", "e")
ALL = (("DAG", "All"), ("Task", "All"), E)


def translated(*lines, **more):
    totals = Totals()
    for line in lines:
        totals.add(line.encode())
    return statsd_names.translate(totals.take(), "e", **more)


@pytest.mark.parametrize(
    ("line", "name", "unit", "dimensions", "value"),
    [
        ("scheduler_heartbeat:1|c", "SchedulerHeartbeat", "Count", (("Function", "Scheduler"), E), 1.0),
        ("executor.running_tasks:3|g", "RunningTasks", "Count", (("Function", "Executor"), E), 3.0),
        ("dagbag_size:19|g", "DagBagSize", "Count", (("Function", "DAG Processing"), E), 19.0),
        (
            "dag_processing.total_parse_time:1.5|g",
            "TotalParseTime",
            "Seconds",
            (("Function", "DAG Processing"), E),
            1.5,
        ),
        ("triggerer_heartbeat:1|c", "TriggerHeartbeat", "Count", (("Function", "Triggerer"), E), 1.0),
        (
            "triggers.running.host.example:2|g",
            "TriggersRunning",
            "Count",
            (("Function", "Trigger"), ("HostName", "host.example"), E),
            2.0,
        ),
        ("ti_failures:2|c", "TaskInstanceFailures", "Count", ALL, 2.0),
        ("ti.start.d.t:1|c", "StartedTaskInstances", "Count", ALL, 1.0),
        (
            "ti.finish.d.group.t.up_for_retry:1|c",
            "TaskInstanceFinished",
            "Count",
            (("DAG", "d"), ("Task", "group.t"), ("State", "up_for_retry"), E),
            1.0,
        ),
        (
            "dag.d.t.duration:250|ms",
            "TaskInstanceDuration",
            "Milliseconds",
            (("DAG", "d"), ("Task", "t"), E),
            Statistics(1, 250.0, 250.0, 250.0),
        ),
        (
            "dag.d.t.queued_duration:10|ms",
            "TaskInstanceQueuedDuration",
            "Milliseconds",
            (("DAG", "d"), ("Task", "t"), E),
            Statistics(1, 10.0, 10.0, 10.0),
        ),
        (
            "dagrun.my.dag.first_task_scheduling_delay:4|ms",
            "FirstTaskSchedulingDelay",
            "Milliseconds",
            (("DAG", "my.dag"), E),
            Statistics(1, 4.0, 4.0, 4.0),
        ),
        (
            "dagrun.duration.success.d:4|ms",
            "DAGDurationSuccess",
            "Milliseconds",
            (("DAG", "d"), E),
            Statistics(1, 4.0, 4.0, 4.0),
        ),
        (
            "dag_processing.last_duration.f:1500|ms",
            "DAGFileProcessingLastDuration",
            "Seconds",
            (("DAG Filename", "f"), E),
            Statistics(1, 1.5, 1.5, 1.5),
        ),
        ("cpu.usage.d.t:12.5|g", "TaskCpuUsage", "Percent", (("DAG", "d"), ("Task", "t"), E), 12.5),
        ("pool.open_slots.default_pool:128|g", "PoolOpenSlots", "Count", (("Pool", "default_pool"), E), 128.0),
        ("localtaskjob_start:1|c", "JobStart", "Count", (("Job", "localtaskjob"), E), 1.0),
        ("operator_failures_BashOperator:1|c", "OperatorFailures", "Count", (("Operator", "BashOperator"), E), 1.0),
        (
            "task_instance_created_BashOperator:1|c",
            "TaskInstanceCreatedUsingOperator",
            "Count",
            (("Operator", "BashOperator"), E),
            1.0,
        ),
        ("asset.updates:1|c", "Updates", "Count", (("Function", "Scheduler"), E), 1.0),
    ],
)
def test_a_line_of_airflow_is_mwaas_metric(line, name, unit, dimensions, value):
    assert translated(f"airflow.{line}", is_airflow_3=False) == [Datum("AmazonMWAA", name, unit, dimensions, value)]


def test_how_long_a_file_was_parsed_is_told_in_seconds_by_airflow_3():
    (datum,) = translated("airflow.dag_processing.last_duration.dags-folder.f:1.5|ms", is_airflow_3=True)
    assert datum.unit == "Seconds"
    assert datum.value == Statistics(1, 1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    "line", ["airflow.mwaa_secrets.hits:1|c", "other.scheduler_heartbeat:1|c", "scheduler_heartbeat:1|c"]
)
def test_what_mwaa_does_not_publish_is_left_out(line):
    assert translated(line) == []


def test_the_prefix_may_be_another_one_or_none():
    assert [datum.name for datum in translated("mine.dagbag_size:1|g", prefix="mine")] == ["DagBagSize"]
    assert [datum.name for datum in translated("dagbag_size:1|g", prefix="")] == ["DagBagSize"]


def test_metrics_of_all_tasks_are_one():
    (datum,) = translated("airflow.ti.start.d.one:1|c", "airflow.ti.start.d.two:1|c", "airflow.ti.start.d.two:1|c")
    assert (datum.dimensions, datum.value) == (ALL, 3.0)


NEVER = {
    # Not sent by any Airflow from 2.8 on.
    *("TasksPending", "ExceptionFailures", "ExecutedTasks", "InfraFailures", "LoadedTasks"),
    *("PokedExceptions", "PokedSuccess", "PokedTasks"),
    # Sent by Celery, which is not the executor here.
    *("FailedCeleryTaskExecution", "TaskTimeoutError"),
    # Open slots under a name for failures: the guide's row is probably a mistake.
    "PoolFailures",
}


def test_what_is_published_of_airflow_is_the_guides_but_for_what_the_docs_name():
    listed = {
        (metric.name, tuple(metric.dimensions))
        for metric in mwaa_metrics.METRICS
        if metric.namespace == statsd_names.NAMESPACE
    }
    published = {(rule.name, tuple(name for name, _ in rule.dimensions)) for rule in statsd_names.RULES}
    assert published <= listed
    assert {name for name, _ in listed - published} == NEVER


@pytest.mark.parametrize("rule", statsd_names.RULES, ids=lambda rule: rule.pattern.pattern)
def test_units_and_dimensions_are_those_of_the_packages_list(rule):
    values = {name: value if value[0] != "{" else "x" for name, value in rule.dimensions}
    metric = mwaa_metrics.find(statsd_names.NAMESPACE, rule.name, {**values, "Environment": "e"})
    assert metric is not None
    assert metric.unit in {rule.unit(kind) for kind in Kind}


def test_what_is_measured_is_in_the_packages_list():
    every = [
        ("CPUUtilization", "Percent", {"Cluster": cluster}) for cluster in ("Scheduler", "BaseWorker", "WebServer")
    ]
    every += [("MemoryUtilization", unit, dimensions) for _, unit, dimensions in every]
    every += [(name, "Count", {}) for name in ("QueuedTasks", "RunningTasks")]
    every += [
        ("ApproximateAgeOfOldestTask", "Seconds", {}),
        ("DatabaseConnections", "Count", {"DatabaseRole": "WRITER"}),
    ]
    for name, unit, dimensions in every:
        metric = mwaa_metrics.find(environment_metrics.NAMESPACE, name, {**dimensions, "Environment": "e"})
        assert metric is not None, name
        assert metric.unit == unit
