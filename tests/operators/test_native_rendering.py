# SPDX-License-Identifier: Apache-2.0
"""Strings stay strings in a DAG with ``render_template_as_native_obj=True``: all such parameters of all operators."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3, BaseOperator
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.templating import TextTemplates
from airflow_mwaa_provider.operators.cli import MwaaCliOperator, _argv
from airflow_mwaa_provider.operators.cloudwatch import (
    CloudWatchMetricsOperator,
    MetadataMetricsOperator,
    PrivilegeChangesOperator,
    WorkerMetricsOperator,
)
from airflow_mwaa_provider.operators.code_artifact import CodeArtifactTokenOperator
from airflow_mwaa_provider.operators.connections import MwaaExportConnectionsOperator, MwaaImportConnectionsOperator
from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator
from airflow_mwaa_provider.operators.eks import EksPodOperator
from airflow_mwaa_provider.operators.metadata import MetadataCleanupOperator, MetadataToS3Operator
from airflow_mwaa_provider.operators.packaging import RequirementsToPluginsZipOperator
from airflow_mwaa_provider.operators.pools import MwaaExportPoolsOperator, MwaaImportPoolsOperator
from airflow_mwaa_provider.operators.roles import MwaaDagRoleOperator
from airflow_mwaa_provider.operators.secrets import MigrateToSecretsManagerOperator
from airflow_mwaa_provider.operators.ssh import SSHOperator
from airflow_mwaa_provider.operators.variables import MwaaExportVariablesOperator, MwaaImportVariablesOperator
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor, MwaaTaskSensor
from tests.client.world import TRANSPORTS
from tests.deferral import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

ENV, SENSOR = {"env_name": "e"}, {"external_env_name": "e", "external_dag_id": "d"}
CLASSES: dict[type[Any], dict[str, Any]] = {
    MwaaTriggerDagRunOperator: {**ENV, "trigger_dag_id": "d", "wait_for_completion": True},
    MwaaDagRunSensor: SENSOR,
    MwaaTaskSensor: {**SENSOR, "external_task_id": "t"},
    MwaaCliOperator: {**ENV, "command": ["version"]},
    MwaaDagRoleOperator: {**ENV, "role_name": "r", "dag_ids": ["d"]},
    MwaaImportVariablesOperator: {**ENV, "variables": {}},
    MwaaImportConnectionsOperator: {**ENV, "connections": {}},
    MwaaImportPoolsOperator: {**ENV, "pools": {}},
    MwaaExportVariablesOperator: {**ENV, "destination": "x.json"},
    MwaaExportConnectionsOperator: {**ENV, "destination": "x.json"},
    MwaaExportPoolsOperator: {**ENV, "destination": "x.json"},
    MetadataToS3Operator: {"bucket": "b"},
    MetadataCleanupOperator: {},
    MigrateToSecretsManagerOperator: {},
    CloudWatchMetricsOperator: {"namespace": "n", "metrics": []},
    WorkerMetricsOperator: {},
    MetadataMetricsOperator: {},
    PrivilegeChangesOperator: {},
    RequirementsToPluginsZipOperator: {"destination": "s3://b/plugins.zip"},
    EksPodOperator: {"cluster_name": "c", "name": "p", "namespace": "n", "image": "ubuntu"},
    SSHOperator: {"ssh_conn_id": "ssh_new", "command": "hostname"},
    CodeArtifactTokenOperator: {"domain": "amazon", "domain_owner": "112233445566"},
}
# What Python would parse as another type; other strings were never changed.
TEXTS = ["20261128", "007", "1e5", "1.10", "1_000", "0x10", "True", "'quoted'", "[1]", "{'a': 1}", "1, 2", " 5"]
CHECKED = {"bucket", "route", "file_format", "compression", "layout", "archive_to", "on_conflict"}
CHECKED |= {"connections_prefix", "variables_prefix", "namespace"}
TEXT_FIELDS = [(kind, name) for kind in CLASSES for name in kind.text_fields]


def rendered(kind: type[Any], params: dict[str, Any], *, native: bool = True, **fields: Any) -> Any:
    """Create a task of a DAG, and render its templates as Airflow does."""
    dag_class: Any = importlib.import_module("airflow.sdk" if AIRFLOW_V_3 else "airflow.models.dag").DAG
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with dag_class("d", schedule=None, start_date=start, render_template_as_native_obj=native):
        # A sensor has two parameters for its environment, of which one is set.
        others = {"external_env_name"} if "env_name" in fields else set()
        task = kind(task_id="t", **{**{name: CLASSES[kind][name] for name in CLASSES[kind].keys() - others}, **fields})
    task.render_template_fields({"params": params})
    return task


def test_every_operator_and_sensor_is_among_these() -> None:
    def leaves(kind: type[Any]) -> set[type[Any]]:
        below = kind.__subclasses__()
        return {kind} if not below else set().union(*map(leaves, below))

    ours = {kind for kind in leaves(TextTemplates) if kind.__module__.startswith("airflow_mwaa_provider.")}
    assert ours == set(CLASSES)
    made = {kind for kind in leaves(BaseOperator) if kind.__module__.startswith("airflow_mwaa_provider.")}
    assert made == ours
    for kind in CLASSES:
        assert set(kind.text_fields) <= set(kind.template_fields)
        assert {"aws_conn_id", "region_name"} <= set(kind.text_fields)


@pytest.mark.parametrize(("kind", "name"), TEXT_FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_text_stays_text(kind: type[Any], name: str) -> None:
    for text in TEXTS:
        # Parameters that are checked when the DAG is parsed cannot have such a string.
        for template in ("{{ params.x }}",) if name in CHECKED else ("{{ params.x }}", text):
            task = rendered(kind, {"x": text}, **{name: template})
            assert getattr(task, name) == text, template
    for number, text in ((5, "5"), (1.5, "1.5"), (True, "True")):
        assert getattr(rendered(kind, {"x": number}, **{name: "{{ params.x }}"}), name) == text
        assert getattr(rendered(kind, {"x": number}, native=False, **{name: "{{ params.x }}"}), name) == text
    # Composed of several parts, and without the DAG's setting.
    assert getattr(rendered(kind, {"x": 1}, **{name: "{{ params.x }}0"}), name) == "10"


@pytest.mark.parametrize(("kind", "name"), TEXT_FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_what_renders_to_none_is_not_given_or_refused_by_name(kind: type[Any], name: str) -> None:
    task = rendered(kind, {"x": None}, **{name: "{{ params.x }}"})
    if name in CLASSES[kind]:
        with pytest.raises(MwaaInputError, match=f"{name} is missing"):
            task.read_rendered(required=(name,))
    elif name in kind.narrowing_fields:
        with pytest.raises(MwaaInputError, match=f"{name} is given, but its template rendered to nothing"):
            task.read_rendered(required=())
    else:
        task.read_rendered(required=())
        assert getattr(task, name) is None


@pytest.mark.parametrize("nothing", ["", None])
@pytest.mark.parametrize("name", ["dag_ids", "tables", "archive_to", "metadata_conn_id", "env_name", "max_age"])
def test_a_cleanup_takes_nothing_for_all(name: str, nothing: str | None) -> None:
    task = rendered(MetadataCleanupOperator, {"x": nothing}, **{name: "{{ params.x }}"})
    with pytest.raises(MwaaInputError, match=f"{name} is given, but its template rendered to nothing"):
        task.execute({})


@pytest.mark.parametrize("name", ["dry_run", "keep_last_run", "force"])
def test_a_cleanup_takes_none_for_no_answer(name: str) -> None:
    task = rendered(MetadataCleanupOperator, {"x": None}, **{name: "{{ params.x }}"})
    with pytest.raises(MwaaInputError, match=f"{name} is missing"):
        task.execute({})


@pytest.mark.parametrize(("kind", "name"), TEXT_FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_what_another_task_returns_is_text_or_refused_by_name(kind: type[Any], name: str) -> None:
    task = rendered(kind, {})
    setattr(task, name, 20261128)  # what an XComArg leaves there
    task.read_rendered(required=())
    assert getattr(task, name) == "20261128"
    for wrong in ([1], {"a": 1}, True, datetime(2026, 1, 1)):
        setattr(task, name, wrong)
        with pytest.raises(MwaaInputError, match=f"{name} is a {type(wrong).__name__}, not a string"):
            task.read_rendered(required=())


def test_objects_that_are_no_text_are_still_given_as_they_are() -> None:
    lists = {"x": ["a", "1e5"], "when": datetime(2026, 1, 1, tzinfo=UTC), "age": timedelta(days=7), "yes": True}
    task = rendered(MwaaTaskSensor, lists, external_task_id="{{ params.x }}", success_states="{{ params.x }}")
    assert (task.external_task_id, task.success_states) == (["a", "1e5"], ["a", "1e5"])
    assert rendered(MwaaCliOperator, lists, command="{{ params.x }}").command == ["a", "1e5"]
    assert rendered(MwaaCliOperator, lists, command="['a', 'b']").command == ["a", "b"]
    assert rendered(MwaaDagRoleOperator, lists, dag_ids="{{ params.x }}").dag_ids == ["a", "1e5"]
    assert rendered(MetadataCleanupOperator, lists, retention="{{ params.age }}").retention == lists["age"]
    assert rendered(MetadataToS3Operator, lists, since="{{ params.when }}").since == lists["when"]
    assert rendered(MetadataToS3Operator, lists, incremental="{{ params.yes }}").incremental is True
    assert rendered(MwaaTriggerDagRunOperator, lists, conf={"a": "{{ params.x }}"}).conf == {"a": ["a", "1e5"]}
    assert rendered(MwaaTriggerDagRunOperator, lists, logical_date="{{ params.when }}").logical_date == lists["when"]


@pytest.mark.parametrize("text", [*TEXTS, '{"a": 1}', "None"])
def test_each_argument_of_a_command_arrives_as_it_was(text: str) -> None:
    for argument in ("{{ params.x }}", text):
        task = rendered(MwaaCliOperator, {"x": text}, command=["variables", "set", "n", argument])
        assert _argv(task.command) == ["variables", "set", "n", text]
    assert _argv(rendered(MwaaCliOperator, {"n": 5}, command=["set", "{{ params.n }}"]).command) == ["set", "5"]


@pytest.mark.parametrize("text", [*TEXTS, '{"a": 1}', "None"])
def test_ids_in_lists_stay_text(text: str) -> None:
    given = ["{{ params.x }}", text]
    assert rendered(MwaaTaskSensor, {"x": text}, external_task_id=given).external_task_id == [text, text]
    assert rendered(MwaaDagRoleOperator, {"x": text}, dag_ids=given).dag_ids == [text, text]
    assert rendered(MetadataToS3Operator, {"x": text}, exclude=given).exclude == [text, text]


@pytest.mark.parametrize("text", [*TEXTS, '{"a":1}', "None"])
def test_values_that_stand_in_the_dag_are_stored_as_they_are(text: str) -> None:
    kind = MwaaImportVariablesOperator
    variables = {"plain": text, "by_template": "{{ params.x }}", "inner": {"value": text}, "list": "{{ params.l }}"}
    task = rendered(kind, {"x": text, "l": [1]}, variables=variables)
    assert task.variables.content == {"plain": text, "by_template": text, "inner": {"value": text}, "list": [1]}


def test_a_command_that_is_neither_a_list_nor_text_is_refused() -> None:
    task = rendered(MwaaCliOperator, {"n": 5}, command="{{ params.n }}")
    with pytest.raises(MwaaInputError, match=r"command is a int\. Give a list of its arguments"):
        task.execute({"ti": TaskInstance()})


def test_a_mistake_in_a_template_is_told_as_airflow_tells_it() -> None:
    with pytest.raises(Exception, match=r"division or modulo by zero|division by zero"):
        rendered(MwaaTriggerDagRunOperator, {"n": 0}, note="{{ 1 // params.n }}")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_digits_reach_the_remote_environment_as_text(
    world: World, connection: Callable[..., str], transport: str
) -> None:
    world.airflow().dags["20261128"] = False
    fields: dict[str, Any] = {"env_name": "{{ params.env }}", "trigger_dag_id": "{{ params.n }}"}
    fields |= {"trigger_run_id": "{{ params.n }}1", "aws_conn_id": connection(), "transport": transport}
    fields["wait_for_completion"] = False
    if transport != "cli":
        fields["note"] = "{{ params.n }}"
    task = rendered(MwaaTriggerDagRunOperator, {"n": 20261128, "env": "env3"}, **fields)
    assert task.execute({"ti": TaskInstance()})["run_id"] == "202611281"
    if transport != "cli":
        assert json.loads(world.airflow().bodies[-1])["note"] == "20261128"
    world.do(world.airflow().end, "20261128", "202611281")
    ids = {"external_env_name": "env3", "external_dag_id": "{{ params.n }}", "external_dag_run_id": "{{ params.n }}1"}
    sensor = rendered(
        MwaaDagRunSensor, {"n": 20261128}, aws_conn_id=connection(), transport=transport, timeout=5, **ids
    )
    sensor.execute({"ti": TaskInstance()})
