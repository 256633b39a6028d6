# SPDX-License-Identifier: Apache-2.0
"""Run a task on ECS with Fargate, with the definition and the network of a service, and show its log.

The service is read when the DAG runs, not while its file is parsed. If the Airflow task is stopped or takes too long,
the operator stops the ECS task. The defaults of the parameters are the names in a stack called ``mwaa-ecs-test`` of the
template ``ecs-mwaa-cfn.json``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


# [START service]
@task
def read_service(**context: Any) -> dict[str, Any]:
    """Return how to run a task as the service runs its own."""
    from airflow.providers.amazon.aws.hooks.ecs import EcsHook

    params = context["params"]
    ecs = EcsHook(aws_conn_id="aws_default").conn
    found = ecs.describe_services(cluster=params["cluster"], services=[params["service"]])["services"]
    if not found:
        raise ValueError(f"cluster {params['cluster']} has no service {params['service']}")
    [service] = found
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    container = definition["containerDefinitions"][0]
    log_options = container["logConfiguration"]["options"]
    return {
        "task_definition": service["taskDefinition"],
        "network_configuration": service["networkConfiguration"],
        "overrides": {"containerOverrides": [{"name": container["name"], "command": params["command"]}]},
        "awslogs_group": log_options["awslogs-group"],
        "awslogs_region": log_options["awslogs-region"],
        "awslogs_stream_prefix": f"{log_options['awslogs-stream-prefix']}/{container['name']}",
    }


# [END service]


@dag(
    dag_id="ecs_fargate_dag",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # More than all tasks may take, so that the operator's own timeout comes first.
    dagrun_timeout=timedelta(hours=1),
    tags=["mwaa", "ecs"],
    params={
        "cluster": "mwaa-ecs-test-cluster",
        "service": "mwaa-ecs-test-service",
        "command": ["ls", "-l", "/"],
    },
)
def ecs_fargate_dag() -> None:
    # [START run]
    service = read_service()
    EcsRunTaskOperator(
        task_id="ecs_operator_task",
        cluster="{{ params.cluster }}",
        launch_type="FARGATE",
        task_definition=service["task_definition"],
        network_configuration=service["network_configuration"],
        overrides=service["overrides"],
        awslogs_group=service["awslogs_group"],
        awslogs_region=service["awslogs_region"],
        awslogs_stream_prefix=service["awslogs_stream_prefix"],
        awslogs_fetch_interval=timedelta(seconds=5),
        execution_timeout=timedelta(minutes=30),
    )
    # [END run]


ecs_fargate_dag()
