# SPDX-License-Identifier: Apache-2.0
"""Metrics of environments are published: StatsD over UDP, processes of this machine, a real moto's CloudWatch."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto.cloudwatch.models import CloudWatchBackend

from airflow_mwaa_provider.local.airflow.environment_metrics import (
    SCHEDULER,
    WEB_SERVER,
    WORKER,
    EnvironmentMetrics,
    use_by_cluster,
)
from airflow_mwaa_provider.local.airflow.metadata_databases import DatabaseState
from airflow_mwaa_provider.local.machine import moto_program
from airflow_mwaa_provider.local.machine.metric_publishing import (
    CloudWatchUnreachable,
    Datum,
    MetricPublishing,
    Statistics,
)
from airflow_mwaa_provider.local.machine.statsd import Kind, Series, StatsdListener, Totals

REGION = "us-east-1"


def taken(*datagrams, totals=None):
    totals = totals or Totals()
    for datagram in datagrams:
        totals.add(datagram)
    return totals.take()


def test_counters_are_added_up_by_their_rate():
    assert taken(b"a:1|c\na:2|c", b"a:1|c|@0.5", b"b:-1|c") == {
        ("a", Kind.COUNTER): Series(3, 5.0, 1.0, 2.0),
        ("b", Kind.COUNTER): Series(1, -1.0, -1.0, -1.0),
    }


def test_a_gauge_is_its_last_value_and_what_was_added_to_it():
    totals = Totals()
    assert taken(b"g:5|g", b"g:7|g", totals=totals)["g", Kind.GAUGE].total == 7.0
    assert taken(b"g:+2|g", b"g:-4|g", totals=totals)["g", Kind.GAUGE].total == 5.0
    assert taken(totals=totals) == {}


def test_times_keep_their_extremes():
    assert taken(b"t:5|ms", b"t:1.5|ms") == {("t", Kind.TIMER): Series(2, 6.5, 1.5, 5.0)}


def test_tags_of_datadog_and_influxdb_are_left_out():
    assert taken(b"a,dag_id=x:1|c", b"a:1|c|#dag_id:x") == {("a", Kind.COUNTER): Series(2, 2.0, 1.0, 1.0)}


@pytest.mark.parametrize(
    "datagram", [b"", b"a", b"a:1", b"a:x|c", b"a:1|z", b":|", b"\xff\xfe", b"a:1|c|@0", b"a:1|c|@x", b"a:nan|g"]
)
def test_what_is_no_metric_is_left_out(datagram):
    assert taken(datagram) == {}


def test_a_sender_that_runs_wild_does_not_fill_the_memory(caplog):
    totals = Totals()
    for number in range(20_100):
        totals.add(b"name%d:1|c" % number)
    assert len(totals.take()) == 20_000
    assert "more than 20000 names" in caplog.text
    assert len(caplog.records) == 1


def test_statsd_is_heard_on_loopback():
    async def heard():
        listener = await StatsdListener.open()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"a:1|c", listener.address)
        while not (found := listener.totals.take()):
            await asyncio.sleep(0.01)
        listener.close()
        await asyncio.sleep(0)  # the socket is closed here
        return found

    assert asyncio.run(asyncio.wait_for(heard(), 10)) == {("a", Kind.COUNTER): Series(1, 1.0, 1.0, 1.0)}


@pytest.fixture
def cloudwatch(s3_url):
    client = boto3.session.Session("a", "b", region_name=REGION).client("cloudwatch", endpoint_url=s3_url)
    yield client
    client.close()


E = ("Environment", "e")


def published(cloudwatch, namespace, name):
    now = datetime.now(UTC)
    return cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": "Environment", "Value": "e"}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=10),
        Period=3600,
        Statistics=["Sum", "Maximum", "SampleCount"],
    )["Datapoints"]


def test_what_is_published_is_found_in_aws_own_namespace(cloudwatch, s3_url):
    MetricPublishing(s3_url, REGION, 60).publish(
        [
            Datum("AmazonMWAA", "A", "Count", (("Function", "Scheduler"), E), 3.0),
            Datum("AmazonMWAA", "B", "Seconds", (E,), Statistics(4, 6.0, 1.0, 2.0)),
            *(Datum("AWS/MWAA", f"C{number}", "Percent", (E,), 0.5) for number in range(200)),
        ]
    )
    (series,) = cloudwatch.list_metrics(Namespace="AmazonMWAA", MetricName="A")["Metrics"]
    assert {each["Name"]: each["Value"] for each in series["Dimensions"]} == {
        "Function": "Scheduler",
        "Environment": "e",
    }
    (point,) = published(cloudwatch, "AmazonMWAA", "B")
    assert (point["SampleCount"], point["Sum"], point["Maximum"], point["Unit"]) == (4.0, 6.0, 2.0, "Seconds")
    assert [published(cloudwatch, "AWS/MWAA", f"C{number}")[0]["Maximum"] for number in (0, 199)] == [0.5, 0.5]


class Source:
    def __init__(self, *answers):
        self.answers = list(answers)

    async def measure(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_what_fails_is_told_once_and_ends_nothing(monkeypatch, caplog):
    data = [Datum("AmazonMWAA", "A", "Count", (E,), 1.0)]
    tried = []

    def publish(self, data):
        tried.append(data)
        raise CloudWatchUnreachable("away")

    monkeypatch.setattr(MetricPublishing, "publish", publish)
    source = Source(data, ValueError("a bug"), data)

    async def some_rounds():
        run = asyncio.create_task(MetricPublishing("http://127.0.0.1:9", REGION, 0.01).run(lambda: [source]))
        while source.answers:
            await asyncio.sleep(0.01)
        run.cancel()

    asyncio.run(asyncio.wait_for(some_rounds(), 10))
    assert len(tried) >= 1
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert "a bug" in caplog.text


def test_a_cloudwatch_that_is_away_is_an_error():
    with pytest.raises(CloudWatchUnreachable):
        MetricPublishing("http://127.0.0.1:9", REGION, 60).publish([Datum("N", "A", "Count", (E,), 1.0)])


BUSY = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass\ntime.sleep(60)"
WORKS = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {BUSY!r}, "airflow worker -- LocalExecutor"])
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.read()
child.kill(); child.wait()
"""


