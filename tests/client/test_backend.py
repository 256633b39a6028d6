# SPDX-License-Identifier: Apache-2.0
"""REST API and CLI have the same interface: same calls, same parameters, and an error if one cannot do something."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.backend import Backend
from airflow_mwaa_provider.client.cli.airflow_cli import AirflowCli
from airflow_mwaa_provider.client.cli.endpoint import CliEndpoint
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.client.models import (
    Connection,
    DagRunState,
    Pool,
    RestRequest,
    Role,
    RunRequest,
    TasksToClear,
    Variable,
)
from airflow_mwaa_provider.client.rest.airflow_api import AirflowApi
from airflow_mwaa_provider.client.rest.transports import WebSessionTransport
from airflow_mwaa_provider.exceptions import UnsupportedByTransport

if TYPE_CHECKING:
    from tests.client.world import World

METHODS = {name: call for name, call in vars(Backend).items() if inspect.isfunction(call) and not name.startswith("_")}


@pytest.mark.parametrize("kind", [AirflowApi, AirflowCli])
def test_both_take_the_parameters_of_the_base(kind: type) -> None:
    assert "create_run" in METHODS
    for name, promised in METHODS.items():
        expected, found = inspect.signature(promised).parameters, inspect.signature(getattr(kind, name)).parameters
        for parameter in expected.values():
            taken = found[parameter.name]
            assert (taken.kind, taken.default) == (parameter.kind, parameter.default), f"{kind.__name__}.{name}"
        for extra in found.keys() - expected.keys():
            assert found[extra].default is not inspect.Parameter.empty, f"{kind.__name__}.{name}: {extra}"


def test_neither_has_a_call_that_the_other_lacks() -> None:
    for kind in (AirflowApi, AirflowCli):
        public = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
        # The rest that AirflowApi inherits checks answers of the REST API.
        assert public - {"request_fields", "checked", "list_in", "rows_of"} == METHODS.keys()


REFUSED_BY_THE_CLI: dict[str, str] = {
    "set_run_state": "marking a run",
    "clear_run": "clearing a run",
    "clear_tasks": "clearing tasks",
    "last_runs": "the last run of each DAG",
    "delete_role": "deleting a role",
    "get_xcom": "get_xcom",
    "get_task_log": "the log of a task",
    "get_connection": "connections.get",
    "list_connections": "connections.list",
    "set_connection": "connections.set",
    "create_connection": "connections.create",
    "get_pool": "pools.get",
    "list_pools": "pools.list",
    "set_pool": "pools.set",
    "create_pool": "pools.create",
    "delete_pool": "pools.delete",
    "request": "the REST call GET /dags",
}
REFUSED: dict[type[Backend], dict[str, str]] = {AirflowApi: {}, AirflowCli: REFUSED_BY_THE_CLI}
CARRIERS: dict[type[Backend], str] = {AirflowApi: "Airflow's REST API", AirflowCli: "MWAA's CLI endpoint"}
VALUES: dict[str, Any] = {
    "connection": Connection("db", "postgres"),
    "dag_ids": ["etl"],
    "limit": 1,
    "map_index": -1,
    "pairs": [("etl", "run_1")],
    "pool": Pool("pool", 1),
    "request": RunRequest(),
    "role": Role("dag-etl"),
    "selection": TasksToClear(),
    "since": datetime(2026, 1, 1, tzinfo=UTC),
    "state": DagRunState.FAILED,
    "dry_run": False,
    "try_number": 1,
    "variable": Variable("key", "value"),
    "was": None,
}
"""For each required parameter that is not a string."""


def call(backend: Backend, name: str, of: type[Backend]) -> None:
    """Call a method with the signature that ``of`` has, with a value for each required parameter."""
    method, values = getattr(of, name), VALUES
    if name == "request":
        values = {"request": RestRequest("GET", "/dags")}
    required = [each for each in inspect.signature(method).parameters.values() if each.default is each.empty][1:]
    method(backend, **{each.name: values.get(each.name, f"a_{each.name}") for each in required})


def backend_of(kind: type[Backend], world: World) -> Backend:
    control_plane, settings = world.control_plane(), WebServerSettings(ca_bundle=world.ca)
    if kind is AirflowCli:
        return AirflowCli(CliEndpoint(control_plane, "env3", settings=settings), "env3", 3)
    return AirflowApi(WebSessionTransport(control_plane, "env3", settings=settings), "env3", 3)


@pytest.mark.parametrize("kind", [AirflowApi, AirflowCli])
def test_each_call_is_carried_out_or_refused_by_its_name_and_nothing_is_sent(world: World, kind: type[Backend]) -> None:
    assert {name for name, method in METHODS.items() if getattr(kind, name) is method} == REFUSED[kind].keys()
    backend = backend_of(kind, world)
    for name, subject in REFUSED[kind].items():
        expected = f"'env3': {re.escape(subject)} cannot go through {re.escape(CARRIERS[kind])}. "
        with pytest.raises(UnsupportedByTransport, match=expected):
            call(backend, name, kind)
    assert world.calls() == []


@pytest.mark.parametrize("kind", [AirflowApi, AirflowCli])
def test_every_call_has_a_default_that_refuses_it(world: World, kind: type[Backend]) -> None:
    backend, subjects = backend_of(kind, world), set()
    for name in METHODS:
        with pytest.raises(UnsupportedByTransport) as caught:
            call(backend, name, Backend)
        subject, cannot, _ = str(caught.value).partition(f" cannot go through {CARRIERS[kind]}. ")
        assert cannot, name
        subjects.add(subject)
    assert len(subjects) == len(METHODS)
    assert world.calls() == []


@pytest.mark.parametrize(
    ("method", "path", "is_mutating"),
    [
        ("GET", "/dags", False),
        ("HEAD", "/dags", False),
        ("POST", "/dags/~/dagRuns/list", False),
        ("POST", "/dags/etl/dagRuns", True),
        ("PUT", "/dags/list", True),
        ("PATCH", "/dags/list", True),
        ("DELETE", "/dags/etl", True),
    ],
)
def test_a_request_knows_whether_it_changes_anything(method: str, path: str, is_mutating: bool) -> None:
    assert RestRequest(method, path).is_mutating is is_mutating


def test_a_request_shows_none_of_its_values() -> None:
    request = RestRequest("PATCH", "/variables/a", params={"x": "in-params"}, json={"value": "in-json"})
    for shown in (repr(request), str(request), f"{[request]}"):
        assert "in-params" not in shown
        assert "in-json" not in shown
    assert str(request) == "PATCH /variables/a"


@pytest.mark.parametrize("kind", [AirflowApi, AirflowCli])
def test_every_call_is_documented(kind: type) -> None:
    for name in METHODS:
        assert inspect.getdoc(getattr(kind, name)), f"{kind.__name__}.{name}"
