# SPDX-License-Identifier: Apache-2.0
"""Templated fields of sensors, as in DAGs for the amazon provider."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import DagRunFailed, MwaaInputError
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor, MwaaTaskSensor
from tests.deferral import context, deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World


@pytest.fixture
def rendered(world: World, connection: Callable[..., str]) -> Callable[..., Any]:
    """Create a sensor for an existing run, and render its templates as Airflow does before it runs."""
    world.do(world.airflow().create, "etl", "run_1")

    def make(params: dict[str, Any], kind: type = MwaaDagRunSensor, **more: Any) -> Any:
        ids = {"task_id": "t", "external_env_name": "env3", "external_dag_id": "etl", "external_dag_run_id": "run_1"}
        made = kind(**{**ids, "aws_conn_id": connection(), "timeout": 1000, **more})
        made.render_template_fields({"params": params})
        return made

    return make


def test_numbers_out_of_templates(rendered: Callable[..., Any]) -> None:
    texts = {"poke_interval": "{{ params.p }}", "max_retries": "{{ params.n }}", "deferrable": "{{ params.d }}"}
    waiting = deferred(lambda: rendered({"p": 0.5, "n": 7, "d": True}, **texts).execute(context()))
    assert (waiting.trigger.parameters["waiter_delay"], waiting.trigger.parameters["deadline_s"]) == (0.5, 3.5)
    none = rendered({"p": None, "n": None, "d": True}, **texts)
    waiting = deferred(lambda: none.execute(context()))
    assert (waiting.trigger.parameters["waiter_delay"], waiting.trigger.parameters["deadline_s"]) == (60, 1000)


@pytest.mark.parametrize("said", [False, "false", "0", None, ""])
def test_a_template_that_says_no(world: World, rendered: Callable[..., Any], said: Any) -> None:
    world.do(world.airflow().end, "etl", "run_1", "failed")
    made = rendered({"d": said}, deferrable="{{ params.d }}")
    with pytest.raises(DagRunFailed):
        made.execute(context())
    assert made.deferrable is False


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", [list, set, frozenset])
def test_states_out_of_templates(
    world: World, rendered: Callable[..., Any], kind: type[list[str]], deferrable: bool
) -> None:
    world.do(world.airflow().end, "etl", "run_1", "failed")
    states = {"success_states": kind(["{{ params.s }}"]), "failure_states": kind(["{{ params.f }}"])}
    rendered({"s": "failed", "f": "success"}, deferrable=deferrable, **states).execute(context())


@pytest.mark.parametrize("kind", [list, set, frozenset])
def test_states_of_tasks_out_of_templates(world: World, rendered: Callable[..., Any], kind: type[list[str]]) -> None:
    row = {"dag_id": "etl", "dag_run_id": "run_1", "task_id": "load", "map_index": -1, "state": "failed"}
    world.airflow().tasks = [{**row, "try_number": 1}]
    more = {"external_task_id": "load", "skipped_states": kind(["{{ params.s }}"])}
    made = rendered({"s": "failed"}, MwaaTaskSensor, failure_states=["upstream_failed"], **more)
    with pytest.raises(Exception, match="Skipped there"):
        made.execute(context())


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("field", "template", "said", "message"),
    [
        ("poke_interval", "{{ params.x }}", "soon", "poke_interval='soon' must be a number, 0 or more"),
        ("max_retries", "{{ params.x }}", "0", "max_retries='0' must be a positive number"),
        ("success_states", ["{{ params.x }}"], "sleeping", "success_states: 'sleeping' is not a valid"),
        ("failure_states", ["{{ params.x }}"], "success", "success is in success_states and in failure_states"),
        ("success_states", "{{ params.x }}", ["success"], "needs a DAG with render_template_as_native_obj=True"),
    ],
)
def test_what_a_template_gives_is_checked_like_what_is_written(
    rendered: Callable[..., Any], field: str, template: Any, said: Any, message: str, deferrable: bool
) -> None:
    made = rendered({"x": said}, **{"deferrable": deferrable, field: template})
    with pytest.raises(MwaaInputError, match=message):
        made.execute(context())


def test_a_template_that_says_neither_yes_nor_no(rendered: Callable[..., Any]) -> None:
    with pytest.raises(MwaaInputError, match="deferrable='maybe' is neither True nor False"):
        rendered({"x": "maybe"}, deferrable="{{ params.x }}").execute(context())


def test_what_stands_beside_a_template_is_checked_when_the_dag_is_parsed() -> None:
    ids = {"task_id": "t", "external_env_name": "e", "external_dag_id": "d"}
    with pytest.raises(MwaaInputError, match=r"success_states.*'sleeping'"):
        MwaaDagRunSensor(**ids, success_states=["{{ params.s }}", "sleeping"])
    with pytest.raises(MwaaInputError, match="poke_interval='soon'"):
        MwaaDagRunSensor(**ids, poke_interval="soon")
    assert MwaaDagRunSensor(**ids, poke_interval=timedelta(minutes=2)).poke_interval == 120
