# SPDX-License-Identifier: Apache-2.0
"""The examples that publish metrics, as real tasks: what CloudWatch has of them then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from tests.integration.world import World


def _published(world: World, namespace: str, name: str, statistics: list[str]) -> list[dict[str, Any]]:
    """All series of a metric: its dimensions, and what CloudWatch has of this day."""
    client = world.session().client("cloudwatch", endpoint_url=world.variables["AWS_ENDPOINT_URL"])
    now, found = datetime.now(UTC), []
    for page in client.get_paginator("list_metrics").paginate(Namespace=namespace, MetricName=name):
        for metric in page["Metrics"]:
            points = client.get_metric_statistics(
                **metric, StartTime=now - timedelta(days=1), EndTime=now + timedelta(hours=1), Period=172_800,
                Statistics=statistics,
            )["Datapoints"]  # fmt: skip
            dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            found += [{"dimensions": dimensions, **point} for point in points]
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
            each
            for each in _published(world, "MWAA-Custom", name, ["Average"])
            if each["dimensions"]["Environment"] == env_name
        ]
        assert set(found["dimensions"]) == {"Environment", "Category", "Host"}
        assert found["Unit"] == "Bytes"
        assert found["Average"] == pytest.approx(expected)


def test_a_pipelines_metrics_are_published(world: World, env_name: str) -> None:
    environment = world.environment(env_name)

    def totals() -> dict[str, float]:
        return {
            each["dimensions"]["Region"]: each["Sum"] for each in _published(world, "Sales", "order_total", ["Sum"])
        }

    before = totals()
    run_id = environment.trigger_dag_run("pipeline_metrics").run_id
    environment.wait_for_dag_run("pipeline_metrics", run_id, timeout_s=200)
    added = {region: total - before.get(region, 0.0) for region, total in totals().items()}
    assert added == pytest.approx({"north": 12.5, "south": 7.25, "east": 19.75})
    (rows,) = _published(world, "Sales", "rows_loaded", ["Sum"])
    assert rows["dimensions"] == {"Table": "orders"}
    assert rows["Sum"] >= 2.0
    assert _published(world, "Sales", "load_time", ["Maximum"])
    (answers,) = _published(world, "Sales", "response_time", ["Maximum", "Minimum"])
    assert (answers["Minimum"], answers["Maximum"], answers["Unit"]) == (10.0, 90.0, "Milliseconds")
