# SPDX-License-Identifier: Apache-2.0
"""Imports and exports of variables, connections and pools, with a real Airflow 2 and a real Airflow 3."""

from __future__ import annotations

import itertools
import json
import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.stored.documents import read_document
from airflow_mwaa_provider.client.stored.kinds import KINDS, StoredKind
from airflow_mwaa_provider.client.transactional_import import export_stored, import_stored
from airflow_mwaa_provider.exceptions import ImportFailed, RemoteNotFound, ValueMasked
from tests.integration.conftest import ENVIRONMENTS, of_environment
from tests.integration.world import World

AWKWARD = 'it\'s "quoted" $HOME `date` \\ %41 ünïcödé 🚀\n second line\ttab'
SECRET = "hunter2 of the tests"


# Both transports send the same calls to the same API; test_transports.py tests each of them on each Airflow.
FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
NAMES = sorted(ENVIRONMENTS)
BOTH = ("rest_api", "web_session")
WAYS = [*itertools.product(NAMES, BOTH)] if FULL else [*zip(NAMES, BOTH, strict=False)]


@pytest.fixture(params=[of_environment(*way) for way in WAYS], ids="-".join)
def environment(request: pytest.FixtureRequest, world: World) -> MwaaEnvironment:
    env_name, way = request.param
    if way == "rest_api" and not world.control_plane().supports_invoke_rest_api:
        pytest.skip("the installed boto3 has no InvokeRestApi")
    return world.environment(env_name, way)


@pytest.fixture
def prefix(environment: MwaaEnvironment) -> Iterator[str]:
    """Prefix of all keys of a test, which are deleted afterwards."""
    made = f"imp-{uuid.uuid4().hex[:8]}-"
    yield made
    for nouns in KINDS:
        kind = KINDS[nouns](environment)
        for key in kind.read():
            if key.startswith(made):
                kind.delete(key)


def documents(prefix: str, environment: MwaaEnvironment) -> dict[str, dict[str, Any]]:
    return {
        "variables": {
            f"{prefix}text": AWKWARD,
            f"{prefix}nested": {"a": [1, None, {"b": 2.5}], "ü": True},
            f"{prefix}number": 7,
            f"{prefix}empty": "",
            f"{prefix}told": {"value": "v", "description": AWKWARD},
        },
        "connections": {
            f"{prefix}db": {
                "conn_type": "postgres",
                "host": "h",
                "login": "l",
                "schema": "s",
                "port": 5432,
                "extra": '{"sslmode": "require", "n": [1, 2]}',
                "description": "d",
            },
            f"{prefix}web": {
                "conn_type": "http",
                "host": "example.com",
                "login": None,
                "schema": None,
                "port": None,
                "extra": None,
                "description": None,
            },
        },
        "pools": {
            f"{prefix}a": {"slots": 3, "description": "ü", "include_deferred": True},
            f"{prefix}b": {
                "slots": 0 if environment.airflow_version.startswith("2.") else -1,
                "description": "",
                "include_deferred": False,
            },
        },
    }


def load(kind: StoredKind[Any], document: dict[str, Any], **how: Any) -> dict[str, Any]:
    return import_stored(kind, kind.parse(read_document(json.dumps(document), kind.nouns)), **how).as_dict()


def exported(kind: StoredKind[Any], prefix: str) -> dict[str, Any]:
    document, _ = export_stored(kind, leave_out_hidden=True)
    return {key: value for key, value in document.items() if key.startswith(prefix)}


@pytest.mark.parametrize("nouns", KINDS)
def test_round_trip(environment: MwaaEnvironment, prefix: str, nouns: str) -> None:
    kind = KINDS[nouns](environment)
    document = documents(prefix, environment)[nouns]
    assert load(kind, document)["created"] == sorted(document)
    first = exported(kind, prefix)
    assert first == document
    assert load(kind, document)["same"] == sorted(document)
    for key in document:
        kind.delete(key)
    assert load(kind, first)["created"] == sorted(document)
    assert exported(kind, prefix) == document


@pytest.mark.parametrize("nouns", KINDS)
def test_a_failure_puts_all_back(world: World, environment: MwaaEnvironment, prefix: str, nouns: str) -> None:
    kind = KINDS[nouns](environment)
    document = documents(prefix, environment)[nouns]
    old = list(document)[:1]
    load(kind, {key: document[key] for key in old})
    before = exported(kind, prefix)
    changed = json.loads(json.dumps(document))
    for key in old:
        changed[key] = {"variables": "other", "connections": {"conn_type": "http"}, "pools": {"slots": 9}}[nouns]
    target = "invoke_rest_api" if environment.transport == "rest_api" else "rest"
    # The last one to be created; changes are written with it or before.
    world.fault(
        target=target,
        kind="status",
        status=400,
        method="POST",
        path=f"*/{nouns}",
        environment=environment.name,
        times=1,
    )
    with pytest.raises(ImportFailed) as caught:
        load(kind, changed)
    assert caught.value.restored
    assert exported(kind, prefix) == before


def test_what_a_document_does_not_mention_stays(environment: MwaaEnvironment, prefix: str) -> None:
    variables = KINDS["variables"](environment)
    load(variables, {f"{prefix}a": {"value": "1", "description": "why"}, f"{prefix}b": "1"})
    load(variables, {f"{prefix}a": "2", f"{prefix}b": "2"})
    seen = variables.read([f"{prefix}a", f"{prefix}b"])
    assert [(item.value, item.description) for item in seen.values()] == [("2", "why"), ("2", None)]


