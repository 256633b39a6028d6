# SPDX-License-Identifier: Apache-2.0
"""What a release says of itself to Airflow, pip and its users, and what a local MWAA keeps, without its secrets."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from airflow_mwaa_provider.provider_info import get_provider_info

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "/state"


def described() -> dict[str, Any]:
    """Return the provider's information, its entry points, and the import paths that the reference names."""
    info = get_provider_info()
    del info["versions"]
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    points = metadata.distribution("airflow-mwaa-provider").entry_points
    return {
        "provider_info": info,
        "entry_points": {f"{found.group}/{found.name}": found.value for found in points},
        "public": re.findall(r"(?m)^::: (\S+)$", reference),
    }


def anonymous(value: Any, folder: str, name: str = "") -> Any:
    """Return what a local MWAA has written down with fixed values instead of this machine's, each of its own type."""
    if isinstance(value, dict):
        return {key: anonymous(item, folder, key) for key, item in value.items()}
    if isinstance(value, list):
        return [anonymous(item, folder, name) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return 40_000 + len(name)
    if re.search("key|secret|password|token|^id$", name):
        return f"{name}-of-the-golden-files"
    return re.sub(r":\d{4,5}\b", ":40000", value.replace(folder, FOLDER).replace(sys.executable, "/usr/bin/python"))
