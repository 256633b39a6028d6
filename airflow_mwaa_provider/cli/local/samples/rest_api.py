# SPDX-License-Identifier: Apache-2.0
"""Calls to the REST API of an environment."""

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
        run_id = str(stage.xcom(run, "trigger_dag"))
        remote = stage.environment.get_dag_run("run_by_other_environment", run_id)
        return [
            ("run that was triggered", f"{remote.run_id}: {remote.state.value}"),
            ("its result", str(stage.xcom(remote, "add_up"))),
            ("its tasks, as the DAG read them", str(stage.xcom(run, "read_tasks"))),
        ]

    yield Prepared(outcome, {"env_name": stage.env_name, "dag_id": "run_by_other_environment"})


SAMPLE = Sample(
    name="rest_api",
    dag_id="rest_api",
    guide="Using the Apache Airflow REST API",
    shows="A task triggers a DAG and reads its tasks by the REST API of an environment.",
    against="the environment's own web server",
    prepare=_prepare,
)
