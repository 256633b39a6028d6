# SPDX-License-Identifier: Apache-2.0
"""The clocks of tasks in a time zone of the environment's own."""

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
        noon, day_later, hours_later, in_utc = stage.xcom(run, "noon_before_and_after_summer_time")
        return [
            ("date in bash", str(stage.xcom_as_shown(run, "tz_aware_task"))),
            ("noon before summer time", noon),
            ("a day later", f"{day_later} ({in_utc})"),
            ("24 hours later", hours_later),
        ]

    yield Prepared(outcome)


SAMPLE = Sample(
    name="time_zones",
    dag_id="tz_test",
    guide="Changing a DAG's timezone on Amazon MWAA",
    shows="A DAG runs at noon of a time zone, and the clocks of its tasks are in that zone.",
    against="the plugin mwaa_timezone, with mwaa_provider.task_timezone=America/Los_Angeles",
    options={"mwaa_provider.task_timezone": "America/Los_Angeles"},
    prepare=_prepare,
)
