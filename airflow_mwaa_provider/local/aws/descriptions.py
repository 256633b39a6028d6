# SPDX-License-Identifier: Apache-2.0
"""Describe an environment, as GetEnvironment returns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.aws import logging_configuration
from airflow_mwaa_provider.local.aws.environment import EnvironmentStatus
from airflow_mwaa_provider.local.aws.environment_files import describe_files
from airflow_mwaa_provider.local.aws.request_checks import default_sizes
from airflow_mwaa_provider.local.aws.vpc_endpoints import endpoint_services

if TYPE_CHECKING:
    from airflow_mwaa_provider.local.aws.environment import Environment

# Defaults of CreateEnvironment, from its documentation, except the access mode: every process on this machine can reach
# the local gateway.
_DEFAULTS = {
    "EndpointManagement": "SERVICE",
    "WebserverAccessMode": "PUBLIC_ONLY",
    "WeeklyMaintenanceWindowStart": "SUN:03:30",
}
EXECUTION_ROLE = "local-mwaa-execution"
"""The name of the default role of environments."""
_NEVER_REACHED = {EnvironmentStatus.CREATING, EnvironmentStatus.PENDING, EnvironmentStatus.CREATE_FAILED}
_ERROR_MAX_CHARS = 1024
"""The limit of the shape ErrorMessage."""


def describe(environment: Environment, region: str, account_id: str) -> dict[str, Any]:
    """Return the members of the shape ``Environment``; those that the installed model lacks are removed afterwards."""
    spec = environment.spec
    role = f"arn:aws:iam::{account_id}:role"
    described: dict[str, Any] = {
        **_DEFAULTS,
        **default_sizes(environment.settings),
        **environment.settings,
        **describe_files(spec.files),
        **endpoint_services(environment, region),
        "AirflowConfigurationOptions": dict(spec.configuration),
        "AirflowVersion": spec.airflow_version,
        "Arn": environment.arn,
        "CeleryExecutorQueue": f"arn:aws:sqs:{region}:{account_id}:airflow-celery-{spec.name}",
        "CreatedAt": environment.created_at,
        "DagS3Path": spec.dag_s3_path,
        "ExecutionRoleArn": spec.execution_role_arn or f"{role}/{EXECUTION_ROLE}",
        "LastUpdate": _last_update(environment),
        "LoggingConfiguration": logging_configuration.describe(environment, region, account_id),
        "Name": spec.name,
        "ServiceRoleArn": f"{role}/aws-service-role/airflow.amazonaws.com/AWSServiceRoleForAmazonMWAA",
        "SourceBucketArn": f"arn:aws:s3:::{spec.bucket}",
        "Status": str(environment.status),
        "Tags": dict(environment.tags),
    }
    if environment.status not in _NEVER_REACHED:
        # A host without a scheme, unlike the shape's pattern: MWAA does this, and scripts prepend https://.
        described["WebserverUrl"] = environment.address
    return described


def _last_update(environment: Environment) -> dict[str, Any]:
    last = environment.last_update
    described: dict[str, Any] = {"Status": last.status, "CreatedAt": last.created_at}
    if last.error is not None:
        described["Error"] = {
            "ErrorCode": "INCORRECT_CONFIGURATION",
            "ErrorMessage": last.error[:_ERROR_MAX_CHARS],
        }
    return described
