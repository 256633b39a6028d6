# SPDX-License-Identifier: Apache-2.0
"""Updates of an environment whose Airflow is working."""

from __future__ import annotations

import time

import pytest

from tests.local_airflow.conftest import wait_for_dag

pytestmark = pytest.mark.airflow

SLOW = """
import datetime, time
import airflow

if airflow.__version__ >= "3":
    from airflow.sdk import dag, task
else:
    from airflow.decorators import dag, task


@dag(start_date=datetime.datetime(2024, 1, 1), schedule=None, is_paused_upon_creation=False)
def slow():
    @task
    def sleep():
        time.sleep(8)

    sleep()


slow()
"""


def until(condition, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen"
        time.sleep(0.5)


def test_a_graceful_update_lets_a_running_task_end(running, aws, rest):
    mwaa = aws("mwaa")
    if "WorkerReplacementStrategy" not in mwaa.meta.service_model.shape_for("UpdateEnvironmentInput").members:
        pytest.skip("the installed botocore doesn't know WorkerReplacementStrategy")
    aws("s3").put_object(Bucket="local-mwaa-source", Key="dags/slow.py", Body=SLOW.encode())
    wait_for_dag(rest, "slow")
    is_3 = running.status()["environments"]["source"]["airflow_version"].startswith("3")
    rest("POST", "/dags/slow/dagRuns", dag_run_id="one", **({"logical_date": None} if is_3 else {}))

    def state():
        return rest("GET", "/dags/slow/dagRuns/one/taskInstances").json()["task_instances"][0]["state"]

    until(lambda: state() == "running")
    before = running.status()["environments"]["source"]["pids"]["scheduler"]
    mwaa.update_environment(
        Name="source",
        AirflowConfigurationOptions={"core.max_active_tasks_per_dag": "15"},
        WorkerReplacementStrategy="GRACEFUL",
    )
    until(lambda: mwaa.get_environment(Name="source")["Environment"]["Status"] == "AVAILABLE")
    assert state() == "success"
    assert running.status()["environments"]["source"]["pids"]["scheduler"] != before
