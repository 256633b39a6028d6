# SPDX-License-Identifier: Apache-2.0
"""The same cache in front of Parameter Store."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mwaa_provider.exceptions import AccessDenied
from airflow_mwaa_provider.secrets.systems_manager import CachedSystemsManagerParameterStoreBackend
from tests.secrets.conftest import Clock, SecretsService, error


def test_one_call_for_many_look_ups(service: SecretsService, folder: Path, clock: Clock) -> None:
    client = service.client("ssm")
    client.put_parameter(Name="/airflow/variables/v", Value="1", Type="SecureString", Overwrite=True)
    client.put_parameter(Name="/airflow/connections/c", Value="http://u:p@h", Type="SecureString", Overwrite=True)
    for _ in range(3):
        backend = CachedSystemsManagerParameterStoreBackend(cache_dir=str(folder))
        assert backend.get_variable("v") == "1"
        assert backend.get_connection("c").host == "h"
        assert backend.get_variable("nope") is None
    assert service.calls["GetParameter"] == 3
    client.put_parameter(Name="/airflow/variables/v", Value="2", Type="SecureString", Overwrite=True)
    clock.pass_s(301)
    assert backend.get_variable("v") == "2"


def test_errors_name_what_to_allow(service: SecretsService, folder: Path) -> None:
    service.fault = lambda action, request: error("AccessDeniedException") if action == "GetParameter" else None
    backend = CachedSystemsManagerParameterStoreBackend(cache_dir=str(folder))
    with pytest.raises(AccessDenied, match="ssm:GetParameter on arn:aws:ssm:eu-west-1:123456789012:parameter/airflow"):
        backend.get_variable("v")
