# SPDX-License-Identifier: Apache-2.0
"""A role for some DAGs, created by the operator; then a user with it tries what the real Airflow 2 and 3 allow."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from airflow_mwaa_provider.client.models import Role
from airflow_mwaa_provider.exceptions import DagNotFound, MwaaInputError, RemoteNotFound, UnsupportedByTransport
from tests.integration.users import User
from tests.integration.world import World, until


@pytest.fixture
def user(world: World, env_name: str, role_name: str, apply: Callable[..., Any]) -> User:
    apply(["echo", "paused"])
    return User(world, env_name, role_name)


def test_a_user_of_the_role_sees_and_runs_these_dags_and_no_others(
    world: World, env_name: str, user: User, apply: Callable[..., Any]
) -> None:
    environment = world.environment(env_name, "web_session")
    environment.trigger_dag_run("sleeps", run_id=(run_id := f"foreign-{uuid.uuid4().hex[:6]}"), conf={"seconds": 0})

    assert user.dag_ids() == {"echo", "paused"}
    assert user.trigger("echo") == 200
    assert user.trigger("sleeps") in (403, 404)
    assert user.ask("GET", f"/dags/sleeps/dagRuns/{run_id}").status_code in (403, 404)
    listing = user.ask("POST", "/dags/~/dagRuns/list", json={"page_limit": 100})
    assert {"echo"} <= {run["dag_id"] for run in listing.json()["dag_runs"]} <= {"echo", "paused"}
    assert user.ask("PATCH", "/dags/sleeps", json={"is_paused": True}).status_code in (403, 404)
    assert user.ask("DELETE", "/dags/paused").status_code == 403
    events = "/datasets/events" if user.is_2 else "/assets/events"
    body = {"dataset_uri": "x"} if user.is_2 else {"asset_id": 1}
    assert user.ask("POST", events, json=body).status_code == 403
    assert user.ask("GET", "/variables").status_code == 403

    # Revoked and granted again: the user keeps the role.
    change = apply({"paused": ["read"], "sleeps": ["read", "edit"]})
    assert change["removed"] == ["can_edit on DAG:echo", "can_edit on DAG:paused", "can_read on DAG:echo"]
    assert change["added"] == ["can_edit on DAG:sleeps", "can_read on DAG:sleeps"]
    # Airflow 3 caches the permissions of a logged-in user for half a minute.
    until(lambda: user.trigger("echo") in (403, 404), timeout_s=60, what="the end of the user's access")
    assert user.dag_ids() == {"paused", "sleeps"}
    assert user.trigger("paused") == 403


def test_it_is_done_once_and_shown_before(
    world: World, env_name: str, role_name: str, apply: Callable[..., Any]
) -> None:
    planned = apply(["echo"], dry_run=True)
    roles = world.environment(env_name).roles
    assert roles.find(role_name) is None
    done = apply(["echo"])
    assert done == {**planned, "dry_run": False}
    assert done["created"]
    assert {"can_read on DAG:echo", "can_edit on DAG:echo", "can_read on Task Instances"} <= set(done["added"])
    assert {"can_read on DAGs", "can_edit on DAGs", "can_delete on DAGs"}.isdisjoint(done["added"])
    assert apply(["echo"]) == {**done, "created": False, "added": [], "removed": []}


def test_rest_and_cli_see_the_same(world: World, env_name: str, role_name: str) -> None:
    by_rest, by_cli = (world.environment(env_name, name).roles for name in ("web_session", "cli"))
    assert by_rest.get("User") == by_cli.get("User")
    role = Role(role_name, frozenset({("can_read", "DAG:echo"), ("can_read", "Website")}))
    assert by_rest.set(role).created
    assert by_cli.get(role_name) == role
    more = Role(role_name, role.permissions | {("can_edit", "DAG:echo")})
    assert not by_rest.set(more).created
    # What only the CLI supports is done through it.
    assert by_rest.set(role).removed == {("can_edit", "DAG:echo")}
    for roles in (by_rest, by_cli):
        with pytest.raises(DagNotFound, match="no permissions for DAG 'nope'"):
            roles.set(Role(role_name, role.permissions | {("can_read", "DAG:nope")}))
    assert by_rest.get(role_name) == role
    # Airflow itself adds "can_read on Website" to any role; it is not our change.
    assert by_cli.set(Role(f"{role_name} 2")).created
    assert not by_rest.set(Role(f"{role_name} 2")).removed
    assert role in by_rest.list()
    by_rest.delete(role_name)
    assert by_rest.find(role_name) is None


def test_the_roles_of_airflow_3_are_not_in_reach_of_invoke_rest_api(world: World, env_name: str) -> None:
    if not world.control_plane().supports_invoke_rest_api:
        pytest.skip("the installed boto3 has no InvokeRestApi")
    roles = world.environment(env_name, "rest_api").roles
    if world.environment(env_name).airflow_version.startswith("2."):
        assert roles.get("Viewer").permissions
    else:
        with pytest.raises(UnsupportedByTransport, match="Use transport cli or web_session"):
            roles.get("Viewer")


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"dag_ids": ["echo", "nope"]}, DagNotFound, "no DAG 'nope'"),
        ({"dag_ids": ["echo"], "base_role": "user"}, RemoteNotFound, "no role 'user'"),
        ({"dag_ids": ["echo"], "base_role": "Admin"}, MwaaInputError, "can lift any restriction"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(
    world: World, env_name: str, role_name: str, apply: Callable[..., Any], given: Any, error: type, says: str
) -> None:
    with pytest.raises(error, match=says):
        apply(**given)
    assert world.environment(env_name).roles.find(role_name) is None
