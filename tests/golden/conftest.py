# SPDX-License-Identifier: Apache-2.0
"""The local MWAA with stub Airflows, as for the operators' tests, and the metadata tests' PostgreSQL and S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.botocore_data import _botocore_data
from tests.client.conftest import _world, world
from tests.golden import databases
from tests.hooks.conftest import _no_aws_of_the_machine, connection, looks_soon
from tests.metadata.conftest import bucket, database, lab

if TYPE_CHECKING:
    from tests.metadata.lab import Lab

__all__ = [
    "_botocore_data", "_no_aws_of_the_machine", "_world", "bucket", "connection", "database", "lab", "looks_soon",
    "world",
]  # fmt: skip


@pytest.fixture(scope="session")
def unchanged(lab: Lab) -> str:
    """Return the name of the golden files' database, which no test may change, because copying it takes long."""
    name = lab.copy()
    databases.fill(lab, name)
    return name


@pytest.fixture
def filled(lab: Lab, database: str) -> str:
    """Return the name of a copy for a test that changes it."""
    databases.fill(lab, database)
    return database
