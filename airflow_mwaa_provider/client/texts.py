# SPDX-License-Identifier: Apache-2.0
"""Strings of unknown origin, before they are stored in Airflow's database."""

from __future__ import annotations

import re
from typing import TypeVar

__all__ = ["storable"]

T = TypeVar("T")

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: T) -> T:
    """Return JSON's own types with each NUL and each half of a surrogate pair as U+FFFD: PostgreSQL rejects both."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)  # type: ignore[return-value]
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [storable(item) for item in value]  # type: ignore[return-value]
    return value
