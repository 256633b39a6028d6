# SPDX-License-Identifier: Apache-2.0
"""Sensors: each way to wait has the same result."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3, BaseSensorOperator
from airflow_mwaa_provider.exceptions import (
    DagRunFailed,
    DagRunNotFound,
    MwaaError,
    MwaaInputError,
    TaskInstanceFailed,
    TaskInstanceNotFound,
)
from airflow_mwaa_provider.operators.cli import MwaaCliOperator
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor, MwaaTaskSensor
from tests.client.world import TRANSPORTS
from tests.deferral import carry_through, context

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

pytestmark = pytest.mark.usefixtures("looks_soon")


@pytest.fixture
def sensor(world: World, connection: Callable[..., str]) -> Callable[..., Any]:
    """Create a sensor for an existing, unfinished run."""
    world.do(world.airflow().create, "etl", "run_1")

    def make(kind: type = MwaaDagRunSensor, **more: Any) -> Any:
        ids = {"task_id": "t", "external_env_name": "env3", "external_dag_id": "etl", "external_dag_run_id": "run_1"}
        return kind(**{**ids, "aws_conn_id": connection(), "poke_interval": 0.05, "timeout": 30, **more})

    return make


def carry_out(made: Any, meanwhile: Callable[[], Any]) -> Any:
    """Wait as the sensor is configured, while something happens."""
    if made.deferrable:
        return carry_through(made, meanwhile=meanwhile)
    assert made.poke(context()) is False
    meanwhile()
    return made.execute(context())


def task_row(task_id: str, state: str | None, map_index: int = -1) -> dict[str, Any]:
    names = {"dag_id": "etl", "dag_run_id": "run_1", "task_id": task_id, "map_index": map_index}
    return {**names, "state": state, "try_number": 1}


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_run_that_ends_well(world: World, sensor: Callable[..., Any], transport: str, deferrable: bool) -> None:
    made = sensor(transport=transport, deferrable=deferrable)
    carry_out(made, lambda: world.do(world.airflow().end, "etl", "run_1"))


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_run_that_ends_badly(world: World, sensor: Callable[..., Any], transport: str, deferrable: bool) -> None:
    def end() -> None:
        world.airflow().tasks = [task_row("load", "failed")]
        world.do(world.airflow().end, "etl", "run_1", "failed")

    with pytest.raises(DagRunFailed, match=r"'run_1' of DAG 'etl' ended as failed\. Failed tasks: load"):
        carry_out(sensor(transport=transport, deferrable=deferrable), end)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_that_is_deleted(world: World, sensor: Callable[..., Any], deferrable: bool) -> None:
    # In a separate process, each poke knows nothing about the previous one: the run simply does not exist.
    with pytest.raises(DagRunNotFound, match="was deleted" if deferrable else "has no run 'run_1'"):
        carry_out(sensor(deferrable=deferrable), lambda: world.airflow().runs.clear())


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_that_is_not_there_yet(world: World, sensor: Callable[..., Any], deferrable: bool) -> None:
    with pytest.raises(DagRunNotFound, match="has no run 'later'"):
        sensor(external_dag_run_id="later", deferrable=deferrable).execute(context())

    def make_and_end() -> None:
        world.do(world.airflow().create, "etl", "later")
        world.do(world.airflow().end, "etl", "later")

    carry_out(sensor(external_dag_run_id="later", deferrable=deferrable, check_existence=False), make_and_end)


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_time_is_up(sensor: Callable[..., Any], deferrable: bool) -> None:
    with pytest.raises(Exception, match=r"did not end within 0\.3 s|timed out") as caught:
        carry_out(sensor(timeout=0.3, deferrable=deferrable), lambda: None)
    assert type(caught.value).__name__ == "AirflowSensorTimeout"


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(("more", "skips"), [({"soft_fail": True}, True), ({"never_fail": True}, True), ({}, False)])
def test_a_soft_fail_skips(
    world: World, sensor: Callable[..., Any], deferrable: bool, more: dict[str, Any], skips: bool
) -> None:
    if "never_fail" in more and "never_fail" not in inspect.signature(BaseSensorOperator.__init__).parameters:
        pytest.skip("this Airflow has no never_fail")
    # After a deferral, newer Airflows replace our message with their own.
    with pytest.raises(Exception, match=r"ended as failed|Skipping due to") as caught:
        carry_out(
            sensor(deferrable=deferrable, **more), lambda: world.do(world.airflow().end, "etl", "run_1", "failed")
        )
    assert (type(caught.value).__name__ == "AirflowSkipException") is skips


def test_the_latest_run_is_that_at_the_beginning(world: World, sensor: Callable[..., Any]) -> None:
    world.airflow().runs.clear()
    for day in (3, 9):
        world.do(world.airflow().create, "etl", f"run_of_{day}", None, f"2026-01-{day:02}T00:00:00+00:00")
    world.do(world.airflow().create, "etl", "of_the_future", None, "2126-01-01T00:00:00+00:00")
    world.do(world.airflow().end, "etl", "run_of_9")
    made = sensor(external_dag_run_id=None)
    made.execute(context())
    assert made.external_dag_run_id == "run_of_9"
    world.airflow().runs.clear()
    with pytest.raises(DagRunNotFound, match="DAG 'etl' has no run yet"):
        sensor(external_dag_run_id=None).execute(context())


# -- tasks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("tasks", "ends", "error"),
    [
        ("load", {"load": "success", "report": "failed"}, None),
        (["load", "report"], {"load": "success", "report": "failed"}, TaskInstanceFailed),
        ("*", {"load": "success", "report": "upstream_failed"}, TaskInstanceFailed),
        (None, {"load": "success", "report": "skipped"}, None),
        (None, {"load": "success", "report": "removed"}, None),
    ],
)
def test_tasks(
    world: World, sensor: Callable[..., Any], transport: str, deferrable: bool, tasks: Any, ends: Any, error: Any
) -> None:
    world.airflow().tasks = [task_row("load", "running"), task_row("report", None)]

    def end() -> None:
        for row in world.airflow().tasks:
            row["state"] = ends.get(row["task_id"], row["state"])

    made = sensor(MwaaTaskSensor, external_task_id=tasks, transport=transport, deferrable=deferrable)
    if error is None:
        carry_out(made, end)
    else:
        with pytest.raises(error):
            carry_out(made, end)


@pytest.mark.parametrize("deferrable", [False, True])
def test_all_skipped_skips(world: World, sensor: Callable[..., Any], deferrable: bool) -> None:
    world.airflow().tasks = [task_row("load", "running", index) for index in range(3)]

    def end() -> None:
        for row in world.airflow().tasks:
            row["state"] = "skipped"

    with pytest.raises(Exception, match="Skipped there") as caught:
        carry_out(sensor(MwaaTaskSensor, external_task_id="load", deferrable=deferrable), end)
    assert type(caught.value).__name__ == "AirflowSkipException"


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_without_the_task(world: World, sensor: Callable[..., Any], deferrable: bool) -> None:
    with pytest.raises(TaskInstanceNotFound, match="has no task laod"):
        carry_out(
            sensor(MwaaTaskSensor, external_task_id="laod", deferrable=deferrable),
            lambda: world.do(world.airflow().end, "etl", "run_1"),
        )


def test_one_instance_of_a_mapped_task(world: World, sensor: Callable[..., Any]) -> None:
    world.airflow().tasks = [task_row("load", state, index) for index, state in enumerate(("failed", "success"))]
    assert sensor(MwaaTaskSensor, external_task_id="load", map_index="1").poke(context())
    with pytest.raises(TaskInstanceFailed, match=r"load\[0\] is failed"):
        sensor(MwaaTaskSensor, external_task_id="load", map_index=0).poke(context())


# -- parameters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        (MwaaDagRunSensor, {"success_states": ["sleeping"]}, "success_states.*'sleeping'"),
        (MwaaDagRunSensor, {"success_states": "success"}, "Give a list"),
        (MwaaDagRunSensor, {"success_states": ["failed"], "failure_states": ["failed"]}, "Name each state once"),
        (MwaaDagRunSensor, {"transport": "pigeon"}, "transport='pigeon'"),
        (MwaaDagRunSensor, {"max_retries": 0}, "max_retries=0 must be a positive number"),
        (MwaaTaskSensor, {"external_task_id": "x", "failure_states": ["sleeping"]}, "failure_states.*'sleeping'"),
        (MwaaTaskSensor, {"external_task_id": "x", "skipped_states": ["success"]}, "Name each state once"),
    ],
)
def test_wrong_parameters_are_refused_when_the_dag_is_parsed(kind: type, more: dict[str, Any], message: str) -> None:
    with pytest.raises(MwaaInputError, match=message):
        kind(task_id="t", external_env_name="e", external_dag_id="d", **more)


def test_pokes_share_a_session(world: World, sensor: Callable[..., Any]) -> None:
    made = sensor(transport="web_session")
    for _ in range(3):
        assert made.poke(context()) is False
    calls = world.calls()
    assert (calls.count("login"), calls.count("rest"), calls.count("get_environment")) == (1, 3, 1)


def test_a_wrong_environment_is_named(sensor: Callable[..., Any]) -> None:
    with pytest.raises(MwaaError, match="'nowhere'"):
        sensor(external_env_name="nowhere").poke(context())


# -- parameters ------------------------------------------------------------------------------------------

SENSORS = [MwaaDagRunSensor, MwaaTaskSensor]
GIVEN: dict[str, Any] = {
    "env_name": "env3",
    "external_env_name": "env3",
    "external_dag_id": "etl",
    "external_dag_run_id": "run_1",
    "external_task_id": "load_*",
    "map_index": 3,
    "success_states": ["skipped"],
    "failure_states": ["success"],
    "skipped_states": ["failed"],
    "check_existence": False,
    "airflow_version": 2,
    "deferrable": True,
    "poke_interval": 7.0,
    "max_retries": 9,
    "transport": "cli",
    "aws_conn_id": "aws",
    "region_name": "eu-west-1",
    "region": "eu-west-1",
    "verify": False,
    "botocore_config": {"retries": {"max_attempts": 2}},
}
"""A value other than its default for each parameter of a sensor of tasks."""
KEPT_AS = {"env_name": "external_env_name", "region": "region_name"}
"""Two names of one parameter are one attribute."""


def kept(made: Any, name: str) -> Any:
    return getattr(made, KEPT_AS.get(name, name))


def declared(kind: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a sensor, including those of its base classes."""
    found: dict[str, inspect.Parameter] = {}
    for each in kind.__mro__:
        if each.__module__.startswith("airflow_mwaa_provider.") and "__init__" in vars(each):
            found = {**inspect.signature(each.__init__).parameters, **found}
    return {name: each for name, each in found.items() if each.kind is each.KEYWORD_ONLY}


