# SPDX-License-Identifier: Apache-2.0
"""EMR's steps and ECS's tasks in the local MWAA's moto: each state, as a client sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.moto_process import MotoProcess, make_service, moto_process
from tests.monitoring import cfn_lint

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoProcess]:
    with moto_process() as running:
        yield running


def history(read: Callable[[], str], last: set[str], timeout_s: float = 15) -> list[str]:
    """Read a state until it is one of the last ones, and return all that were seen."""
    seen: list[str] = []
    end = time.monotonic() + timeout_s
    while not seen or seen[-1] not in last:
        assert time.monotonic() < end, seen
        if (state := read()) not in seen[-1:]:
            seen.append(state)
        time.sleep(0.05)
    return seen


def make_cluster(emr: Any, *, keep: bool = True) -> str:
    group = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    return str(
        emr.run_job_flow(
            Name="jobs",
            ReleaseLabel="emr-7.12.0",
            JobFlowRole="EMR_EC2_DefaultRole",
            ServiceRole="EMR_DefaultRole",
            Instances={"InstanceGroups": [group], "KeepJobFlowAliveWhenNoSteps": keep},
        )["JobFlowId"]
    )


def step(*args: str, on_failure: str = "CONTINUE") -> dict[str, Any]:
    return {
        "Name": " ".join(args),
        "ActionOnFailure": on_failure,
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": [*args]},
    }


def cluster_state(emr: Any, cluster: str) -> str:
    return str(emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"])


def step_state(emr: Any, cluster: str, step_id: str) -> str:
    return str(emr.describe_step(ClusterId=cluster, StepId=step_id)["Step"]["Status"]["State"])


def add(emr: Any, cluster: str, *steps: dict[str, Any]) -> list[str]:
    return list(emr.add_job_flow_steps(JobFlowId=cluster, Steps=[*steps])["StepIds"])


def test_a_cluster_starts_waits_and_is_terminated(moto: MotoProcess) -> None:
    emr = moto.client("emr")
    cluster = make_cluster(emr)
    states = history(lambda: cluster_state(emr, cluster), {"WAITING"})
    assert states == ["STARTING", "BOOTSTRAPPING", "WAITING"]
    assert "LogUri" not in emr.describe_cluster(ClusterId=cluster)["Cluster"]
    emr.terminate_job_flows(JobFlowIds=[cluster])
    assert history(lambda: cluster_state(emr, cluster), {"TERMINATED"}) == ["TERMINATING", "TERMINATED"]
    with pytest.raises(ClientError, match="may not be modified"):
        add(emr, cluster, step("true"))


def test_a_cluster_that_is_not_kept_ends_before_a_step_that_comes_late(moto: MotoProcess) -> None:
    emr = moto.client("emr")
    cluster = make_cluster(emr, keep=False)
    assert history(lambda: cluster_state(emr, cluster), {"TERMINATED"})[-2:] == ["TERMINATING", "TERMINATED"]
    with pytest.raises(ClientError, match="may not be modified"):
        add(emr, cluster, step("true"))


def test_steps_run_one_after_the_other_and_a_failed_one_does_not_stop_the_next(moto: MotoProcess) -> None:
    emr = moto.client("emr")
    cluster = make_cluster(emr)
    first, second = add(emr, cluster, step("false"), step("sleep", "0.5"))
    assert step_state(emr, cluster, second) == "PENDING"
    assert history(lambda: step_state(emr, cluster, first), {"FAILED"}) == ["PENDING", "RUNNING", "FAILED"]
    assert history(lambda: step_state(emr, cluster, second), {"COMPLETED"})[-1] == "COMPLETED"
    assert cluster_state(emr, cluster) == "WAITING"
    statuses = {each["Id"]: each["Status"]["Timeline"] for each in emr.list_steps(ClusterId=cluster)["Steps"]}
    assert statuses[first]["EndDateTime"] <= statuses[second]["StartDateTime"] < statuses[second]["EndDateTime"]


@pytest.mark.parametrize(
    ("on_failure", "of_the_cluster"),
    [("CANCEL_AND_WAIT", "WAITING"), ("TERMINATE_CLUSTER", "TERMINATED_WITH_ERRORS")],
)
def test_a_failed_step_cancels_those_after_it(moto: MotoProcess, on_failure: str, of_the_cluster: str) -> None:
    emr = moto.client("emr")
    cluster = make_cluster(emr)
    _, second = add(emr, cluster, step("false", "sleep 0.2", on_failure=on_failure), step("true"))
    assert history(lambda: step_state(emr, cluster, second), {"CANCELLED"}) == ["PENDING", "CANCELLED"]
    history(lambda: cluster_state(emr, cluster), {of_the_cluster})


def test_a_running_step_is_interrupted_with_its_cluster(moto: MotoProcess) -> None:
    emr = moto.client("emr")
    cluster = make_cluster(emr)
    first, second = add(emr, cluster, step("sleep", "600"), step("true"))
    history(lambda: step_state(emr, cluster, first), {"RUNNING"})
    emr.terminate_job_flows(JobFlowIds=[cluster])
    assert (step_state(emr, cluster, first), step_state(emr, cluster, second)) == ("INTERRUPTED", "CANCELLED")


def run_task(moto: MotoProcess, *command: str, group: str = "mwaa-ecs-test", with_group: bool = True) -> str:
    ecs = moto.client("ecs")
    definition = make_service(moto, group, with_group=with_group)
    service = {"cluster": "mwaa-ecs-test-cluster", "services": [f"{group}-service"]}
    network = ecs.describe_services(**service)["services"][0]["networkConfiguration"]
    override = {"name": "mwaa-ecs-test-container", "command": [*command]}
    [task] = ecs.run_task(
        cluster="mwaa-ecs-test-cluster",
        taskDefinition=definition,
        launchType="FARGATE",
        networkConfiguration=network,
        overrides={"containerOverrides": [override]},
    )["tasks"]
    assert task["lastStatus"] == "PROVISIONING"
    return str(task["taskArn"])


def described(moto: MotoProcess, task: str) -> dict[str, Any]:
    found = moto.client("ecs").describe_tasks(cluster="mwaa-ecs-test-cluster", tasks=[task])["tasks"]
    return dict(found[0])


@pytest.mark.parametrize(("command", "exit_code"), [(["ls"], 0), (["false"], 1), (["sh", "-c", "exit 3"], 3)])
def test_a_task_runs_and_ends_with_its_exit_code(moto: MotoProcess, command: list[str], exit_code: int) -> None:
    task = run_task(moto, *command)
    assert "exitCode" not in described(moto, task)["containers"][0]
    states = history(lambda: described(moto, task)["lastStatus"], {"STOPPED"})
    assert states == ["PROVISIONING", "PENDING", "RUNNING", "DEPROVISIONING", "STOPPED"]
    found = described(moto, task)
    assert (found["containers"][0]["exitCode"], found["containers"][0]["lastStatus"]) == (exit_code, "STOPPED")
    assert (found["stopCode"], found["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    stream = f"ecs/mwaa-ecs-test-container/{task.rsplit('/', 1)[1]}"
    events = moto.client("logs").get_log_events(logGroupName="mwaa-ecs-test", logStreamName=stream)["events"]
    assert [event["message"] for event in events] == [
        f"local MWAA: no container was run; its command is {' '.join(command)}"
    ]


def test_a_running_task_is_stopped(moto: MotoProcess) -> None:
    task = run_task(moto, "sleep", "600")
    history(lambda: described(moto, task)["lastStatus"], {"RUNNING"})
    moto.client("ecs").stop_task(cluster="mwaa-ecs-test-cluster", task=task, reason="enough")
    assert history(lambda: described(moto, task)["lastStatus"], {"STOPPED"}) == ["DEPROVISIONING", "STOPPED"]
    found = described(moto, task)
    assert (found["stopCode"], found["stoppedReason"], found["containers"][0]["exitCode"]) == (
        "UserInitiated",
        "enough",
        143,
    )


def test_a_task_that_has_not_started_is_stopped_without_an_exit_code(moto: MotoProcess) -> None:
    task = run_task(moto, "sleep", "600")
    moto.client("ecs").stop_task(cluster="mwaa-ecs-test-cluster", task=task, reason="enough")
    assert "RUNNING" not in history(lambda: described(moto, task)["lastStatus"], {"STOPPED"})
    assert "exitCode" not in described(moto, task)["containers"][0]


def test_a_task_without_its_log_group_does_not_start(moto: MotoProcess) -> None:
    task = run_task(moto, "ls", group="absent", with_group=False)
    assert "RUNNING" not in history(lambda: described(moto, task)["lastStatus"], {"STOPPED"})
    found = described(moto, task)
    assert found["stopCode"] == "TaskFailedToStart"
    assert "The specified log group does not exist: absent" in found["stoppedReason"]


TEMPLATE = Path(__file__).resolve().parents[2] / "docs" / "assets" / "ecs-mwaa-cfn.json"


@pytest.mark.once
def test_cfn_lint_has_nothing_to_say_of_the_template(tmp_path: Path) -> None:
    template = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    assert cfn_lint.complaints(template, tmp_path) == ""
