# SPDX-License-Identifier: Apache-2.0
"""botocore's descriptions of services, read once per process instead of once per session."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import botocore.session
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["_botocore_data"]


@pytest.fixture(scope="session", autouse=True)
def _botocore_data() -> Iterator[None]:
    """Share what botocore parses among sessions; clients remain as separate as within one session.

    Creating a client in a new session takes 50 ms, of which reading the JSON takes 47.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield
