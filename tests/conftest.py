# SPDX-License-Identifier: Apache-2.0
"""What all tests share: their own folder and Airflow home, created before anything imports Airflow."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from scripts.lib import canary
from tests import leftovers, seeds

# Collecting thousands of tests, and importing what they test, creates permanent objects: garbage collection would take
# a third of the CPU time.
gc.disable()

# Tests do not measure how long an example takes, because the machine may have other work.
hypothesis.settings.register_profile(
    "untimed", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

# Airflow reads its configuration when it is imported; a contributor's own must not affect the tests, nor may the tests
# reach their AWS account. Everything that the tests connect to is on this machine, which a proxy cannot reach.
for name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AWS_")) or name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home.", dir=leftovers.begin())
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
# A trigger waits for Airflow to notice the end of the process that deferred; here there is no such process.
os.environ["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"] = "-1"


def pytest_configure() -> None:
    # Before pytest-xdist starts processes, which inherit them.
    seeds.of_the_day()
    canary.value()


def pytest_collection_finish() -> None:
    gc.enable()


_MASKERS = (
    "airflow.utils.log.secrets_masker",
    "airflow._shared.secrets_masker.secrets_masker",
    "airflow.sdk._shared.secrets_masker.secrets_masker",
    "airflow.sdk.execution_time.secrets_masker",
)


@pytest.fixture(autouse=True)
def _masks_of_its_own() -> Iterator[None]:
    """What a test's connections make Airflow mask, such as a one-letter password, is not masked in the next test."""
    yield
    for name in _MASKERS:
        masker = vars(sys.modules.get(name, object)).get("_secrets_masker")  # getattr would warn about old locations
        if masker is not None and masker().patterns:
            masker().patterns.clear()
            masker().replacer = None


@pytest.fixture(scope="session", autouse=True)
def _no_secret_in_clear() -> Iterator[None]:
    """Everything that this run left in its folder, and in the default folder of the secrets caches."""
    yield
    canary.check(os.environ[leftovers.FOLDER], f"/dev/shm/airflow-mwaa-secrets-{os.geteuid()}")


def pytest_report_header() -> str:
    return seeds.line()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(seeds.line())
