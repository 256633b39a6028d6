# SPDX-License-Identifier: Apache-2.0
"""The operator that restricts a role, against the local MWAA with a stub of Airflow's roles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import DagNotFound, MwaaInputError
from airflow_mwaa_provider.operators.roles import MwaaDagRoleOperator
from tests.deferral import context

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

ROLE = 'it\'s "ours" {{ ds }}'
OF_USER = {("menu_access", "DAGs"), ("can_read", "DAG Runs"), ("can_create", "DAG Runs"), ("can_read", "Website")}


@pytest.fixture(params=["env2", "env3"])
def env_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def apply(connection: Callable[..., str], env_name: str) -> Callable[..., Any]:
    def execute(**given: Any) -> Any:
        ids = {"task_id": "t", "env_name": env_name, "role_name": "ours", "aws_conn_id": connection()}
        result = MwaaDagRoleOperator(**{**ids, **given}).execute(context())
        assert json.loads(json.dumps(result)) == result
        return result

    return execute


def test_a_role_for_some_dags(world: World, env_name: str, apply: Callable[..., Any]) -> None:
    kept = world.airflow(env_name).roles.roles
    done = apply(dag_ids=["etl"])
    assert kept["ours"] == OF_USER | {("can_read", "Assets"), ("can_read", "DAG:etl"), ("can_edit", "DAG:etl")}
    assert done["created"]
    assert "can_edit on DAG:etl" in done["added"]
    again = apply(dag_ids={"etl": ["read"], "paused": ["read", "edit", "delete"]})
    assert again["removed"] == ["can_edit on DAG:etl"]
    assert again["added"] == ["can_delete on DAG:paused", "can_edit on DAG:paused", "can_read on DAG:paused"]
    assert apply(dag_ids=["etl"], read_only=())["added"] == ["can_create on Assets", "can_edit on DAG:etl"]
    assert ("can_edit", "Roles") not in kept["ours"]


def test_a_dry_run_tells_and_leaves(world: World, env_name: str, apply: Callable[..., Any]) -> None:
    planned = apply(dag_ids=["etl"], dry_run=True)
    assert "ours" not in world.airflow(env_name).roles.roles
    assert apply(dag_ids=["etl"]) == {**planned, "dry_run": False}


def test_templates() -> None:
    operator = MwaaDagRoleOperator(task_id="t", env_name="e", role_name=ROLE, dag_ids={"etl_{{ ds }}": ["read"]})
    operator.render_template_fields({"ds": "x"})  # type: ignore[typeddict-unknown-key]
    assert operator.role_name == 'it\'s "ours" x'
    operator = MwaaDagRoleOperator(task_id="t", env_name="e", role_name=ROLE, dag_ids=["etl_{{ ds }}"])
    operator.render_template_fields({"ds": "x"})  # type: ignore[typeddict-unknown-key]
    assert operator.dag_ids == ["etl_x"]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"dag_ids": ["etl", "nope"]}, DagNotFound, "no DAG 'nope', so role 'ours' was left as it is"),
        ({"dag_ids": "etl"}, MwaaInputError, r"dag_ids='etl' must be a list"),
        ({"dag_ids": []}, MwaaInputError, "dag_ids is empty"),
        ({"dag_ids": ["etl"], "actions": "read"}, MwaaInputError, "actions='read' must be a list"),
        ({"dag_ids": ["etl"], "actions": ["write"]}, MwaaInputError, "'write' must be one of read, edit, delete"),
        ({"dag_ids": {"etl": ["can_read"]}}, MwaaInputError, r"dag_ids\['etl'\]: 'can_read' must be one of"),
        ({"dag_ids": ["etl"], "role_name": "Viewer"}, MwaaInputError, "restores the permissions of this role"),
        ({"dag_ids": ["etl"], "role_name": "a/b"}, MwaaInputError, "cannot be the name of a role"),
        ({"dag_ids": ["etl"], "base_role": "Admin"}, MwaaInputError, "can lift any restriction"),
        ({"dag_ids": ["etl"], "transport": "soap"}, MwaaInputError, "transport='soap'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_changed(
    world: World, env_name: str, apply: Callable[..., Any], given: Any, error: type, says: str
) -> None:
    before = {name: set(permissions) for name, permissions in world.airflow(env_name).roles.roles.items()}
    with pytest.raises(error, match=says):
        apply(**given)
    assert world.airflow(env_name).roles.roles == before
