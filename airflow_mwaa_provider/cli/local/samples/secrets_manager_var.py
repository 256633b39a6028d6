# SPDX-License-Identifier: Apache-2.0
"""A variable from Secrets Manager: the task finds the secret, and prints nothing of it."""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_mwaa_provider.cli.local.samples.sample import Prepared, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.cli.local.stage import Stage
    from airflow_mwaa_provider.client.models import DagRun


NAME = "airflow/variables/test-variable"


@contextmanager
def _prepare(stage: Stage) -> Iterator[Prepared]:
    value = secrets.token_urlsafe(12)
    stage.put_secret(NAME, value)
    before = stage.calls_to("aws:secretsmanager")

    def outcome(run: DagRun) -> list[tuple[str, str]]:
        log = stage.log(run, "get_variable")
        found = re.search(r"test-variable has (\d+) characters", log)
        return [
            ("secret", f"{NAME}, {len(value)} characters"),
            ("characters that the task read", found[1] if found else "none"),
            ("the secret in the task's log", "yes" if value in log else "no"),
            ("calls to Secrets Manager", str(stage.calls_to("aws:secretsmanager") - before)),
        ]

    yield Prepared(outcome)


SAMPLE = Sample(
    name="secrets_manager_var",
    dag_id="secrets-manager-var",
    guide="Using a secret key in AWS Secrets Manager for an Apache Airflow variable",
    shows="A task reads a variable whose value is in Secrets Manager.",
    against="Secrets Manager (moto), through the environment's secrets backend",
    prepare=_prepare,
)
