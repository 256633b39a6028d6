# SPDX-License-Identifier: Apache-2.0
"""A Lambda function that creates VPC endpoints: ``airflow_mwaa_provider.aws_lambda_endpoints.handler``.

It is for environments with customer-managed endpoints. MWAA stops creating such an environment, sends an event (status
``PENDING``), and continues when the endpoints exist. The handler creates them, once, and deletes nothing.

Its environment variables:

- ``MWAA_REGION``: region of the environments. The default is the function's region.
- ``MWAA_SECURITY_GROUP_IDS``: security groups of the endpoints, separated by commas. The default is those of the
  environment.

Source: guide, "Tutorial: Automatice la administración de los puntos de enlace"; the user guide's page on
customer-managed endpoints (2026-11); the EC2 API reference on CreateVpcEndpoint.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.aws_lambda_context import account_of, control_plane, let_info_through, time_left
from airflow_mwaa_provider.client.http.errors import reason, truncate
from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries, within
from airflow_mwaa_provider.exceptions import AccessDenied, EnvironmentUnavailable, MwaaInputError, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["VARIABLES", "handler"]

log = logging.getLogger(__name__)

VARIABLES = ("MWAA_REGION", "MWAA_SECURITY_GROUP_IDS")
"""The environment variables that the function reads."""

_DETAIL_TYPE = "MWAA Environment Status Change"
_PENDING = "PENDING"
# VpcEndpointServiceName in botocore's model of MWAA.
_SERVICE_NAME = re.compile(r"([a-z.-]+)?com\.amazonaws\.vpce\.[a-z0-9-]+\.[\w+=,.@/-]+", re.ASCII)
# An endpoint in one of these states never becomes usable.
_DEAD = {"deleted", "deleting", "expired", "failed", "rejected"}

_ec2_clients: dict[str | None, Any] = {}


@dataclass(frozen=True)
class _Asked:
    env_name: str
    status: str | None = None
    account: str | None = None
    detail: dict[str, Any] | None = None


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Create the VPC endpoints that a PENDING environment waits for. With any other status, do nothing.

    These are endpoints for the services that GetEnvironment names: that of the database, and that of the web server if
    it is private. The queue of the Celery executor has no service of its own, so your VPC needs access to SQS.

    If it is called twice, even at the same time, it creates each endpoint once: it checks whether the endpoint exists,
    and its call carries a token that is the same for the same environment and service. It waits for nothing, because
    MWAA detects when the endpoints are available.

    :param event: EventBridge's "MWAA Environment Status Change"; or ``{"env_name": ...}``, because such events may get
        lost.
    :param context: Lambda's context, whose remaining time limits the calls.
    :return: ``{"env_name", "status", "created": {service: endpoint id}, "existing": {service: endpoint id},
        "celery_queue"}``.
    :raises MwaaInputError: the event is none of these.
    :raises AccessDenied: a permission is missing; ``action`` names it.
    """
    let_info_through()
    asked = _read(event)
    answer: dict[str, Any] = {"env_name": asked.env_name, "status": asked.status, "created": {}, "existing": {}}
    if asked.status not in (_PENDING, None):
        log.info("Environment %r is %s: nothing to do", asked.env_name, asked.status)
        return answer
    seconds = time_left(context)()
    described = _describe(asked, account_of(context), max(0.0, seconds))
    status, managed_by = described.get("Status"), described.get("EndpointManagement", "CUSTOMER")
    answer |= {"status": status, "celery_queue": described.get("CeleryExecutorQueue")}
    if status != _PENDING or managed_by != "CUSTOMER":
        log.info("Environment %r is %s, its endpoints managed by %s: nothing to do", asked.env_name, status, managed_by)
        return answer
    services = _services(described, asked.env_name)
    network = _network(described, asked.env_name)
    with_ec2 = _Ec2(asked.env_name, os.environ.get("MWAA_REGION") or None)
    vpc_id = with_ec2.vpc_of(network["SubnetIds"])
    for purpose, service in services.items():
        living, dead = with_ec2.endpoints(vpc_id, service)
        if living:
            answer["existing"][service] = living[0]
            log.info("Environment %r: %s already has endpoint %s", asked.env_name, service, living[0])
            continue
        # With the ids of failed endpoints in it, the token is another, and does not return a failed endpoint again.
        identity = [described.get("Arn"), str(described.get("CreatedAt")), vpc_id, service, *sorted(dead)]
        made = with_ec2.create(vpc_id, service, network, f"{asked.env_name}-{purpose}", json.dumps(identity))
        answer["created"][service] = made
        log.info("Environment %r: %s has the new endpoint %s in %s", asked.env_name, service, made, vpc_id)
    return answer


