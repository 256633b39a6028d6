# SPDX-License-Identifier: Apache-2.0
"""A pod in an EKS cluster: what its Kubernetes API has of it, and who asked for it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.cli.local.samples.sample import Prepared, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.cli.local.stage import Stage
    from airflow_mwaa_provider.client.models import DagRun
    from airflow_mwaa_provider.local.stand_ins.kubernetes_api import KubernetesApi


NAMESPACE, USER = "mwaa", "mwaa-service"


@contextmanager
def _prepare(stage: Stage) -> Iterator[Prepared]:
    from airflow_mwaa_provider.local.stand_ins.kubernetes_api import POD_ROLE, KubernetesApi

    name = f"mwaa-eks-{stage.env_name}"
    role = stage.plane.get_environment(stage.env_name)["ExecutionRoleArn"]
    entry = f"{role.rpartition(':')[0]}:role/{role.rpartition('/')[2]}"  # without a path
    eks = stage.aws_client("eks")
    sts_url = stage.aws_client("sts").meta.endpoint_url
    with KubernetesApi(
        name, sts_url, access_entries={entry: USER}, roles={(USER, NAMESPACE): POD_ROLE}, starts_after_s=0.0
    ) as api:
        _delete(eks, name)  # what an interrupted demo has left
        eks.create_cluster(
            name=name,
            roleArn=role,
            resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"]},
            tags=_tags(api),
        )
        before = stage.calls_to("aws:eks")

        def outcome(run: DagRun) -> list[tuple[str, str]]:
            log = stage.log(run, "pod-task")
            rows = []
            for pod in api.pods(NAMESPACE):
                [status] = pod["status"]["containerStatuses"]
                ended = status["state"].get("terminated", {})
                rows += [
                    ("pod", f"{pod['metadata']['name'].rpartition('-')[0]}, in namespace {NAMESPACE}"),
                    ("image", status["image"]),
                    ("phase", f"{pod['status']['phase']}, exit code {ended.get('exitCode')}"),
                ]
            users = sorted({request.user or "nobody" for request in api.requests})
            used = ", ".join(f"{verb} {resource}" for resource, verb in sorted(api.used()))
            return [
                *rows,
                ("user of the API", f"{', '.join(users)}, for role {role.rpartition('/')[2]}"),
                ("allowed requests", used),
                ("the pod's log in the task's", "yes" if "is not run in" in log else "no"),
                ("calls to EKS", str(stage.calls_to("aws:eks") - before)),
                ("a token in the task's log", "yes" if any(token[20:] in log for token in api.tokens) else "no"),
            ]

        try:
            yield Prepared(outcome, {"cluster": name})
        finally:
            _delete(eks, name)


def _tags(api: KubernetesApi) -> dict[str, str]:
    """Return the tags by which moto knows where the cluster's API is."""
    from airflow_mwaa_provider.local.machine.moto_eks import AUTHORITY_TAG, ENDPOINT_TAG

    return {ENDPOINT_TAG: api.endpoint, AUTHORITY_TAG: api.certificate_authority}


def _delete(eks: Any, name: str) -> None:
    with suppress(eks.exceptions.ResourceNotFoundException):
        eks.delete_cluster(name=name)


SAMPLE = Sample(
    name="eks_pod",
    dag_id="kubernetes_pod_example",
    guide="Using Amazon MWAA with Amazon EKS",
    shows="A task runs a pod in an EKS cluster, without a kube_config.yaml.",
    against="a stand-in for the Kubernetes API, which verifies tokens by STS, and runs no containers",
    prepare=_prepare,
    packages={"kubernetes": "airflow-mwaa-provider[kubernetes]"},
)
