# SPDX-License-Identifier: Apache-2.0
"""One PostgreSQL and one S3 for all tests of the metadata layer; a database of its own for each test."""

from __future__ import annotations

import pytest

from tests.metadata.lab import TEMPLATE, Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("metadata") / "lab")
    lab.start_postgres()
    try:
        lab.migrate(TEMPLATE)
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def database(lab):
    """Name of an empty metadata database."""
    return lab.copy()


@pytest.fixture
def bucket(lab):
    """Name of an empty bucket."""
    return lab.bucket()
