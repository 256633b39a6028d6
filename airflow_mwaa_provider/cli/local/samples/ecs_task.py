# SPDX-License-Identifier: Apache-2.0
"""A task on ECS with Fargate, with the definition and the network of a service."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.cli.local.samples.sample import Prepared, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.cli.local.stage import Stage
    from airflow_mwaa_provider.client.models import DagRun


STACK = "mwaa-ecs-test"


def _make_service(stage: Stage) -> None:
    """Make what the CloudFormation template of the sample's page makes."""
    ecs, ec2, logs = stage.aws_client("ecs"), stage.aws_client("ec2"), stage.aws_client("logs")
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    of_vpc = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnet = ec2.describe_subnets(Filters=of_vpc)["Subnets"][0]["SubnetId"]
    group = ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"][0]["GroupId"]
    if not logs.describe_log_groups(logGroupNamePrefix=STACK)["logGroups"]:
        logs.create_log_group(logGroupName=STACK)
    ecs.create_cluster(clusterName=f"{STACK}-cluster")
    options = {"awslogs-region": ecs.meta.region_name, "awslogs-group": STACK, "awslogs-stream-prefix": "ecs"}
    container = {
        "name": f"{STACK}-container",
        "image": "public.ecr.aws/amazonlinux/amazonlinux:2023",
        "essential": True,
        "logConfiguration": {"logDriver": "awslogs", "options": options},
    }
    definition = ecs.register_task_definition(
        family=f"{STACK}-task",
        cpu="256",
        memory="512",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        containerDefinitions=[container],
    )["taskDefinition"]["taskDefinitionArn"]
    network = {"subnets": [subnet], "securityGroups": [group], "assignPublicIp": "DISABLED"}
    ecs.create_service(
        cluster=f"{STACK}-cluster",
        serviceName=f"{STACK}-service",
        taskDefinition=definition,
        desiredCount=0,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )


@contextmanager
def _prepare(stage: Stage) -> Iterator[Prepared]:
    ecs, logs = stage.aws_client("ecs"), stage.aws_client("logs")
    cluster = f"{STACK}-cluster"
    if not any(arn.endswith(f"/{cluster}") for arn in ecs.list_clusters()["clusterArns"]):
        _make_service(stage)
    before = _tasks(ecs, cluster)

    def outcome(_: DagRun) -> list[tuple[str, str]]:
        """Return what ECS and CloudWatch Logs have of the task that was run."""
        [arn] = _tasks(ecs, cluster) - before
        [task] = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
        stream = f"ecs/{STACK}-container/{task['taskArn'].rsplit('/', 1)[1]}"
        events = logs.get_log_events(logGroupName=STACK, logStreamName=stream)["events"]
        return [
            ("task", task["lastStatus"]),
            ("why", task["stoppedReason"]),
            ("exit code", str(task["containers"][0]["exitCode"])),
            *(("log", event["message"]) for event in events),
        ]

    yield Prepared(outcome)


def _tasks(ecs: Any, cluster: str) -> set[str]:
    statuses = ("RUNNING", "STOPPED")
    return {arn for each in statuses for arn in ecs.list_tasks(cluster=cluster, desiredStatus=each)["taskArns"]}


SAMPLE = Sample(
    name="ecs_task",
    dag_id="ecs_fargate_dag",
    guide="Connecting to Amazon ECS using the ECSOperator",
    shows="A task runs on ECS with the definition and the network of a service, and its log is shown.",
    against="ECS (moto, with tasks that start and stop; no container is run)",
    prepare=_prepare,
)
