# SPDX-License-Identifier: Apache-2.0
"""A connection from Secrets Manager: the task logs in by it, and prints nothing of its password."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_mwaa_provider.cli.local.samples.sample import Prepared, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.cli.local.stage import Stage
    from airflow_mwaa_provider.client.models import DagRun


NAME = "airflow/connections/myconn"


@contextmanager
def _prepare(stage: Stage) -> Iterator[Prepared]:
    password = secrets.token_urlsafe(12)
    stage.put_secret(NAME, f"postgres://demo:{password}@db.internal/demo")
    before = stage.calls_to("aws:secretsmanager")

    def outcome(run: DagRun) -> list[tuple[str, str]]:
        log = stage.log(run, "read_from_aws_sm")
        session = "postgres at db.internal as demo"
        return [
            ("secret", NAME),
            ("the task logged in", session if session in log else "no"),
            ("the password in the task's log", "yes" if password in log else "no"),
            ("calls to Secrets Manager", str(stage.calls_to("aws:secretsmanager") - before)),
        ]

    yield Prepared(outcome)


SAMPLE = Sample(
    name="secrets_manager",
    dag_id="secrets-manager",
    guide="Using a secret key in AWS Secrets Manager for an Apache Airflow connection",
    shows="A task uses a connection that is in Secrets Manager.",
    against="Secrets Manager (moto), through the environment's secrets backend",
    prepare=_prepare,
)
