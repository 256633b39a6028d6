# SPDX-License-Identifier: Apache-2.0
"""The operator without a running Airflow: its parameters, run IDs and errors, and the cost of parsing it."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from airflow_mwaa_provider.client.models import DagRun, DagRunState, TransportName
from airflow_mwaa_provider.exceptions import DagRunAlreadyExists, MwaaInputError
from airflow_mwaa_provider.operators.cli import MwaaCliOperator
from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator
from airflow_mwaa_provider.operators.run_ids import derived_run_id, tries_before, was_cleared
from tests.deferral import TaskInstance

HOOK = "airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook"
HEAVY = ("boto3", "botocore", "psycopg2", "pandas", "requests", "airflow.providers.amazon.aws")


def run_id(**changes: Any) -> str:
    return derived_run_id({"ti": TaskInstance(**changes)})  # type: ignore[typeddict-item]


def operator(**more: Any) -> MwaaTriggerDagRunOperator:
    return MwaaTriggerDagRunOperator(**{"task_id": "t", "env_name": "e", "trigger_dag_id": "d", **more})


def test_a_retry_asks_for_the_same_run() -> None:
    assert len({run_id(try_number=number) for number in (1, 2, 3)}) == 1


@pytest.mark.parametrize(
    "other", [{"dag_id": "x"}, {"run_id": "x"}, {"task_id": "x"}, {"map_index": 0}, {"dag_id": 'd","r'}]
)
def test_another_task_instance_asks_for_another_run(other: dict[str, Any]) -> None:
    assert run_id(**other) != run_id()


def test_a_cleared_task_asks_for_another_run() -> None:
    # When a task is cleared, Airflow sets max_tries to the tries before plus retries.
    assert run_id(try_number=2, max_tries=3) != run_id()
    assert run_id(try_number=2, max_tries=3) == run_id(try_number=3, max_tries=3)


def test_a_cleared_task_with_a_date_asks_for_the_one_run_of_that_date() -> None:
    cleared = {"ti": TaskInstance(try_number=2, max_tries=3)}
    assert derived_run_id(cleared, one_for_all_rounds=True) == run_id()  # type: ignore[arg-type]
    assert was_cleared(cleared)  # type: ignore[arg-type]
    assert not was_cleared({"ti": TaskInstance(try_number=3, max_tries=2)})  # type: ignore[typeddict-item]


def test_more_retries_in_a_new_version_of_the_dag_change_nothing() -> None:
    assert run_id(task=SimpleNamespace(retries=5)) == run_id()


def test_run_ids_are_what_airflow_allows_and_short_enough() -> None:
    made = run_id(dag_id="dag with ünïcödé " * 20)
    assert made.isascii()
    assert len(made) <= 32
    assert made.replace("_", "").isalnum()


@pytest.mark.parametrize(("number", "most", "before"), [(1, 2, 0), (3, 2, 2), (2, 3, 0), (4, 5, 0), (5, 5, 1)])
def test_tries_of_this_round(number: int, most: int, before: int) -> None:
    assert tries_before({"ti": TaskInstance(try_number=number, max_tries=most)}) == before  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"result_task_id": "last"}, "Set wait_for_completion or deferrable"),
        ({"allowed_states": ["sleeping"]}, "allowed_states.*'sleeping'"),
        ({"failed_states": ["sleeping"]}, "failed_states.*'sleeping'"),
        ({"transport": "pigeon"}, "transport='pigeon' is none of 'rest_api'"),
        ({"wait_timeout": 600}, "wait_timeout=600 is not a timedelta"),
        ({"wait_timeout": None}, "wait_timeout=None is not a timedelta"),
        ({"waiter_delay": 0}, "waiter_delay=0 must be a positive number"),
        ({"waiter_delay": "60"}, "waiter_delay='60' must be a positive number"),
        ({"deferrable": "{{ params.d }}"}, "deferrable='{{ params.d }}' is neither True nor False"),
        ({"waiter_max_attempts": -1}, "waiter_max_attempts=-1 must be a positive number"),
    ],
)
def test_wrong_parameters_are_refused_when_the_dag_is_parsed(more: dict[str, Any], message: str) -> None:
    with pytest.raises(MwaaInputError, match=message):
        operator(**more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"conf": {"when": datetime(2026, 1, 1)}}, "conf cannot be written as JSON"),
        ({"conf": {"x": float("nan")}}, "conf cannot be written as JSON"),
        ({"conf": "text"}, "conf is a str.*render_template_as_native_obj"),
        ({"airflow_version": "two"}, "airflow_version='two' is neither 2 nor 3"),
        ({"airflow_version": 4}, "airflow_version=4 is neither 2 nor 3"),
        ({"logical_date": "tomorrow"}, "logical_date='tomorrow' is not an ISO 8601 date"),
        ({"logical_date": "2026-01-01T00:00:00"}, "has no time zone"),
        ({"data_interval_start": "2026-01-01T00:00:00Z"}, "belong together"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_sent(more: dict[str, Any], message: str) -> None:
    # There is no connection, no credentials and no network: using one would cause another error.
    with pytest.raises(MwaaInputError, match=message):
        operator(**more).execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]


class World:
    """An environment with one run, which records what the operator does to it."""

    name = "e"

    def __init__(self, state: DagRunState, transport: TransportName = TransportName.REST_API) -> None:
        self.run = DagRun("d", "", state, created=False)
        self.transport = transport
        self.did: list[str] = []

    def environment(self, env_name: str, **settings: Any) -> World:
        self.settings = settings
        return self

    def trigger_dag_run(self, dag_id: str, run_id: str, **call: Any) -> DagRun:
        self.call = call
        self.run = replace(self.run, run_id=run_id)
        return self.run

    def dag_run_url(self, dag_id: str, run_id: str) -> str:
        return "https://there"

    def clear_dag_run(self, dag_id: str, run_id: str) -> None:
        self.did.append("cleared")
        self.run = replace(self.run, state=DagRunState.QUEUED)

    def get_dag_run(self, dag_id: str, run_id: str) -> DagRun:
        return self.run

    def wait_for_dag_run(self, dag_id: str, run_id: str, **how: Any) -> DagRun:
        self.did.append("waited")
        return self.run


def carry_out(world: World, ti: TaskInstance, *, rendered: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    made = operator(**more)
    if rendered is not None:
        made.render_template_fields({"params": rendered})  # type: ignore[typeddict-item]
    with patch(HOOK, lambda *_: world):  # the local MWAA needs minutes for this
        return made.execute({"ti": ti})  # type: ignore[typeddict-item]


FIRST, RETRY = TaskInstance(), TaskInstance(try_number=2)
CLEARED, CLEARED_RETRY = TaskInstance(try_number=2, max_tries=3), TaskInstance(try_number=3, max_tries=3)
OK, BAD, GOING_ON = DagRunState.SUCCESS, DagRunState.FAILED, DagRunState.RUNNING
DATED = {"logical_date": "2026-01-01T00:00:00Z"}
MINE = {"trigger_run_id": "mine"}
WAIT = {"wait_for_completion": True}


@pytest.mark.parametrize(
    ("ti", "state", "more", "does"),
    [
        (RETRY, GOING_ON, WAIT, ["waited"]),
        (RETRY, BAD, WAIT, ["waited"]),
        (RETRY, BAD, {**WAIT, "reset_dag_run": True}, ["cleared", "waited"]),
        (RETRY, OK, {**WAIT, "reset_dag_run": True}, ["waited"]),
        (RETRY, GOING_ON, {**WAIT, "reset_dag_run": True}, ["waited"]),
        # An earlier try, which was killed, marked it as failed.
        (RETRY, BAD, {**WAIT, "cancel_on_kill": True}, ["cleared", "waited"]),
        (RETRY, BAD, {**WAIT, "cancel_on_kill": True, "allowed_states": ["failed"]}, ["waited"]),
        (RETRY, BAD, {"cancel_on_kill": True}, []),
        (FIRST, OK, MINE, "already has a run 'mine', success. Omit trigger_run_id"),
        (FIRST, OK, {**MINE, "skip_when_already_exists": True}, "already exists. Skipping"),
        (FIRST, OK, {**MINE, "reset_dag_run": True}, ["cleared"]),
        (FIRST, GOING_ON, {**MINE, "reset_dag_run": True}, []),
        (RETRY, OK, MINE, []),
        (CLEARED, OK, MINE, "already has a run 'mine'"),
        (
            CLEARED,
            OK,
            DATED,
            "created it before it was cleared, and a logical_date can have only one run. Set reset_dag_run",
        ),
        (CLEARED, OK, {**DATED, "reset_dag_run": True}, ["cleared"]),
        (CLEARED, OK, {**DATED, "skip_when_already_exists": True}, "already exists. Skipping"),
        (CLEARED_RETRY, GOING_ON, DATED, []),
        (FIRST, GOING_ON, DATED, []),
    ],
)
def test_what_a_run_means_that_is_there_already(
    ti: TaskInstance, state: DagRunState, more: dict[str, Any], does: list[str] | str
) -> None:
    world = World(state)
    if isinstance(does, str):
        with pytest.raises(Exception, match=re.escape(does)):
            carry_out(world, ti, **more)
        assert world.did == []
    else:
        carry_out(world, ti, **more)
        assert world.did == does


def test_somebody_elses_run_is_never_taken_up_by_a_retry() -> None:
    with pytest.raises(Exception, match="already has a run") as raised:
        carry_out(World(OK), FIRST, **MINE)
    assert type(raised.value).__name__ == "AirflowFailException"  # the one that Airflow does not retry
    assert isinstance(raised.value.__cause__, DagRunAlreadyExists)


def test_the_cli_transport_is_not_asked_to_clear_what_it_cannot_have_marked() -> None:
    world = World(BAD, TransportName.CLI)
    carry_out(world, RETRY, **WAIT, cancel_on_kill=True)
    assert world.did == ["waited"]


def test_what_a_template_renders_to_nothing_counts_as_not_given() -> None:
    none = dict.fromkeys(
        ("trigger_run_id", "logical_date", "data_interval_start", "data_interval_end", "note", "airflow_version"),
        "None",
    )
    world = World(OK)
    result = carry_out(world, FIRST, **none)
    assert result["run_id"] == run_id()
    assert world.call == {"conf": {}, "logical_date": None, "note": None, "data_interval": None}
    assert world.settings == {"transport": None, "airflow_major": None}
    # Nor does a result that is not requested need a wait.
    assert "result" not in carry_out(world, FIRST, result_task_id="{{ params.last }}", rendered={"last": None})
    made = operator(verify="False", region_name="", aws_conn_id="None")
    with patch(HOOK, lambda *_: world):
        made.execute({"ti": FIRST})  # type: ignore[typeddict-item]
    assert (made.verify, made.region_name, made.aws_conn_id) == (False, None, None)


@pytest.mark.parametrize(("given", "major"), [(3, 3), ("2", 2), ("3.0.6", 3), (None, None)])
def test_a_version_out_of_a_template(given: Any, major: int | None) -> None:
    world = World(OK)
    carry_out(world, FIRST, airflow_version=given)
    assert world.settings["airflow_major"] == major


def declared() -> set[str]:
    """Return the operator's parameters, including those of its base classes."""
    own = [each for each in MwaaTriggerDagRunOperator.__mro__ if each.__module__.startswith("airflow_mwaa_provider.")]
    found = {name for each in own for name in inspect.signature(each.__init__).parameters}
    return found - {"self", "args", "kwargs"}


