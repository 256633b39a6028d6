# SPDX-License-Identifier: Apache-2.0
"""Imports and exports on every transport: what they write, what they do not touch, what they refuse."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING

import pytest

from airflow_mwaa_provider.client.models import Connection, Pool
from airflow_mwaa_provider.client.stored.kinds import KINDS, StoredConnections, StoredPools, StoredVariables
from airflow_mwaa_provider.client.transactional_import import export_stored, import_stored
from airflow_mwaa_provider.exceptions import (
    ImportFailed,
    MwaaInputError,
    RemoteConflict,
    UnsendableCommand,
    UnsupportedByTransport,
    ValueMasked,
)
from tests.client.imports import REST, SECRET, TARGETS, WAYS, put, state, values, variables
from tests.client.world import FakeTime

if TYPE_CHECKING:
    from tests.client.world import World

# -- without failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("env_name", "transport"), WAYS)
def test_an_import_and_again(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    put(world, env_name, same="1", other="kept", untouched="x")
    document = {"same": "1", "new": {"deep": [1, None, "ü"]}, "told": {"value": "v", "description": "why"}}
    assert variables(environment, document) == {
        "created": ["new", "told"],
        "changed": [],
        "same": ["same"],
        "skipped": [],
        "dry_run": False,
    }
    assert values(world, env_name) == {
        "same": "1",
        "other": "kept",
        "untouched": "x",
        "new": json.dumps({"deep": [1, None, "ü"]}, indent=2),
        "told": "v",
    }
    assert state(world, env_name)["told"]["description"] == "why"
    if transport != "cli":  # which does not show whether a description is the same
        again = variables(environment, document)
        assert (again["same"], again["created"], again["changed"]) == (["new", "same", "told"], [], [])


@pytest.mark.parametrize(("env_name", "transport"), [way for way in WAYS if way[1] != "cli"])
def test_a_description_that_is_not_mentioned_stays(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    put(world, env_name, a="1", b="1", c="1")
    rows = world.airflow(env_name).objects["variables"]
    rows["a"]["description"] = rows["b"]["description"] = "why"
    result = variables(environment, {"a": "2", "b": {"value": "2", "description": ""}, "c": "2"})
    assert result["changed"] == ["a", "b", "c"]
    assert [rows[key]["description"] for key in "abc"] == ["why", "", None]


@pytest.mark.parametrize(("env_name", "transport"), WAYS)
def test_a_dry_run_writes_nothing(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    put(world, env_name, a="1")
    before = state(world, env_name)
    result = variables(environment, {"a": "1", "b": "2"}, dry_run=True)
    assert result == {"created": ["b"], "changed": [], "same": ["a"], "skipped": [], "dry_run": True}
    assert state(world, env_name) == before


def test_conflicts(world: World) -> None:
    environment = world.environment("env3", REST[0])
    put(world, "env3", a="1", b="1")
    with pytest.raises(RemoteConflict, match="variable 'a' already exist with other content"):
        variables(environment, {"a": "2", "b": "1", "c": "1"}, on_conflict="fail")
    assert values(world, "env3") == {"a": "1", "b": "1"}
    result = variables(environment, {"a": "2", "b": "1", "c": "1"}, on_conflict="skip")
    assert (result["created"], result["same"], result["skipped"]) == (["c"], ["b"], ["a"])
    assert values(world, "env3") == {"a": "1", "b": "1", "c": "1"}
    # What already exists with the wanted value is no conflict, so a retry succeeds.
    assert variables(environment, {"b": "1", "c": "1"}, on_conflict="fail")["same"] == ["b", "c"]


def test_five_hundred_variables_take_few_calls_for_reading(world: World) -> None:
    environment = world.environment("env3", "web_session")
    document = {f"key_{n}": f"value {n}" for n in range(500)}
    put(world, "env3", **document)
    variables(environment, {})
    world.calls()
    assert len(variables(environment, document | {"new": "1"})["same"]) == 500
    # Six pages before and after, and one for the new one.
    assert world.calls().count("rest") == 6 + 1 + 6


# -- what it refuses before the first write ------------------------------------------------------------


def test_what_is_masked_is_refused_unless_that_is_accepted(world: World) -> None:
    world.airflow().shows_like_airflow_3 = True
    environment = world.environment("env3", "web_session")
    put(world, "env3", my_secret=SECRET, plain="a *** b", other="1")
    before = state(world, "env3")
    for key in ("my_secret", "plain"):
        with pytest.raises(ValueMasked, match=f"variable '{key}' could not be restored: Airflow masks") as caught:
            variables(environment, {key: "new", "other": "2", "another": "3"})
        assert SECRET not in str(caught.value)
        assert state(world, "env3") == before
    result = variables(environment, {"my_secret": "new", "other": "2"}, overwrite_hidden=True)
    assert result["changed"] == ["my_secret", "other"]
    assert values(world, "env3")["my_secret"] == "new"


def test_an_accepted_loss_is_written_last_and_told(world: World) -> None:
    world.airflow().shows_like_airflow_3 = True
    environment = world.environment("env3", "web_session")
    document = {"a_secret": "new"} | {f"key_{n}": "new" for n in range(9)}
    for path, left in (("*/variables/key_1", ()), ("*/variables/a_secret", ("a_secret",))):
        world.airflow().objects["variables"].clear()
        put(world, "env3", a_secret=SECRET, key_1="old")
        before = state(world, "env3")
        world.fault("rest", "status", status=400, method="PATCH", path=path, times=1)
        with pytest.raises(ImportFailed) as caught:
            variables(environment, document, overwrite_hidden=True)
        assert (caught.value.left, caught.value.restored) == (left, not left)
        assert state(world, "env3") == before  # here the fault occurred before the write
        assert pickle.loads(pickle.dumps(caught.value)).left == left


def test_a_number_is_put_back_with_its_own_digits(world: World) -> None:
    """Airflow 3's REST API shows 2.10 as 2.1, so the CLI is used, and if it is not available, the import is refused."""
    world.airflow().shows_like_airflow_3 = True
    environment = world.environment("env3", "web_session")
    put(world, "env3", version="2.10", whole="7", nested='{"a": 1.5}')
    before = state(world, "env3")
    world.fault("rest", "status", status=400, method="POST", times=1)
    with pytest.raises(ImportFailed) as caught:
        variables(environment, {"version": "3.10", "whole": "8", "nested": "9", "z": "new"})
    assert caught.value.restored
    assert state(world, "env3") == before
    # The two cannot be distinguished; equal numbers count as the same.
    assert variables(environment, {"version": "2.1", "whole": "7"})["changed"] == []
    world.deny("CreateCliToken")
    environment = world.environment("env3", "web_session")
    with pytest.raises(ValueMasked, match=r"'version'.*the CLI cannot be used"):
        variables(environment, {"version": "3.10"})
    assert variables(environment, {"version": "3.10"}, overwrite_hidden=True)["changed"] == ["version"]
    assert values(world, "env3")["version"] == "3.10"


