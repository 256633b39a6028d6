# SPDX-License-Identifier: Apache-2.0
"""Tokens for the Kubernetes API of an EKS cluster.

A token is a presigned URL of STS, which proves to the cluster who has signed it. It is made in this process and is
never written anywhere: EKS accepts it for 15 minutes, and clients get a new one long before.

Source: aws-iam-authenticator, ``pkg/token``.
"""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

from airflow_mwaa_provider.quiet_logs import values_kept_out_of_logs

__all__ = ["EksToken"]

_PREFIX = "k8s-aws-v1."
_CLUSTER_HEADER = "x-k8s-aws-id"
_URL_EXPIRES_S = 60  # what EKS's own clients write; STS accepts the URL for 15 minutes whatever it is
_RENEWED_AFTER_S = 300.0


class EksToken:
    """A bearer token for the Kubernetes API of an EKS cluster, which is renewed when it is 5 minutes old.

    Making one is a computation without a request. It is valid for 15 minutes, unless the credentials that sign it
    expire before; boto3 renews those of a role at least 10 minutes before that. The object cannot be pickled.

    :param sts: boto3's client for STS, whose credentials and endpoint are used. The endpoint must be a regional one.
    :param cluster_name: name of the cluster, for which alone it is valid.
    """

    def __init__(self, sts: Any, cluster_name: str) -> None:
        self._sts = sts
        self._cluster_name = cluster_name
        self._lock = threading.Lock()
        self._value = ""
        self._made_at = 0.0
        sts.meta.events.register("before-sign.sts.GetCallerIdentity", self._add_cluster, unique_id="airflow-mwaa-eks")

    def value(self) -> str:
        """Return a token that is valid for 10 minutes or more."""
        with self._lock:
            if not self._value or not 0 <= time.time() - self._made_at < _RENEWED_AFTER_S:
                made_at = time.time()
                with values_kept_out_of_logs():  # botocore logs what it signs, and the signature
                    url = self._sts.generate_presigned_url(
                        "get_caller_identity", Params={}, ExpiresIn=_URL_EXPIRES_S, HttpMethod="GET"
                    )
                self._value = _PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
                self._made_at = made_at
            return self._value

    def renew(self) -> None:
        """Make another token at the next use, because one was rejected."""
        with self._lock:
            self._value = ""

    def _add_cluster(self, request: Any, **_: Any) -> None:
        request.headers[_CLUSTER_HEADER] = self._cluster_name
