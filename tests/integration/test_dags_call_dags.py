# SPDX-License-Identifier: Apache-2.0
"""A DAG in one environment runs a DAG in another: the operator in real workers, and the link it leaves."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from airflow_mwaa_provider.client.models import DagRunState
from airflow_mwaa_provider.exceptions import DagRunFailed
from tests.integration.conftest import ENVIRONMENTS
from tests.integration.world import World, has_invoke_rest_api

NAMES = sorted(ENVIRONMENTS)
PAIRS = [(NAMES[0], NAMES[-1]), (NAMES[-1], NAMES[0])] if len(NAMES) > 1 else [(NAMES[0], NAMES[0])]
AWKWARD = 'it\'s "quoted" $HOME `date` \\ ünïcödé\n second line'


@pytest.mark.parametrize("way", ["rest_api", "web_session", "cli", "auto"])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_across_environments(world: World, source: str, target: str, way: str) -> None:
    if way == "rest_api" and not has_invoke_rest_api(ENVIRONMENTS[source]):
        pytest.skip("boto3 of that image has no InvokeRestApi")
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    dag_id = f"calls_other_by_{way}"
    asked = here.trigger_dag_run(dag_id, conf={"env_name": target, "conf": {"text": AWKWARD}})
    here.wait_for_dag_run(dag_id, asked.run_id, timeout_s=240)
    path = f"/dags/{dag_id}/dagRuns/{asked.run_id}/taskInstances/trigger"
    url = str(here.request("GET", f"{path}/xcomEntries/mwaa_dag_run_url")["value"])
    links = here.request("GET", f"{path}/links")
    assert links.get("extra_links", links) == {"Remote DAG run": url}
    remote_run_id = url.rsplit("/", 1)[-1].rsplit("=", 1)[-1]
    remote = there.get_dag_run("echo", remote_run_id)
    assert remote.state is DagRunState.SUCCESS
    assert remote.conf == {"sent": {"text": AWKWARD}, "by": asked.run_id}
    assert url.startswith(f"https://{there.web_server_host}/dags/echo/")


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_remote_failure_fails_the_task_and_says_why(world: World, source: str, target: str) -> None:
    here = world.environment(source, "web_session")
    dag_id = "calls_other_by_auto"
    asked = here.trigger_dag_run(dag_id, conf={"env_name": target, "dag_id": "mapped"})
    with pytest.raises(DagRunFailed, match="Failed tasks: trigger"):
        here.wait_for_dag_run(dag_id, asked.run_id, timeout_s=240)
    log = here.get_task_log(dag_id, asked.run_id, "trigger")
    assert f"Environment '{target}'" in log
    assert "Failed tasks: part[1]" in log


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_retry_takes_up_the_run_of_the_try_before(world: World, source: str, target: str) -> None:
    """The first try is cut off while it waits; the second finds the run, and leaves no other behind."""
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    asked = here.trigger_dag_run("calls_other_impatiently", conf={"env_name": target})
    try:
        with pytest.raises(DagRunFailed, match="Failed tasks: trigger"):
            here.wait_for_dag_run("calls_other_impatiently", asked.run_id, timeout_s=240)
        assert here.get_task_instance("calls_other_impatiently", asked.run_id, "trigger").try_number == 2
        log = here.get_task_log("calls_other_impatiently", asked.run_id, "trigger", try_number=2)
        assert "taking up run" in log
    finally:
        runs = there.request("GET", "/dags/sleeps/dagRuns", params={"order_by": "-id", "limit": 20})["dag_runs"]
        ours = [run for run in runs if run["conf"].get("by") == asked.run_id]
        for run in ours:
            there.set_dag_run_state("sleeps", run["dag_run_id"], "failed")
    assert len(ours) == 1


def test_the_amazon_providers_operator_works_unchanged(world: World) -> None:
    target = NAMES[-1]
    here = world.environment(target, "web_session")
    if not any(dag["dag_id"] == "amazon_calls_other" for dag in here.request("GET", "/dags")["dags"]):
        pytest.skip("the amazon provider of that image has no MWAA operator")
    date = datetime(2021, 1, 1, tzinfo=UTC) + timedelta(seconds=uuid.uuid4().int % 10**8)
    asked = here.trigger_dag_run("amazon_calls_other", conf={"env_name": target, "logical_date": date.isoformat()})
    assert here.wait_for_dag_run("amazon_calls_other", asked.run_id, timeout_s=240).state is DagRunState.SUCCESS
    remote = here.request("GET", "/dags/echo/dagRuns", params={"order_by": "-id", "limit": 5})["dag_runs"]
    assert {"by": "amazon"} in [run["conf"] for run in remote]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_example(world: World, source: str, target: str) -> None:
    here = world.environment(source, "web_session")
    asked = here.trigger_dag_run("trigger_in_other_environment", conf={"env_name": target, "numbers": [19, 23]})
    here.wait_for_dag_run("trigger_in_other_environment", asked.run_id, timeout_s=240)
    run = f"/dags/trigger_in_other_environment/dagRuns/{asked.run_id}"
    assert str(here.request("GET", f"{run}/taskInstances/read_result/xcomEntries/return_value")["value"]) == "42"
