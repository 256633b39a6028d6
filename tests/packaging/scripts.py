# SPDX-License-Identifier: Apache-2.0
"""The scripts' own modules, which are in no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

LIB = Path(__file__).resolve().parents[2] / "scripts" / "lib"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"scripts_lib_{name}", LIB / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
