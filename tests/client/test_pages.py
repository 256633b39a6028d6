# SPDX-License-Identifier: Apache-2.0
"""An environment with a custom ``[api] maximum_page_limit``: a short page is not the last one.

And what an import cannot see, it neither replaces nor deletes.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.models import Connection, DagRunState, Pool, TaskState
from airflow_mwaa_provider.client.rest.pages import Page, pages
from airflow_mwaa_provider.client.stored.kinds import KINDS, StoredConnections, StoredPools, StoredVariables
from airflow_mwaa_provider.client.transactional_import import export_stored, import_stored
from airflow_mwaa_provider.exceptions import ImportFailed, RemoteConflict, UnexpectedAnswer
from tests.client.imports import REST, put, state, values, variables
from tests.client.stub_airflow import COLLECTIONS
from tests.client.world import FakeTime

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.stub_airflow import StubAirflow
    from tests.client.world import World

LIMITS = [1, 7, 50]


def rows_of(kind: str, count: int) -> dict[str, dict[str, Any]]:
    more = {
        "variables": {"value": "old"},
        "connections": {"conn_type": "http", "host": "old"},
        "pools": {"slots": 1},
    }[kind]
    names = [f"{kind}_{number:03}" for number in range(count)]
    return {name: {COLLECTIONS[kind]: name, "description": "", **more} for name in names}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("kind", COLLECTIONS)
@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_all_is_listed_and_exported(world: World, env_name: str, kind: str, limit: int) -> None:
    environment, airflow = world.environment(env_name, "web_session"), world.airflow(env_name)
    airflow.objects[kind] = rows_of(kind, 80)
    airflow.page_limit = limit
    assert len(getattr(environment, kind).list()) == 80
    document, hidden = export_stored(KINDS[kind](environment))
    assert (sorted(document), hidden) == (sorted(airflow.objects[kind]), [])


@pytest.mark.parametrize("how", [{"on_conflict": "skip"}, {"on_conflict": "fail"}, {}])
@pytest.mark.parametrize("transport", REST)
def test_an_import_sees_what_is_behind_the_first_page(world: World, transport: str, how: dict[str, str]) -> None:
    environment, airflow = world.environment("env3", transport), world.airflow()
    airflow.objects["variables"] = rows_of("variables", 80)
    airflow.page_limit = 50
    before = state(world, "env3")
    if how.get("on_conflict") == "fail":
        with pytest.raises(RemoteConflict, match="'variables_070' already exist with other content"):
            variables(environment, {"variables_070": "new"}, **how)
        assert state(world, "env3") == before
        return
    result = variables(environment, {"variables_070": "new"}, **how)
    if how:
        assert result["skipped"] == ["variables_070"]
        assert state(world, "env3") == before
    else:
        assert result["changed"] == ["variables_070"]
        assert values(world, "env3") == {**dict.fromkeys(before, "old"), "variables_070": "new"}


def hide(airflow: StubAirflow, kind: str, key: str) -> Callable[..., Any]:
    """Omit a row from lists, as in a truncated list, or one that shows only a team's own rows."""
    honest = airflow._object

    def without(method: str, name: str, at: str | None, query: Any, body: Any) -> tuple[int, Any]:
        if name == kind and method == "GET" and at is None:
            known = airflow.objects[kind]
            try:
                airflow.objects[kind] = {other: row for other, row in known.items() if other != key}
                return honest(method, name, at, query, body)
            finally:
                airflow.objects[kind] = known
        return honest(method, name, at, query, body)

    airflow._object = without  # type: ignore[method-assign]
    return honest


@pytest.mark.parametrize("env_name", ["env3", "env2"])
@pytest.mark.parametrize("kind", [StoredVariables, StoredConnections, StoredPools], ids=lambda kind: kind.nouns)
@pytest.mark.parametrize("transport", REST)
def test_what_an_import_cannot_see_stays_as_it_is(world: World, transport: str, kind: Any, env_name: str) -> None:
    environment, airflow = world.environment(env_name, transport), world.airflow(env_name)
    airflow.objects[kind.nouns] = rows_of(kind.nouns, 3)
    before = copy.deepcopy(airflow.objects[kind.nouns])
    unseen = f"{kind.nouns}_001"
    item = {"variables": "new", "connections": {"conn_type": "ftp"}, "pools": {"slots": 5}}[kind.nouns]
    stored, time = kind(environment), FakeTime()
    honest = hide(airflow, kind.nouns, unseen)
    try:
        with pytest.raises(ImportFailed, match="already exists") as caught:
            import_stored(stored, stored.parse({unseen: item, "aaa": item}), sleep=time.sleep, clock=time.clock)
    finally:
        airflow._object = honest  # type: ignore[method-assign]
    assert caught.value.restored
    assert airflow.objects[kind.nouns] == before


def test_what_may_have_been_created_and_is_seen_otherwise_is_not_deleted(world: World) -> None:
    """The answer to the creation is lost, and another client's variable is found."""
    environment, airflow = world.environment("env3", "web_session"), world.airflow()
    world.fault("rest", "reset_before", path="*/variables", method="POST", times=9)
    kind, time = StoredVariables(environment), FakeTime()
    write = kind.write

    def write_late(item: Any, there: Any) -> None:
        try:
            write(item, there)
        finally:
            put(world, "env3", a="somebody else's")

    kind.write = write_late  # type: ignore[method-assign]
    with pytest.raises(ImportFailed) as caught:
        import_stored(kind, kind.parse({"a": "new"}), sleep=time.sleep, clock=time.clock)
    assert caught.value.left == ("a",)
    assert values(world, "env3") == {"a": "somebody else's"}
    airflow.objects["variables"].clear()


