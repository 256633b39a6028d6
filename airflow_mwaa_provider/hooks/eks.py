# SPDX-License-Identifier: Apache-2.0
"""Kubernetes clients for EKS clusters, configured by what EKS says about the cluster, and without a kubeconfig file.

This module imports the Kubernetes clients, which the extra ``kubernetes`` installs.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook, KubernetesHook
from asgiref.sync import sync_to_async
from kubernetes import client
from kubernetes_asyncio import client as async_client
from urllib3.exceptions import HTTPError

from airflow_mwaa_provider.exceptions import MwaaError
from airflow_mwaa_provider.hooks.eks_cluster import EksCluster
from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["AsyncEksClusterHook", "EksClusterHook"]

_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 60.0
_KEEPALIVE = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 120), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 6))
    if hasattr(socket, name)
]


class EksClusterHook(KubernetesHook):
    """Connects to the Kubernetes API of an EKS cluster, with the credentials of an AWS connection.

    ``eks:DescribeCluster`` returns the endpoint and the certificate authority. Clients of :meth:`get_conn`,
    ``core_v1_client`` and the other properties of KubernetesHook may be used for any length of time, because every
    request of theirs has a token that is valid.

    The role needs an access entry of the cluster, or a mapping in its ``aws-auth``, and a Kubernetes Role in the
    namespace.

    :param cluster_name: name of the cluster.
    :param aws_conn_id: connection of type ``aws`` or ``mwaa``. ``None`` uses the role that the task runs with. See
        :class:`~airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook`.
    :param region_name: AWS region of the cluster. The default is the connection's region, then boto3's.
    :param verify: ``False``, or the path of a CA bundle, for AWS's API. The cluster is always verified, by its own
        certificate authority.
    :param botocore_config: keyword arguments of botocore's ``Config``.
    :param kubernetes_conn_id: a Kubernetes connection, from which only the namespace and the settings of the XCom
        sidecar are read.
    """

    def __init__(
        self,
        cluster_name: str,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        kubernetes_conn_id: str | None = None,
    ) -> None:
        super().__init__(in_cluster=False)
        self.conn_id = kubernetes_conn_id  # the parent's default is another one
        aws = MwaaEnvironmentHook(aws_conn_id, region_name or None, verify, botocore_config)
        self.cluster = EksCluster(cluster_name, aws)
        """What is known about the cluster, and its tokens."""
        self._is_in_cluster = False

    def get_conn(self) -> client.ApiClient:
        """Return a client of the Kubernetes API. No call is made, except for ``eks:DescribeCluster``.

        :raises AccessDenied: ``eks:DescribeCluster`` is not allowed, or there are no credentials.
        :raises AwsError: no such cluster, or it is not ACTIVE.
        """
        return _ApiClient(self.configuration(), self.cluster)

    def configuration(self) -> client.Configuration:
        """Return a configuration for clients of your own. Its certificate file is deleted with it."""
        configuration = client.Configuration()
        # Without one of its own, a load balancer that drops idle connections would leave a task waiting for ever.
        with contextlib.suppress(AttributeError):
            configuration.socket_options = _KEEPALIVE
        _complete(configuration, self.cluster, "authorization")
        return configuration

    @contextlib.contextmanager
    def explained_errors(self) -> Iterator[None]:
        """Raise our errors for what the Kubernetes API answers to somebody who may not use it, or if nothing answers.

        :raises AccessDenied: HTTP 401 or 403; names the role, and what it lacks.
        :raises UnexpectedAnswer: the API cannot be reached, or TLS fails.
        """
        try:
            yield
        except Exception as error:
            found = self.cluster.explained(error)
            if found is None:
                raise
            raise found from error


class AsyncEksClusterHook(AsyncKubernetesHook):
    """Connects to the Kubernetes API of an EKS cluster from a trigger.

    :param cluster: the cluster, with the connection to AWS.
    """

    def __init__(self, cluster: EksCluster) -> None:
        super().__init__(in_cluster=False)
        self.conn_id = None
        self.cluster = cluster
        self._is_in_cluster = False
        self.denied: MwaaError | None = None
        """The error of the last request, if it had to do with access."""

    @contextlib.asynccontextmanager
    async def get_conn(self) -> AsyncIterator[async_client.ApiClient]:
        """Yield a client of the Kubernetes API with a valid token.

        :raises MwaaError: the cluster cannot be used; see :class:`EksCluster`.
        """
        # In a thread, because it may look up a connection, call EKS, or renew the credentials of a role.
        configuration = await sync_to_async(self._configuration)()
        connection = _AsyncApiClient(configuration)
        try:
            yield connection
        except Exception as error:
            if getattr(error, "status", None) == 401:
                self.cluster.token.renew()
            self.denied = await sync_to_async(self.cluster.explained)(error)
            raise
        else:
            self.denied = None
        finally:
            await connection.close()

    def _configuration(self) -> async_client.Configuration:
        try:
            configuration = async_client.Configuration()
            _complete(configuration, self.cluster, "BearerToken")
        except MwaaError as error:
            self.denied = error
            raise
        return configuration


class _ApiClient(client.ApiClient):  # type: ignore[misc]
    """A client that limits how long it connects, and asks once more with another token if one is rejected."""

    def __init__(self, configuration: client.Configuration, cluster: EksCluster) -> None:
        super().__init__(configuration)
        self._cluster = cluster
        self._has_connected = False

    def call_api(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("_request_timeout") is None:
            # A log that is followed, or a watch, may be silent for any length of time.
            is_stream = kwargs.get("_preload_content") is False
            kwargs["_request_timeout"] = (_CONNECT_TIMEOUT_S, None if is_stream else _READ_TIMEOUT_S)
        try:
            answer = super().call_api(*args, **kwargs)
        except client.ApiException as error:
            self._has_connected = True
            if error.status != 401:
                raise
        except HTTPError as error:
            found = None if self._has_connected else self._cluster.explained(error)
            if found is None:
                raise
            # KubernetesPodOperator would try again for minutes, which helps only where there was a connection before.
            raise found from error
        else:
            self._has_connected = True
            return answer
        self._cluster.token.renew()
        return super().call_api(*args, **kwargs)


class _AsyncApiClient(async_client.ApiClient):
    """A client that gives up after 60 s, or what the call itself says."""

    def call_api(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("_request_timeout") is None and kwargs.get("_preload_content") is not False:
            kwargs["_request_timeout"] = _READ_TIMEOUT_S
        return super().call_api(*args, **kwargs)


def _complete(configuration: Any, cluster: EksCluster, key: str) -> None:
    """Complete a configuration of either client, which may be kept for any length of time.

    :param key: the client's name for the header with the token.
    """
    token, path = cluster.token, _certificate_file(configuration, cluster.certificate())

    def refresh(of: Any) -> None:
        of.api_key[key] = f"Bearer {token.value()}"

    configuration.host = cluster.description["endpoint"]
    configuration.ssl_ca_cert = path
    configuration.refresh_api_key_hook = refresh
    refresh(configuration)


def _certificate_file(owner: Any, certificate: bytes) -> str:
    """Write a certificate, which is public, to a file that exists as long as its owner: both clients need its path."""
    with tempfile.NamedTemporaryFile(prefix="airflow-mwaa-eks-ca.", suffix=".pem", delete=False) as file:
        file.write(certificate)
    weakref.finalize(owner, Path(file.name).unlink, missing_ok=True)
    return file.name