def given_to(kind: type) -> dict[str, Any]:
    """Return a value for each parameter; a run's states are not a task's."""
    states = {"success_states": ["failed"]} if kind is MwaaDagRunSensor else {}
    return {name: value for name, value in {**GIVEN, **states}.items() if name in declared(kind)}


def a_dag(default_args: dict[str, Any]) -> Any:
    dag = importlib.import_module("airflow.sdk" if AIRFLOW_V_3 else "airflow.models.dag").DAG
    return dag("d", schedule=None, default_args=default_args)


def test_both_sensors_declare_the_same_but_for_what_is_about_tasks() -> None:
    of_runs, of_tasks = map(declared, SENSORS)
    assert of_tasks.keys() == GIVEN.keys()
    assert of_tasks.keys() - of_runs.keys() == {"external_task_id", "map_index", "skipped_states"}
    for name, parameter in of_runs.items():
        assert (parameter.kind, parameter.default) == (parameter.KEYWORD_ONLY, of_tasks[name].default)
        assert parameter.annotation == of_tasks[name].annotation


@pytest.mark.parametrize("kind", SENSORS)
def test_every_parameter_is_documented(kind: type) -> None:
    documented = "\n".join(inspect.getdoc(each) or "" for each in (MwaaDagRunSensor, *kind.__mro__[:-1]))
    assert [name for name in declared(kind) if f":param {name}:" not in documented] == []


