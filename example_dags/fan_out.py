# SPDX-License-Identifier: Apache-2.0
"""Run the same DAG in many MWAA environments at once, and collect their results.

Each environment has its own mapped task. An unknown environment, or a run that fails, fails only that task. The results
of the others are collected. Then the run as a whole fails, and names the environments without a result. The waits are
deferred, so a hundred environments need no worker slots.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    params={"env_names": ["target"], "numbers": [1, 2, 3]},
    render_template_as_native_obj=True,
    tags=["mwaa"],
)
def fan_out() -> None:
    # [START fan_out]
    @task
    def environments(**context: Any) -> list[str]:
        return list(context["params"]["env_names"])

    env_names = environments()
    answers = MwaaTriggerDagRunOperator.partial(
        task_id="run_there",
        trigger_dag_id="run_by_other_environment",
        conf={"numbers": "{{ params.numbers }}", "asked_by": "{{ run_id }}"},
        deferrable=True,
        wait_timeout=timedelta(minutes=10),
        result_task_id="add_up",
    ).expand(env_name=env_names)

    @task(trigger_rule="all_done")
    def gather(remote: Any) -> dict[str, int]:
        sums = {answer["env_name"]: int(answer["result"]) for answer in remote}
        print(f"Results: {sums}")
        return sums

    @task(retries=0)
    def complete(wanted: list[str], sums: dict[str, int]) -> None:
        # Without this task the run would succeed, because its last task would be gather, which succeeds.
        missing = [name for name in wanted if name not in sums]
        if missing:
            raise RuntimeError(f"No result from: {', '.join(missing)}")

    complete(env_names, gather(answers.output))
    # [END fan_out]


fan_out()
