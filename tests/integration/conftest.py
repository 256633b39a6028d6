# SPDX-License-Identifier: Apache-2.0
"""One local MWAA for the whole run, with an environment for every interpreter that scripts/test hands over."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.airflow import interpreter
from airflow_mwaa_provider.local.daemon import EnvironmentRequest
from tests.integration.world import World

DAG_FOLDERS = (Path(__file__).parent / "dags", Path(__file__).resolve().parents[2] / "example_dags")


def interpreters() -> dict[str, str]:
    """Airflow version -> interpreter: the oldest and the newest of those handed over, else the running one."""
    given = dict(entry.split("=", 1) for entry in os.environ.get("AIRFLOW_MWAA_TEST_PYTHONS", "").split())
    if not given:
        return {str(interpreter.inspect(sys.executable).airflow_version): sys.executable}
    ordered = sorted(given, key=lambda version: tuple(map(int, version.split("."))))
    chosen = [ordered[0], ordered[-1]] if ordered[0].split(".")[0] != ordered[-1].split(".")[0] else [ordered[-1]]
    if "2.10.3" in given and len(chosen) == 2:
        chosen[0] = "2.10.3"
    return {version: given[version] for version in chosen}


def environment_name(version: str) -> str:
    """Environment names take no dots: ``airflow-2-10-3``."""
    return f"airflow-{version.replace('.', '-')}"


ENVIRONMENTS = {environment_name(version): python for version, python in interpreters().items()}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(pytest.mark.airflow)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The running local MWAA. AIRFLOW_MWAA_TEST_FOLDER names one that runs already and is left alone."""
    given = os.environ.get("AIRFLOW_MWAA_TEST_FOLDER")
    if given:
        yield World(Path(given))
        return
    folder = Path(tempfile.mkdtemp(prefix="mwaa-"))
    dags = folder / "dags"
    for source in DAG_FOLDERS:
        shutil.copytree(source, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    requests = [EnvironmentRequest(name, python, str(dags)) for name, python in ENVIRONMENTS.items()]
    try:
        lifecycle.up(folder / "local", requests)
        yield World(folder / "local")
    finally:
        lifecycle.down(folder / "local", purge=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _undisturbed(world: World) -> Iterator[None]:
    """Every test begins without faults of another."""
    world.admin("DELETE", "faults")
    yield
    world.admin("DELETE", "faults")


@pytest.fixture(params=sorted(ENVIRONMENTS))
def env_name(request: pytest.FixtureRequest) -> str:
    """Each environment in turn."""
    return str(request.param)


@pytest.fixture(params=["rest_api", "web_session", "cli"])
def transport(request: pytest.FixtureRequest, world: World) -> str:
    """Each transport in turn."""
    if request.param == "rest_api" and not world.control_plane().supports_invoke_rest_api:
        pytest.skip("the installed boto3 has no InvokeRestApi")
    return str(request.param)