@pytest.mark.parametrize(
    ("default_args", "given", "wanted"),
    [
        ({"region": "eu-west-1"}, {"region_name": "us-east-1"}, "us-east-1"),
        ({"region_name": "eu-west-1"}, {"region": "us-east-1"}, "us-east-1"),
        ({"region_name": "eu-west-1", "region": "us-east-1"}, {}, "eu-west-1"),
        ({"region": "eu-west-1", "poll_interval": 30}, {}, "eu-west-1"),
    ],
)
def test_a_region_of_the_task_goes_before_one_of_default_args(
    default_args: dict[str, Any], given: dict[str, Any], wanted: str
) -> None:
    for made in (operator, lambda **more: MwaaCliOperator(task_id="cli", env_name="env3", command=["version"], **more)):
        assert made(default_args=default_args, **given).region_name == wanted
        with pytest.raises(MwaaInputError, match="region and region_name are two names of one parameter, and differ"):
            made(region="eu-west-1", region_name="us-east-1")


def test_parameters_are_a_superset_of_the_amazon_providers() -> None:
    theirs = pytest.importorskip(
        "airflow.providers.amazon.aws.operators.mwaa", reason="the amazon provider of that image has no MWAA operator"
    ).MwaaTriggerDagRunOperator
    wanted = set(inspect.signature(theirs.__init__).parameters) - {"self", "kwargs"}
    base = inspect.signature(importlib.import_module("airflow.providers.amazon.aws.operators.base_aws").AwsBaseOperator)
    wanted |= set(base.parameters) - {"kwargs", "args"}
    assert wanted - declared() == set()
    assert set(theirs.template_fields) - set(MwaaTriggerDagRunOperator.template_fields) == set()


def test_every_parameter_is_documented_and_kept() -> None:
    made = operator(wait_timeout=timedelta(hours=1))
    documented = "\n".join(inspect.getdoc(each) or "" for each in MwaaTriggerDagRunOperator.__mro__)
    for name in declared():
        assert f":param {name}:" in documented
        assert name == "region" or hasattr(made, name)
    assert operator(region="eu-west-1").region_name == "eu-west-1"


def test_parsing_a_dag_with_it_loads_nothing_heavy() -> None:
    program = (
        "import json, sys\n"
        "try:\n    from airflow.sdk import BaseOperator, BaseOperatorLink\n"
        "except ImportError:\n    from airflow.models.baseoperator import BaseOperator\n"
        "before = set(sys.modules)\n"
        "import airflow_mwaa_provider.operators.dag_run\n"
        "print('RESULT' + json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    loaded = json.loads(line.removeprefix("RESULT"))
    assert [name for name in loaded if name.startswith(HEAVY)] == []
