# SPDX-License-Identifier: Apache-2.0
"""Customer-managed VPC endpoints: an environment remains PENDING until they exist.

Source: botocore's service model (``EndpointManagement``, ``DatabaseVpcEndpointService`` and the web server's,
status ``PENDING``); the user guide's page on customer-managed endpoints.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import TYPE_CHECKING

import aiohttp

from airflow_mwaa_provider.local.aws.aws_resources import ANY_NAMESPACE
from airflow_mwaa_provider.local.aws.environment import EnvironmentStatus

if TYPE_CHECKING:
    from airflow_mwaa_provider.local.aws.aws_resources import AwsResources
    from airflow_mwaa_provider.local.aws.environment import Environment

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_PATIENCE_S = 72 * 3600


def endpoint_services(environment: Environment, region: str) -> dict[str, str]:
    """Return the names of the services for an environment's endpoints, as in GetEnvironment."""
    members = ["DatabaseVpcEndpointService"]
    if environment.settings.get("WebserverAccessMode") == "PRIVATE_ONLY":
        members.append("WebserverVpcEndpointService")
    return {member: f"com.amazonaws.vpce.{region}.vpce-svc-{_number(environment, member)}" for member in members}


def _number(environment: Environment, member: str) -> str:
    identity = f"{environment.arn} {environment.created_at.isoformat()} {member}"
    return f"0{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


class VpcEndpoints:
    """Checks the endpoints in moto's EC2."""

    def __init__(self, resources: AwsResources, region: str) -> None:
        self._resources = resources
        self._region = region

    async def wait_for(self, environment: Environment) -> None:
        """Return at once, or, with customer-managed endpoints, when they exist.

        :raises TimeoutError: they were not created within 72 hours.
        """
        if environment.settings.get("EndpointManagement") != "CUSTOMER":
            return
        wanted = set(endpoint_services(environment, self._region).values())
        environment.status = EnvironmentStatus.PENDING
        _log.info("environment %s is PENDING until endpoints exist for %s", environment.name, ", ".join(wanted))
        async with asyncio.timeout(_PATIENCE_S):
            while not wanted <= await self._available():
                await asyncio.sleep(_LOOK_EVERY_S)
        environment.status = EnvironmentStatus.CREATING

    async def _available(self) -> set[str]:
        """Return the services with an endpoint in state available."""
        try:
            answer = await self._resources.query_ec2("DescribeVpcEndpoints")
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("EC2 does not list its endpoints: %s", error)
            return set()
        endpoints = answer.iterfind(f"./{ANY_NAMESPACE}vpcEndpointSet/{ANY_NAMESPACE}item")
        return {
            endpoint.findtext(f"{ANY_NAMESPACE}serviceName", "")
            for endpoint in endpoints
            if endpoint.findtext(f"{ANY_NAMESPACE}state", "").lower() == "available"
        }
