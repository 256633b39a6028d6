# SPDX-License-Identifier: Apache-2.0
"""The examples that publish metrics, as real tasks: what CloudWatch has of them then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from tests.integration.world import World


def _published(world: World, namespace: str, name: str) -> list[dict[str, Any]]:
    """All series of a metric: dimensions and unit, and what CloudWatch has of this day."""
    client = world.session().client("cloudwatch", endpoint_url=world.variables["AWS_ENDPOINT_URL"])
    now = datetime.now(UTC)
    # moto lists a series once for each time that it was published.
    series = {
        frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"])
        for page in client.get_paginator("list_metrics").paginate(Namespace=namespace, MetricName=name)
        for metric in page["Metrics"]
    }
    found = []
    for dimensions in series:
        points = client.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions],
            StartTime=now - timedelta(days=1),
            EndTime=now + timedelta(hours=1),
            Period=3600,
            Statistics=["Sum", "Minimum", "Maximum"],
        )["Datapoints"]
        (unit,) = {point["Unit"] for point in points}
        found.append(
            {
                "dimensions": dict(dimensions),
                "unit": unit,
                "sum": sum(point["Sum"] for point in points),
                "minimum": min(point["Minimum"] for point in points),
                "maximum": max(point["Maximum"] for point in points),
            }
        )
    return found


def test_a_workers_metrics_are_published_under_its_environments_name(world: World, env_name: str) -> None:
    environment = world.environment(env_name)
    environment.request("PATCH", "/dags/dag-custom-metrics", json={"is_paused": False})
    run_id = environment.trigger_dag_run("dag-custom-metrics").run_id
    environment.wait_for_dag_run("dag-custom-metrics", run_id, timeout_s=200)
    environment.request("PATCH", "/dags/dag-custom-metrics", json={"is_paused": True})
    for name, expected in (
        ("virtual_memory_total", psutil.virtual_memory().total),
        ("disk_total", psutil.disk_usage("/").total),
    ):
        (found,) = [
            each for each in _published(world, "MWAA-Custom", name) if each["dimensions"]["Environment"] == env_name
        ]
        assert set(found["dimensions"]) == {"Environment", "Category", "Host"}
        assert found["unit"] == "Bytes"
        assert (found["minimum"], found["maximum"]) == pytest.approx((expected, expected))


def test_a_pipelines_metrics_are_published(world: World, env_name: str) -> None:
    environment = world.environment(env_name)

    def totals() -> dict[str, float]:
        return {each["dimensions"]["Region"]: each["sum"] for each in _published(world, "Sales", "order_total")}

    before = totals()
    run_id = environment.trigger_dag_run("pipeline_metrics").run_id
    environment.wait_for_dag_run("pipeline_metrics", run_id, timeout_s=200)
    added = {region: total - before.get(region, 0.0) for region, total in totals().items()}
    assert added == pytest.approx({"north": 12.5, "south": 7.25, "east": 19.75})
    (rows,) = _published(world, "Sales", "rows_loaded")
    assert rows["dimensions"] == {"Table": "orders"}
    assert rows["sum"] >= 2.0
    assert [each["unit"] for each in _published(world, "Sales", "load_time")] == ["Milliseconds"]
    (answers,) = _published(world, "Sales", "response_time")
    assert (answers["minimum"], answers["maximum"], answers["unit"]) == (10.0, 90.0, "Milliseconds")
