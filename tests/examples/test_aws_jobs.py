# SPDX-License-Identifier: Apache-2.0
"""The examples that run a step on EMR and a task on ECS, run: against moto with the additions of the local MWAA."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples import dag_runs
from tests.local.moto_process import MotoProcess, make_service, moto_process


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoProcess]:
    with moto_process() as running:
        make_service(running)
        yield running


@pytest.mark.parametrize(
    ("args", "of_the_step"), [(["true"], "COMPLETED"), pytest.param(["false"], "FAILED", marks=dag_runs.full)]
)
def test_a_step_ends_and_its_cluster_too(moto: MotoProcess, args: list[str], of_the_step: str) -> None:
    run = dag_runs.run_dag("emr_steps", "emr_steps", {"step_args": args}, moto.variables)
    good = of_the_step == "COMPLETED"
    assert run.state == ("success" if good else "failed"), run.log
    assert run.tasks["watch_step"] == ("success" if good else "failed")
    assert run.tasks["terminate_job_flow"] == "success"
    emr, cluster = moto.client("emr"), run.returned["create_job_flow"]
    [step] = emr.list_steps(ClusterId=cluster)["Steps"]
    assert (step["Name"], step["Status"]["State"]) == ("calculate_pi", of_the_step)
    found = emr.describe_cluster(ClusterId=cluster)["Cluster"]
    assert found["Status"]["State"] in ("TERMINATING", "TERMINATED")
    assert found["ReleaseLabel"] == "emr-7.12.0"
    assert "Ec2KeyName" not in found["Ec2InstanceAttributes"]


def shortened(name: str, old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy an example with a shorter timeout."""
    text = (dag_runs.EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / f"{name}.py").write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.setattr(dag_runs, "EXAMPLES", tmp_path)


@dag_runs.full
def test_a_step_that_takes_too_long_is_stopped_with_its_cluster(
    moto: MotoProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortened("emr_steps", "timeout=timedelta(hours=2).total_seconds()", "timeout=1", tmp_path, monkeypatch)
    run = dag_runs.run_dag("emr_steps", "emr_steps", {"step_args": ["sleep", "600"]}, moto.variables)
    assert (run.state, run.tasks["watch_step"], run.tasks["terminate_job_flow"]) == ("failed", "failed", "success")
    emr, cluster = moto.client("emr"), run.returned["create_job_flow"]
    [step] = emr.list_steps(ClusterId=cluster)["Steps"]
    assert step["Status"]["State"] == "INTERRUPTED"


def test_a_task_runs_and_its_log_is_shown(moto: MotoProcess) -> None:
    run = dag_runs.run_dag("ecs_task", "ecs_fargate_dag", environment=moto.variables)
    assert (run.state, run.tasks["ecs_operator_task"]) == ("success", "success"), run.log
    assert "its command is ls -l /" in run.log


@dag_runs.full
def test_a_container_that_fails_fails_the_task(moto: MotoProcess) -> None:
    run = dag_runs.run_dag("ecs_task", "ecs_fargate_dag", {"command": ["false"]}, moto.variables)
    assert (run.state, run.tasks["ecs_operator_task"]) == ("failed", "failed")


@dag_runs.full
def test_a_service_that_does_not_exist_is_named(moto: MotoProcess) -> None:
    run = dag_runs.run_dag("ecs_task", "ecs_fargate_dag", {"service": "absent"}, moto.variables)
    assert run.state == "failed"
    assert "cluster mwaa-ecs-test-cluster has no service absent" in run.log


@dag_runs.full
def test_an_ecs_task_that_takes_too_long_is_stopped(
    moto: MotoProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortened("ecs_task", "timedelta(minutes=30)", "timedelta(seconds=3)", tmp_path, monkeypatch)
    ecs = moto.client("ecs")
    before = set(ecs.list_tasks(cluster="mwaa-ecs-test-cluster", desiredStatus="STOPPED")["taskArns"])
    run = dag_runs.run_dag("ecs_task", "ecs_fargate_dag", {"command": ["sleep", "600"]}, moto.variables)
    # dag.test() of Airflow 2 does not outlive a timeout: the run is "running" there.
    assert run.tasks["ecs_operator_task"] == "failed", run.log
    stopped = set(ecs.list_tasks(cluster="mwaa-ecs-test-cluster", desiredStatus="STOPPED")["taskArns"]) - before
    [task] = ecs.describe_tasks(cluster="mwaa-ecs-test-cluster", tasks=[*stopped])["tasks"]
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "Task killed by the user")
