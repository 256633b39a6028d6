# SPDX-License-Identifier: Apache-2.0
"""Kubernetes clients of an EKS cluster: their tokens, what they do with them, and what they say to who may not."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import gc
import logging
import pickle
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from kubernetes import client

from airflow_mwaa_provider.client.aws import eks_token
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaInputError, UnexpectedAnswer
from airflow_mwaa_provider.hooks import eks as eks_hooks
from airflow_mwaa_provider.hooks.eks import AsyncEksClusterHook, EksClusterHook
from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
from airflow_mwaa_provider.local.aws import sts_sessions
from airflow_mwaa_provider.local.machine import moto_eks
from airflow_mwaa_provider.local.stand_ins.kubernetes_api import POD_ROLE, Outcome
from airflow_mwaa_provider.operators.eks import EksPodOperator
from tests import deferral
from tests.kubernetes.world import CLUSTER, NAMESPACE, USER, EksWorld
from tests.local.lab import KEY, REGION, SECRET

# Kubernetes' clients, and the operator, close no connections.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:HTTPResponse.getheaders:DeprecationWarning"),
]

SECRETS = ("X-Amz-Signature", SECRET)


def names(api: client.CoreV1Api, namespace: str = NAMESPACE) -> list[str]:
    return [pod.metadata.name for pod in api.list_namespaced_pod(namespace).items]


def pod(name: str = "a", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "base", "image": "i"}]}}


def url_of(token: str) -> str:
    encoded = token.removeprefix("k8s-aws-v1.")
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


def token_of(url: str) -> str:
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        real = time.time
        monkeypatch.setattr(eks_token.time, "time", lambda: real() + self.ahead_s)


# -- tokens --------------------------------------------------------------------------------------------


def test_a_token_is_a_presigned_url_for_one_cluster(eks: EksWorld) -> None:
    url = url_of(EksClusterHook(CLUSTER).cluster.token.value())
    assert url.startswith(f"{eks.lab.url}/?Action=GetCallerIdentity&Version=2011-06-15&")
    assert "X-Amz-Expires=60&" in url
    assert "X-Amz-SignedHeaders=host%3Bx-k8s-aws-id" in url


@pytest.mark.parametrize("how", ["none", "garbage", "tampered", "another cluster", "old", "another host", "more"])
def test_a_token_that_is_not_valid(eks: EksWorld, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = EksClusterHook(CLUSTER)
    api = hook.core_v1_client
    good = hook.cluster.token.value()
    url = url_of(good)
    bad = {
        "none": "",
        "garbage": "k8s-aws-v1.%%%",
        "tampered": token_of(url[:-1] + ("0" if url[-1] != "0" else "1")),
        "another cluster": EksClusterHook("other").cluster.token.value(),
        "old": good,
        "another host": token_of(url.replace("127.0.0.1", "localhost")),
        "more": token_of(url + "&Extra=1"),
    }[how]
    if how == "old":
        eks.api.clock = lambda: datetime.now(UTC) + timedelta(minutes=16)
    monkeypatch.setattr(hook.cluster.token, "value", lambda: bad)
    with pytest.raises(client.ApiException) as caught:
        names(api)
    assert (caught.value.status, '"reason": "Unauthorized"' in caught.value.body) == (401, True)
    assert {(request.user, request.status) for request in eks.api.requests} == {(None, 401)}
    monkeypatch.undo()


@pytest.mark.parametrize(("minutes", "status"), [(14, 200), (16, 401)])
def test_sts_accepts_a_token_for_15_minutes(
    eks: EksWorld, minutes: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the URL says 60 seconds."""
    then = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(sts_sessions, "datetime", SimpleNamespace(now=lambda _: then))
    with contextlib.suppress(client.ApiException):
        names(EksClusterHook(CLUSTER).core_v1_client)
    assert {request.status for request in eks.api.requests} == {status}


