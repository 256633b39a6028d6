# SPDX-License-Identifier: Apache-2.0
"""Log files are shipped to a real moto's CloudWatch Logs, without an Airflow."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
import tracemalloc

import boto3
import pytest
from moto.logs.models import LogGroup

from airflow_mwaa_provider.local.airflow.airflow_logs import PREPARATION, AirflowLogs
from airflow_mwaa_provider.local.machine import moto_program, processes
from airflow_mwaa_provider.local.machine.log_shipping import CloudWatchLogsUnreachable, LogShipping
from airflow_mwaa_provider.local.machine.moto_server import MotoServer
from airflow_mwaa_provider.local.machine.state import StateFolder
from airflow_mwaa_provider.local.runtime import LogKind

REGION = "us-east-1"
NOW = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
EVERYTHING = dict.fromkeys(LogKind, logging.INFO)
BEGAN = {PREPARATION: 1.0, "scheduler": 2.0, "api-server": 3.0, "triggerer": 4.0}


@pytest.fixture
def logs(s3_url):
    client = boto3.session.Session("a", "b", region_name=REGION).client("logs", endpoint_url=s3_url)
    yield client
    for group in client.describe_log_groups()["logGroups"]:
        client.delete_log_group(logGroupName=group["logGroupName"])
    client.close()


@pytest.fixture
def shipping(s3_url):
    return LogShipping(s3_url, REGION)


@pytest.fixture
def folder(tmp_path):
    folder = StateFolder(tmp_path / "state").environment("one")
    folder.create()
    return folder


def source(folder, *, levels=EVERYTHING, is_airflow_3=True):
    return AirflowLogs("one", folder, is_airflow_3, BEGAN, levels)


def write(folder, path, text):
    target = folder.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("a") as file:
        file.write(text)
    return target


def messages(logs, kind, **more):
    """Return all messages of a group, by stream."""
    found = {}
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"airflow-one-{kind}", **more)
    for page in pages:
        for event in page["events"]:
            found.setdefault(event["logStreamName"], []).append(event["message"])
    return found


TASK = "airflow/logs/dag_id=d/run_id=manual__2026-01-01T00:00:00+00:00/task_id=t/attempt=1.log"
STREAM = "dag_id=d/run_id=manual__2026-01-01T00_00_00+00_00/task_id=t/attempt=1.log"


def test_groups_are_there_before_any_line(logs, shipping, folder):
    shipping.ship([source(folder, levels={LogKind.TASK: logging.INFO, LogKind.WEB_SERVER: logging.ERROR})])
    names = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    assert names == ["airflow-one-Task", "airflow-one-WebServer"]


def test_a_record_of_airflow_2_is_one_event_with_its_traceback(logs, shipping, folder):
    write(
        folder,
        TASK,
        f"[{NOW}.250+0000] {{t.py:1}} INFO - begins\n"
        f"[{NOW}.500+0000] {{t.py:2}} ERROR - failed\nTraceback (most recent call last):\n  File\nValueError: ü\n",
    )
    write(folder, f"{TASK}.trigger.7.log", f"[{NOW}.750+0000] {{t.py:3}} WARNING - of the trigger\n")
    shipping.ship([source(folder, is_airflow_3=False)])
    events = logs.get_log_events(logGroupName="airflow-one-Task", logStreamName=STREAM)["events"]
    assert [event["message"].partition(" - ")[2] for event in events] == [
        "begins",
        "failed\nTraceback (most recent call last):\n  File\nValueError: ü",
        "of the trigger",
    ]
    assert [event["timestamp"] % 1000 for event in events] == [250, 500, 750]


def test_an_event_of_airflow_3_is_json_without_its_time(logs, shipping, folder):
    write(folder, TASK, f'{{"timestamp":"{NOW}.25Z","level":"info","event":"done","logger":"task.stdout"}}\nno JSON\n')
    write(folder, f"{TASK}.trigger.7.log", f'{{"timestamp":"{NOW}Z","level":"info","event":"waits"}}\n')
    shipping.ship([source(folder)])
    told = '{"level": "info", "event": "done", "logger": "task.stdout"}'
    assert messages(logs, "Task") == {
        STREAM: [f"{told}\nno JSON"],
        f"{STREAM}.trigger.7.log": ['{"level": "info", "event": "waits"}'],
    }


def test_each_group_has_its_level_and_its_switch(logs, shipping, folder):
    lines = (
        f"{NOW}Z [info     ] scheduling\n{NOW}Z [warning  ] slow\n  and why\n{NOW}Z [critical ] over\n"
        f"{NOW}Z [error    ] died [airflow.executors.local_executor.LocalExecutor] loc=x\n"
    )
    write(folder, "components/scheduler.log", lines)
    write(folder, "components/api-server.log", lines)
    write(folder, "components/requirements_install.log", "Collecting x\n")
    shipping.ship([source(folder, levels={LogKind.SCHEDULER: logging.WARNING, LogKind.WORKER: logging.CRITICAL})])
    host = os.uname().nodename
    found = messages(logs, "Scheduler")
    assert found.pop(f"requirements_install_{host}_1.000000.log") == ["[INFO] - Collecting x"], "at every level"
    (component,) = found.items()
    assert component[0] == f"scheduler_{host}_2.000000.log"
    assert [line.rpartition("]")[2].strip() for line in component[1]] == ["slow", "and why", "over"]
    assert messages(logs, "Worker") == {f"requirements_install_{host}_1.000000.log": ["[INFO] - Collecting x"]}
    names = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    assert names == ["airflow-one-Scheduler", "airflow-one-Worker"]


def test_what_was_written_while_a_group_was_off_is_never_sent(logs, shipping, folder):
    both = {LogKind.TASK: logging.INFO, LogKind.SCHEDULER: logging.INFO}
    for number, levels in enumerate((both, {}, both)):
        write(folder, TASK, f"[{NOW}+0000] {{t.py:1}} INFO - {number}\n")
        write(folder, "components/scheduler.log", f"{NOW}Z [info     ] {number}\n")
        shipping.ship([source(folder, levels=levels)])
    assert [line[-1] for line in messages(logs, "Task")[STREAM]] == ["0", "2"]
    assert [[line[-1] for line in lines] for lines in messages(logs, "Scheduler").values()] == [["0", "2"]]


def test_a_startup_script_has_a_stream_in_the_group_of_each_component(logs, shipping, folder):
    groups = {"scheduler": "Scheduler", "worker": "Worker", "webserver": "WebServer"}
    for component in groups:
        write(folder, f"components/startup_script.{component}.log", f"as {component}\n")
    shipping.ship([source(folder)])
    for component, group in groups.items():
        stream = f"startup_script_execution_{os.uname().nodename}_1.000000.log"
        assert messages(logs, group) == {stream: [f"[INFO] - as {component}"]}


def test_what_was_there_before_is_left_out_and_what_grows_is_sent_once(logs, shipping, folder):
    path = write(folder, TASK, f"[{NOW}+0000] {{t.py:1}} INFO - old\n")
    shipping.mark(folder.root)
    shipping.ship([source(folder)])
    for number in range(3):
        write(folder, TASK, f"[{NOW}+0000] {{t.py:1}} INFO - new {number}\n")
        shipping.ship([source(folder)])
    half = write(folder, TASK, f"[{NOW}+0000] {{t.py:1}} INFO - not yet")
    shipping.ship([source(folder)])
    assert [line.rpartition(" - ")[2] for line in messages(logs, "Task")[STREAM]] == ["new 0", "new 1", "new 2"]
    os.utime(half, (time.time() - 10, time.time() - 10))
    shipping.ship([source(folder)])
    path.unlink()
    write(folder, TASK, f"[{NOW}+0000] {{t.py:1}} INFO - another file\n")
    shipping.ship([source(folder)])
    assert [line.rpartition(" - ")[2] for line in messages(logs, "Task")[STREAM]][3:] == ["not yet", "another file"]


def test_long_lines_and_old_times_are_brought_into_its_limits(logs, shipping, folder):
    write(folder, TASK, f"[{NOW}+0000] {{t.py:1}} INFO - {'ä' * 300_000}\n[1999-12-31 00:00:00+0000] {{}} INFO - old\n")
    for _ in range(2):
        shipping.ship([source(folder)])
    events = logs.get_log_events(logGroupName="airflow-one-Task", logStreamName=STREAM, startFromHead=True)["events"]
    assert all(len(event["message"].encode()) <= 256 * 1024 - 26 for event in events)
    assert all(time.time() - event["timestamp"] / 1000 < 86_400 for event in events)
    assert sum(event["message"].count("ä") for event in events) == 300_000
    assert events[-1]["message"].endswith("old")


def test_a_large_log_costs_little_memory(logs, shipping, folder):
    line = f"[{NOW}.000+0000] {{t.py:1}} INFO - {'x' * 150}\n"
    write(folder, TASK, line * (20 * 1024 * 1024 // len(line)))
    shipping.ship([source(folder)])
    tracemalloc.start()
    try:
        for _ in range(3):
            shipping.ship([source(folder)])
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_nothing_is_lost_while_moto_is_away(tmp_path, folder):
    processes_folder = tmp_path / "moto"
    processes_folder.mkdir()
    with asyncio.Runner() as runner:
        server = MotoServer(processes_folder, processes.marked(processes_folder), processes.PortAllocator(), REGION)
        try:
            shipping = LogShipping(server.url, REGION)
            write(folder, TASK, f"[{NOW}+0000] {{t.py:1}} INFO - before\n")
            with pytest.raises(CloudWatchLogsUnreachable):
                shipping.ship([source(folder)])
            runner.run(server.start())
            shipping.ship([source(folder)])
            runner.run(server.stop())
            write(folder, TASK, f"[{NOW}+0000] {{t.py:1}} INFO - meanwhile\n")
            with pytest.raises(CloudWatchLogsUnreachable):
                shipping.ship([source(folder)])
            runner.run(server.start())
            shipping.ship([source(folder)])
            client = boto3.session.Session("a", "b", region_name=REGION).client("logs", endpoint_url=server.url)
            assert [line.rpartition(" - ")[2] for line in messages(client, "Task")[STREAM]] == ["meanwhile"]
            client.delete_log_group(logGroupName="airflow-one-Task")
            write(folder, TASK, f"[{NOW}+0000] {{t.py:1}} INFO - once more\n")
            shipping.ship([source(folder)])
            assert len(messages(client, "Task")[STREAM]) == 1, "a group that somebody has deleted is made again"
            client.close()
        finally:
            runner.run(server.stop())
    assert processes.find(processes_folder) == []


BOUNDED = """
import gc, weakref
from moto.logs.models import LogEvent, LogGroup
from airflow_mwaa_provider.local.machine import moto_program

