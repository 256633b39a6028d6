# SPDX-License-Identifier: Apache-2.0
"""An EKS cluster: what EKS says about it, tokens for its Kubernetes API, and what its answers mean."""

from __future__ import annotations

import base64
import binascii
import difflib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.aws.calls import AwsCalls
from airflow_mwaa_provider.client.aws.eks_token import EksToken
from airflow_mwaa_provider.client.http.errors import never_connected, reason, truncate, unended
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaError, MwaaInputError, UnexpectedAnswer

if TYPE_CHECKING:
    from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

__all__ = ["EksCluster"]

_GLOBAL_STS = "https://sts.amazonaws.com"
_USABLE = ("ACTIVE", "UPDATING")
_UNREACHABLE = ("ClientConnectorError", "ClientConnectorCertificateError", "ConnectTimeoutError", "MaxRetryError")


class EksCluster:
    """A cluster, with the credentials of an AWS connection.

    :param name: name of the cluster.
    :param aws: the hook of the connection.
    """

    def __init__(self, name: str, aws: MwaaEnvironmentHook) -> None:
        self.name = name
        self._aws = aws

    @cached_property
    def description(self) -> dict[str, Any]:
        """What ``eks:DescribeCluster`` says about the cluster.

        :raises AccessDenied: ``eks:DescribeCluster`` is not allowed, or there are no credentials.
        :raises AwsError: no such cluster, or it is not ACTIVE.
        """
        calls = AwsCalls(self._eks, "EKS", "eks")
        try:
            found: dict[str, Any] = calls.call("DescribeCluster", self.label, member="cluster", name=self.name)
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            raise AwsError(
                f"{self.label}: no such cluster.{self._nearest(calls)} Check the name, the account and the region.",
                code=error.code,
            ) from None
        cluster: dict[str, Any] = found["cluster"]
        status = cluster.get("status", "")
        if status not in _USABLE or not cluster.get("endpoint") or not cluster.get("certificateAuthority"):
            raise AwsError(
                f"{self.label} is {status}, and has no Kubernetes API. "
                + ("Wait until it is ACTIVE." if status == "CREATING" else "Use a cluster that is ACTIVE."),
                code=f"Cluster{status.title()}",
                transient=status == "CREATING",
            )
        return cluster

    @cached_property
    def token(self) -> EksToken:
        """The token of this hook's clients.

        :raises AccessDenied: there are no credentials.
        """
        return EksToken(self._sts, self.name)

    @property
    def label(self) -> str:
        """The cluster and its region, for errors."""
        return f"EKS cluster {self.name!r} in {self._eks.meta.region_name}"

    def certificate(self) -> bytes:
        """Return the certificate of the cluster's authority.

        :raises MwaaInputError: it is not base64.
        """
        try:
            return base64.b64decode(self.description["certificateAuthority"]["data"], validate=True)
        except (KeyError, binascii.Error, ValueError):
            raise MwaaInputError(f"{self.label}: its certificate authority is not base64. Check the cluster.") from None

    def explained(self, error: BaseException) -> MwaaError | None:
        """Return the error for one of a Kubernetes client; ``None`` if it is none that has to do with access."""
        chain: BaseException | None = error
        while chain is not None:
            if isinstance(chain, MwaaError):
                return None if chain is error else chain
            status = getattr(chain, "status", None)
            if status in (401, 403) and any(kind.__name__ == "ApiException" for kind in type(chain).__mro__):
                return self._denied(chain, int(status))
            if never_connected(chain) or type(chain).__name__ in _UNREACHABLE:
                return self._unreachable(chain)
            chain = chain.__cause__ or chain.__context__
        return None

    def _denied(self, error: Any, status: int) -> AccessDenied:
        if status == 403:
            return AccessDenied(
                f"{self.label}: the Kubernetes API denied the request. Allow it by a Role and a RoleBinding in the "
                f"namespace. It says: {_words(error)}.",
                status=403,
            )
        return AccessDenied(
            f"{self.label}: the Kubernetes API rejected the token of {self._caller()}. Create an access entry of the "
            "cluster for it, or map it in aws-auth, and check that its credentials have not expired.",
            status=401,
        )

    def _unreachable(self, error: BaseException) -> UnexpectedAnswer:
        access = self.description.get("resourcesVpcConfig", {})
        is_private = access.get("endpointPublicAccess") is False
        return UnexpectedAnswer(
            f"{self.label}: the Kubernetes API at {self.description['endpoint']} could not be reached "
            f"({reason(error)}). "
            + (
                "Its endpoint is private: use the cluster's VPC or a connected one, and allow port 443 from the "
                "environment's security group in the cluster's."
                if is_private
                else "Check the route from the environment's subnets to it, security groups, and the CIDR blocks that "
                "its public endpoint accepts."
            ),
            transient=True,
        )

    def _nearest(self, calls: AwsCalls) -> str:
        """Name the cluster with the most similar name, if the role may list clusters."""
        try:
            pages = calls.pages("ListClusters", self.label, next_part="nextToken")
            names = [name for page in pages for name in page.get("clusters", ())]
        except MwaaError:
            return ""
        nearest = difflib.get_close_matches(self.name, names, n=1)
        return f" There is {nearest[0]!r}." if nearest else ""

    def _caller(self) -> str:
        """Return the ARN of the role that signs tokens, as access entries have it."""
        try:
            answer = AwsCalls(self._sts, "STS", "sts").call("GetCallerIdentity", self.label, member="Arn")
        except MwaaError:
            return f"the role of connection {self._aws.aws_conn_id!r}"
        arn = str(answer["Arn"])
        head, _, session = arn.partition(":assumed-role/")
        return f"{head.replace(':sts:', ':iam:')}:role/{session.partition('/')[0]}" if session else arn

    @cached_property
    def _eks(self) -> Any:
        return self._aws.aws_client("eks", attempts=1)

    @cached_property
    def _sts(self) -> Any:
        sts = self._aws.aws_client("sts", attempts=1)
        if sts.meta.endpoint_url.rstrip("/") != _GLOBAL_STS:
            return sts
        # The default of older releases of boto3 for some regions. Where the caller's region is not enabled there, and
        # in clusters without a route to it, its tokens are not valid.
        region = self._eks.meta.region_name
        return self._aws.aws_client("sts", attempts=1, endpoint_url=f"https://sts.{region}.amazonaws.com")


def _words(error: Any) -> str:
    """Return the API's own words, which name the user, the verb, the resource and the namespace."""
    try:
        text = str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        text = str(error.reason)
    return unended(truncate(text, 300))
