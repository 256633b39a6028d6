# SPDX-License-Identifier: Apache-2.0
"""REST API and CLI are the same to what is above them: same calls, same parameters, a refusal where one can't."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.backend import Backend
from airflow_mwaa_provider.client.cli.airflow_cli import AirflowCli
from airflow_mwaa_provider.client.cli.endpoint import CliEndpoint
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.client.models import Connection, DagRunState, Pool
from airflow_mwaa_provider.client.rest.airflow_api import AirflowApi
from airflow_mwaa_provider.exceptions import UnsupportedByTransport

if TYPE_CHECKING:
    from tests.client.world import World

METHODS = {name: call for name, call in vars(Backend).items() if inspect.isfunction(call) and not name.startswith("_")}


@pytest.mark.parametrize("kind", [AirflowApi, AirflowCli])
def test_both_take_what_the_protocol_promises(kind: type) -> None:
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
        # What AirflowApi inherits beside them checks answers of the REST API.
        assert public - {"request_fields", "checked", "rows_of"} == METHODS.keys()


REFUSED_BY_THE_CLI: dict[str, tuple[Any, ...]] = {
    "set_run_state": ("etl", "run_1", DagRunState.FAILED),
    "clear_run": ("etl", "run_1"),
    "clear_tasks": ("etl", "run_1"),
    "last_runs": (["etl"],),
    "delete_role": ("dag-etl",),
    "get_xcom": ("etl", "run_1", "load", "return_value"),
    "get_connection": ("db",),
    "list_connections": (),
    "set_connection": (Connection("db", "postgres"),),
    "get_pool": ("pool",),
    "list_pools": (),
    "set_pool": (Pool("pool", 1),),
    "delete_pool": ("pool",),
    "request": ("GET", "/dags"),
}


@pytest.mark.parametrize("name", REFUSED_BY_THE_CLI)
def test_what_has_no_command_is_refused_and_nothing_is_sent(world: World, name: str) -> None:
    endpoint = CliEndpoint(world.control_plane(), "env3", settings=WebServerSettings(ca_bundle=world.ca))
    backend: Backend = AirflowCli(endpoint, "env3", 3)
    with pytest.raises(UnsupportedByTransport, match=r"'env3': .* cannot go through MWAA's CLI endpoint"):
        getattr(backend, name)(*REFUSED_BY_THE_CLI[name])
    assert world.calls() == []