@pytest.mark.parametrize("transport", REST)
def test_a_creation_whose_answer_was_lost_is_known_as_ours(world: World, transport: str) -> None:
    environment = world.environment("env3", transport)
    target = {"rest_api": "invoke_rest_api", "web_session": "rest"}[transport]
    world.fault(target, "status_after", status=502, path="*/variables", method="POST", times=1)
    assert variables(environment, {"a": "new"})["created"] == ["a"]
    assert values(world, "env3") == {"a": "new"}
    with pytest.raises(RemoteConflict) as caught:
        environment.variables.create("a", "newer")
    assert not caught.value.ambiguous
    assert values(world, "env3") == {"a": "new"}


def test_connections_and_pools_are_created_once(world: World) -> None:
    environment, airflow = world.environment("env3", "web_session"), world.airflow()
    environment.connections.create(Connection("c", "http"))
    environment.pools.create(Pool("p", 3))
    for create in (
        lambda: environment.connections.create(Connection("c", "ftp")),
        lambda: environment.pools.create(Pool("p", 4)),
    ):
        with pytest.raises(RemoteConflict):
            create()
    assert airflow.objects["connections"]["c"]["conn_type"] == "http"
    assert airflow.objects["pools"]["p"]["slots"] == 3


def test_a_long_key_is_created_through_a_web_session(world: World) -> None:
    """InvokeRestApi accepts no path over 64 characters: an import does not create what it could not delete again."""
    environment = world.environment("env3")
    key = "k" * 80
    environment.variables.create(key, "new")
    assert values(world, "env3") == {key: "new"}
    with pytest.raises(RemoteConflict):
        environment.variables.create(key, "newer")


def test_a_list_that_changes_while_it_is_read_is_read_again(world: World) -> None:
    environment, airflow = world.environment("env3", "web_session"), world.airflow()
    airflow.objects["variables"] = rows_of("variables", 80)
    airflow.page_limit = 50
    honest, deleted = airflow._object, iter(["variables_003"])

    def answer(method: str, name: str, key: str | None, query: Any, body: Any) -> tuple[int, Any]:
        found = honest(method, name, key, query, body)
        airflow.objects["variables"].pop(next(deleted, ""), None)
        return found

    airflow._object = answer  # type: ignore[method-assign]
    found = [variable.key for variable in environment.variables.list()]
    del airflow._object
    assert found == sorted(airflow.objects["variables"])
    assert len(found) == 79


@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_a_row_that_moves_up_out_of_sight_is_not_lost(world: World, env_name: str) -> None:
    """One is deleted and another created between two pages: all counts agree, but a row would be missing."""
    environment, airflow = world.environment(env_name, "web_session"), world.airflow(env_name)
    airflow.objects["variables"] = rows_of("variables", 150)
    honest, changes = airflow._object, iter([True])

    def answer(method: str, name: str, key: str | None, query: Any, body: Any) -> tuple[int, Any]:
        found = honest(method, name, key, query, body)
        if next(changes, False):
            del airflow.objects["variables"]["variables_005"]
            put(world, env_name, new="v")
        return found

    airflow._object = answer  # type: ignore[method-assign]
    found = [variable.key for variable in environment.variables.list()]
    del airflow._object
    assert found == sorted(airflow.objects["variables"])


def test_a_list_that_never_adds_up_is_an_error(world: World) -> None:
    environment, airflow = world.environment("env3", "web_session"), world.airflow()
    airflow.objects["variables"] = rows_of("variables", 3)
    honest = airflow._object

    def answer(*given: Any) -> tuple[int, Any]:
        status, body = honest(*given)
        return status, {**body, "total_entries": 4}

    airflow._object = answer  # type: ignore[method-assign]
    with pytest.raises(UnexpectedAnswer, match="counts 4 variables and listed 3"):
        environment._access.backend(environment._access._candidates()[0]).list_variables()
    del airflow._object


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_runs_are_found_behind_a_short_page(world: World, env_name: str, limit: int) -> None:
    environment, airflow = world.environment(env_name, "web_session"), world.airflow(env_name)
    airflow.page_limit = limit
    ids = [f"run_{number:02}" for number in range(60)]
    for number, run_id in enumerate(ids):
        airflow.create("etl", run_id, date=f"2026-11-01T00:{number:02}:00+00:00")
        airflow.end("etl", run_id)
    pairs = [("etl", run_id) for run_id in (*ids, "none")]
    assert set(environment.get_dag_runs(pairs)) == set(pairs[:-1])
    ended = environment.get_recent_dag_runs("etl", 55, states=[DagRunState.SUCCESS])
    assert [run.run_id for run in ended] == ids[:4:-1]


def test_a_wait_sees_the_failed_task_behind_the_short_page(world: World) -> None:
    environment, airflow = world.environment("env2", "web_session"), world.airflow("env2")
    airflow.page_limit = 50
    airflow.create("etl", "mapped")
    airflow.tasks = [
        {
            "dag_id": "etl", "dag_run_id": "mapped", "task_id": "load", "map_index": number, "try_number": 1,
            "state": "failed" if number == 79 else "success",
        }
        for number in range(80)
    ]  # fmt: skip
    found = environment.get_task_instances("etl", "mapped", task_ids=["load"])
    assert [row.map_index for row in found if row.state is TaskState.FAILED] == [79]


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("size", [1, 3, 5, 6])
def test_pages_end_by_the_total_or_an_empty_page(size: int, counts: bool) -> None:
    rows = list(range(6))
    read = list(pages(lambda offset: Page(rows[offset:][:size], len(rows) if counts else None)))
    assert [row for page in read for row in page.rows] == rows
    assert (not read[-1].rows) is not counts
