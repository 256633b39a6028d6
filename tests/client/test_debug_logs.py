# SPDX-License-Identifier: Apache-2.0
"""With every logger at DEBUG, including botocore's, no sent value and no token is logged."""

from __future__ import annotations

import logging

import pytest

from airflow_mwaa_provider.client.models import Connection
from tests.client.world import TRANSPORTS, World

CANARY = "canary-e4c8"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_no_value_and_no_token_is_logged(
    world: World, caplog: pytest.LogCaptureFixture, env_name: str, transport: str
) -> None:
    caplog.set_level(logging.DEBUG)
    before = logging.getLogger("botocore.parsers").getEffectiveLevel()
    environment = world.environment(env_name, transport)
    environment.variables.set("v", CANARY)
    assert environment.variables.get("v").value == CANARY
    if transport != "cli":
        environment.connections.set(Connection("c", "http", password=CANARY))
    text = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith(("botocore", "airflow_mwaa"))
    )
    assert CANARY not in text
    assert [token for token in world.issued if token in text] == []
    assert logging.getLogger("botocore.parsers").getEffectiveLevel() == before
