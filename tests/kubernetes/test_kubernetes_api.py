# SPDX-License-Identifier: Apache-2.0
"""The stand-in of a Kubernetes API, as Kubernetes' own client finds it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from kubernetes import client

from airflow_mwaa_provider.hooks.eks import EksClusterHook
from airflow_mwaa_provider.local.stand_ins.kubernetes_api import POD_ROLE, Outcome
from tests.kubernetes.world import CLUSTER, NAMESPACE, USER, EksWorld

# Kubernetes' client closes no connections.
pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:HTTPResponse.getheaders:DeprecationWarning"),
]


def pod(name: str = "a", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "base", "image": "i"}]}}


@pytest.fixture
def api(eks: EksWorld) -> client.CoreV1Api:
    return EksClusterHook(CLUSTER).core_v1_client


def log(api: client.CoreV1Api, **options: Any) -> str:
    # Some releases of the client return the text of Python's notation of the bytes.
    return str(api.read_namespaced_pod_log("a", NAMESPACE, _preload_content=False, **options).data.decode())


def status(call: Any, *args: Any, **kwargs: Any) -> int:
    with pytest.raises(client.ApiException) as caught:
        call(*args, **kwargs)
    assert '"kind": "Status"' in caught.value.body
    return int(caught.value.status)


def test_a_pod_goes_through_its_phases(eks: EksWorld, api: client.CoreV1Api) -> None:
    eks.api.starts_after_s, eks.api.runs_s = 0.4, 0.4
    eks.api.program = lambda _: Outcome(7, ("one", "two"))
    api.create_namespaced_pod(NAMESPACE, pod())
    assert status(api.read_namespaced_pod_log, "a", NAMESPACE) == 400  # it has not started
    found, end = [], time.monotonic() + 5
    while found[-1:] != ["Failed"] and time.monotonic() < end:
        phase = api.read_namespaced_pod("a", NAMESPACE).status.phase
        found += [phase] if found[-1:] != [phase] else []
        time.sleep(0.05)
    assert found == ["Pending", "Running", "Failed"]
    [container] = api.read_namespaced_pod("a", NAMESPACE).status.container_statuses
    assert (container.state.terminated.exit_code, container.state.terminated.reason) == (7, "Error")
    assert log(api) == "one\ntwo\n"
    assert log(api, timestamps=True).startswith("20")
    time.sleep(1)
    assert log(api, since_seconds=1) == ""


def test_a_log_is_followed_until_the_container_has_ended(eks: EksWorld, api: client.CoreV1Api) -> None:
    api.create_namespaced_pod(NAMESPACE, pod())
    began = time.monotonic()
    followed = api.read_namespaced_pod_log("a", NAMESPACE, follow=True, _preload_content=False)
    assert b"is not run in i" in b"".join(followed)
    assert time.monotonic() - began > 0.2
    assert api.read_namespaced_pod("a", NAMESPACE).status.phase == "Succeeded"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", "ab"), ("x=1", "a"), ("x==1,y=2", "a"), ("x!=1", "b"), ("y", "a"), ("!y", "b"), ("x=3", ""),
        ("x!=1,!y", "b"), ("z!=1", "ab"),
    ],
)  # fmt: skip
def test_label_selectors(api: client.CoreV1Api, selector: str, expected: str) -> None:
    api.create_namespaced_pod(NAMESPACE, pod("a", x="1", y="2"))
    api.create_namespaced_pod(NAMESPACE, pod("b", x="2"))
    items = api.list_namespaced_pod(NAMESPACE, label_selector=selector).items
    assert "".join(sorted(item.metadata.name for item in items)) == expected


def test_a_selector_that_it_cannot_read(api: client.CoreV1Api) -> None:
    assert status(api.list_namespaced_pod, NAMESPACE, label_selector="x in (1)") == 400


def test_what_is_refused(eks: EksWorld, api: client.CoreV1Api) -> None:
    api.create_namespaced_pod(NAMESPACE, pod())
    assert status(api.create_namespaced_pod, NAMESPACE, pod()) == 409
    assert status(api.create_namespaced_pod, NAMESPACE, {"metadata": {"name": "b"}, "spec": {"containers": []}}) == 422
    assert status(api.read_namespaced_pod, "b", NAMESPACE) == 404
    assert status(api.list_namespaced_secret, NAMESPACE) == 403
    assert status(api.list_node) == 403
    eks.api.roles = {(USER, NAMESPACE): POD_ROLE - {("pods", "delete")}}
    assert status(api.delete_namespaced_pod, "a", NAMESPACE) == 403
    assert len(eks.api.pods(NAMESPACE)) == 1


def test_a_pod_is_changed_and_deleted(eks: EksWorld, api: client.CoreV1Api) -> None:
    api.create_namespaced_pod(NAMESPACE, pod(x="1"))
    before = api.read_namespaced_pod("a", NAMESPACE).metadata.resource_version
    changed = api.patch_namespaced_pod("a", NAMESPACE, {"metadata": {"labels": {"x": None, "y": "2"}}})
    assert changed.metadata.labels == {"y": "2"}
    assert int(changed.metadata.resource_version) > int(before)
    api.delete_namespaced_pod("a", NAMESPACE)
    assert eks.api.pods(NAMESPACE) == []


def test_events_of_a_pod(api: client.CoreV1Api) -> None:
    from kubernetes import watch

    api.create_namespaced_pod(NAMESPACE, pod())
    selector = "involvedObject.name=a"
    listed = [event.reason for event in api.list_namespaced_event(NAMESPACE, field_selector=selector).items]
    watched = watch.Watch().stream(api.list_namespaced_event, NAMESPACE, field_selector=selector, timeout_seconds=1)
    assert listed == [event["object"].reason for event in watched] == ["Scheduled", "Pulled", "Started"]
