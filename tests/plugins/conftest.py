# SPDX-License-Identifier: Apache-2.0
"""The logs of the plugins, and their options."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from airflow_mwaa_provider.secrets.store import default_parent, environment_keys
from scripts.lib import canary

if TYPE_CHECKING:
    from tests.secrets.conftest import SecretsService

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What the plugins logged. Each line is logged once per process, so no two tests may expect the same."""
    caplog.set_level(logging.INFO)
    return lambda: [r.getMessage() for r in caplog.records if r.name == "airflow_mwaa_provider.plugins.options"]


@pytest.fixture
def is_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the scheduler."""
    monkeypatch.setattr("sys.argv", ["airflow", "scheduler"])


@pytest.fixture(scope="session")
def running_service() -> Iterator[SecretsService]:
    from tests.secrets.conftest import SecretsService  # moto, which most tests here do not need

    service = SecretsService()
    yield service
    service.stop()


@pytest.fixture
def secrets(running_service: SecretsService, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretsService]:
    """Secrets Manager, and a container with its own cache."""
    variables = {
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "AWS_ACCESS_KEY_ID": "AKIA0",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": running_service.url,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    running_service.fault = None
    running_service.put("db", json.dumps({"password": canary.value(), "port": 5432, "on": True, "none": None}))
    running_service.put("plain", f"{canary.value()}-plain")
    running_service.calls.clear()
    yield running_service
    keys = environment_keys()
    assert keys is not None
    shutil.rmtree(Path(default_parent()) / keys.folder_name, ignore_errors=True)
