# SPDX-License-Identifier: Apache-2.0
"""A configuration option of the environment, as a task sees it."""

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
        return [("email.email_backend", str(stage.xcom(run, "email_backend_test")))]

    yield Prepared(outcome)


SAMPLE = Sample(
    name="print_configuration",
    dag_id="print_env_variable_example",
    guide="Using Apache Airflow configuration options on Amazon MWAA",
    shows="A task prints a configuration option of its environment, unless it holds a secret.",
    against="the worker's own configuration",
    prepare=_prepare,
)
