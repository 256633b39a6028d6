# SPDX-License-Identifier: Apache-2.0
"""A standalone clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.clone import Clone


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(pytest.mark.once)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone whose tools are stubs."""
    clone = Clone(tmp_path)
    clone.install_tools()
    return clone
