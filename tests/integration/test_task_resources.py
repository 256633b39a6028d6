# SPDX-License-Identifier: Apache-2.0
"""Tasks of real Airflows are measured; a killed one is reported, and both are in CloudWatch."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.world import TASKS_NAMESPACE, World, until

MB = 1_000_000
TASKS = ("takes_and_leaves", "is_killed")


def _logs(world: World) -> list[Path]:
    """Return the tasks' own logs, as Airflow wrote them."""
    return [path for path in world.folder.rglob("*.log") if "task_id=" in path.as_posix()]


def _log(world: World, run_id: str, task_id: str) -> str:
    folders = {f"run_id={run_id}", f"task_id={task_id}"}
    return "\n".join(path.read_text() for path in _logs(world) if folders <= set(path.parts))


def _megabytes(line: str, what: str) -> float:
    (found,) = re.findall(rf"{what}(?: at least)? ([\d.]+) MB", line)
    return float(found)


def _ended(log: str) -> str:
    (line,) = [line for line in log.splitlines() if "Task resources: ended" in line]
    return line


def _points(world: World, env_name: str, run_began: datetime) -> dict[tuple[str, ...], float]:
    client, found = world.session().client("cloudwatch", endpoint_url=world.variables["AWS_ENDPOINT_URL"]), {}
    for page in client.get_paginator("list_metrics").paginate(Namespace=TASKS_NAMESPACE):
        for metric in page["Metrics"]:
            values = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            if (values.get("Environment"), values["DAG"]) != (env_name, "uses_resources"):
                continue
            points = client.get_metric_statistics(
                **metric, StartTime=run_began - timedelta(minutes=1), EndTime=datetime.now(UTC) + timedelta(minutes=1),
                Period=60, Statistics=["Maximum"],
            )["Datapoints"]  # fmt: skip
            if points:
                key = (metric["MetricName"], values["Task"], *([values["State"]] if "State" in values else []))
                found[key] = max(point["Maximum"] for point in points)
    return found


@pytest.mark.timeout(600)
def test_a_task_that_takes_forks_and_leaves_and_one_that_is_killed(world: World, env_name: str) -> None:
    client, began = world.environment(env_name, "web_session"), datetime.now(UTC)
    run_id = client.trigger_dag_run("uses_resources").run_id
    client.wait_for_dag_run("uses_resources", run_id, timeout_s=300)
    until(lambda: "Task resources: ended" in _log(world, run_id, "comes_after"), timeout_s=30, what="the last log")
    takes, killed = (_log(world, run_id, task_id) for task_id in TASKS)

    line = _ended(takes)
    (at_start,) = re.findall(r"\(([\d.]+) MB at the start\)", line)
    assert "ended success" in line
    assert _megabytes(line, "peak memory") - float(at_start) == pytest.approx(300, rel=0.1)
    assert _megabytes(line, "files left") == pytest.approx(50, rel=0.1)
    assert "Task resources: ended" not in killed
    lines = [line for path in _logs(world) for line in path.read_text(errors="replace").splitlines()]
    told = [line for line in lines if f"task is_killed, run {run_id}, try 1. Its last sample" in line]
    assert len(told) == 1  # by whichever task of the environment was next
    assert _megabytes(told[0], ": memory") >= 200
    assert re.search(r"in is_killed \(\S*uses_resources\.py:\d+\)", told[0])
    # The task's own log has its measured use, even if the worker ends with the task.
    assert re.search(r"Task resources: memory [\d.]+ MB", killed)

    points: dict[tuple[str, ...], Any] = {}

    def is_published() -> bool:
        time.sleep(2)  # each poll makes a hundred requests
        points.update(_points(world, env_name, began))
        return ("task_ended", "comes_after", "success") in points

    until(is_published, timeout_s=180, what="the metrics")  # a minute, or two
    assert points["task_ended", "is_killed", "killed"] == 1.0
    assert points["task_peak_memory", "is_killed"] >= 200 * MB
    assert points["task_files_left", "takes_and_leaves"] == pytest.approx(50 * MB, rel=0.1)
    assert points["task_wall", "takes_and_leaves"] >= 1.5
    for path in {Path(match) for match in re.findall(r"/\S*/tmp[a-z0-9_]{8}\b", takes)}:
        path.unlink(missing_ok=True)
