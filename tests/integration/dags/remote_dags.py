# SPDX-License-Identifier: Apache-2.0
"""DAGs that the integration tests run in every environment."""

from __future__ import annotations

import importlib.util
import time
from datetime import datetime, timedelta
from typing import Any

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator

SHARED: dict[str, Any] = {"schedule": None, "start_date": datetime(2026, 1, 1), "catchup": False}


@dag(**SHARED, dag_id="echo", is_paused_upon_creation=False)
def echo() -> None:
    @task
    def answer(**context: Any) -> dict[str, Any]:
        print("a line with 'quotes', \"more\" and ünïcödé")
        return context["dag_run"].conf or {}

    answer()


@dag(**SHARED, dag_id="fails", is_paused_upon_creation=False)
def fails() -> None:
    @task(retries=0)
    def explode() -> None:
        raise ValueError("on purpose")

    @task
    def after() -> None:
        print("never")

    explode() >> after()


@dag(**SHARED, dag_id="mapped", is_paused_upon_creation=False)
def mapped() -> None:
    @task(retries=0)
    def part(number: int) -> int:
        if number == 1:
            raise ValueError("the second of three")
        return number

    part.expand(number=[0, 1, 2])


@dag(**SHARED, dag_id="sleeps", is_paused_upon_creation=False)
def sleeps() -> None:
    @task
    def sleep() -> None:
        time.sleep(600)

    sleep()


# Its runs stay queued, so that thousands of them cost nothing.
@dag(**SHARED, dag_id="paused", is_paused_upon_creation=True)
def paused() -> None:
    @task
    def nothing() -> None:
        print("nothing")

    nothing()


def calls_other(transport: str) -> None:
    """Make a DAG that triggers, by one transport, what its conf asks for."""

    @dag(
        **SHARED,
        dag_id=f"calls_other_by_{transport}",
        is_paused_upon_creation=False,
        render_template_as_native_obj=True,
        params={"env_name": "", "conf": {}, "dag_id": "echo"},
    )
    def made() -> None:
        MwaaTriggerDagRunOperator(
            task_id="trigger",
            env_name="{{ params.env_name }}",
            trigger_dag_id="{{ params.dag_id }}",
            conf={"sent": "{{ params.conf }}", "by": "{{ run_id }}"},
            transport=None if transport == "auto" else transport,
            wait_for_completion=True,
            wait_timeout=timedelta(minutes=4),
            retries=0,
        )

    made()


@dag(**SHARED, dag_id="calls_other_impatiently", is_paused_upon_creation=False, params={"env_name": ""})
def calls_other_impatiently() -> None:
    MwaaTriggerDagRunOperator(
        task_id="trigger",
        env_name="{{ params.env_name }}",
        trigger_dag_id="sleeps",
        conf={"by": "{{ run_id }}"},
        wait_for_completion=True,
        execution_timeout=timedelta(seconds=12),
        retries=1,
        retry_delay=timedelta(seconds=1),
    )


calls_other_impatiently()
echo()
fails()
mapped()
sleeps()
paused()
for way in ("rest_api", "web_session", "cli", "auto"):
    calls_other(way)

if importlib.util.find_spec("airflow.providers.amazon.aws.operators.mwaa") is not None:
    from airflow.providers.amazon.aws.operators.mwaa import MwaaTriggerDagRunOperator as AmazonTriggerDagRunOperator

    @dag(
        **SHARED,
        dag_id="amazon_calls_other",
        is_paused_upon_creation=False,
        params={"env_name": "", "logical_date": ""},
    )
    def amazon_calls_other() -> None:
        AmazonTriggerDagRunOperator(
            task_id="trigger",
            env_name="{{ params.env_name }}",
            trigger_dag_id="echo",
            logical_date="{{ params.logical_date }}",
            conf={"by": "amazon"},
            wait_for_completion=True,
            waiter_delay=2,
            waiter_max_attempts=60,
        )

    amazon_calls_other()
