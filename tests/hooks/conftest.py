# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the hook's tests: the client's local MWAA, without the machine's AWS settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.triggers import shared_polling
from tests.botocore_data import _botocore_data
from tests.client.conftest import _world, world
from tests.client.world import KEY, REGION, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.client.world import World

__all__ = ["_botocore_data", "_world", "world"]


@pytest.fixture(autouse=True)
def _no_aws_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def looks_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time for which a deferred wait collects others before it polls; other tests cover that."""
    monkeypatch.setattr(shared_polling, "_GATHER_S", 0.01)


@pytest.fixture
def connection(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define connections to the local MWAA; return the ID of the ``mwaa`` one."""

    def make(transport: str | None = None) -> str:
        keys = {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": {"region_name": REGION}}
        extra = {"aws_conn_id": "keys", "endpoint_url": world.url, "ca_bundle": world.ca, "transport": transport}
        monkeypatch.setenv("AIRFLOW_CONN_KEYS", json.dumps(keys))
        monkeypatch.setenv("AIRFLOW_CONN_MWAA", json.dumps({"conn_type": "mwaa", "extra": extra}))
        return "mwaa"

    return make
