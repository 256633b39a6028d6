# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the client's tests: one local MWAA for all of them, cleared before each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from airflow_mwaa_provider.local.aws.tls import CertificateAuthority
from tests.botocore_data import _botocore_data
from tests.client.failure import HUSH
from tests.client.world import SECRET, World

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["_botocore_data"]


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(CertificateAuthority.load_or_create(tmp_path_factory.mktemp("ca")))
    yield world
    world.stop()


@pytest.fixture
def world(_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    _world.clear()
    return _world


@pytest.fixture
def no_secret_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, logger="airflow_mwaa_provider.client")
    yield
    text = "\n".join(record.getMessage() for record in caplog.records if "client" in record.name)
    for secret in (HUSH, SECRET, "secret-session", *world.issued):
        assert secret not in text
