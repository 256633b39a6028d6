# SPDX-License-Identifier: Apache-2.0
"""What a release declares to Airflow, pip and its users, and what it stores on disk, without real secrets."""

from __future__ import annotations

import base64
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from airflow_mwaa_provider.provider_info import get_provider_info
from tests.golden import rooms

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "/state"

FERNET_KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
"""A Fernet key of no real environment."""


def cache_entries() -> list[rooms.Entry]:
    """Return an entry of each outcome, as the secrets cache stores it in files."""
    when = {"jitter": 0.95, "read_at_s": 1234.5, "wall_s": 1_790_000_000.25, "boot": "a-start-of-the-machine"}
    scope = "scope"
    return [
        rooms.Entry((scope, "variable", "name", ""), "value", "ü\n", names=("airflow/variables/name",), **when),
        rooms.Entry((scope, "connection", "none", "team"), "absent", names=("airflow/connections/none",), **when),
        rooms.Entry((scope, "config", "denied", ""), "denied", problem="It is denied.", failed_at_s=1240.0, **when),
    ]


def cache(parent: Path) -> rooms.FileStore:
    """Open a secrets cache."""
    keys = rooms.CacheKeys(FERNET_KEY)
    return rooms.FileStore(str(parent), keys, max_entries=100, max_bytes=1 << 20, max_age_s=1e12)


def described() -> dict[str, Any]:
    """Return the provider's information, its entry points, and the import paths that the reference names."""
    info = get_provider_info()
    del info["versions"]
    pages = sorted((ROOT / "docs" / "reference").rglob("*.md"))
    reference = "".join(page.read_text(encoding="utf-8") for page in pages)
    points = metadata.distribution("airflow-mwaa-provider").entry_points
    return {
        "provider_info": info,
        "entry_points": {f"{found.group}/{found.name}": found.value for found in points},
        "public": re.findall(r"(?m)^::: (\S+)$", reference),
    }


def anonymous(value: Any, folder: str, name: str = "") -> Any:
    """Return the state of a local MWAA with fixed values of the same types instead of this machine's."""
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
