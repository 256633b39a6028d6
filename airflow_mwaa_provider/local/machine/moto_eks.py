# SPDX-License-Identifier: Apache-2.0
"""EKS clusters of a local MWAA whose Kubernetes API exists.

moto invents an endpoint and a certificate authority for each cluster, and nothing answers there. A cluster that is
created with the tags below has those of a stand-in; see ``airflow_mwaa_provider.local.stand_ins.kubernetes_api``.
"""

from __future__ import annotations

from typing import Any

from moto.eks.models import Cluster

ENDPOINT_TAG = "airflow-mwaa-local:endpoint"
"""The URL of the Kubernetes API."""
AUTHORITY_TAG = "airflow-mwaa-local:certificate-authority"
"""The certificate of its authority, in base64, as DescribeCluster returns it."""
STATUS_TAG = "airflow-mwaa-local:status"
"""The status of the cluster, such as CREATING."""


def use_tagged_endpoints() -> None:
    """Make DescribeCluster return what the tags of a cluster say."""
    patched: Any = Cluster
    make = patched.__init__
    if hasattr(make, "airflow_mwaa_local"):
        return

    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        if endpoint := self.tags.get(ENDPOINT_TAG):
            self.endpoint = endpoint
        if authority := self.tags.get(AUTHORITY_TAG):
            # Older releases of moto use the other name.
            self.certificate_authority = self.certificateAuthority = {"data": authority}
        self.status = self.tags.get(STATUS_TAG, self.status)

    made.airflow_mwaa_local = True  # type: ignore[attr-defined]
    patched.__init__ = made
