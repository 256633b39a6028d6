# SPDX-License-Identifier: Apache-2.0
"""Roles: what a restricted one contains, and how it is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.models import Role
from airflow_mwaa_provider.client.roles import restricted, shown
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    DagNotFound,
    MwaaInputError,
    RemoteNotFound,
    UnexpectedAnswer,
    UnsupportedByTransport,
)
from tests.client.world import HAS_INVOKE_REST_API, FakeTime

if TYPE_CHECKING:
    from airflow_mwaa_provider.client.roles import Roles
    from tests.client.world import World

NAME = 'it\'s "ours" ü'
READ, EDIT, SEE = ("can_read", "DAG:etl"), ("can_edit", "DAG:etl"), ("can_read", "Website")
# InvokeRestApi reaches only the roles of Airflow 2.
WAYS = [
    ("env2", "web_session"),
    ("env2", "cli"),
    ("env3", "web_session"),
    ("env3", "cli"),
    ("env2", None),
    ("env3", None),
]
if HAS_INVOKE_REST_API:
    WAYS.append(("env2", "rest_api"))


@pytest.fixture(params=WAYS, ids=lambda way: "-".join(map(str, way)))
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def roles(world: World, way: Any) -> Roles:
    return world.environment(*way).roles


def test_a_restricted_role_keeps_what_isnt_about_dags() -> None:
    base = Role(
        "Custom",
        frozenset(
            {
                ("can_read", "DAGs"),
                ("can_edit", "DAGs"),
                ("menu_access", "DAGs"),
                ("can_read", "DAG Runs"),
                ("can_create", "DAG Runs"),
                ("can_read", "DAG:theirs"),
                ("can_create", "DAG Run:theirs"),
                ("can_create", "Datasets"),
                ("can_read", "Datasets"),
                ("can_create", "Backfills"),
                ("can_delete", "DAG:report"),
            }
        ),
    )
    made = restricted("ours", base, {"etl": ["read", "edit"], "report": ["read"]})
    assert made.name == "ours"
    assert shown(made.permissions) == [
        "can_create on DAG Runs",
        "can_edit on DAG:etl",
        "can_read on DAG Runs",
        "can_read on DAG:etl",
        "can_read on DAG:report",
        "can_read on Datasets",
        "menu_access on DAGs",
    ]
    # In Airflow 2.8.1, that menu entry grants the right to read all DAGs.
    old = restricted("ours", base, {"etl": ["read", "edit"], "report": ["read"]}, airflow_version="2.8.1")
    assert made.permissions - old.permissions == {("menu_access", "DAGs")}
    assert ("can_delete", "DAG:report") in restricted("ours", base, {"report": ["delete"]}).permissions
    with pytest.raises(MwaaInputError, match=r"'Custom' has no can_delete on DAGs.* with 'delete' of DAG 'etl'"):
        restricted("ours", base, {"report": ["delete"], "etl": ["delete"]})
    assert ("can_create", "Backfills") in restricted("ours", base, {"etl": ["read"]}, read_only=()).permissions


@pytest.mark.parametrize("permission", [("can_edit", "Roles"), ("can_create", "Users")])
def test_a_base_that_could_free_itself_is_refused(permission: tuple[str, str]) -> None:
    with pytest.raises(MwaaInputError, match=f"Base role 'Admin' has {permission[0]} on {permission[1]}"):
        restricted("ours", Role("Admin", frozenset({permission})), {"etl": ["read"]})


def test_a_role_is_made_grows_and_shrinks(world: World, roles: Roles, way: Any) -> None:
    kept = world.airflow(way[0]).roles.roles
    made = roles.set(Role(NAME, frozenset({READ, EDIT, SEE})))
    assert (made.created, made.added, made.removed) == (True, {READ, EDIT, SEE}, frozenset())
    assert kept[NAME] == {READ, EDIT, SEE}
    kept[NAME] = {READ}
    grown = roles.set(Role(NAME, frozenset({READ, EDIT})))
    assert (grown.created, grown.added, grown.removed) == (False, {EDIT}, frozenset())
    shrunk = roles.set(Role(NAME, frozenset({SEE})))
    assert (shrunk.added, shrunk.removed) == ({SEE}, {READ, EDIT})
    assert roles.get(NAME) == Role(NAME, frozenset({SEE}))
    world.calls()
    same = roles.set(Role(NAME, frozenset({SEE})))
    assert (same.created, same.added, same.removed) == (False, frozenset(), frozenset())
    assert kept[NAME] == {SEE}


def test_what_is_to_go_goes_before_anything_is_added(world: World) -> None:
    world.airflow("env3").roles.roles[NAME] = {READ, ("can_read", "Jobs"), ("can_edit", "Jobs")}
    world.environment("env3", "cli").roles.set(Role(NAME, frozenset({READ, EDIT, SEE})))
    written = [command[:6] for command in world.airflow("env3").commands if command[1].endswith("perms")]
    assert written == [
        ["roles", "del-perms", "--action", "can_edit", "--resource", "Jobs"],
        ["roles", "del-perms", "--action", "can_read", "--resource", "Jobs"],
        ["roles", "add-perms", "--action", "can_edit", "--resource", "DAG:etl"],
        ["roles", "add-perms", "--action", "can_read", "--resource", "Website"],
    ]


def test_a_dry_run_changes_nothing(world: World, roles: Roles, way: Any) -> None:
    change = roles.set(Role(NAME, frozenset({READ})), dry_run=True)
    assert (change.created, change.added) == (True, {READ})
    assert roles.find(NAME) is None
    assert NAME not in world.airflow(way[0]).roles.roles


def test_a_role_without_permissions_is_there(roles: Roles) -> None:
    assert roles.find("Public") == Role("Public")
    with pytest.raises(RemoteNotFound, match="no role 'public'"):
        roles.get("public")


def test_a_dag_that_airflow_knows_no_permissions_of(world: World, roles: Roles, way: Any) -> None:
    world.airflow(way[0]).roles.roles[NAME] = {SEE}
    with pytest.raises(DagNotFound, match="no permissions for DAG 'no pe'"):
        roles.set(Role(NAME, frozenset({SEE, ("can_read", "DAG:no pe")})))
    assert world.airflow(way[0]).roles.roles[NAME] == {SEE}


@pytest.mark.parametrize("kind", ["reset_after", "status_after"])
def test_an_answer_that_is_lost_does_no_harm(world: World, roles: Roles, way: Any, kind: str) -> None:
    target = {"cli": "cli", "rest_api": "invoke_rest_api"}.get(str(way[1]), "rest")
    if way == ("env2", None) and HAS_INVOKE_REST_API:
        target = "invoke_rest_api"
    world.fault(target, kind, times=3, **({"status": 502} if kind == "status_after" else {}))
    assert roles.set(Role(NAME, frozenset({READ, SEE}))).created
    assert roles.get(NAME).permissions == {READ, SEE}


def test_every_command_has_a_deadline_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    time, airflow = FakeTime(), world.airflow("env3")
    run_cli = airflow.run_cli

    async def slowly(argv: Any, timeout_s: float) -> Any:
        time.now += 25
        if len(airflow.commands) == 5:
            world.mwaa.faults.add({"target": "cli", "kind": "status", "status": 503, "times": 1})
        return await run_cli(argv, timeout_s)

    monkeypatch.setattr(airflow, "run_cli", slowly)
    everything = frozenset(airflow.roles.roles["User"])
    roles = world.environment("env3", "cli", retry=time.policy(deadline_s=60)).roles
    assert roles.set(Role(NAME, everything - {("can_read", "DAG:theirs")})).created
    assert len(airflow.commands) > 6
    assert airflow.roles.roles[NAME] == everything - {("can_read", "DAG:theirs")}


def test_many_dags_are_looked_for_in_parts(world: World) -> None:
    world.airflow("env3").dags.update({f"dag_{number}": False for number in range(60)})
    wanted = [f"dag_{number}" for number in range(61)]
    environment = world.environment("env3", "web_session")
    assert environment.missing_dags(wanted) == ["dag_60"]
    assert world.environment("env3", "cli").missing_dags(wanted) == ["dag_60"]
    assert len(world.airflow("env3").commands) == 4  # two parts, and a lookup of the one that is in no list


def test_without_the_cli_nothing_is_taken_away(world: World) -> None:
    world.airflow("env3").roles.roles[NAME] = {READ, EDIT}
    world.deny("CreateCliToken")
    with pytest.raises(AccessDenied, match="CreateCliToken"):
        world.environment("env3").roles.set(Role(NAME, frozenset({READ, SEE})))
    assert world.airflow("env3").roles.roles[NAME] == {READ, EDIT}


def test_one_way_is_enough_to_make_a_role(world: World) -> None:
    wanted = Role(NAME, frozenset({READ, SEE}))
    world.deny("CreateCliToken")
    assert world.environment("env3").roles.set(wanted).created
    world.clear()
    world.deny("CreateWebLoginToken")
    assert world.environment("env3").roles.set(wanted).created
    world.clear()
    world.deny("CreateWebLoginToken", "CreateCliToken")
    with pytest.raises(AccessDenied, match="CreateWebLoginToken"):
        world.environment("env3").roles.set(wanted)


def test_an_auth_manager_whose_api_takes_no_session(world: World) -> None:
    world.airflow("env3").has_roles_api = False  # as in Airflow 3.0
    with pytest.raises(UnsupportedByTransport, match="Use transport cli"):
        world.environment("env3", "web_session").roles.get("User")
    assert world.environment("env3").roles.set(Role(NAME, frozenset({READ, SEE}))).created


@pytest.mark.skipif(not HAS_INVOKE_REST_API, reason="this boto3 has no InvokeRestApi")
def test_invoke_rest_api_does_not_reach_the_roles_of_airflow_3(world: World) -> None:
    with pytest.raises(UnsupportedByTransport, match="InvokeRestApi does not reach the roles of Airflow 3"):
        world.environment("env3", "rest_api").roles.get("User")
    assert "invoke_rest_api" not in world.calls()


def test_someone_else_who_changes_it_too_is_noticed(world: World) -> None:
    roles = world.environment("env2", "web_session").roles
    world.airflow("env2").roles.roles[NAME] = {READ}
    find = roles.find

    def find_and_disturb(name: str) -> Role | None:
        found = find(name)
        world.airflow("env2").roles.roles[NAME].add(("can_edit", "Jobs"))
        return found

    roles.find = find_and_disturb  # type: ignore[method-assign]
    with pytest.raises(UnexpectedAnswer, match=r"other permissions than were set.*can_edit on Jobs"):
        roles.set(Role(NAME, frozenset({READ, EDIT})))


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "x" * 65])
def test_a_name_that_cannot_be_is_refused(world: World, name: str) -> None:
    with pytest.raises(MwaaInputError, match="cannot be the name of a role"):
        world.environment("env3").roles.find(name)
    assert world.calls() == []
