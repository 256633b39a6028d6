# SPDX-License-Identifier: Apache-2.0
"""Create the role with which environments call AWS, in the local IAM."""

from __future__ import annotations

import json

import boto3
from botocore.config import Config

# Source: MWAA's user guide, "Amazon MWAA execution role".
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}


def make_execution_role(iam_url: str, region: str, name: str) -> None:
    """Create a role that MWAA may assume."""
    iam = boto3.session.Session().client(
        "iam",
        endpoint_url=iam_url,
        region_name=region,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - moto asks for credentials, and checks none
        verify=False,
        config=Config(proxies={}),
    )
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_TRUST))
    iam.close()
