# SPDX-License-Identifier: Apache-2.0
"""The settings of this package's Lambda functions: handler, runtime, environment variables, permissions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["RUNTIMES", "FunctionSetup", "HandlerName", "Variable", "setup_of"]

RUNTIMES = ("python3.12", "python3.11", "python3.13")
"""Lambda runtimes that the handlers support, the recommended one first."""


class HandlerName(StrEnum):
    """The Lambda handlers of this package."""

    TRIGGER = "trigger"
    ENDPOINTS = "endpoints"


@dataclass(frozen=True)
class Variable:
    """An environment variable of a function."""

    name: str
    required: bool
    says: str


@dataclass(frozen=True)
class FunctionSetup:
    """The settings of a function.

    :param policy: a least-privilege IAM policy for the function's role, beside ``AWSLambdaBasicExecutionRole``. Replace
        ``REGION``, ``ACCOUNT`` and ``ENVIRONMENT`` in it.
    """

    handler: str
    timeout_s: int
    memory_mb: int
    variables: tuple[Variable, ...]
    policy: dict[str, Any]

    @property
    def actions(self) -> tuple[str, ...]:
        """The IAM actions of the policy."""
        return tuple(sorted({action for statement in self.policy["Statement"] for action in statement["Action"]}))


_REGION = Variable("MWAA_REGION", False, "region of the environment; by default the function's own")

_TRIGGER = FunctionSetup(
    handler="airflow_mwaa_provider.aws_lambda.handler",
    timeout_s=60,
    memory_mb=256,
    variables=(
        Variable("MWAA_ENV_NAME", True, "the environment; an event may give env_name instead"),
        Variable("MWAA_DAG_ID", True, "the DAG; an event may give dag_id instead"),
        _REGION,
        Variable("MWAA_CONF", False, "a JSON object for the conf of every run; the event overrides it"),
        Variable("MWAA_TRANSPORT", False, "rest_api, web_session or cli; by default the first that works"),
        Variable("MWAA_AIRFLOW_MAJOR", False, "2 or 3; saves the permission to call GetEnvironment"),
    ),
    policy={
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["airflow:InvokeRestApi"],
                "Resource": ["arn:aws:airflow:REGION:ACCOUNT:role/ENVIRONMENT/User"],
            },
            {
                "Effect": "Allow",
                "Action": ["airflow:GetEnvironment"],
                "Resource": ["arn:aws:airflow:REGION:ACCOUNT:environment/ENVIRONMENT"],
            },
        ],
    },
)

_ENDPOINTS = FunctionSetup(
    handler="airflow_mwaa_provider.aws_lambda_endpoints.handler",
    timeout_s=60,
    memory_mb=256,
    variables=(
        _REGION,
        Variable(
            "MWAA_SECURITY_GROUP_IDS", False, "of the endpoints, separated by commas; by default the environment's"
        ),
    ),
    policy={
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["airflow:GetEnvironment"],
                "Resource": ["arn:aws:airflow:REGION:ACCOUNT:environment/*"],
            },
            {
                "Effect": "Allow",
                "Action": ["ec2:DescribeSubnets", "ec2:DescribeVpcEndpoints"],
                "Resource": ["*"],
            },
            {
                "Effect": "Allow",
                "Action": ["ec2:CreateVpcEndpoint"],
                "Resource": [
                    "arn:aws:ec2:REGION:ACCOUNT:vpc/*",
                    "arn:aws:ec2:REGION:ACCOUNT:subnet/*",
                    "arn:aws:ec2:REGION:*:security-group/*",
                ],
            },
            {
                "Effect": "Allow",
                "Action": ["ec2:CreateVpcEndpoint"],
                "Resource": ["arn:aws:ec2:REGION:ACCOUNT:vpc-endpoint/*"],
                "Condition": {"StringLike": {"ec2:VpceServiceName": "com.amazonaws.vpce.REGION.vpce-svc-*"}},
            },
            {
                "Effect": "Allow",
                "Action": ["ec2:CreateTags"],
                "Resource": ["arn:aws:ec2:REGION:ACCOUNT:vpc-endpoint/*"],
                "Condition": {"StringEquals": {"ec2:CreateAction": "CreateVpcEndpoint"}},
            },
        ],
    },
)


def setup_of(handler: HandlerName) -> FunctionSetup:
    """Return the settings of the function for a handler."""
    return _ENDPOINTS if handler is HandlerName.ENDPOINTS else _TRIGGER
