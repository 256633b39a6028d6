# SPDX-License-Identifier: Apache-2.0
"""The local MWAA with stub Airflows, as for the client's tests, reached through a connection."""

from __future__ import annotations

from tests.botocore_data import _botocore_data
from tests.client.conftest import _world, world
from tests.hooks.conftest import connection, looks_soon

__all__ = ["_botocore_data", "_world", "connection", "looks_soon", "world"]
