# SPDX-License-Identifier: Apache-2.0
"""Metrics of a worker: what CloudWatch has of them."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_mwaa_provider.cli.local.samples.sample import Prepared, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.cli.local.stage import Stage
    from airflow_mwaa_provider.client.models import DagRun


NAMESPACE = "MWAA-Custom"


@contextmanager
def _prepare(stage: Stage) -> Iterator[Prepared]:
    began = datetime.now(UTC) - timedelta(minutes=1)

    def outcome(_: DagRun) -> list[tuple[str, str]]:
        """Return the last value of each metric of this environment."""
        client = stage.aws_client("cloudwatch")
        rows = []
        for metric in client.list_metrics(Namespace=NAMESPACE)["Metrics"]:
            if {"Name": "Environment", "Value": stage.env_name} not in metric["Dimensions"]:
                continue
            points = client.get_metric_statistics(
                Namespace=NAMESPACE,
                MetricName=metric["MetricName"],
                Dimensions=metric["Dimensions"],
                StartTime=began,
                EndTime=datetime.now(UTC) + timedelta(minutes=1),
                Period=60,
                Statistics=["Maximum"],
            )["Datapoints"]
            if points:
                last = max(points, key=lambda point: point["Timestamp"])
                rows.append((metric["MetricName"], f"{last['Maximum']:,.0f} {last['Unit']}"))
        return sorted(set(rows))

    yield Prepared(outcome)


SAMPLE = Sample(
    name="custom_metrics",
    dag_id="dag-custom-metrics",
    guide="Using a DAG to write custom metrics in CloudWatch",
    shows="A task publishes the memory, CPU and disk of its worker.",
    against="CloudWatch (moto, with CloudWatch's limits)",
    prepare=_prepare,
)