@pytest.fixture
def scheduler():
    """A process in place of a scheduler; its child, in place of a worker, uses half a second of CPU time."""
    process = subprocess.Popen([sys.executable, "-c", WORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_processes_below_the_scheduler_that_run_tasks_are_the_workers(scheduler):
    deadline = time.monotonic() + 20
    while (used := use_by_cluster({"scheduler": scheduler.pid}))[WORKER].cpu_s < 0.5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert used[WORKER].cpu_s >= 0.5
    assert used[SCHEDULER].cpu_s < 0.5
    assert used[WORKER].memory_bytes > 1_000_000
    assert used[SCHEDULER].memory_bytes > 1_000_000
    assert used[WEB_SERVER].memory_bytes == 0
    of_a_web_server = use_by_cluster({"api-server": scheduler.pid})
    assert of_a_web_server[WEB_SERVER].cpu_s >= 0.5
    assert of_a_web_server[WORKER].cpu_s == 0.0


class Databases:
    async def measure(self, env_name):
        assert env_name == "e"
        return DatabaseState(queued=3, running=2, oldest_queued_s=7.5, connections=9)


def test_an_environment_is_measured():
    metrics = EnvironmentMetrics("e", Databases(), None, "airflow", is_airflow_3=True)
    assert asyncio.run(metrics.measure()) == [], "nothing runs"
    metrics.pids = {"api-server": os.getpid()}
    asyncio.run(metrics.measure())
    found = {(datum.name, datum.dimensions): datum for datum in asyncio.run(metrics.measure())}
    assert {datum.namespace for datum in found.values()} == {"AWS/MWAA"}
    values = {key: datum.value for key, datum in found.items()}
    assert values["QueuedTasks", (E,)] == 3.0
    assert values["RunningTasks", (E,)] == 2.0
    assert values["ApproximateAgeOfOldestTask", (E,)] == 7.5
    assert values["DatabaseConnections", (("DatabaseRole", "WRITER"), E)] == 9.0
    assert 0.0 < values["MemoryUtilization", (("Cluster", "WebServer"), E)] < 100.0
    assert 0.0 <= values["CPUUtilization", (("Cluster", "WebServer"), E)] <= 100.0
    assert len(found) == 10


@pytest.fixture
def backend(monkeypatch):
    """moto's CloudWatch with the local MWAA's changes."""
    for name in ("put_metric_data", "get_metric_data", "get_filtered_metrics"):
        monkeypatch.setattr(CloudWatchBackend, name, getattr(CloudWatchBackend, name))
    moto_program.bound_metrics()
    return CloudWatchBackend(REGION, "123456789012")


def point(name="A", value=1.0):
    return {"MetricName": name, "Value": value, "Dimensions": [{"Name": "Environment", "Value": "e"}]}


def test_the_oldest_points_of_environments_are_forgotten_and_no_others(backend, monkeypatch):
    monkeypatch.setattr(moto_program, "KEPT_POINTS", 40)
    backend.put_metric_data("Mine", [point("Mine")] * 100)
    for number in range(50):
        backend.put_metric_data("AWS/MWAA", [point(value=float(number))])
    own = [each.value for each in backend.metric_data if each.namespace == "AWS/MWAA"]
    assert own == [float(number) for number in range(50 - len(own), 50)]
    assert 30 <= len(own) <= 40
    assert sum(each.namespace == "Mine" for each in backend.metric_data) == 100


def test_a_series_is_listed_once_however_often_it_was_published(backend):
    for _ in range(3):
        backend.put_metric_data("AmazonMWAA", [point("A"), point("B")])
    _, listed = backend.list_metrics(None, "AmazonMWAA", "", [])
    assert [each.name for each in listed] == ["A", "B"]


def test_what_is_asked_of_many_points_is_what_there_is(backend):
    backend.put_metric_data("AmazonMWAA", [point("A", 2.0), point("B", 5.0)])
    backend.put_metric_data("Other", [point("A", 7.0)])
    queries = [
        {
            "Id": name.lower(),
            "MetricStat": {"Metric": {"Namespace": "AmazonMWAA", "MetricName": name}, "Period": 3600, "Stat": "Sum"},
        }
        for name in ("A", "B")
    ]
    at = backend.metric_data[0].timestamp
    found = backend.get_metric_data(queries, at - timedelta(hours=1), at + timedelta(hours=1))
    assert [list(each.get("values", each.get("vals"))) for each in found] == [[2.0], [5.0]]
