# SPDX-License-Identifier: Apache-2.0
"""Environment variables that configuration options set, as bash and Python see them."""

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
        return [
            ("bash", str(stage.xcom_as_shown(run, "in_bash"))),
            ("JAVA_HOME in Python", str(stage.xcom(run, "in_python")["JAVA_HOME"])),
        ]

    yield Prepared(outcome)


SAMPLE = Sample(
    name="environment_variables",
    dag_id="environment_variables",
    guide="Creating a custom plugin that generates runtime environment variables",
    shows="Tasks see the environment variables that configuration options mwaa_env.* set.",
    against="the plugin mwaa_env_vars, with mwaa_env.java_home=/usr/lib/jvm/jre",
    options={"mwaa_env.java_home": "/usr/lib/jvm/jre"},
    prepare=_prepare,
)
