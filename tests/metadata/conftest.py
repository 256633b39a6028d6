# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the metadata tests: both servers once a session, and a database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.metadata.lab import TEMPLATE, Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        lab.start_postgres()
        lab.migrate(TEMPLATE)
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def database(lab: Lab) -> str:
    """The name of a database with Airflow's tables, empty."""
    return lab.copy()