def test_a_client_has_a_new_token_long_before_its_own_expires(eks: EksWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    api = EksClusterHook(CLUSTER).core_v1_client
    names(api)
    clock.ahead_s = 299
    names(api)
    assert len(eks.api.tokens) == 1
    clock.ahead_s = 301
    time.sleep(1.1)  # the times in URLs are whole seconds
    names(api)
    assert len(eks.api.tokens) == 2


def test_a_rejected_token_is_replaced_once(eks: EksWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = EksClusterHook(CLUSTER)
    api = hook.core_v1_client
    monkeypatch.setattr(hook.cluster.token, "_value", "k8s-aws-v1.stale")
    assert names(api) == []
    assert [request.status for request in eks.api.requests] == [401, 200]


def test_a_token_is_in_no_log_repr_pickle_or_file(
    eks: EksWorld, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eks_hooks.tempfile, "tempdir", str(tmp_path))
    caplog.set_level(logging.DEBUG)
    hook = EksClusterHook(CLUSTER)
    api = hook.core_v1_client
    names(api)
    token = hook.cluster.token.value()
    signature = url_of(token).rpartition("=")[2]
    assert token in eks.api.tokens
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode()
    assert written.startswith("-----BEGIN CERTIFICATE-----")
    shown = [caplog.text, repr(hook), repr(hook.cluster.token), repr(api.api_client.configuration), written]
    for text in shown:
        assert signature not in text
        assert token[20:] not in text
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(hook.cluster.token)
    with pytest.raises((TypeError, pickle.PicklingError)):
        copy.deepcopy(hook.cluster.token)


def test_the_file_with_the_certificate_is_deleted_with_the_client(
    eks: EksWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eks_hooks.tempfile, "tempdir", str(tmp_path))
    api = EksClusterHook(CLUSTER).core_v1_client
    gc.collect()
    assert names(api) == []  # the hook has gone, and the client works
    assert len(list(tmp_path.iterdir())) == 1
    del api
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_the_endpoint_of_sts_is_a_regional_one(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AIRFLOW_CONN_KEYS": f"aws://{KEY}:{SECRET}@", "AWS_STS_REGIONAL_ENDPOINTS": "legacy",
        "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    url = url_of(EksClusterHook("c", aws_conn_id="keys", region_name=region).cluster.token.value())
    assert url.startswith(f"https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity")
    assert f"%2F{region}%2Fsts%2Faws4_request" in url


# -- what may go wrong ---------------------------------------------------------------------------------


def test_a_cluster_that_does_not_exist(eks: EksWorld) -> None:
    with pytest.raises(AwsError) as caught:
        EksClusterHook("mwaa-ekz").get_conn()
    assert str(caught.value) == (
        "EKS cluster 'mwaa-ekz' in us-east-1: no such cluster. There is 'mwaa-eks'. Check the name, the account and "
        "the region."
    )
    assert caught.value.code == "ResourceNotFoundException"


def test_a_cluster_that_is_not_active(eks: EksWorld) -> None:
    eks.create_cluster("young", **{moto_eks.STATUS_TAG: "CREATING"})
    try:
        with pytest.raises(
            AwsError, match=r"is CREATING, and has no Kubernetes API. Wait until it is ACTIVE"
        ) as caught:
            EksClusterHook("young").get_conn()
        assert caught.value.transient
    finally:
        eks.delete_cluster("young")


def test_a_role_that_may_not_describe_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    boto = boto3.client("eks", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")
    words = "User: arn:aws:sts::1:assumed-role/x/y is not authorized to perform: eks:DescribeCluster"
    with Stubber(boto) as stubber:
        stubber.add_client_error("describe_cluster", "AccessDeniedException", words, http_status_code=403)
        monkeypatch.setattr(MwaaEnvironmentHook, "aws_client", lambda *_, **__: boto)
        with pytest.raises(AccessDenied) as caught:
            EksClusterHook(CLUSTER).get_conn()
    assert caught.value.action == "eks:DescribeCluster"
    assert "Allow eks:DescribeCluster." in str(caught.value)


def test_a_role_without_an_access_entry(eks: EksWorld) -> None:
    eks.api.access_entries = {}
    hook = EksClusterHook(CLUSTER)
    with pytest.raises(AccessDenied) as caught, hook.explained_errors():
        names(hook.core_v1_client)
    assert caught.value.status == 401
    assert "rejected the token of arn:aws:iam::123456789012:role/LocalMwaa. Create an access entry" in str(caught.value)


def test_a_namespace_without_a_role(eks: EksWorld) -> None:
    hook = EksClusterHook(CLUSTER)
    with pytest.raises(AccessDenied) as caught, hook.explained_errors():
        names(hook.core_v1_client, "kube-system")
    assert caught.value.status == 403
    assert f'User "{USER}" cannot list resource "pods" in API group "" in the namespace "kube-system"' in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("endpoint", "is_public", "advice"),
    [
        ("https://127.0.0.1:1", True, "the CIDR blocks that its public endpoint accepts."),
        ("https://nowhere.invalid", False, "Its endpoint is private: use the cluster's VPC or a connected one"),
    ],
)
def test_an_endpoint_that_cannot_be_reached(eks: EksWorld, endpoint: str, is_public: bool, advice: str) -> None:
    authority = eks.api.certificate_authority
    eks.create_cluster(
        "far", is_public=is_public, **{moto_eks.ENDPOINT_TAG: endpoint, moto_eks.AUTHORITY_TAG: authority}
    )
    try:
        with pytest.raises(UnexpectedAnswer, match="could not be reached") as caught:
            names(EksClusterHook("far").core_v1_client)
        assert f"the Kubernetes API at {endpoint} could not be reached" in str(caught.value)
        assert advice in str(caught.value)
        assert "\n" not in str(caught.value)
    finally:
        eks.delete_cluster("far")


def test_a_server_with_another_certificate(eks: EksWorld, lab: Any) -> None:
    other = base64.b64encode(lab.certificates.ca_pem_path.read_bytes()).decode()
    eks.create_cluster("false", **{moto_eks.ENDPOINT_TAG: eks.api.endpoint, moto_eks.AUTHORITY_TAG: other})
    try:
        with pytest.raises(UnexpectedAnswer, match="certificate verify failed"):
            names(EksClusterHook("false").core_v1_client)
        assert eks.api.tokens == []
    finally:
        eks.delete_cluster("false")


# -- the operator --------------------------------------------------------------------------------------


def operator(**options: Any) -> EksPodOperator:
    given = {"task_id": "t", "cluster_name": CLUSTER, "namespace": NAMESPACE, "name": "p", "image": "ubuntu:24.04"}
    return EksPodOperator(**{**given, "poll_interval": 0.1, "on_finish_action": "keep_pod", **options})


def context() -> dict[str, Any]:
    return {**deferral.context(), "run_id": "r", "dag": SimpleNamespace(parent_dag=None)}


def test_what_the_operator_says_of_a_namespace_without_a_role(eks: EksWorld) -> None:
    given = context()
    with pytest.raises(AccessDenied) as caught:
        operator(namespace="default").execute(given)
    assert str(caught.value) == (
        "EKS cluster 'mwaa-eks' in us-east-1: the Kubernetes API denied the request. Allow it by a Role and a "
        'RoleBinding in the namespace. It says: pods is forbidden: User "mwaa-service" cannot list resource "pods" in '
        'API group "" in the namespace "default".'
    )
    assert eks.api.pods("default") == []


def test_deferred_waits_store_no_token(eks: EksWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    given = context()
    eks.api.starts_after_s = 0.3  # newer providers then watch its events
    task = operator(deferrable=True, startup_check_interval_seconds=1)
    waiting = deferral.deferred(lambda: task.execute(given))
    path, stored = waiting.trigger.serialize()
    assert path == "airflow_mwaa_provider.triggers.eks.EksPodTrigger"
    assert stored["eks"] == {
        "cluster_name": CLUSTER, "aws_conn_id": "aws_default", "region_name": None, "verify": None,
        "botocore_config": None,
    }  # fmt: skip
    for secret in (*SECRETS, *(token[20:] for token in eks.api.tokens), "CERTIFICATE"):
        assert secret not in repr(stored)
    sent = len(eks.api.requests)
    trigger = deferral.serialized(waiting.trigger)
    event = asyncio.run(asyncio.wait_for(deferral.first_event(trigger), 30))
    assert event["status"] == "success"
    assert {request.user for request in eks.api.requests[sent:]} == {USER}
    later = operator(deferrable=True)
    later.resume_execution(waiting.method_name, {**(waiting.kwargs or {}), "event": event}, given)
    assert [found["status"]["phase"] for found in eks.api.pods(NAMESPACE)] == ["Succeeded"]
    assert {request.status for request in eks.api.requests} <= {200, 201}
    assert eks.api.used() <= POD_ROLE


def test_a_deferred_wait_that_loses_its_access(eks: EksWorld) -> None:
    given = context()
    waiting = deferral.deferred(lambda: operator(deferrable=True).execute(given))
    eks.api.access_entries = {}
    event = asyncio.run(asyncio.wait_for(deferral.first_event(deferral.serialized(waiting.trigger)), 60))
    assert event["status"] == "error"
    assert "rejected the token of arn:aws:iam::123456789012:role/LocalMwaa" in event["message"]
    assert "stack_trace" not in event
    task = operator(deferrable=True)
    with pytest.raises(AccessDenied, match="Create an access entry"):
        task.resume_execution(waiting.method_name, {**(waiting.kwargs or {}), "event": event}, given)


def test_the_async_client(eks: EksWorld) -> None:
    eks.api.program = lambda _: Outcome(0, ("hello",))
    EksClusterHook(CLUSTER).core_v1_client.create_namespaced_pod(NAMESPACE, pod())

    async def read() -> Any:
        return await AsyncEksClusterHook(EksClusterHook(CLUSTER).cluster).get_pod("a", NAMESPACE)

    assert asyncio.run(read()).metadata.name == "a"


@pytest.mark.parametrize("name", ["config_file", "cluster_context", "in_cluster"])
def test_parameters_for_other_clusters_are_refused(name: str) -> None:
    with pytest.raises(MwaaInputError, match=f"{name} is for other clusters"):
        operator(**{name: "x"})


def test_the_amazon_providers_parameters_are_accepted() -> None:
    task = EksPodOperator(task_id="t", cluster_name="c", pod_name="p", region="eu-west-1", image="i")
    assert (task.name, task.region_name, task.aws_conn_id, task.in_cluster) == ("p", "eu-west-1", "aws_default", False)
    assert {"cluster_name", "aws_conn_id", "region_name", "namespace", "image"} <= set(task.template_fields)
