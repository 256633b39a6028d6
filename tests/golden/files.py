# SPDX-License-Identifier: Apache-2.0
"""The files that an earlier tree of this package wrote; see ``write.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "files"


def read(name: str) -> Any:
    """Read a JSON file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def write(name: str, content: Any, *, indent: int | None = 1) -> None:
    """Write a JSON file."""
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=indent, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def shape(value: Any, ids: tuple[str, ...] = ()) -> Any:
    """Return the form of a JSON value: names and types instead of values.

    A list contains each form of its items once.

    :param ids: names of objects whose keys are data, such as tables: all of their values are treated as one.
    """
    if isinstance(value, dict):
        found = {}
        for name, item in value.items():
            if name in ids and isinstance(item, dict):
                found[name] = {"*": shape(list(item.values()), ids)}
            else:
                found[name] = shape(item, ids)
        return found
    if isinstance(value, list):
        return sorted({json.dumps(shape(item, ids), sort_keys=True) for item in value})
    return type(value).__name__
