# SPDX-License-Identifier: Apache-2.0
"""One local MWAA for the whole run, with an environment for each interpreter that the selected tests use."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.local.airflow import interpreter
from airflow_mwaa_provider.operators.roles import MwaaDagRoleOperator
from tests.deferral import context
from tests.integration.world import World, environment_name, interpreters, started


def chosen() -> dict[str, str]:
    """Of more than two interpreters, return the newest, and 2.10.3 or the oldest of the previous generation."""
    given = interpreters()
    if len(given) <= 2:
        return given
    oldest, *_, newest = given
    versions = [newest] if interpreter.release_of(oldest)[0] == interpreter.release_of(newest)[0] else [oldest, newest]
    if "2.10.3" in given and len(versions) == 2:
        versions[0] = "2.10.3"
    return {version: given[version] for version in versions}


CHOSEN = chosen()
ENVIRONMENTS = {environment_name(version): python for version, python in CHOSEN.items()}
OLDER = list(ENVIRONMENTS)[:-1]
"""The environment of the older Airflow, if there are two."""


def of_environment(env_name: str, *more: Any) -> Any:
    """Return a parameter for tests that use one environment, so that they can run without the other."""
    return pytest.param((env_name, *more) if more else env_name, marks=[pytest.mark.older] if env_name in OLDER else [])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(pytest.mark.airflow)
            if (Path(__file__).parent / "across") in Path(item.fspath).parents:
                item.add_marker(pytest.mark.across)
            item.add_marker(pytest.mark.timeout(900))


def used(items: Sequence[pytest.Item]) -> dict[str, str]:
    """Return the interpreters of the environments that tests use."""
    of_older = {item.get_closest_marker("older") is not None for item in items}
    if len(of_older) > 1 or any(item.get_closest_marker("across") for item in items):
        return CHOSEN
    return {version: python for version, python in CHOSEN.items() if {environment_name(version) in OLDER} == of_older}


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The running local MWAA. AIRFLOW_MWAA_TEST_FOLDER names one that already runs and is kept running."""
    given = os.environ.get("AIRFLOW_MWAA_TEST_FOLDER")
    if given:
        yield World(Path(given))
        return
    with started(used(request.session.items)) as running:
        yield running


@pytest.fixture(autouse=True)
def _undisturbed(world: World) -> Iterator[None]:
    """Remove the faults of earlier tests."""
    world.admin("DELETE", "faults")
    yield
    world.admin("DELETE", "faults")


@pytest.fixture(params=map(of_environment, ENVIRONMENTS))
def env_name(request: pytest.FixtureRequest) -> str:
    """Each environment in turn."""
    return str(request.param)


@pytest.fixture(params=["rest_api", "web_session", "cli"])
def transport(request: pytest.FixtureRequest, world: World) -> str:
    """Each transport in turn."""
    if request.param == "rest_api" and not world.control_plane().supports_invoke_rest_api:
        pytest.skip("the installed boto3 has no InvokeRestApi")
    return str(request.param)


ROLE = 'it\'s "ours" ünïcödé'


@pytest.fixture
def role_name() -> str:
    return f"{ROLE} {uuid.uuid4().hex[:6]}"


@pytest.fixture
def apply(
    world: World, env_name: str, role_name: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Run the operator."""
    keys = {
        "conn_type": "aws",
        "login": world.variables["AWS_ACCESS_KEY_ID"],
        "password": world.variables["AWS_SECRET_ACCESS_KEY"],
        "extra": {"region_name": world.variables["AWS_REGION"]},
    }
    extra = {"aws_conn_id": "keys", "endpoint_url": world.variables["AWS_ENDPOINT_URL"], "ca_bundle": world.ca_bundle}
    monkeypatch.setenv("AIRFLOW_CONN_KEYS", json.dumps(keys))
    monkeypatch.setenv("AIRFLOW_CONN_MWAA", json.dumps({"conn_type": "mwaa", "extra": extra}))
    world.environment(env_name)  # waits for the DAGs

    def run(dag_ids: Any, **more: Any) -> dict[str, Any]:
        ids = {"task_id": "t", "env_name": env_name, "role_name": role_name, "aws_conn_id": "mwaa"}
        result = MwaaDagRoleOperator(**{**ids, "dag_ids": dag_ids, **more}).execute(context())
        assert json.loads(json.dumps(result)) == result
        return dict(result)

    return run
