# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa monitor`` against the local MWAA, with moto as CloudWatch."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config

from airflow_mwaa_provider.monitoring import alarms, dashboard
from tests.cli.terminal import Terminal
from tests.client.page_server import PageServer, _page_server, page_server
from tests.client.world import KEY, REGION, SECRET, World

__all__ = ["_page_server", "page_server"]

TOPIC = "arn:aws:sns:us-east-1:123456789012:on-call"


@pytest.fixture
def cloudwatch(world: World, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What is in CloudWatch, for the account that the terminal uses."""
    monkeypatch.setattr(world.mwaa, "_moto_url", moto_url)
    client = boto3.client(
        "cloudwatch", endpoint_url=moto_url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    yield client
    client.delete_alarms(AlarmNames=[each["AlarmName"] for each in client.describe_alarms()["MetricAlarms"]] or ["-"])
    for each in client.list_dashboards()["DashboardEntries"]:
        client.delete_dashboards(DashboardNames=[each["DashboardName"]])


def alarm_names(cloudwatch: Any) -> set[str]:
    return {each["AlarmName"] for each in cloudwatch.describe_alarms(AlarmNamePrefix="mwaa/")["MetricAlarms"]}


def counted(document: dict[str, Any]) -> dict[str, int]:
    actions = [change["action"] for change in document["changes"]]
    return {action: actions.count(action) for action in dict.fromkeys(actions)}


def test_alarms_are_planned_applied_kept_and_deleted(terminal: Terminal, cloudwatch: Any) -> None:
    command = ("monitor", "alarms", "env3", "env2", "--sns-topic", TOPIC)
    planned = terminal.json(*command)
    assert (planned["written"], counted(planned)) == (False, {"create": 32})
    assert alarm_names(cloudwatch) == set()
    applied = terminal.json(*command, "--apply")
    assert (applied["written"], counted(applied)) == (True, {"create": 32})
    assert alarm_names(cloudwatch) == {change["name"] for change in applied["changes"]}
    assert applied["changes"][0]["wanted"]["AlarmActions"] == [TOPIC]
    assert counted(terminal.json(*command, "--apply")) == {"keep": 32}
    assert counted(terminal.json("monitor", "alarms", "env3", "--delete")) == {"delete": 16}
    assert {name.split("/")[1] for name in alarm_names(cloudwatch)} == {"env2"}
    assert terminal.json("monitor", "alarms", "env3", "--delete")["changes"] == []


def test_a_dashboard_is_planned_applied_kept_and_deleted(terminal: Terminal, cloudwatch: Any) -> None:
    command = ("monitor", "dashboard", "env3", "env2")
    assert counted(terminal.json(*command, "--plan")) == {"create": 1}
    assert cloudwatch.list_dashboards()["DashboardEntries"] == []
    assert counted(terminal.json(*command, "--apply")) == {"create": 1}
    body = json.loads(cloudwatch.get_dashboard(DashboardName="MWAA-env3-env2")["DashboardBody"])
    assert body == json.loads(terminal.run(*command, "--body").stdout)
    assert body == dashboard.build(["env3", "env2"], REGION, max_workers={"env3": 10, "env2": 10})
    assert counted(terminal.json(*command, "--apply")) == {"keep": 1}
    assert counted(terminal.json(*command, "--delete")) == {"delete": 1}
    assert cloudwatch.list_dashboards()["DashboardEntries"] == []
    assert terminal.json(*command, "--delete")["changes"] == []


def test_people_see_what_is_to_be_done_and_what_was(terminal: Terminal, cloudwatch: Any) -> None:
    terminal.variables["COLUMNS"] = "80"
    heading, first, *_, summary = terminal.run("monitor", "alarms", "env3").stdout.splitlines()
    assert heading.split() == ["TO", "DO", "ALARM", "DIFFERS", "IN"]
    assert first.split() == ["create", "mwaa/env3/scheduler-heartbeat"]
    assert summary == "16 to create; nothing was written"
    terminal.run("monitor", "alarms", "env3", "--apply")
    changed = ("monitor", "alarms", "env3", "--threshold", "scheduler-cpu=80", "--without", "export-failed")
    lines = terminal.run(*changed).stdout.splitlines()
    assert ["update", "mwaa/env3/scheduler-cpu", "Threshold"] in [line.split() for line in lines]
    assert max(map(len, lines)) <= 80
    assert terminal.run(*changed, "--apply").stdout.splitlines()[-1] == "14 unchanged, 1 updated, 1 deleted"
    assert (
        terminal.run("monitor", "dashboard", "env3", "--delete").stdout == "no dashboard was created by airflow-mwaa\n"
    )


def test_templates_are_printed_and_nothing_is_written(terminal: Terminal, cloudwatch: Any) -> None:
    printed = json.loads(terminal.run("monitor", "alarms", "env3", "--cloudformation").stdout)
    assert printed == alarms.template(alarms.alarm_requests(["env3"], max_workers={"env3": 10}))
    printed = json.loads(terminal.run("monitor", "dashboard", "env3", "--name", "Ops", "--cloudformation").stdout)
    [resource] = printed["Resources"].values()
    assert resource["Properties"]["DashboardName"] == "Ops"
    assert alarm_names(cloudwatch) == set()
    assert cloudwatch.list_dashboards()["DashboardEntries"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("alarms", "nowhere", "--apply"), 1, "'nowhere'"),
        (("dashboard", "nowhere", "--apply"), 1, "'nowhere'"),
        (("alarms", "env3", "--without", "cpu", "--apply"), 2, "No such alarm: 'cpu'"),
        (("alarms", "env3", "--sns-topic", "on-call", "--apply"), 2, "is not the ARN of an SNS topic"),
        (("alarms", "env3", "env3"), 2, "is given twice"),
        (("dashboard", "1st"), 2, "not a name that MWAA accepts"),
        (("dashboard", "env3", "--name", "a b"), 2, "Give another"),
    ],
)
def test_an_error_is_one_line(
    terminal: Terminal, cloudwatch: Any, arguments: tuple[str, ...], status: int, words: str
) -> None:
    assert words in terminal.error("monitor", *arguments, status=status)
    assert alarm_names(cloudwatch) == set()


def test_a_threshold_without_a_number_is_misuse(terminal: Terminal, cloudwatch: Any) -> None:
    assert "scheduler-cpu=80" in terminal.run("monitor", "alarms", "env3", "--threshold", "x=much", status=2).stderr


def test_a_dashboard_of_other_hands_is_left_alone(terminal: Terminal, cloudwatch: Any) -> None:
    cloudwatch.put_dashboard(DashboardName="MWAA-env3", DashboardBody='{"widgets": []}')
    for action in ("--apply", "--delete"):
        said = terminal.error("monitor", "dashboard", "env3", action, status=2)
        assert "was not created by airflow-mwaa. Give another name" in said
    assert cloudwatch.get_dashboard(DashboardName="MWAA-env3")["DashboardBody"] == '{"widgets": []}'


@pytest.mark.parametrize("action", ["--plan", "--apply", "--delete"])
@pytest.mark.parametrize("command", ["dashboard", "alarms"])
def test_a_proxys_page_is_not_taken_for_cloudwatch(
    terminal: Terminal, page_server: PageServer, monkeypatch: pytest.MonkeyPatch, command: str, action: str
) -> None:
    monkeypatch.setattr(terminal.world.mwaa, "_moto_url", page_server.url)
    said = terminal.error("monitor", command, "env3", action, status=1)
    assert "what answered is not CloudWatch" in said
    assert "no proxy or firewall answers for it" in said


# -- show ------------------------------------------------------------------------------------------------


Published = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def _published(moto_url: str) -> Published:
    """What was published for env3, by line name, as values by time; published once, because CloudWatch adds them up.

    The newest values are in the current period.
    """
    client = boto3.client(
        "cloudwatch",
        endpoint_url=moto_url,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(disable_request_compression=True),  # older releases of moto cannot read it
    )
    end_s = math.ceil(time.time() / 300) * 300
    lines = {
        ("oldest queued task", "AWS/MWAA", "ApproximateAgeOfOldestTask", ()): [number * 200.0 for number in range(30)],
        ("CPU, schedulers", "AWS/MWAA", "CPUUtilization", (("Cluster", "Scheduler"),)): [96.0, *[40.5] * 29],
        ("scheduler heartbeats", "AmazonMWAA", "SchedulerHeartbeat", (("Function", "Scheduler"),)): [60.0] * 30,
        ("failed runs, etl", "AmazonMWAA", "DAGDurationFailed", (("DAG", "etl"),)): [1.0],
    }
    for (_, namespace, name, dimensions), values in lines.items():
        given = [{"Name": key, "Value": value} for key, value in (*dimensions, ("Environment", "env3"))]
        data = [
            {"MetricName": name, "Dimensions": given, "Value": value, "Timestamp": end_s - 300 * (len(values) - number)}
            for number, value in enumerate(values)
        ]
        client.put_metric_data(Namespace=namespace, MetricData=data)
    return {
        name: {
            datetime.fromtimestamp(end_s - 300 * (len(values) - number), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"): value
            for number, value in enumerate(values)
        }
        for (name, *_), values in lines.items()
    }


@pytest.fixture
def published(cloudwatch: Any, _published: Published) -> Published:
    return _published


@pytest.mark.once
def test_the_last_hours_are_shown_the_worst_first(terminal: Terminal, published: Published) -> None:
    for width in ("60", "80", "120"):
        terminal.variables["COLUMNS"] = width
        title, heading, *lines = terminal.run("monitor", "show", "env3").stdout.splitlines()
        assert title.startswith("env3: last 3 hours until ")
        assert heading.split()[:1] == ["LAST"]
        assert max(map(len, [title, heading, *lines])) <= int(width)
        assert [line[:22].rstrip() for line in lines[:2]] == ["! oldest queued task", "* CPU, schedulers"]
        assert "  failed runs, etl" in [line[:22].rstrip() for line in lines]
        remarks = " ".join(" ".join(lines).split())
        assert "! beyond an alarm's threshold: 1; * earlier in these hours: 1 no data: " in remarks
        assert "triggers (fired, failed, blocked the triggerer); " in remarks
        assert "\x1b" not in "".join(lines)


def test_what_is_shown_is_a_document_too(terminal: Terminal, published: Published) -> None:
    found = terminal.json("monitor", "show", "env3", "--hours", "4")
    assert (found["env_name"], found["region"]) == ("env3", REGION)
    lines = {line["name"]: line for line in found["lines"]}
    read = {name: dict(zip(lines[name]["times"], lines[name]["values"], strict=True)) for name in published}
    assert read == published
    assert [line["name"] for line in found["lines"]][:2] == ["oldest queued task", "CPU, schedulers"]
    age = lines["oldest queued task"]
    assert [age[key] for key in ("unit", "alarm", "threshold", "is_over")] == [
        "Seconds",
        "oldest-queued-task",
        1800,
        True,
    ]
    cpu = lines["CPU, schedulers"]
    assert (cpu["is_over"], cpu["was_over"], cpu["dimensions"]) == (False, True, {"Cluster": "Scheduler"})
    assert (lines["failed runs, etl"]["threshold"], lines["failed runs, etl"]["alarm"]) == (None, None)
    assert "queued tasks" in found["without_data"]


@pytest.mark.once
def test_a_terminal_without_utf_8_gets_ascii(terminal: Terminal, published: Published) -> None:
    terminal.variables |= {"PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    output, errors = terminal.start("monitor", "show", "env3").communicate(timeout=60)
    assert errors == b""
    assert "! oldest queued task" in output.decode("ascii")


@pytest.mark.once
@pytest.mark.parametrize(("no_color", "is_colored"), [(None, True), ("1", False)])
def test_what_is_over_is_red_on_a_terminal(
    terminal: Terminal, published: Published, no_color: str | None, is_colored: bool
) -> None:
    terminal.variables |= {"NO_COLOR": no_color, "COLUMNS": "80"}
    ours, theirs = os.openpty()
    process = terminal.start("monitor", "show", "env3", stdout=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.communicate(timeout=20)[1] == b""
    assert process.returncode == 0
    assert ("\x1b[31m! oldest queued task" in shown.decode()) is is_colored
    assert ("\x1b" in shown.decode()) is is_colored
    assert "▁" in shown.decode()
    assert "\x1b" not in next(line for line in shown.decode().splitlines() if "scheduler heartbeats" in line)


def test_an_environment_that_has_published_nothing(terminal: Terminal, cloudwatch: Any) -> None:
    for arguments in ((), ("--output", "json")):
        said = terminal.error("monitor", "show", "env2", *arguments, status=1)
        assert "'env2' is AVAILABLE, and CloudWatch in us-east-1 has no metrics of its last 3 hours" in said
        assert "up to 15 minutes" in said


def test_what_cannot_be_shown_is_told_in_one_line(
    terminal: Terminal, page_server: PageServer, monkeypatch: pytest.MonkeyPatch, no_waiting: None
) -> None:
    assert "'nowhere'" in terminal.error("monitor", "show", "nowhere", status=1)
    assert "--hours" in terminal.run("monitor", "show", "env3", "--hours", "337", status=2).stderr
    monkeypatch.setattr(terminal.world.mwaa, "_moto_url", page_server.url)
    for refusal, words in (
        ("", "what answered is not CloudWatch"),
        ("AccessDenied", "Allow cloudwatch:ListMetrics"),
        ("Throttling", "throttled"),
    ):
        page_server.refusal = refusal
        said = terminal.error("monitor", "show", "env3", status=1)
        assert said.startswith("Environment 'env3': ListMetrics: ")
        assert words in said


@pytest.mark.once
def test_ctrl_c_ends_it(terminal: Terminal, page_server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.world.mwaa, "_moto_url", page_server.url)
    page_server.silence = threading.Event()
    process = terminal.start("monitor", "show", "env3")
    assert page_server.asked.wait(60)
    process.send_signal(signal.SIGINT)
    try:
        output, errors = process.communicate(timeout=20)
    finally:
        page_server.silence.set()
    assert (process.returncode, output, errors) == (1, b"", b"airflow-mwaa: interrupted\n")
