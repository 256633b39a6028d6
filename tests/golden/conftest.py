# SPDX-License-Identifier: Apache-2.0
"""The local MWAA with stub Airflows, as for the operators' tests, and the metadata tests' PostgreSQL and S3."""

from __future__ import annotations

from tests.botocore_data import _botocore_data
from tests.client.conftest import _world, world
from tests.hooks.conftest import _no_aws_of_the_machine, connection, looks_soon
from tests.metadata.conftest import bucket, database, lab

__all__ = [
    "_botocore_data", "_no_aws_of_the_machine", "_world", "bucket", "connection", "database", "lab", "looks_soon",
    "world",
]  # fmt: skip