def _read(event: Any) -> _Asked:
    if isinstance(event, dict) and set(event) == {"env_name"} and isinstance(event["env_name"], str):
        return _Asked(event["env_name"])
    if not isinstance(event, dict) or event.get("source") != "aws.airflow" or event.get("detail-type") != _DETAIL_TYPE:
        raise MwaaInputError(
            f"The event is not a {_DETAIL_TYPE!r} of aws.airflow. Give the rule that event pattern, or invoke the "
            'function with {"env_name": "…"}.'
        )
    detail = event.get("detail")
    detail = detail if isinstance(detail, dict) else {}
    arns = [str(arn) for arn in event.get("resources") or [] if ":environment/" in str(arn)]
    name = detail.get("name") or next((arn.partition(":environment/")[2] for arn in arns), None)
    if not isinstance(name, str) or not name:
        raise MwaaInputError(f"The {_DETAIL_TYPE!r} event names no environment. Pass it on unchanged.")
    status = detail.get("status")
    return _Asked(name, str(status) if status else None, str(event.get("account") or "") or None, detail)


def _describe(asked: _Asked, own_account: str | None, seconds: float) -> dict[str, Any]:
    if asked.detail is not None and own_account and asked.account and asked.account != own_account:
        # A shared VPC: the environment is in another account, whose GetEnvironment cannot be called. The event has the
        # same content in camelCase, and only AWS can send events of aws.airflow.
        log.info("Environment %r is in account %s, so only its event is used", asked.env_name, asked.account)
        return {**_capitalised(asked.detail)}
    mwaa = control_plane(os.environ.get("MWAA_REGION") or None)
    with within(seconds):
        return call_with_retries(lambda: mwaa.get_environment(asked.env_name), RetryPolicy())


def _capitalised(value: Any) -> Any:
    if isinstance(value, dict):
        return {f"{name[:1].upper()}{name[1:]}": _capitalised(item) for name, item in value.items()}
    return value


def _services(described: Mapping[str, Any], env_name: str) -> dict[str, str]:
    members = {"database": "DatabaseVpcEndpointService"}
    if described.get("WebserverAccessMode") == "PRIVATE_ONLY":
        members["webserver"] = "WebserverVpcEndpointService"
    services = {purpose: described.get(member) for purpose, member in members.items()}
    for purpose, service in services.items():
        if not isinstance(service, str) or not _SERVICE_NAME.fullmatch(service):
            raise EnvironmentUnavailable(
                f"Environment {env_name!r} is PENDING, but has no valid {members[purpose]} ({service!r}). Invoke the "
                "function again when it does.",
                status=_PENDING,
                env_name=env_name,
                transient=True,
            )
    return {purpose: str(service) for purpose, service in services.items()}


def _network(described: Mapping[str, Any], env_name: str) -> dict[str, list[str]]:
    network = described.get("NetworkConfiguration") or {}
    own = [group.strip() for group in os.environ.get("MWAA_SECURITY_GROUP_IDS", "").split(",") if group.strip()]
    found: dict[str, Any] = {
        "SubnetIds": network.get("SubnetIds"),
        "SecurityGroupIds": own or network.get("SecurityGroupIds"),
    }
    for name, ids in found.items():
        if not ids:
            raise EnvironmentUnavailable(
                f"Environment {env_name!r} has no {name}. Check what GetEnvironment returns, and invoke the function "
                "again.",
                env_name=env_name,
                transient=True,
            )
    return {name: list(ids) for name, ids in found.items()}