def test_passwords_stay_and_are_not_overwritten_unasked(
    world: World, environment: MwaaEnvironment, prefix: str
) -> None:
    connections = KINDS["connections"](environment)
    key = f"{prefix}db"
    load(connections, {key: {"conn_type": "http", "host": "h", "password": SECRET}})
    load(connections, {key: {"conn_type": "http", "host": "other"}})
    if environment.airflow_version.startswith("3."):  # which shows that one exists
        row = environment.request("GET", f"/connections/{key}")
        assert (row["host"], row["password"]) == ("other", "***")
    with pytest.raises(ValueMasked, match="does not show the password"):
        load(connections, {key: {"conn_type": "http", "password": "another"}})
    assert load(connections, {key: {"conn_type": "http", "password": "x"}}, overwrite_hidden=True)["changed"] == [key]


def test_masked_variables(environment: MwaaEnvironment, prefix: str) -> None:
    variables = KINDS["variables"](environment)
    key = f"{prefix}api_key"
    load(variables, {key: SECRET})
    if environment.airflow_version.startswith("2."):  # which masks none
        assert load(variables, {key: "other"})["changed"] == [key]
        return
    with pytest.raises(ValueMasked, match=key) as caught:
        load(variables, {key: "other", f"{prefix}b": "1"})
    assert SECRET not in str(caught.value)
    with pytest.raises(RemoteNotFound):
        environment.variables.get(f"{prefix}b")


def test_the_default_pool(environment: MwaaEnvironment) -> None:
    pools = KINDS["pools"](environment)
    default = pools.document(pools.read(["default_pool"]).values())
    changed = {"default_pool": {**default["default_pool"], "slots": 99}}
    assert load(pools, changed)["changed"] == ["default_pool"]
    assert load(pools, default)["changed"] == ["default_pool"]
    assert load(pools, default)["same"] == ["default_pool"]


def test_a_version_number_is_put_back_with_its_digits(world: World, environment: MwaaEnvironment, prefix: str) -> None:
    variables = KINDS["variables"](environment)
    key = f"{prefix}version"
    load(variables, {key: "2.10"})
    target = "invoke_rest_api" if environment.transport == "rest_api" else "rest"
    world.fault(
        target=target,
        kind="status",
        status=400,
        method="POST",
        environment=environment.name,
        times=1,
        path="*/variables",
    )
    with pytest.raises(ImportFailed):
        load(variables, {key: "3.10", f"{prefix}new": "1"})
    assert world.environment(environment.name, "cli").variables.get(key).value == "2.10"


@pytest.mark.parametrize("ours", [True, False])
def test_a_masked_variable_after_a_lost_answer(
    world: World, environment: MwaaEnvironment, prefix: str, ours: bool
) -> None:
    """Values that Airflow 3 masks are read through the CLI, to determine who created them."""
    variables = KINDS["variables"](environment)
    key = f"{prefix}api_key"
    write = variables.write

    def write_and_lose_the_answer(item: Any, there: Any) -> None:
        if not ours:
            world.environment(environment.name, "web_session").variables.create(key, "somebody else's")
        lose_an_answer(world, environment, "variables", took_effect=ours)
        write(item, there)

    variables.write = write_and_lose_the_answer  # type: ignore[method-assign]
    if ours:
        assert load(variables, {key: SECRET})["created"] == [key]
    else:
        with pytest.raises(ImportFailed, match="everything is as before") as caught:
            load(variables, {key: SECRET})
        assert caught.value.restored
    stored = world.environment(environment.name, "cli").variables.get(key).value
    assert stored == (SECRET if ours else "somebody else's")


def test_a_password_after_a_lost_answer(world: World, environment: MwaaEnvironment, prefix: str) -> None:
    """It is never shown, so nothing is claimed; the existing object is kept and named."""
    connections = KINDS["connections"](environment)
    key = f"{prefix}db"
    connections.read([])  # chooses the transport
    lose_an_answer(world, environment, "connections", took_effect=True)
    with pytest.raises(ImportFailed, match=r"is unknown .Airflow does not show its password") as caught:
        load(connections, {key: {"conn_type": "http", "host": "h", "password": SECRET}})
    assert (caught.value.left, caught.value.restored) == ((key,), False)
    shows = environment.airflow_version.startswith("3.")
    assert environment.connections.get(key).has_password is (True if shows else None)
    environment.connections.delete(key)
    # Airflow 3 shows that none is set; Airflow 2 does not even show that.
    lose_an_answer(world, environment, "connections", took_effect=True)
    if shows:
        assert load(connections, {key: {"conn_type": "http", "host": "h"}})["created"] == [key]
        return
    with pytest.raises(ImportFailed, match=r"is unknown .Airflow does not show its password"):
        load(connections, {key: {"conn_type": "http", "host": "h"}})


def lose_an_answer(world: World, environment: MwaaEnvironment, nouns: str, *, took_effect: bool) -> None:
    target = "invoke_rest_api" if environment.transport == "rest_api" else "rest"
    time.sleep(1.0)  # otherwise InvokeRestApi may throttle the call whose answer is lost, so that it has no effect
    world.fault(
        target=target,
        kind="reset_after" if took_effect else "reset_before",
        method="POST",
        path=f"*/{nouns}",
        environment=environment.name,
        times=1,
    )


def test_many(environment: MwaaEnvironment, prefix: str) -> None:
    variables = KINDS["variables"](environment)
    document = {f"{prefix}{n:03}": f"value {n}" for n in range(40)}
    assert len(load(variables, document)["created"]) == 40
    assert len(load(variables, document)["same"]) == 40
