# SPDX-License-Identifier: Apache-2.0
"""Run a DAG at noon of a time zone, whatever its clocks do in spring and autumn.

With the option ``mwaa_provider.task_timezone: America/Los_Angeles`` the tasks' own clocks are those of that zone, too.
"""

from __future__ import annotations

from datetime import datetime

import pendulum

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.operators.bash import BashOperator

# [START zones]
local_tz = pendulum.timezone("America/Los_Angeles")


@dag(
    dag_id="tz_test",
    schedule="0 12 * * *",  # at noon, local time
    start_date=datetime(2026, 1, 1, tzinfo=local_tz),
    catchup=False,
)
def time_zones() -> None:
    BashOperator(task_id="tz_aware_task", bash_command="date")

    @task
    def noon_before_and_after_summer_time() -> list[str]:
        noon = pendulum.datetime(2026, 3, 7, 12, tz=local_tz)
        day_later, hours_later = noon.add(days=1), noon.add(hours=24)
        # A day later is noon again, after 23 hours; 24 hours later it is one o'clock.
        return [moment.isoformat() for moment in (noon, day_later, hours_later, day_later.in_timezone("UTC"))]

    @task
    def local_time() -> list[str]:
        now = datetime.now()
        return [now.isoformat(), now.astimezone().isoformat(), pendulum.now().isoformat()]

    noon_before_and_after_summer_time()
    local_time()


time_zones()
# [END zones]
