# SPDX-License-Identifier: Apache-2.0
"""Report which local time and variables a task and a trigger see."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from environment_trigger import EnvironmentTrigger, seen

try:  # Airflow 3
    from airflow.sdk import BaseOperator, dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag
    from airflow.models.baseoperator import BaseOperator


class SeesEnvironment(BaseOperator):
    def execute(self, context: Any) -> None:
        self.log.info("before: %s", seen())
        self.defer(trigger=EnvironmentTrigger(), method_name="resume")

    def resume(self, context: Any, event: dict[str, Any]) -> list[dict[str, Any]]:
        return [event, seen(), PARSED]


# What a process sees while it parses this file: the DAG processor or that of a task.
PARSED = seen()


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    tags=[f"{PARSED['zone']} {PARSED['java_home']}"],
)
def uses_plugins() -> None:
    SeesEnvironment(task_id="deferred")


uses_plugins()
