# SPDX-License-Identifier: Apache-2.0
"""A run from the body of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mwaa_provider.operators.trigger_and_wait import trigger_and_wait
from tests.client.world import HAS_INVOKE_REST_API

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World


@pytest.mark.skipif(not HAS_INVOKE_REST_API, reason="the botocore of that image knows no InvokeRestApi")
def test_a_role_that_may_not_ask_for_the_address_gets_the_result_without_it(
    world: World, connection: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    world.do(world.airflow().create, "etl", "mine")
    world.do(world.airflow().end, "etl", "mine")
    world.deny("GetEnvironment", "CreateWebLoginToken", "CreateCliToken")
    result = trigger_and_wait("env3", "etl", run_id="mine", transport="rest_api", aws_conn_id=connection())
    assert (result["state"], result["url"]) == ("success", "")
    assert "The task has no link to the run" in caplog.text
