# SPDX-License-Identifier: Apache-2.0
"""CloudWatch Logs of a real environment: MWAA's groups and streams, found as on AWS."""

from __future__ import annotations

import re
import socket
import time

import pytest

from tests.local_airflow.conftest import wait_for_dag

pytestmark = pytest.mark.airflow

KINDS = ("DAGProcessing", "Scheduler", "Task", "WebServer", "Worker")
RUN_ID = "manual__2026-11-29T21:00:00+00:00"
STREAM = "dag_id=hello/run_id=manual__2026-11-29T21_00_00+00_00/task_id=say/attempt=1.log"


@pytest.fixture(scope="module")
def logs(aws):
    return aws("logs")


@pytest.fixture(scope="module")
def is_airflow_3(running, rest):
    """Return whether it is Airflow 3, after its DAG has run once."""
    wait_for_dag(rest, "hello")
    is_3 = running.status()["environments"]["source"]["airflow_version"].startswith("3")
    body = {"dag_run_id": RUN_ID, "conf": {"a": "b"}, **({"logical_date": None} if is_3 else {})}
    rest("POST", "/dags/hello/dagRuns", **body)
    return is_3


def found(logs, kind, pattern, **more):
    """Search a group, as ``aws logs tail`` does, until something is found, for at most 60 s."""
    deadline = time.monotonic() + 60
    while True:
        events = logs.filter_log_events(
            logGroupName=f"airflow-source-{kind}", filterPattern=f'"{pattern}"', interleaved=True, **more
        )["events"]
        if events or time.monotonic() > deadline:
            return events
        time.sleep(0.5)


def test_the_groups_that_get_environment_names_are_there(aws, logs):
    described = aws("mwaa").get_environment(Name="source")["Environment"]["LoggingConfiguration"]
    named = {group["CloudWatchLogGroupArn"].rpartition(":")[2] for group in described.values() if group["Enabled"]}
    assert named == {f"airflow-source-{kind}" for kind in KINDS}
    assert named <= {group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]}


def test_a_line_of_a_task_is_found(logs, is_airflow_3):
    before = int((time.time() - 300) * 1000)
    (event,) = found(logs, "Task", "BUCKETS", startTime=before, logStreamNames=[STREAM])
    assert "BUCKETS ['local-mwaa-source']" in event["message"]
    assert abs(event["timestamp"] / 1000 - time.time()) < 300
    assert logs.get_log_events(logGroupName="airflow-source-Task", logStreamName=STREAM)["events"]


def test_each_component_has_its_stream(logs, is_airflow_3):
    host = re.escape(socket.gethostname())
    manager = "dag-processor-manager.log" if is_airflow_3 else "dag_processor_manager.log"
    of_file = "scheduler_dag_processor_hello.py.log" if is_airflow_3 else "scheduler_hello.py.log"
    expected = {
        ("Scheduler", "Starting the scheduler"): rf"scheduler_{host}_[\d.]+\.log",
        ("Scheduler", "Starting the triggerer"): rf"triggerer_{host}_[\d.]+\.log",
        ("WebServer", "startup complete" if is_airflow_3 else "Starting gunicorn"): rf"webserver_{host}_[\d.]+\.log",
        ("Worker", "local_executor"): rf"worker_{host}_[\d.]+\.log",
        ("DAGProcessing", "Searching for files"): re.escape(manager),
        ("DAGProcessing", "Filling up the DagBag"): re.escape(of_file),
    }
    for (kind, text), stream in expected.items():
        names = {event["logStreamName"] for event in found(logs, kind, text)}
        # More than one if an earlier test killed the component, or added a DAG file.
        assert any(re.fullmatch(stream, name) for name in names), (kind, text, names)
