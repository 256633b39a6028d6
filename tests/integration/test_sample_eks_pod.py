# SPDX-License-Identifier: Apache-2.0
"""The EKS sample in running Airflows: what the Kubernetes API has of it."""

from __future__ import annotations

from tests.integration import samples
from tests.integration.world import World


def test_eks_pod(world: World, env_name: str) -> None:
    found = samples.run(world, env_name, "eks_pod")
    user = found.pop("user of the API")
    assert user.startswith("mwaa-service, for role ")
    assert set(found.pop("allowed requests").split(", ")) >= {"create pods", "get pods", "list pods", "get pods/log"}
    assert found == {
        "pod": "mwaa-pod-test, in namespace mwaa",
        "image": "ubuntu:24.04",
        "phase": "Succeeded, exit code 0",
        "the pod's log in the task's": "yes",
        "calls to EKS": "1",
        "a token in the task's log": "no",
    }