moto_program.bound_logs()
moto_program.KEPT_BYTES = 1_000_000
events = weakref.WeakSet()
made = LogEvent.__init__

def init(self, *arguments):
    made(self, *arguments)
    events.add(self)

LogEvent.__init__ = init
groups = LogGroup("123456789012", "us-east-1", "airflow-one-Task"), LogGroup("123456789012", "us-east-1", "of-a-user")
for group in groups:
    group.create_log_stream("stream")
    for batch in range(20):
        group.put_log_events("stream", [{"timestamp": 1000 + batch, "message": "x" * 600}] * 200)
gc.collect()
kept, users = (len(group.streams["stream"].events) for group in groups)
assert users == 4_000 and 750 <= kept <= 1_200 and len(events) == users + kept, (users, kept, len(events))
"""


def test_moto_frees_what_it_forgets_and_leaves_other_groups_alone():
    # In a separate process, because it changes moto permanently.
    subprocess.run([sys.executable, "-c", BOUNDED], check=True, timeout=60)


def test_moto_forgets_the_oldest_events_of_a_group_that_has_grown_too_large():
    group = LogGroup("123456789012", REGION, "airflow-one-Task")
    for name in ("early", "late", "both"):
        group.create_log_stream(name)
    for number in range(100):
        event = {"timestamp": 1_000 + number, "message": "x" * 600}
        for name in ("both", "early" if number < 50 else "late"):
            group.streams[name].put_log_events([event])
    moto_program.forget_oldest(group, 10_000_000)
    assert set(group.streams) == {"early", "late", "both"}
    moto_program.forget_oldest(group, 100_000)
    assert set(group.streams) == {"late", "both"}
    kept = [event.timestamp for stream in group.streams.values() for event in stream.events]
    assert 80 <= len(kept) <= 90
    assert min(kept) >= 1_050
    assert max(kept) == 1_099
