# SPDX-License-Identifier: Apache-2.0
"""The handler that creates VPC endpoints, against the local MWAA and moto's EC2: each once, and nothing else."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from airflow_mwaa_provider.local.aws.environment import EnvironmentStatus
from tests.aws_lambda import samples
from tests.client.world import KEY, REGION, SECRET, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.aws_lambda.function import Function


@dataclass
class Pending:
    """An environment whose creation waits for its endpoints."""

    name: str
    vpc_id: str
    subnet_ids: list[str]
    group_id: str
    world: World

    @property
    def described(self) -> dict[str, Any]:
        described: dict[str, Any] = self.world.control_plane().get_environment(self.name)
        return described

    @property
    def endpoints(self) -> list[dict[str, Any]]:
        found = _client(self.world, "ec2").describe_vpc_endpoints()["VpcEndpoints"]
        return [endpoint for endpoint in found if endpoint["VpcId"] == self.vpc_id]

    def settle(self) -> str:
        self.world.wait(self.world.mwaa.environments.wait_until_settled(self.name, 8))
        return str(self.described["Status"])


def _client(world: World, service: str) -> Any:
    return boto3.client(
        service, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET, endpoint_url=world.url
    )


@pytest.fixture
def make(world: World) -> Iterator[Callable[..., Pending]]:
    made: list[str] = []

    def make(access: str = "PRIVATE_ONLY", management: str = "CUSTOMER") -> Pending:
        ec2 = _client(world, "ec2")
        vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet_ids = [
            ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)
        ]
        name = f"env-{uuid.uuid4().hex[:8]}"
        group_id = ec2.create_security_group(GroupName=name, Description="x", VpcId=vpc_id)["GroupId"]
        settings = {
            "WebserverAccessMode": access,
            "EndpointManagement": management,
            "NetworkConfiguration": {"SubnetIds": subnet_ids, "SecurityGroupIds": [group_id]},
        }
        world.do(world.mwaa.environments.create, name, bucket="b", airflow_version="3.3.1", settings=settings)
        made.append(name)
        if management == "CUSTOMER":
            world.until(lambda: world.mwaa.environments.get(name).status is EnvironmentStatus.PENDING)
        return Pending(name, vpc_id, subnet_ids, group_id, world)

    yield make
    for name in made:
        world.do(world.mwaa.environments.delete, name)
        world.wait(world.mwaa.environments.wait_until_settled(name, 8))


@pytest.mark.usefixtures("meeting_of_two")
def test_two_invocations_at_once_make_each_endpoint_once_and_the_environment_goes_on(
    endpoints: Function, make: Callable[..., Pending]
) -> None:
    pending = make()
    event = samples.status_change(pending.name)
    described = pending.described
    assert "WebserverUrl" not in described
    processes = [endpoints.start((f"r{number}", event)) for number in range(2)]
    answers = [endpoints.finish(process)[0]["result"] for process in processes]
    services = {described["DatabaseVpcEndpointService"], described["WebserverVpcEndpointService"]}
    made = pending.endpoints
    assert {endpoint["ServiceName"] for endpoint in made} == services
    assert len(made) == 2
    for endpoint in made:
        assert endpoint["VpcEndpointType"] == "Interface"
        assert set(endpoint["SubnetIds"]) == set(pending.subnet_ids)
        assert [group["GroupId"] for group in endpoint["Groups"]] == [pending.group_id]
        assert not endpoint["PrivateDnsEnabled"]
        purpose = "database" if endpoint["ServiceName"] == described["DatabaseVpcEndpointService"] else "webserver"
        assert endpoint["Tags"] == [{"Key": "Name", "Value": f"{pending.name}-{purpose}"}]
    ids = {endpoint["ServiceName"]: endpoint["VpcEndpointId"] for endpoint in made}
    for answer in answers:
        assert {**answer["created"], **answer["existing"]} == ids
        assert answer["celery_queue"] == described["CeleryExecutorQueue"]
    assert pending.settle() == "AVAILABLE"
    [late] = endpoints.invoke(("r3", event))
    assert (late["result"]["status"], late["result"]["created"]) == ("AVAILABLE", {})
    assert len(pending.endpoints) == 2


def test_a_public_web_server_has_no_endpoint_and_the_groups_may_be_others(
    endpoints: Function, make: Callable[..., Pending]
) -> None:
    pending = make("PUBLIC_ONLY")
    ec2 = _client(pending.world, "ec2")
    group = ec2.create_security_group(GroupName="other", Description="x", VpcId=pending.vpc_id)["GroupId"]
    endpoints.variables["MWAA_SECURITY_GROUP_IDS"] = f" {group} ,"
    [by_hand, again] = endpoints.invoke(*[("r", {"env_name": pending.name})] * 2)
    [made] = pending.endpoints
    assert by_hand["result"]["created"] == {made["ServiceName"]: made["VpcEndpointId"]}
    assert again["result"]["created"] == {}
    assert [found["GroupId"] for found in made["Groups"]] == [group]
    assert pending.settle() == "AVAILABLE"


def test_in_a_shared_vpc_the_event_of_the_other_account_says_all(
    endpoints: Function, make: Callable[..., Pending]
) -> None:
    pending = make("PUBLIC_ONLY")
    service = pending.described["DatabaseVpcEndpointService"]
    event = samples.status_change(
        "of-the-participant",
        account="999999999999",
        endpointManagement="CUSTOMER",
        webserverAccessMode="PUBLIC_ONLY",
        databaseVpcEndpointService=service,
        networkConfiguration={"subnetIds": pending.subnet_ids, "securityGroupIds": [pending.group_id]},
    )
    pending.world.calls()
    [answer] = endpoints.invoke(("r", event))
    assert list(answer["result"]["created"]) == [service]
    assert "get_environment" not in pending.world.calls()
    pending.settle()


def test_what_is_not_pending_is_left_alone(endpoints: Function, make: Callable[..., Pending]) -> None:
    by_service = make(management="SERVICE")
    by_service.settle()
    events = [
        samples.status_change(by_service.name, "AVAILABLE"),
        samples.status_change(by_service.name, "DELETING"),
        samples.status_change(by_service.name),
        {"env_name": by_service.name},
    ]
    answers = endpoints.invoke(*(("r", event) for event in events))
    assert [answer["result"]["created"] for answer in answers] == [{}] * 4
    assert by_service.endpoints == []
    assert by_service.described["DatabaseVpcEndpointService"].startswith("com.amazonaws.vpce.us-east-1.vpce-svc-")


def test_what_cannot_be_used_is_refused_in_one_line(endpoints: Function, make: Callable[..., Pending]) -> None:
    pending = make("PUBLIC_ONLY")
    other = {"account": "999999999999", "webserverAccessMode": "PUBLIC_ONLY"}
    network = {"subnetIds": ["subnet-00000000"], "securityGroupIds": ["sg-1"]}
    named = {"databaseVpcEndpointService": pending.described["DatabaseVpcEndpointService"]}
    refused = [
        ({}, "MwaaInputError", "is not a 'MWAA Environment Status Change' of aws.airflow"),
        (samples.eventbridge(), "MwaaInputError", "is not a 'MWAA Environment Status Change' of aws.airflow"),
        (samples.status_change("absent"), "EnvironmentNotFound", "'absent'"),
        (samples.status_change("x", **other), "EnvironmentUnavailable", "has no valid DatabaseVpcEndpointService"),
        (
            samples.status_change("x", **other, databaseVpcEndpointService="com.amazonaws.us-east-1.s3"),
            "EnvironmentUnavailable",
            "com.amazonaws.us-east-1.s3",
        ),
        (samples.status_change("x", **other, **named), "EnvironmentUnavailable", "has no SubnetIds"),
        (
            samples.status_change("x", **other, **named, networkConfiguration=network),
            "UnexpectedAnswer",
            "EC2's DescribeSubnets: InvalidSubnetID.NotFound",
        ),
    ]
    answers = endpoints.invoke(*(("r", event) for event, _, _ in refused))
    for answer, (_, kind, words) in zip(answers, refused, strict=True):
        assert answer["error"]["type"] == kind
        assert words in answer["error"]["message"]
        assert "\n" not in answer["error"]["message"]
    assert pending.endpoints == []
    pending.world.deny("GetEnvironment")
    [denied] = endpoints.invoke(("r", samples.status_change(pending.name)))
    assert denied["error"]["action"] == "airflow:GetEnvironment"