@pytest.mark.parametrize("from_dag", [False, True])
@pytest.mark.parametrize("kind", SENSORS)
def test_each_parameter_can_come_from_default_args(kind: Any, from_dag: bool) -> None:
    wanted = given_to(kind)
    # Two of Airflow's own, which none of our sensors declares.
    default_args = {**wanted, "timeout": 77.0, "soft_fail": True}
    made = kind(task_id="t", dag=a_dag(default_args)) if from_dag else kind(task_id="t", default_args=default_args)
    for name, value in wanted.items():
        assert (name, kept(made, name)) == (name, value)
    assert (made.timeout, made.soft_fail) == (77.0, True)


@pytest.mark.parametrize("kind", SENSORS)
def test_what_is_given_goes_before_default_args(kind: Any) -> None:
    wanted = given_to(kind)
    for given in wanted:
        # All others come from default_args, which an explicit value must not suppress.
        default = declared(kind)[given].default
        default_args = {**wanted, given: "another" if default is inspect.Parameter.empty else default}
        made = kind(task_id="t", default_args=default_args, **{given: wanted[given]})
        for name, value in wanted.items():
            assert (given, name, kept(made, name)) == (given, name, value)


@pytest.mark.parametrize("kind", SENSORS)
def test_a_default_that_is_given_goes_before_default_args(kind: Any) -> None:
    """Such as ``verify=None`` for one sensor, where the DAG has another."""
    defaults = {name: each.default for name, each in declared(kind).items() if each.default is not each.empty}
    defaults["env_name"] = "another"
    made = kind(task_id="t", default_args=given_to(kind), **defaults)
    for name, default in defaults.items():
        wanted = "another" if name == "external_env_name" else default
        assert name == "deferrable" or (name, kept(made, name)) == (name, wanted)
    assert made.deferrable is False


@pytest.mark.parametrize("kind", SENSORS)
def test_an_older_name_of_the_region(kind: Any) -> None:
    assert kind(task_id="t", **{**given_to(kind), "region_name": None}).region_name == "eu-west-1"


