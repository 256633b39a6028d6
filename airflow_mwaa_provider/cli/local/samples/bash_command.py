# SPDX-License-Identifier: Apache-2.0
"""A bash command on a worker."""

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
        return [("python --version", str(stage.xcom_as_shown(run, "bash_command")))]

    yield Prepared(outcome)


SAMPLE = Sample(
    name="bash_command",
    dag_id="any_bash_command_dag",
    guide="Frequently asked questions: Can I use SSH on my environment?",
    shows="A task runs a bash command that is given when the DAG is triggered.",
    against="the worker's own shell",
    prepare=_prepare,
)
