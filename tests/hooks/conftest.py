# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the hook's tests: the client's local MWAA, and nothing of the machine's own AWS settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.client.conftest import _world, world

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["_world", "world"]


@pytest.fixture(autouse=True)
def _no_aws_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
