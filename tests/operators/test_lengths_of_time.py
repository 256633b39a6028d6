# SPDX-License-Identifier: Apache-2.0
"""Invalid times: refused in one line, before anything is triggered, by everything that accepts one."""

from __future__ import annotations

import inspect
import math
import re
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider import aws_lambda
from airflow_mwaa_provider.exceptions import CallTimeout, MwaaInputError
from airflow_mwaa_provider.hooks.metadata import MetadataHook
from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.operators.cli import MwaaCliOperator
from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator
from airflow_mwaa_provider.operators.metadata import MetadataCleanupOperator, MetadataToS3Operator
from airflow_mwaa_provider.operators.trigger_and_wait import trigger_and_wait
from airflow_mwaa_provider.operators.variables import MwaaImportVariablesOperator
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor, MwaaTaskSensor
from airflow_mwaa_provider.triggers.dag_run import MwaaDagRunTrigger, MwaaTaskTrigger
from airflow_mwaa_provider.triggers.pause import PauseTrigger
from tests.deferral import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

ENV = {"task_id": "t", "env_name": "e"}
RUN = {"env_name": "e", "dag_id": "d", "run_id": "r", "hook": {}}
SENSOR = {"task_id": "t", "external_env_name": "e", "external_dag_id": "d"}
MAKERS: dict[str, Callable[..., Any]] = {
    "trigger": lambda **more: MwaaTriggerDagRunOperator(**ENV, trigger_dag_id="d", **more),
    "function": lambda **more: trigger_and_wait("e", "d", run_id="r", **more),
    "import": lambda **more: MwaaImportVariablesOperator(**ENV, variables={}, **more),
    "cleanup": lambda **more: MetadataCleanupOperator(task_id="t", **more),
    # Another parameter is known only when the task runs; this does not hide an error of this one.
    "cleanup later": lambda **more: MetadataCleanupOperator(task_id="t", dag_ids="{{ params.x }}", **more),
    "export": lambda **more: MetadataToS3Operator(task_id="t", bucket="b", **more),
    "run sensor": lambda **more: MwaaDagRunSensor(**SENSOR, **more),
    "task sensor": lambda **more: MwaaTaskSensor(**SENSOR, external_task_id="t", **more),
    "run trigger": lambda **more: MwaaDagRunTrigger(**RUN, **more),
    "task trigger": lambda **more: MwaaTaskTrigger(**RUN, **more),
    "pause": lambda **more: PauseTrigger(**more),
    "hook source": lambda **more: MetadataHook(route="cli").source(**more).__enter__(),
    "hook export": lambda **more: MetadataHook(route="cli").export("b", SimpleNamespace(prefix=""), **more),
    "hook cleaner": lambda **more: MetadataHook(route="rest").cleaner(CleanupOptions(), **more),
}
MINUS, ZERO, ONE = timedelta(seconds=-1), timedelta(0), timedelta(seconds=1)
NUMBERS = [-1, -0.5, math.nan, math.inf, -math.inf, "soon", "nan", True, [1]]
LENGTHS = [*NUMBERS, 0, 1, 60.0, "60", MINUS]
TIMES: list[tuple[str, str, list[Any]]] = [
    ("trigger", "wait_timeout", [*LENGTHS, ZERO, None]),
    ("trigger", "waiter_delay", [*NUMBERS, 0, "60", ONE]),
    ("trigger", "waiter_max_attempts", [*NUMBERS, 0, "60", ONE]),
    ("function", "wait_timeout", [*LENGTHS, ZERO, None]),
    ("import", "restore_timeout", [*LENGTHS, ZERO, None]),
    *(
        (maker, name, refused)
        for maker in ("cleanup", "cleanup later")
        for name, refused in (
            ("retention", [*LENGTHS, None]),
            ("max_age", [*LENGTHS, ZERO]),
            ("max_duration", [*LENGTHS, ZERO]),
            ("max_transaction", [*LENGTHS, ZERO, None]),
            ("lock_timeout", [*LENGTHS, ZERO, None, timedelta(microseconds=400), timedelta(days=30)]),
            ("max_pause", [*LENGTHS, None]),
            ("statement_timeout", [*LENGTHS, ZERO, None, timedelta(microseconds=400), timedelta(days=30)]),
            ("wait_timeout", [*LENGTHS, None]),
        )
    ),
    ("export", "statement_timeout", [*LENGTHS, ZERO, None, timedelta(microseconds=400), timedelta(days=30)]),
    *(
        (maker, name, refused)
        for maker in ("run sensor", "task sensor")
        for name, refused in (
            ("poke_interval", [*NUMBERS, MINUS]),
            ("timeout", [*NUMBERS, "60", MINUS]),
            ("max_retries", [*NUMBERS, 0]),
        )
    ),
    *(
        (maker, name, [*NUMBERS, "60", ONE])
        for maker in ("run trigger", "task trigger")
        for name in ("waiter_delay", "started_at", "deadline_s")
    ),
    ("run trigger", "created_at", [*NUMBERS, "60", ONE]),
    ("pause", "until", [*NUMBERS, "60", ONE, None]),
    ("hook source", "statement_timeout", [*LENGTHS, ZERO, None, timedelta(microseconds=400), timedelta(days=30)]),
    ("hook export", "statement_timeout", [*LENGTHS, ZERO, None]),
    ("hook cleaner", "wait_timeout", [*LENGTHS, None]),
]


