# SPDX-License-Identifier: Apache-2.0
"""A step on an EMR cluster that exists only for the run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_mwaa_provider.cli.local.samples.sample import Prepared, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.cli.local.stage import Stage
    from airflow_mwaa_provider.client.models import DagRun


@contextmanager
def _prepare(stage: Stage) -> Iterator[Prepared]:
    def outcome(run: DagRun) -> list[tuple[str, str]]:
        """Return what EMR has of the run's cluster."""
        emr = stage.aws_client("emr")
        cluster_id = stage.xcom(run, "create_job_flow")
        cluster = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
        steps = emr.list_steps(ClusterId=cluster_id)["Steps"]
        return [
            ("cluster", f"{cluster['Name']}, {cluster['ReleaseLabel']}"),
            *((f"step {step['Name']}", step["Status"]["State"]) for step in steps),
            ("the cluster now", cluster["Status"]["State"]),
        ]

    yield Prepared(outcome)


SAMPLE = Sample(
    name="emr_steps",
    dag_id="emr_steps",
    guide="Using Amazon MWAA with Amazon EMR",
    shows="A step runs on an EMR cluster that is made for it and terminated after it.",
    against="EMR (moto, with steps that start and end; nothing is executed)",
    prepare=_prepare,
)