@pytest.mark.parametrize("kind", SENSORS)
def test_a_parameter_that_is_needed_is_named(kind: Any) -> None:
    needed = {name for name, each in declared(kind).items() if each.default is each.empty}
    assert needed == {"external_dag_id"} | ({"external_task_id"} & declared(kind).keys())
    for name in needed:
        with pytest.raises(Exception, match=f"missing keyword argument '{name}'"):
            kind(task_id="t", **{key: value for key, value in given_to(kind).items() if key != name})
    with pytest.raises(MwaaInputError, match=r"^env_name is missing\. Name the MWAA environment\.$"):
        kind(task_id="t", **{**given_to(kind), "env_name": None, "external_env_name": None})


@pytest.mark.parametrize(("ours", "amazons"), [("env_name", "external_env_name"), ("region", "region_name")])
@pytest.mark.parametrize("kind", SENSORS)
def test_two_names_of_one_parameter(kind: Any, ours: str, amazons: str) -> None:
    both = given_to(kind)
    value = both.pop(ours)
    assert both.pop(amazons) == value
    other = "another"

    def made(default_args: dict[str, Any], **more: Any) -> Any:
        return kept(kind(task_id="t", default_args=default_args, **both, **more), ours)

    assert made({}, **{ours: value}) == made({}, **{amazons: value}) == value
    assert made({ours: other}, **{amazons: value}) == made({amazons: other}, **{ours: value}) == value
    # The other may be meant for the operators of the DAG.
    assert made({ours: other, amazons: value}) == value
    with pytest.raises(MwaaInputError, match=f"^{ours} and {amazons} are two names of one parameter, and differ"):
        made({}, **{ours: other, amazons: value})


@pytest.mark.parametrize("kind", SENSORS)
def test_states_for_other_operators_in_default_args_are_none_of_a_sensors(kind: Any) -> None:
    defaults = {"allowed_states": ["failed"], "failed_states": ["skipped"], "poll_interval": 30}
    names = ("success_states", "failure_states", "skipped_states")
    rest = {name: value for name, value in given_to(kind).items() if name not in names}
    made = kind(task_id="t", default_args=defaults, **rest)
    assert (made.success_states, made.failure_states) == (None, None)


@pytest.mark.parametrize("name", ["env_name", "external_env_name"])
@pytest.mark.parametrize("kind", SENSORS)
def test_a_sensor_waits_for_an_xcom_that_is_its_environment(kind: Any, name: str) -> None:
    """Airflow sees it in the template fields, and of a mapped sensor only in those that have the parameter's name."""
    rest = {key: value for key, value in given_to(kind).items() if key not in ("env_name", "external_env_name")}
    with a_dag({}):
        upstream = MwaaCliOperator(task_id="up", env_name="env3", command=["version"])
        kind(task_id="one", **rest, **{name: upstream.output})
        mapped = {key: value for key, value in rest.items() if key != "external_dag_run_id"}
        kind.partial(task_id="many", **mapped, **{name: upstream.output}).expand(external_dag_run_id=["a", "b"])
    assert upstream.downstream_task_ids == {"one", "many"}


@pytest.mark.parametrize("kind", SENSORS)
def test_a_mapped_sensor_takes_each_parameter(kind: Any) -> None:
    wanted = given_to(kind)
    from_dag = {name: wanted[name] for name in ("external_env_name", "poke_interval", "success_states")}
    rest = {name: value for name, value in wanted.items() if name not in from_dag and name != "external_dag_run_id"}
    with a_dag(from_dag):
        mapped = kind.partial(task_id="t", **rest).expand(external_dag_run_id=["run_1", "run_2"])
    made = mapped.unmap({"external_dag_run_id": "run_1"})
    for name, value in wanted.items():
        assert (name, kept(made, name)) == (name, value)


@pytest.mark.parametrize("ours", SENSORS)
def test_parameters_are_a_superset_of_the_amazon_providers(ours: type) -> None:
    theirs = getattr(
        pytest.importorskip(
            "airflow.providers.amazon.aws.sensors.mwaa", reason="the amazon provider of that image has no MWAA sensors"
        ),
        ours.__name__,
        None,
    )
    if theirs is None:
        pytest.skip("the amazon provider of that image has no such sensor")
    base = importlib.import_module("airflow.providers.amazon.aws.sensors.base_aws").AwsBaseSensor

    mine = declared(ours)
    amazons = {
        name: each
        for kind in (base, theirs)
        for name, each in inspect.signature(kind.__init__).parameters.items()
        if each.kind is each.KEYWORD_ONLY
    }
    assert amazons.keys() - mine.keys() == set()
    needed = {name for name, each in mine.items() if each.default is inspect.Parameter.empty}
    assert needed <= {name for name, each in amazons.items() if each.default is inspect.Parameter.empty}
    assert set(theirs.template_fields) - set(ours.template_fields) == set()  # type: ignore[attr-defined]