@pytest.mark.parametrize(("maker", "name", "refused"), TIMES, ids=[f"{maker}-{name}" for maker, name, _ in TIMES])
def test_a_time_that_cannot_be_is_refused_in_one_line(maker: str, name: str, refused: list[Any]) -> None:
    """There is no environment, no credentials and no network: using one would cause another error."""
    for value in refused:
        with pytest.raises(MwaaInputError, match=rf"^{name}=.*(\. (Give|Write) |must be )") as caught:
            pytest.fail(f"{value!r} was taken: {MAKERS[maker](**{name: value})}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["retention", "max_age", "max_duration"])
@pytest.mark.parametrize("rendered", [MINUS, "60", 60, math.nan])
def test_what_a_template_renders_to_is_refused_before_anything_is_deleted(name: str, rendered: Any) -> None:
    made = MetadataCleanupOperator(task_id="t", **{name: "{{ params.x }}"})
    setattr(made, name, rendered)
    with pytest.raises(MwaaInputError, match=f"^{name}="):
        made.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("name", ["poke_interval", "max_retries"])
@pytest.mark.parametrize("rendered", [-1, "-1", "nan", "inf", "soon", True, MINUS])
def test_what_a_template_renders_to_is_refused_before_anything_is_looked_at(name: str, rendered: Any) -> None:
    made = MwaaDagRunSensor(**SENSOR, **{name: "{{ params.x }}"})
    setattr(made, name, rendered)
    with pytest.raises(MwaaInputError, match=f"^{name}="):
        made.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]


_ABOUT_TIME = re.compile(
    r"timeout|delay|interval|duration|transaction|pause|retention$|max_age|_s$|_at$|until|attempts"
)
_OTHERS = {"data_interval_start", "data_interval_end", "fail_when_dag_is_paused", "cancel_on_timeout", "until"}


def test_the_table_has_every_time_that_something_takes() -> None:
    tested = {name for _, name, _ in TIMES}
    for callee in (
        MwaaTriggerDagRunOperator, trigger_and_wait, MwaaImportVariablesOperator.__mro__[1], MetadataCleanupOperator,
        MetadataToS3Operator, MwaaCliOperator, MwaaDagRunSensor, MwaaTaskSensor, MwaaDagRunTrigger, MwaaTaskTrigger,
        MwaaEnvironmentHook.environment, MetadataHook.source, MetadataHook.export, MetadataHook.cleaner,
    ):  # fmt: skip
        of_time = {name for name in inspect.signature(callee).parameters if _ABOUT_TIME.search(name)}
        assert of_time - _OTHERS <= tested, callee


@pytest.mark.parametrize("timeout_s", [-1, math.nan, math.inf, "60", True])
def test_a_wait_of_the_client_has_an_end(world: World, timeout_s: Any) -> None:
    with pytest.raises(MwaaInputError, match=r"^timeout_s="):
        world.environment("env3", "web_session").wait_for_dag_run("etl", "r", timeout_s=timeout_s)
    assert world.calls() == []


@pytest.mark.parametrize(
    ("left_ms", "kind"),
    [
        (-1, CallTimeout),
        (0, CallTimeout),
        (math.nan, MwaaInputError),
        (math.inf, MwaaInputError),
        (timedelta(seconds=9), MwaaInputError),
        ("9000", MwaaInputError),
        (True, MwaaInputError),
        (None, MwaaInputError),
    ],
)
def test_a_lambda_context_without_a_time_triggers_nothing(
    monkeypatch: pytest.MonkeyPatch, left_ms: Any, kind: type[Exception]
) -> None:
    monkeypatch.setenv("MWAA_ENV_NAME", "e")
    monkeypatch.setenv("MWAA_DAG_ID", "d")
    context = SimpleNamespace(aws_request_id="1", get_remaining_time_in_millis=lambda: left_ms)
    with pytest.raises(kind) as caught:
        aws_lambda.handler({}, context)
    assert "\n" not in str(caught.value)
