# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of commands: those of the client tests, and a terminal in front of them."""

from __future__ import annotations

import dataclasses

import pytest

from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from tests.botocore_data import _botocore_data
from tests.cli.terminal import Terminal
from tests.client.conftest import _world, world
from tests.client.world import FakeTime, World
from tests.local.conftest import moto_url

__all__ = ["_botocore_data", "_world", "moto_url", "terminal", "world"]


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the retries of commands take no time."""
    time = FakeTime()
    defaults = [getattr(time.policy(), field.name) for field in dataclasses.fields(RetryPolicy)]
    monkeypatch.setattr(RetryPolicy.__init__, "__defaults__", tuple(defaults))


@pytest.fixture
def terminal(world: World) -> Terminal:
    return Terminal(world)
