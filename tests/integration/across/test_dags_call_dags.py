# SPDX-License-Identifier: Apache-2.0
"""A DAG in one environment runs a DAG in another: the operator in real workers, and the link it leaves."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from airflow_mwaa_provider.client.models import DagRun, DagRunState
from airflow_mwaa_provider.exceptions import DagRunFailed
from tests.integration.conftest import ENVIRONMENTS
from tests.integration.world import World, has_invoke_rest_api, until

NAMES = sorted(ENVIRONMENTS)
PAIRS = [(NAMES[0], NAMES[-1]), (NAMES[-1], NAMES[0])] if len(NAMES) > 1 else [(NAMES[0], NAMES[0])]
AWKWARD = 'it\'s "quoted" $HOME `date` \\ ünïcödé\n second line'


FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
# Every transport, in a worker's slot and in the triggerer; by default in one direction each.
WAYS = [
    (source, target, way, deferred)
    for index, (source, target) in enumerate(PAIRS)
    for number, way in enumerate(("rest_api", "web_session", "cli", "auto"))
    for deferred in (False, True)
    if FULL or len(PAIRS) == 1 or way == "rest_api" or (number + deferred + index) % 2
]
# How a run ends, and where: six sensors detect all of it.
SEEN = [("echo", "success"), ("mapped", "failed")]


@pytest.fixture(scope="module")
def asked(world: World) -> dict[tuple[str, str, str, bool], DagRun]:
    """All the runs of the first test, triggered before the first of them is waited for."""
    return {
        (source, target, way, deferred): world.environment(source, "web_session").trigger_dag_run(
            f"calls_other_by_{way}{'_deferred' if deferred else ''}",
            conf={"env_name": target, "conf": {"text": AWKWARD}},
        )
        for source, target, way, deferred in WAYS
        if way != "rest_api" or has_invoke_rest_api(ENVIRONMENTS[source])
    }


@pytest.mark.parametrize(("source", "target", "way", "deferred"), WAYS)
def test_across_environments(
    world: World, asked: dict[tuple[str, str, str, bool], DagRun], source: str, target: str, way: str, deferred: bool
) -> None:
    """With any transport, and wherever the task waits: one remote run, with the same result."""
    run = asked.get((source, target, way, deferred))
    if run is None:
        pytest.skip("boto3 of that image has no InvokeRestApi")
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    here.wait_for_dag_run(run.dag_id, run.run_id, timeout_s=240)
    path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/trigger"
    url = str(here.request("GET", f"{path}/xcomEntries/mwaa_dag_run_url")["value"])
    links = here.request("GET", f"{path}/links")
    assert links.get("extra_links", links) == {"Remote DAG run": url}
    remote_run_id = url.rsplit("/", 1)[-1].rsplit("=", 1)[-1]
    remote = there.get_dag_run("echo", remote_run_id)
    assert remote.state is DagRunState.SUCCESS
    assert remote.conf == {"sent": {"text": AWKWARD}, "by": run.run_id}
    assert url.startswith(f"https://{there.web_server_host}/dags/echo/")
    assert ("deferring" in here.get_task_log(run.dag_id, run.run_id, "trigger")) is deferred


@pytest.mark.parametrize(
    ("source", "target", "dag_id", "end"),
    [
        (*pair, *seen)
        for number, pair in enumerate(PAIRS)
        for seen in (SEEN if FULL or len(PAIRS) == 1 else SEEN[number : number + 1])
    ],
)
def test_sensors_of_every_kind_see_the_same_end(world: World, source: str, target: str, dag_id: str, end: str) -> None:
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    remote = there.trigger_dag_run(dag_id)
    conf = {"env_name": target, "dag_id": dag_id, "run_id": remote.run_id}
    run = here.trigger_dag_run("watches_other", conf=conf)
    here.wait_for_dag_run("watches_other", run.run_id, timeout_s=240, allowed_states=frozenset({DagRunState(end)}))
    states = {each.label: each.state.value for each in here.get_task_instances("watches_other", run.run_id)}
    assert set(states.values()) == {end}
    assert len(states) == 6


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_source_run_that_is_deleted_and_made_again_asks_for_another_run(
    world: World, source: str, target: str
) -> None:
    here, dag_id, run_id = world.environment(source, "web_session"), "calls_other_by_auto", f"again_{uuid.uuid4().hex}"
    for _ in range(2):
        here.trigger_dag_run(dag_id, run_id, conf={"env_name": target})
        here.wait_for_dag_run(dag_id, run_id, timeout_s=240)
        # The scheduler mistakes a process's late end for that of the new task of the same name.
        time.sleep(8)
        here.request("DELETE", f"/dags/{dag_id}/dagRuns/{run_id}")
    assert len(world.runs_asked_by(target, "echo", run_id)) == 2


@pytest.mark.skipif(len(NAMES) < 2, reason="needs two environments")
def test_one_dag_in_two_environments_asks_a_third_for_two_runs(world: World) -> None:
    dag_id, run_id = "calls_other_by_auto", f"scheduled_{uuid.uuid4().hex}"
    for source in NAMES:
        world.environment(source, "web_session").trigger_dag_run(
            dag_id, run_id, conf={"env_name": NAMES[0], "conf": {"asked_by": source}}
        )
    for source in NAMES:
        world.environment(source, "web_session").wait_for_dag_run(dag_id, run_id, timeout_s=240)
    asked = world.runs_asked_by(NAMES[0], "echo", run_id)
    assert sorted(run["conf"]["sent"]["asked_by"] for run in asked) == sorted(NAMES)


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


@pytest.fixture(scope="module")
def impatient(world: World) -> dict[str, DagRun]:
    """Runs whose tasks are interrupted twice, for 12 s each, in parallel."""
    return {
        source: world.environment(source, "web_session").trigger_dag_run(
            "calls_other_impatiently", conf={"env_name": target}
        )
        for source, target in PAIRS
    }


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_retry_takes_up_the_run_of_the_try_before(
    world: World, impatient: dict[str, DagRun], source: str, target: str
) -> None:
    """The first try is interrupted while it waits; the second finds the run, and starts no other."""
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    asked = impatient[source]
    try:
        with pytest.raises(DagRunFailed, match="Failed tasks: trigger"):
            here.wait_for_dag_run("calls_other_impatiently", asked.run_id, timeout_s=240)
        assert here.get_task_instance("calls_other_impatiently", asked.run_id, "trigger").try_number == 2
        log = here.get_task_log("calls_other_impatiently", asked.run_id, "trigger", try_number=2)
        assert "adopting run" in log
    finally:
        ours = world.runs_asked_by(target, "sleeps", asked.run_id)
        for run in ours:
            there.set_dag_run_state("sleeps", run["dag_run_id"], "failed")
    assert len(ours) == 1


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_retry_takes_up_the_run_though_its_own_was_put_back_into_the_queue(
    world: World, source: str, target: str
) -> None:
    """The first try waits, the source run is queued by hand and so gets another start, and the second try begins."""
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    if here.airflow_version.startswith(("3.0.", "3.1.", "3.2.")):
        pytest.skip("this Airflow keeps nothing for the retries of a task")
    dag_id = "calls_other_impatiently"
    asked = here.trigger_dag_run(dag_id, conf={"env_name": target})
    try:
        until(lambda: bool(world.runs_asked_by(target, "sleeps", asked.run_id)), timeout_s=120, what="the remote run")
        began = here.get_dag_run(dag_id, asked.run_id).start_date
        here.set_dag_run_state(dag_id, asked.run_id, "queued")
        until(
            lambda: here.get_dag_run(dag_id, asked.run_id).start_date not in (None, began),
            timeout_s=60,
            what="another start",
        )
        with pytest.raises(DagRunFailed, match="Failed tasks: trigger"):
            here.wait_for_dag_run(dag_id, asked.run_id, timeout_s=240)
        assert here.get_task_instance(dag_id, asked.run_id, "trigger").try_number == 2
        assert "adopting run" in here.get_task_log(dag_id, asked.run_id, "trigger", try_number=2)
    finally:
        ours = world.runs_asked_by(target, "sleeps", asked.run_id)
        for run in ours:
            there.set_dag_run_state("sleeps", run["dag_run_id"], "failed")
    assert len(ours) == 1


@pytest.mark.parametrize("dag_id", ["amazon_dag", "amazon_dag_with_our_imports"])
def test_a_dag_for_the_amazon_provider_works_as_it_is_and_with_our_imports(world: World, dag_id: str) -> None:
    target = NAMES[-1]
    here = world.environment(target, "web_session")
    if not any(dag["dag_id"] == dag_id for dag in here.request("GET", "/dags", params={"limit": 100})["dags"]):
        pytest.skip("the amazon provider of that image has no MWAA operator, or no sensors")
    # After the DAG's start_date: Airflow creates no tasks for an earlier run.
    date = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=uuid.uuid4().int % 10**7)
    conf = {"env_name": target, "logical_date": date.isoformat(), "run_id": uuid.uuid4().hex[:8]}
    asked = here.trigger_dag_run(dag_id, conf=conf)
    assert here.wait_for_dag_run(dag_id, asked.run_id, timeout_s=240).state is DagRunState.SUCCESS
    remote = here.request("GET", "/dags/echo/dagRuns", params={"order_by": "-id", "limit": 50})["dag_runs"]
    assert {"by": dag_id} in [run["conf"] for run in remote]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_example(world: World, source: str, target: str) -> None:
    here = world.environment(source, "web_session")
    asked = here.trigger_dag_run("trigger_in_other_environment", conf={"env_name": target, "numbers": [19, 23]})
    here.wait_for_dag_run("trigger_in_other_environment", asked.run_id, timeout_s=240)
    run = f"/dags/trigger_in_other_environment/dagRuns/{asked.run_id}"
    assert str(here.request("GET", f"{run}/taskInstances/read_result/xcomEntries/return_value")["value"]) == "42"


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_body_of_a_task_makes_no_run_twice(world: World, source: str, target: str) -> None:
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    run = here.trigger_dag_run("calls_other_in_a_task", conf={"env_name": target})
    here.wait_for_dag_run("calls_other_in_a_task", run.run_id, timeout_s=240)
    assert here.get_task_instance("calls_other_in_a_task", run.run_id, "call").try_number == 2
    remote = there.get_recent_dag_runs("run_by_other_environment", 50)
    assert sorted(each.conf["numbers"] for each in remote if (each.conf or {}).get("asked_by") == run.run_id) == [
        [1, 1],
        [2, 1],
    ]


@pytest.mark.parametrize("source", NAMES)
def test_a_fan_out_over_environments_one_of_which_is_unknown(world: World, source: str) -> None:
    here = world.environment(source, "web_session")
    run = here.trigger_dag_run("fan_out", conf={"env_names": [*NAMES, "nowhere"], "numbers": [19, 23]})
    with pytest.raises(DagRunFailed, match="complete"):
        here.wait_for_dag_run("fan_out", run.run_id, timeout_s=240)
    states = {each.label: each.state.value for each in here.get_task_instances("fan_out", run.run_id)}
    assert states == {
        "environments": "success",
        "gather": "success",
        "complete": "failed",
        **{f"run_there[{number}]": "success" for number in range(len(NAMES))},
        f"run_there[{len(NAMES)}]": "failed",
    }
    gathered = here.get_xcom("fan_out", run.run_id, "gather")
    assert gathered == dict.fromkeys(NAMES, 42)
    log = here.get_task_log("fan_out", run.run_id, "run_there", map_index=len(NAMES))
    assert "no environment of that name" in log or "'nowhere'" in log
    assert "No result from: nowhere" in here.get_task_log("fan_out", run.run_id, "complete")
    # If all environments answer, the task succeeds.
    run = here.trigger_dag_run("fan_out", conf={"env_names": NAMES, "numbers": [19, 23]})
    here.wait_for_dag_run("fan_out", run.run_id, timeout_s=240)
    assert here.get_xcom("fan_out", run.run_id, "gather") == dict.fromkeys(NAMES, 42)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_example_of_functions_sensors_and_commands(world: World, source: str, target: str) -> None:
    here = world.environment(source, "web_session")
    dag_id = "work_with_other_environment"
    run = here.trigger_dag_run(dag_id, conf={"env_name": target, "numbers": [19, 23]})
    here.wait_for_dag_run(dag_id, run.run_id, timeout_s=240)
    assert int(here.get_xcom(dag_id, run.run_id, "add_up_there")["result"]) == 42
    printed = here.get_xcom(dag_id, run.run_id, "their_version")["stdout"]
    assert printed.split()[-1] == world.environment(target).airflow_version
