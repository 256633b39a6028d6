# SPDX-License-Identifier: Apache-2.0
"""Run a pod in an EKS cluster.

A subclass of the cncf.kubernetes provider's KubernetesPodOperator cannot be defined without importing that, and with it
the Kubernetes clients, so this is the one module of operators that is slow to import. Neither boto3 nor the amazon
provider is imported when a DAG file is parsed.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.templating import TextTemplates
from airflow_mwaa_provider.operators.base import given

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.hooks.eks import EksClusterHook

__all__ = ["EksPodOperator"]

_OF_OTHER_CLUSTERS = ("config_file", "cluster_context")


class EksPodOperator(TextTemplates, KubernetesPodOperator):
    """Run a pod in an EKS cluster, without a kubeconfig file.

    It takes the parameters of the amazon provider's operator of that name, and all of KubernetesPodOperator's except
    for ``config_file``, ``cluster_context`` and ``in_cluster``. The endpoint and the certificate authority come from
    ``eks:DescribeCluster``. Tokens are made in this process, are valid however long the pod runs, and are in no file,
    log or XCom. With ``deferrable=True``, neither they nor credentials are in Airflow's database: the triggerer makes
    its own.

    The role needs ``eks:DescribeCluster``, an access entry of the cluster or a mapping in its ``aws-auth``, and a
    Kubernetes Role in the namespace.

    :param cluster_name: name of the cluster (templated).
    :param namespace: namespace of the pod (templated).
    :param aws_conn_id: connection of type ``aws`` or ``mwaa`` (templated). ``None`` uses the role that the task runs
        with. See :class:`~airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook`.
    :param region_name: AWS region of the cluster (templated). The default is the connection's region, then boto3's.
    :param region: the amazon provider's name of ``region_name``.
    :param verify: ``False``, or the path of a CA bundle, for AWS's API.
    :param botocore_config: keyword arguments of botocore's ``Config``.
    :param pod_name: the amazon provider's name of ``name``.
    :param kubernetes_conn_id: a Kubernetes connection, from which only the namespace and the settings of the XCom
        sidecar are read.
    """

    native_fields: ClassVar[Collection[str]] = tuple(
        name for name in KubernetesPodOperator.template_fields if name not in _OF_OTHER_CLUSTERS
    )
    text_fields: ClassVar[Collection[str]] = ("cluster_name", "aws_conn_id", "region_name")
    template_fields: Sequence[str] = (*native_fields, *text_fields)

    def __init__(
        self,
        *,
        cluster_name: str,
        namespace: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        region: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        pod_name: str | None = None,
        kubernetes_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        for name in (*_OF_OTHER_CLUSTERS, "in_cluster"):
            if kwargs.pop(name, None):
                raise MwaaInputError(
                    f"EksPodOperator: {name} is for other clusters than cluster_name. Remove it, or use "
                    "KubernetesPodOperator."
                )
        defaults = kwargs.get("default_args")
        _, kwargs["name"] = given(("pod_name", pod_name), ("name", kwargs.get("name")), defaults)
        super().__init__(namespace=namespace, kubernetes_conn_id=kubernetes_conn_id, in_cluster=False, **kwargs)
        self.cluster_name = cluster_name
        self.aws_conn_id = aws_conn_id
        _, self.region_name = given(("region", region or None), ("region_name", region_name or None), defaults)
        self.verify = verify
        self.botocore_config = botocore_config

    @cached_property
    def hook(self) -> EksClusterHook:
        """The hook for the cluster."""
        from airflow_mwaa_provider.hooks.eks import EksClusterHook

        return EksClusterHook(**self._eks_settings(), kubernetes_conn_id=self.kubernetes_conn_id)

    def execute(self, context: Context) -> Any:
        """Run the pod, and wait until it has ended.

        :raises AccessDenied: EKS or the Kubernetes API denied access; names the permission, or the role.
        :raises AwsError: no such cluster, or it is not ACTIVE.
        :raises UnexpectedAnswer: the Kubernetes API cannot be reached.
        """
        self.read_rendered(required=("cluster_name",))
        with self.hook.explained_errors():
            return super().execute(context)

    def defer(self, *, trigger: Any, **kwargs: Any) -> Any:
        """Wait in the triggerer, which gets the names of the cluster and the connection, and no token."""
        from airflow_mwaa_provider.triggers.eks import EksPodTrigger

        super().defer(trigger=EksPodTrigger.replacing(trigger, self._eks_settings()), **kwargs)

    def convert_config_file_to_dict(self) -> None:
        """Pass no kubeconfig to the triggerer, also where KUBECONFIG names a file."""
        self._config_dict = None

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Continue after the triggerer has waited."""
        self.read_rendered(required=("cluster_name",))
        with self.hook.explained_errors():
            return super().trigger_reentry(context, event)

    def execute_complete(self, context: Context, event: dict[str, Any], **kwargs: Any) -> Any:
        """Continue after the triggerer has waited, with older releases of the cncf.kubernetes provider."""
        self.read_rendered(required=("cluster_name",))
        with self.hook.explained_errors():
            return super().execute_complete(context, event, **kwargs)  # type: ignore[misc]

    def _eks_settings(self) -> dict[str, Any]:
        return {
            "cluster_name": self.cluster_name,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
        }