@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_the_cli_overwrites_only_when_the_description_may_be_lost(world: World, env_name: str) -> None:
    environment = world.environment(env_name, "cli")
    put(world, env_name, a="1")
    with pytest.raises(ValueMasked, match="the CLI does not show its description"):
        variables(environment, {"a": "2", "b": "1"})
    assert values(world, env_name) == {"a": "1"}
    assert variables(environment, {"a": "2", "b": "1"}, overwrite_hidden=True)["changed"] == ["a"]
    with pytest.raises(UnsendableCommand, match="'--'"):
        variables(environment, {"c": "1", "d": "--"})
    assert "c" not in values(world, env_name)


@pytest.mark.parametrize("nouns", ["connections", "pools"])
def test_what_has_no_commands_is_refused(world: World, nouns: str) -> None:
    kind = KINDS[nouns](world.environment("env3", "cli"))
    document = {"connections": {"db": {"conn_type": "postgres"}}, "pools": {"p": {"slots": 1}}}[nouns]
    with pytest.raises(UnsupportedByTransport):
        import_stored(kind, kind.parse(document))
    with pytest.raises(UnsupportedByTransport):
        export_stored(kind)
    assert world.airflow().commands == []


# -- connections and pools -----------------------------------------------------------------------------

DB = {"conn_type": "postgres", "host": "h", "login": "l", "port": 5432, "extra": '{"sslmode": "require"}'}


