# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa monitor``: plans, applies and deletes against the local MWAA, with CloudWatch by moto behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from airflow_mwaa_provider.monitoring import alarms, dashboard
from tests.cli.terminal import Terminal
from tests.client.page_server import PageServer, page_server
from tests.client.world import KEY, REGION, SECRET, World

__all__ = ["page_server"]

TOPIC = "arn:aws:sns:us-east-1:123456789012:on-call"


@pytest.fixture
def cloudwatch(world: World, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What is in CloudWatch, of the account that the terminal speaks to."""
    monkeypatch.setattr(world.mwaa, "_moto_url", moto_url)
    client = boto3.client(
        "cloudwatch", endpoint_url=moto_url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    yield client
    client.delete_alarms(AlarmNames=[each["AlarmName"] for each in client.describe_alarms()["MetricAlarms"]] or ["-"])
    for each in client.list_dashboards()["DashboardEntries"]:
        client.delete_dashboards(DashboardNames=[each["DashboardName"]])


def alarm_names(cloudwatch: Any) -> set[str]:
    return {each["AlarmName"] for each in cloudwatch.describe_alarms()["MetricAlarms"]}


def counted(document: dict[str, Any]) -> dict[str, int]:
    actions = [change["action"] for change in document["changes"]]
    return {action: actions.count(action) for action in dict.fromkeys(actions)}


def test_alarms_are_planned_applied_kept_and_deleted(terminal: Terminal, cloudwatch: Any) -> None:
    command = ("monitor", "alarms", "env3", "env2", "--sns-topic", TOPIC)
    planned = terminal.json(*command)
    assert (planned["written"], counted(planned)) == (False, {"create": 30})
    assert alarm_names(cloudwatch) == set()
    applied = terminal.json(*command, "--apply")
    assert (applied["written"], counted(applied)) == (True, {"create": 30})
    assert alarm_names(cloudwatch) == {change["name"] for change in applied["changes"]}
    assert applied["changes"][0]["wanted"]["AlarmActions"] == [TOPIC]
    assert counted(terminal.json(*command, "--apply")) == {"keep": 30}
    assert counted(terminal.json("monitor", "alarms", "env3", "--delete")) == {"delete": 15}
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
    assert summary == "15 to create; nothing was written"
    terminal.run("monitor", "alarms", "env3", "--apply")
    changed = ("monitor", "alarms", "env3", "--threshold", "scheduler-cpu=80", "--without", "export-failed")
    lines = terminal.run(*changed).stdout.splitlines()
    assert ["update", "mwaa/env3/scheduler-cpu", "Threshold"] in [line.split() for line in lines]
    assert max(map(len, lines)) <= 80
    assert terminal.run(*changed, "--apply").stdout.splitlines()[-1] == "13 as it was, 1 updated, 1 deleted"
    assert (
        terminal.run("monitor", "dashboard", "env3", "--delete").stdout == "there is no dashboard of airflow-mwaa's\n"
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
        (("alarms", "env3", "--without", "cpu", "--apply"), 2, "There is no alarm 'cpu'"),
        (("alarms", "env3", "--sns-topic", "on-call", "--apply"), 2, "is no ARN of an SNS topic"),
        (("alarms", "env3", "env3"), 2, "is named twice"),
        (("dashboard", "1st"), 2, "MWAA has no such names"),
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
        assert "was not made by airflow-mwaa. Give another name" in said
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