class _Ec2:
    """The calls to EC2. boto3 may retry all of them, because they read, or carry a client token."""

    def __init__(self, env_name: str, region_name: str | None) -> None:
        self._env_name = env_name
        self._client = _ec2_client(region_name)

    def vpc_of(self, subnet_ids: list[str]) -> str:
        """Return the VPC that the subnets are in."""
        answer = self._call("DescribeSubnets", lambda: self._client.describe_subnets(SubnetIds=subnet_ids))
        vpc_ids = {str(subnet["VpcId"]) for subnet in answer["Subnets"]}
        if len(vpc_ids) != 1:
            raise UnexpectedAnswer(
                f"Environment {self._env_name!r}: its subnets {', '.join(subnet_ids)} are in {len(vpc_ids)} VPCs, but "
                "must be in one. Check the account and the region of the function.",
                env_name=self._env_name,
            )
        return vpc_ids.pop()

    def endpoints(self, vpc_id: str, service: str) -> tuple[list[str], list[str]]:
        """Return the ids of a service's endpoints in a VPC: those that are, or may become, usable, and the others."""
        filters = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "service-name", "Values": [service]}]
        living: list[str] = []
        dead: list[str] = []
        pages = self._client.get_paginator("describe_vpc_endpoints").paginate(Filters=filters)
        for page in self._call("DescribeVpcEndpoints", lambda: list(pages)):
            for endpoint in page["VpcEndpoints"]:
                is_dead = str(endpoint.get("State", "")).lower() in _DEAD
                (dead if is_dead else living).append(str(endpoint["VpcEndpointId"]))
        return sorted(living), dead

    def create(self, vpc_id: str, service: str, network: dict[str, list[str]], name: str, identity: str) -> str:
        """Create an endpoint, or return the one that a call with the same identity has created."""
        answer = self._call(
            "CreateVpcEndpoint",
            lambda: self._client.create_vpc_endpoint(
                VpcEndpointType="Interface",
                VpcId=vpc_id,
                ServiceName=service,
                SubnetIds=network["SubnetIds"],
                SecurityGroupIds=network["SecurityGroupIds"],
                # MWAA's services have no private DNS name, which EC2's default would require.
                PrivateDnsEnabled=False,
                ClientToken=hashlib.sha256(identity.encode()).hexdigest(),
                TagSpecifications=[{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "Name", "Value": name}]}],
            ),
        )
        return str(answer["VpcEndpoint"]["VpcEndpointId"])

    def _call(self, operation: str, send: Callable[[], Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"Environment {self._env_name!r}, EC2's {operation}"
        try:
            return send()
        except ClientError as error:
            details = error.response.get("Error", {})
            code, words = str(details.get("Code", "")), truncate(str(details.get("Message", "")))
            if code in ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException"):
                raise AccessDenied(
                    f"{where}: not permitted. Allow ec2:{operation} for the function's role in IAM. AWS says: {words}",
                    action=f"ec2:{operation}",
                    env_name=self._env_name,
                ) from error
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            raise UnexpectedAnswer(
                f"{where}: {code} ({words}). Correct what it names, and invoke the function again.",
                status=status,
                transient=status >= 500 or code == "RequestLimitExceeded",
                env_name=self._env_name,
            ) from error
        except BotoCoreError as error:
            raise UnexpectedAnswer(
                f"{where}: no answer ({reason(error)}). A function in a VPC needs access to EC2: a NAT gateway, or an "
                "endpoint for EC2.",
                transient=True,
                env_name=self._env_name,
            ) from None


def _ec2_client(region_name: str | None) -> Any:
    if region_name not in _ec2_clients:
        import boto3
        from botocore.config import Config

        config = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "max_attempts": 4})
        _ec2_clients[region_name] = boto3.Session().client("ec2", region_name=region_name, config=config)
    return _ec2_clients[region_name]
