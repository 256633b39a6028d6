# SPDX-License-Identifier: Apache-2.0
"""Who changed whose privileges: log lines of real Airflows, found by the operator and by the guide's own pattern."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.world import World, until


def test_a_role_that_gets_permissions_is_found_and_one_that_does_not_is_not(
    world: World, env_name: str, role_name: str, apply: Callable[..., Any]
) -> None:
    environment = world.environment(env_name)
    endpoint = world.variables["AWS_ENDPOINT_URL"]
    logs = world.session().client("logs", endpoint_url=endpoint)

    def lines(component: str, pattern: str) -> list[dict[str, Any]]:
        group = f"airflow-{env_name}-{component}"
        # moto can only filter by one term in quotes.
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern=f'"{pattern}"')
        return [event for page in pages for event in page["events"]]

    given = apply(["echo"])["added"]
    run_id = environment.trigger_dag_run("changes_privileges").run_id
    environment.wait_for_dag_run("changes_privileges", run_id, timeout_s=200)
    mallory = f"mallory_{run_id[-6:]}"
    until(
        lambda: any(mallory in line["message"] for line in lines("Task", "add-role")),
        timeout_s=30,
        what="the task's lines",
    )
    until(
        lambda: len(lines("WebServer", "Added Permission")) >= len(given), timeout_s=30, what="the web server's lines"
    )
    changed_until = datetime.now(UTC)
    assert apply(["echo"])["added"] == []  # read, and not changed

    environment.request("PATCH", "/dags/privilege_changes", json={"is_paused": False})
    search = environment.trigger_dag_run("privilege_changes").run_id
    environment.wait_for_dag_run("privilege_changes", search, timeout_s=200)
    environment.request("PATCH", "/dags/privilege_changes", json={"is_paused": True})
    result = environment.get_xcom("privilege_changes", search, "search")
    assert result["count"] == sum(result["by_change"].values()) == len(result["findings"])

    of_role = [each for each in result["findings"] if each["subject"] == role_name]
    assert {(each["component"], each["evidence"]) for each in of_role} == {("WebServer", "result")}
    assert sorted(each["granted"] for each in of_role if each["change"] == "permission-given") == (
        sorted(name.replace("_", " ", 1) for name in given)
    )
    assert [each["change"] for each in of_role if each["change"] != "permission-given"] == ["role-created"]
    assert max(datetime.fromisoformat(each["time"]) for each in of_role) < changed_until

    commands = [each for each in result["findings"] if each["dag_id"] == "changes_privileges"]
    asked = [(each["change"], each["subject"], each["granted"]) for each in commands if each["evidence"] == "command"]
    assert {("role-given", mallory, "Op"), ("role-taken", mallory, "Op")} <= set(asked)
    by_guide = {
        (line["timestamp"], line["logStreamName"])
        for component in ("DAGProcessing", "Scheduler", "Task", "WebServer", "Worker")
        for line in lines(component, "add-role")
    }
    found = {
        (round(datetime.fromisoformat(each["time"]).timestamp() * 1000), each["log_stream"])
        for each in result["findings"]
        if (each["change"], each["evidence"]) == ("role-given", "command")
    }
    assert found == by_guide
    if environment.airflow_version.startswith("2."):  # a task of Airflow 3 cannot reach the database
        done = [(each["change"], each["subject"]) for each in commands if each["evidence"] == "result"]
        assert [change for change, subject in done if subject == mallory] == [
            "user-created",
            "role-given",
            "role-taken",
        ]

    now = datetime.now(UTC)
    (point,) = world.session().client("cloudwatch", endpoint_url=endpoint).get_metric_statistics(
        Namespace="MWAA-Custom", MetricName="privilege_changes", Period=7200, Statistics=["Maximum"],
        Dimensions=[{"Name": "Environment", "Value": env_name}], StartTime=now - timedelta(hours=1), EndTime=now,
    )["Datapoints"]  # fmt: skip
    assert point["Maximum"] == result["count"]
