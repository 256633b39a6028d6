# SPDX-License-Identifier: Apache-2.0
"""The local MWAA's moto, as a process of its own, without the rest of the local MWAA."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

REGION = "us-east-1"


@dataclass(frozen=True)
class MotoProcess:
    """A running moto."""

    url: str

    @property
    def variables(self) -> dict[str, str]:
        """What a client finds it by."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 1}),
        )


@contextlib.contextmanager
def moto_process() -> Iterator[MotoProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = "airflow_mwaa_provider.local.machine.moto_program"
    command = [sys.executable, "-m", program, "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ})
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end, "moto does not answer"
                time.sleep(0.1)
        yield MotoProcess(url)
    finally:
        process.terminate()
        process.wait(20)


def make_service(moto: MotoProcess, group: str = "mwaa-ecs-test", *, with_group: bool = True) -> str:
    """Make what the template of the ECS sample makes, and return the task definition's ARN."""
    ec2, ecs = moto.client("ec2"), moto.client("ecs")
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    of_vpc = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnet = ec2.describe_subnets(Filters=of_vpc)["Subnets"][0]["SubnetId"]
    security_group = ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"][0]["GroupId"]
    if with_group:
        with contextlib.suppress(moto.client("logs").exceptions.ResourceAlreadyExistsException):
            moto.client("logs").create_log_group(logGroupName=group)
    ecs.create_cluster(clusterName="mwaa-ecs-test-cluster")
    options = {"awslogs-region": REGION, "awslogs-group": group, "awslogs-stream-prefix": "ecs"}
    definition = ecs.register_task_definition(
        family=f"{group}-task",
        cpu="256",
        memory="512",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        containerDefinitions=[
            {
                "name": "mwaa-ecs-test-container",
                "image": "public.ecr.aws/amazonlinux/amazonlinux:2023",
                "essential": True,
                "logConfiguration": {"logDriver": "awslogs", "options": options},
            }
        ],
    )["taskDefinition"]["taskDefinitionArn"]
    network = {"subnets": [subnet], "securityGroups": [security_group], "assignPublicIp": "DISABLED"}
    ecs.create_service(
        cluster="mwaa-ecs-test-cluster",
        serviceName=f"{group}-service",
        taskDefinition=definition,
        desiredCount=0,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    return str(definition)
