# SPDX-License-Identifier: Apache-2.0
"""Run a Spark step on an EMR cluster that exists only for this run.

The teardown task terminates the cluster when the step has ended, has failed, or has taken too long. If no task can run
any more, EMR itself ends the cluster after it has been idle for ``idle_timeout_s``. The account needs EMR's default
roles, which ``aws emr create-default-roles`` makes. Every parameter can be set for each run.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.sensors.emr import EmrStepSensor

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

SPARK_PI = ["/usr/lib/spark/bin/run-example", "SparkPi", "10"]


# [START cluster]
@task
def describe_cluster(**context: Any) -> dict[str, Any]:
    """Return the settings of the cluster, without those that are empty."""
    params = context["params"]
    instances = {
        "InstanceGroups": [
            {"Name": "Primary node", "InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1},
            {"Name": "Core nodes", "InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2},
        ],
        # False would end the cluster as soon as it has no step: maybe before add_steps has run.
        "KeepJobFlowAliveWhenNoSteps": True,
        "TerminationProtected": False,
        "Ec2SubnetId": params["subnet_id"],
        "Ec2KeyName": params["key_name"],
    }
    settings = {
        "Name": params["cluster_name"],
        "ReleaseLabel": params["release_label"],
        "Applications": [{"Name": "Spark"}],
        "Instances": {name: value for name, value in instances.items() if value != ""},
        "AutoTerminationPolicy": {"IdleTimeout": params["idle_timeout_s"]},
        "JobFlowRole": params["job_flow_role"],
        "ServiceRole": params["service_role"],
        "LogUri": params["log_uri"],
    }
    return {name: value for name, value in settings.items() if value != ""}


# [END cluster]


@task
def describe_steps(**context: Any) -> list[dict[str, Any]]:
    """Return the steps."""
    step = {"Jar": "command-runner.jar", "Args": context["params"]["step_args"]}
    return [{"Name": "calculate_pi", "ActionOnFailure": "CONTINUE", "HadoopJarStep": step}]


@dag(
    dag_id="emr_steps",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # More than all tasks may take: a run that times out ends without its teardown.
    dagrun_timeout=timedelta(hours=4),
    tags=["mwaa", "emr"],
    params={
        "cluster_name": "my-demo-cluster",
        "release_label": "emr-7.12.0",
        "step_args": SPARK_PI,
        "subnet_id": "",
        "key_name": "",
        "log_uri": "",
        "job_flow_role": "EMR_EC2_DefaultRole",
        "service_role": "EMR_DefaultRole",
        "idle_timeout_s": 900,
    },
)
def emr_steps() -> None:
    # [START steps]
    cluster = EmrCreateJobFlowOperator(
        task_id="create_job_flow",
        job_flow_overrides=describe_cluster(),
        execution_timeout=timedelta(minutes=10),
    )
    step = EmrAddStepsOperator(
        task_id="add_steps",
        job_flow_id=cluster.output,
        steps=describe_steps(),
        execution_timeout=timedelta(minutes=10),
    )
    watch = EmrStepSensor(
        task_id="watch_step",
        job_flow_id=cluster.output,
        step_id="{{ ti.xcom_pull(task_ids='add_steps')[0] }}",
        poke_interval=10,
        timeout=timedelta(hours=2).total_seconds(),
    )
    end = EmrTerminateJobFlowOperator(
        task_id="terminate_job_flow",
        job_flow_id=cluster.output,
        execution_timeout=timedelta(minutes=30),
    )
    # With on_failure_fail_dagrun, Airflow would take the state of the run from the teardown, and not from watch_step.
    cluster >> step >> watch >> end.as_teardown(setups=cluster)
    # [END steps]


emr_steps()
