# SPDX-License-Identifier: Apache-2.0
"""DAGs that the integration tests run in every environment."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

try:  # Airflow 3
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.operators.empty import EmptyOperator

from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator
from airflow_mwaa_provider.operators.trigger_and_wait import trigger_and_wait
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor, MwaaTaskSensor

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


# Its runs remain queued, so thousands of them cost nothing.
@dag(**SHARED, dag_id="paused", is_paused_upon_creation=True)
def paused() -> None:
    @task
    def nothing() -> None:
        print("nothing")

    nothing()


# The scheduler itself ends its runs after it is unpaused.
@dag(**SHARED, dag_id="empty", is_paused_upon_creation=True, max_active_runs=100)
def empty() -> None:
    EmptyOperator(task_id="nothing")


def calls_other(transport: str, deferrable: bool) -> None:
    """Create a DAG that triggers what its conf requests through one transport, and waits for it."""

    @dag(
        **SHARED,
        dag_id=f"calls_other_by_{transport}{'_deferred' if deferrable else ''}",
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
            deferrable=deferrable,
            wait_timeout=timedelta(minutes=4),
            retries=0,
        )

    made()


@dag(
    **SHARED,
    dag_id="watches_other",
    is_paused_upon_creation=False,
    render_template_as_native_obj=True,
    params={"env_name": "", "dag_id": "echo", "run_id": ""},
)
def watches_other() -> None:
    there: dict[str, Any] = {
        "external_env_name": "{{ params.env_name }}",
        "external_dag_id": "{{ params.dag_id }}",
        "external_dag_run_id": "{{ params.run_id }}",
        "timeout": 240,
        "retries": 0,
    }
    ways: dict[str, dict[str, Any]] = {
        "poke": {"poke_interval": 2},
        # Airflow 3 fails a task that runs again before the scheduler has noticed the end of its previous process.
        "reschedule": {"poke_interval": 10, "mode": "reschedule"},
        "deferred": {"poke_interval": 2, "deferrable": True},
    }
    for name, how in ways.items():
        MwaaDagRunSensor(task_id=f"run_by_{name}", **how, **there)
        MwaaTaskSensor(task_id=f"tasks_by_{name}", external_task_id=None, **how, **there)


@dag(**SHARED, dag_id="calls_other_in_a_task", is_paused_upon_creation=False, params={"env_name": ""})
def calls_other_in_a_task() -> None:
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def call(**context: Any) -> list[str]:
        runs = [
            trigger_and_wait(
                context["params"]["env_name"],
                "run_by_other_environment",
                conf={"numbers": [number, 1], "asked_by": context["run_id"]},
                result_task_id="add_up",
            )
            for number in (1, 2, 2)
        ]
        assert [int(run["result"]) for run in runs] == [2, 3, 3]
        if context["ti"].try_number == 1:
            raise RuntimeError("once more")
        return sorted({run["run_id"] for run in runs})

    call()


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


@dag(**SHARED, dag_id="calls_other_many_times", is_paused_upon_creation=False, params={"env_name": "", "count": 1})
def calls_other_many_times() -> None:
    @task
    def confs(**context: Any) -> list[dict[str, Any]]:
        return [{"by": context["run_id"], "number": number} for number in range(context["params"]["count"])]

    MwaaTriggerDagRunOperator.partial(
        task_id="trigger",
        env_name="{{ params.env_name }}",
        trigger_dag_id="empty",
        deferrable=True,
        wait_timeout=timedelta(hours=3),
        retries=0,
    ).expand(conf=confs())


@dag(
    **SHARED,
    dag_id="calls_other_in_both_ways",
    is_paused_upon_creation=False,
    params={"env_name": "", "aws_conn_id": "aws_default"},
)
def calls_other_in_both_ways() -> None:
    for name in ("slot", "deferred"):
        MwaaTriggerDagRunOperator(
            task_id=name,
            env_name="{{ params.env_name }}",
            trigger_dag_id="empty",
            conf={"by": "{{ run_id }}", "task": name},
            aws_conn_id="{{ params.aws_conn_id }}",
            wait_for_completion=True,
            deferrable=name == "deferred",
            waiter_delay=1,
            wait_timeout=timedelta(minutes=4),
            retries=0,
        )


calls_other_impatiently()
calls_other_many_times()
calls_other_in_both_ways()
echo()
empty()
fails()
mapped()
sleeps()
paused()
calls_other_in_a_task()
watches_other()
for way in ("rest_api", "web_session", "cli", "auto"):
    calls_other(way, deferrable=False)
    calls_other(way, deferrable=True)
