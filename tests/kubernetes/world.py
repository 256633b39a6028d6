# SPDX-License-Identifier: Apache-2.0
"""A local MWAA with an EKS cluster, whose Kubernetes API is the stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow_mwaa_provider.local.machine import moto_eks
from airflow_mwaa_provider.local.stand_ins.kubernetes_api import POD_ROLE, KubernetesApi
from tests.local.lab import KEY, REGION, SECRET, Lab

CLUSTER, NAMESPACE, USER = "mwaa-eks", "mwaa", "mwaa-service"


@dataclass
class EksWorld:
    """The cluster, and how a task reaches it."""

    lab: Lab
    api: KubernetesApi

    def variables(self, secret: str = SECRET, **extra: Any) -> dict[str, str]:
        """The environment of a task: its connection, and nothing of the machine's own AWS settings."""
        connection = {
            "conn_type": "aws", "login": KEY, "password": secret,
            "extra": {"region_name": REGION, "endpoint_url": self.lab.url, **extra},
        }  # fmt: skip
        return {
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def create_cluster(self, name: str, *, is_public: bool = True, **tags: str) -> None:
        self.lab.client("eks").create_cluster(
            name=name, roleArn="arn:aws:iam::123456789012:role/eks", tags=tags,
            resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"], "endpointPublicAccess": is_public},
        )  # fmt: skip

    def delete_cluster(self, name: str) -> None:
        self.lab.client("eks").delete_cluster(name=name)


@contextmanager
def eks_world(lab: Lab, **options: Any) -> Iterator[EksWorld]:
    """Make the cluster, for as long as the block lasts."""
    moto_eks.use_tagged_endpoints()
    arn = lab.client("sts").get_caller_identity()["Arn"]
    role = arn.replace(":sts:", ":iam:").replace(":assumed-role/", ":role/").rpartition("/")[0]
    given = {
        "access_entries": {role: USER}, "roles": {(USER, NAMESPACE): POD_ROLE}, "starts_after_s": 0.0, "runs_s": 0.5
    }  # fmt: skip
    with KubernetesApi(CLUSTER, lab.url, **{**given, **options}) as api:
        world = EksWorld(lab, api)
        tags = {moto_eks.ENDPOINT_TAG: api.endpoint, moto_eks.AUTHORITY_TAG: api.certificate_authority}
        world.create_cluster(CLUSTER, **tags)
        try:
            yield world
        finally:
            world.delete_cluster(CLUSTER)
