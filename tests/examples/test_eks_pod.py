# SPDX-License-Identifier: Apache-2.0
"""The example that runs a pod in an EKS cluster, run by ``dag.test()`` against the stand-in of a Kubernetes API."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from airflow_mwaa_provider.local.stand_ins.kubernetes_api import POD_ROLE, Outcome
from tests.botocore_data import _botocore_data
from tests.examples.dag_runs import full, run_dag
from tests.kubernetes.conftest import eks
from tests.kubernetes.world import CLUSTER, NAMESPACE, EksWorld
from tests.local.conftest import certificates, lab, moto_url

__all__ = ["_botocore_data", "certificates", "eks", "lab", "moto_url"]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "samples" / "eks-pod.md").read_text(encoding="utf-8")
NAME, DAG_ID, TASK_ID = "eks_pod", "kubernetes_pod_example", "pod-task"


def check_permissions(eks: EksWorld) -> None:
    """Check that the page allows what the run has used, and that what it allows beyond that is explained."""
    calls = eks.lab.admin("GET", "calls")["calls"]
    of_task = {(call["method"], call["path"]) for call in calls if call["target"] == "aws:eks"}
    assert of_task == {("POST", "/clusters"), ("GET", f"/clusters/{CLUSTER}")}  # the first is this test's
    [policy] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    [statement] = json.loads(policy)["Statement"]
    assert (statement["Action"], statement["Resource"].rpartition(":")[2]) == (
        "eks:DescribeCluster",
        f"cluster/{CLUSTER}",
    )
    [role] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    rules = yaml.safe_load(role)["rules"]
    allowed = {(name, verb) for rule in rules for name in rule["resources"] for verb in rule["verbs"]}
    assert allowed == POD_ROLE
    needed = eks.api.used()
    assert needed <= allowed
    # Older providers watch no events, and this pod is kept.
    assert allowed - needed <= {("pods", "delete"), ("events", "list"), ("events", "watch")}


def test_a_pod_runs(eks: EksWorld) -> None:
    done = run_dag(NAME, DAG_ID, environment=eks.variables())
    assert (done.state, done.tasks) == ("success", {TASK_ID: "success"}), done.log
    [pod] = eks.api.pods(NAMESPACE)
    [container] = pod["spec"]["containers"]
    assert pod["metadata"]["name"].startswith("mwaa-pod-test-")
    assert (container["image"], container["command"], container["args"]) == ("ubuntu:24.04", ["bash"], ["-c", "ls"])
    assert pod["metadata"]["labels"] | {"foo": "bar", "dag_id": DAG_ID} == pod["metadata"]["labels"]
    assert pod["status"]["phase"] == "Succeeded"
    assert "'bash -c ls' is not run in ubuntu:24.04" in done.log
    assert {request.user for request in eks.api.requests} == {"mwaa-service"}
    assert eks.api.tokens
    for token in eks.api.tokens:
        assert token[20:] not in done.log
    check_permissions(eks)


@full
def test_a_command_that_fails_fails_the_task(eks: EksWorld) -> None:
    eks.api.program = lambda pod: Outcome(3, ("no such file",))
    done = run_dag(NAME, DAG_ID, environment=eks.variables())
    assert (done.state, done.tasks) == ("failed", {TASK_ID: "failed"})
    assert "returned a failure" in done.log
    assert eks.api.pods(NAMESPACE)[0]["status"]["phase"] == "Failed"
