# SPDX-License-Identifier: Apache-2.0
"""What Airflow shows instead of a value that it hides."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["MASK", "is_masked"]

MASK = "***"


def is_masked(value: Any) -> bool:
    """Return whether Airflow shows asterisks instead of a value, or within one that is JSON."""
    if value == MASK:
        return True
    if not isinstance(value, str) or f'"{MASK}"' not in value:
        return False
    try:
        document = json.loads(value)
    except ValueError:
        return False
    waiting = [document]
    while waiting:
        item = waiting.pop()
        if item == MASK:
            return True
        waiting += item.values() if isinstance(item, dict) else item if isinstance(item, list) else []
    return False