@pytest.mark.parametrize(("env_name", "transport"), [way for way in WAYS if way[1] != "cli"])
def test_connections(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    kind = StoredConnections(environment)
    document = {"db": {**DB, "password": SECRET}, "web": "http://user:pw@example.com/x?a=1"}
    assert import_stored(kind, kind.parse(document)).created == ("db", "web")
    stored = world.airflow(env_name).objects["connections"]
    assert (stored["db"]["password"], stored["web"]["password"]) == (SECRET, "pw")
    # An export contains no passwords, and importing it does not touch them.
    exported, hidden = export_stored(kind)
    assert hidden == []
    assert SECRET not in json.dumps(exported)
    assert import_stored(kind, kind.parse(exported)).same == ("db", "web")
    exported["db"]["host"] = "other"
    assert import_stored(kind, kind.parse(exported)).changed == ("db",)
    assert (stored["db"]["host"], stored["db"]["password"]) == ("other", SECRET)


@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_a_password_that_could_not_be_put_back(world: World, env_name: str) -> None:
    environment = world.environment(env_name, "web_session")
    environment.connections.set(Connection("db", "postgres", host="h", password="old"))
    kind = StoredConnections(environment)
    before = copy.deepcopy(world.airflow(env_name).objects["connections"])
    document = {"db": {**DB, "password": SECRET}, "other": DB}
    with pytest.raises(ValueMasked, match=r"connection 'db'.*does not show the password.*overwrite_hidden") as caught:
        import_stored(kind, kind.parse(document))
    assert SECRET not in str(caught.value)
    assert world.airflow(env_name).objects["connections"] == before
    world.fault("rest", "status", status=400, path="*/connections/db", method="PATCH", times=1)
    with pytest.raises(ImportFailed) as failed:
        import_stored(kind, kind.parse(document), overwrite_hidden=True)
    assert failed.value.left == ("db",)
    assert "other" not in world.airflow(env_name).objects["connections"]
    assert import_stored(kind, kind.parse(document), overwrite_hidden=True).changed == ("db",)


@pytest.mark.parametrize(("env_name", "transport"), [way for way in WAYS if way[1] != "cli"])
def test_connections_are_put_back(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    environment.connections.set(Connection("db", "postgres", host="h", password="old", extra='{"a": 1}'))
    before = state(world, env_name, "connections")
    kind, time = StoredConnections(environment), FakeTime()
    world.fault(TARGETS[transport], "status", status=400, path="*/connections", method="POST", times=1)
    with pytest.raises(ImportFailed) as caught:
        import_stored(kind, kind.parse({"db": DB, "web": DB}), sleep=time.sleep, clock=time.clock)
    assert caught.value.restored
    assert state(world, env_name, "connections") == before


@pytest.mark.parametrize(("env_name", "transport"), [way for way in WAYS if way[1] != "cli"])
def test_pools(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    environment.pools.set(Pool("p", 3, "mine", include_deferred=True))
    kind, time = StoredPools(environment), FakeTime()
    before = export_stored(kind)[0]
    world.fault(TARGETS[transport], "status", status=400, path="*/pools", method="POST", times=1)
    with pytest.raises(ImportFailed) as caught:
        import_stored(kind, kind.parse({"p": {"slots": 4}, "q": {"slots": 0}}), sleep=time.sleep, clock=time.clock)
    assert caught.value.restored
    assert export_stored(kind)[0] == before == {"p": {"slots": 3, "description": "mine", "include_deferred": True}}
    assert import_stored(kind, kind.parse({"p": {"slots": 4}, "q": {"slots": 0}})).as_dict() == {
        "created": ["q"],
        "changed": ["p"],
        "same": [],
        "skipped": [],
        "dry_run": False,
    }


def test_airflow_2_cannot_show_a_pool_without_end(world: World) -> None:
    for env_name, is_taken in (("env2", False), ("env3", True)):
        kind = StoredPools(world.environment(env_name, "web_session"))
        wanted = kind.parse({"a": {"slots": 1}, "p": {"slots": -1}})
        if is_taken:
            assert import_stored(kind, wanted).created == ("a", "p")
            continue
        with pytest.raises(MwaaInputError, match="'p': with -1 slots Airflow 2's REST API cannot read"):
            import_stored(kind, wanted)
        assert world.airflow(env_name).objects["pools"] == {}


def test_the_default_pool_keeps_its_description(world: World) -> None:
    environment = world.environment("env3", "web_session")
    default = {"name": "default_pool", "slots": 128, "description": "Default pool", "include_deferred": False}
    world.airflow().objects["pools"]["default_pool"] = default
    kind = StoredPools(environment)
    assert import_stored(kind, kind.parse({"default_pool": {"slots": 64}})).changed == ("default_pool",)
    with pytest.raises(MwaaInputError, match="does not allow changing its description"):
        import_stored(kind, kind.parse({"a": {"slots": 1}, "default_pool": {"slots": 64, "description": "x"}}))
    assert "a" not in world.airflow().objects["pools"]


# -- exports -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("env_name", "transport"), WAYS)
def test_an_export_comes_back_as_it_was(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    put(
        world,
        env_name,
        text="a",
        number="7",
        version="2.10",
        nested='{\n  "a": 1\n}',
        compact='{"a":1}',
        quoted='"x"',
        empty="",
        null="null",
        described='{"value": 1}',
    )
    before = values(world, env_name)
    exported, _ = export_stored(StoredVariables(environment))
    assert exported["number"] == 7
    world.airflow(env_name).objects["variables"].clear()
    variables(environment, json.loads(json.dumps(exported)))
    seen = values(world, env_name)
    if env_name == "env3" and transport != "cli":  # where JSON loses its spacing anyway
        assert json.loads(seen["compact"]) == json.loads(before["compact"])
        assert json.loads(seen["described"]) == json.loads(before["described"])
        seen |= {"compact": before["compact"], "described": before["described"]}
    assert seen == before


def test_an_export_says_what_is_masked(world: World) -> None:
    world.airflow().shows_like_airflow_3 = True
    environment = world.environment("env3", "web_session")
    put(world, "env3", my_secret=SECRET, plain="1")
    with pytest.raises(ValueMasked, match="masks variable 'my_secret'"):
        export_stored(StoredVariables(environment))
    assert export_stored(StoredVariables(environment), leave_out_hidden=True) == ({"plain": 1}, ["my_secret"])
