# SPDX-License-Identifier: Apache-2.0
"""scripts/dbt: its own environment, created once; its arguments are passed to dbt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.scripts.clone import Clone


def test_an_install_that_fails(clone: Clone) -> None:
    done = clone.run("dbt", "build", STUB_FAILS="uv pip install")
    assert done.returncode == 1
    assert "the install of the extra [dbt] failed" in done.stderr
