# SPDX-License-Identifier: Apache-2.0
"""An assumed role: the request for it has the same time limits as those for secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session

from tests.secrets.conftest import SecretsService, make


def test_a_role_is_assumed_within_bounds(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {}
    create = Session.create_client

    def note(session: Session, service_name: str, *arguments: Any, **keywords: Any) -> Any:
        client = create(session, service_name, *arguments, **keywords)
        made[service_name] = client.meta.config
        return client

    monkeypatch.setattr(Session, "create_client", note)
    service.put("airflow/variables/v", "1")
    assert make(folder, role_arn="arn:aws:iam::123456789012:role/reader").get_variable("v") == "1"
    assert {"sts", "secretsmanager"} <= set(made)
    for name in ("sts", "secretsmanager"):
        assert (made[name].connect_timeout, made[name].read_timeout) in ((3, 5), (1, 2)), name
        assert made[name].retries["total_max_attempts"] <= 3
