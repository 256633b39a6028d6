# SPDX-License-Identifier: Apache-2.0
"""The operator without a running Airflow: its parameters, its run ids, its refusals, and what parsing it costs."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator, derived_run_id, tries_before

HEAVY = ("boto3", "botocore", "psycopg2", "pandas", "requests", "airflow.providers.amazon.aws")


@dataclass
class TaskInstance:
    """What the operator reads of a task instance."""

    dag_id: str = "d"
    run_id: str = "r"
    task_id: str = "t"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 2
    task: Any = field(default_factory=lambda: SimpleNamespace(retries=2))


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
    # Airflow sets max_tries to what was tried before plus retries when a task is cleared.
    assert run_id(try_number=2, max_tries=3) != run_id()
    assert run_id(try_number=2, max_tries=3) == run_id(try_number=3, max_tries=3)


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
        ({"deferrable": True}, "deferrable"),
        ({"allowed_states": ["sleeping"]}, "allowed_states.*'sleeping'"),
        ({"failed_states": ["sleeping"]}, "failed_states.*'sleeping'"),
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
        ({"conf": "text"}, "conf is a str"),
        ({"logical_date": "tomorrow"}, "logical_date='tomorrow' is no ISO 8601 date"),
        ({"logical_date": "2026-01-01T00:00:00"}, "has no time zone"),
        ({"data_interval_start": "2026-01-01T00:00:00Z"}, "go together"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_sent(more: dict[str, Any], message: str) -> None:
    # No connection, no credentials and no network are at hand: reaching for one would be another error.
    with pytest.raises(MwaaInputError, match=message):
        operator(**more).execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]


def test_parameters_are_a_superset_of_the_amazon_providers() -> None:
    theirs = pytest.importorskip(
        "airflow.providers.amazon.aws.operators.mwaa", reason="the amazon provider of that image has no MWAA operator"
    ).MwaaTriggerDagRunOperator
    wanted = set(inspect.signature(theirs.__init__).parameters) - {"self", "kwargs"}
    base = inspect.signature(importlib.import_module("airflow.providers.amazon.aws.operators.base_aws").AwsBaseOperator)
    wanted |= set(base.parameters) - {"kwargs", "args"}
    ours = set(inspect.signature(MwaaTriggerDagRunOperator.__init__).parameters)
    assert wanted - ours == set()
    assert set(theirs.template_fields) - set(MwaaTriggerDagRunOperator.template_fields) == set()


def test_every_parameter_is_documented_and_kept() -> None:
    made = operator(wait_timeout=timedelta(hours=1))
    documented = inspect.getdoc(MwaaTriggerDagRunOperator) or ""
    for name in set(inspect.signature(MwaaTriggerDagRunOperator.__init__).parameters) - {"self", "kwargs"}:
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
