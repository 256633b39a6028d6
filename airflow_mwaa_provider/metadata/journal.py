# SPDX-License-Identifier: Apache-2.0
"""A note in S3 of what is about to become visible, so that the next export can clean up after one that was killed then.

Between the first object of an export and its manifest lie seconds. A process that is killed in them leaves objects
that no manifest names.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import AccessDenied

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.manifest import Manifest
    from airflow_mwaa_provider.metadata.storage import Storage

__all__ = ["Journal", "previous_keys"]


class Journal:
    """The note at one place.

    :param key: its key.
    """

    def __init__(self, storage: Storage, key: str) -> None:
        self.key = key
        self._storage = storage

    def write(self, manifest: Manifest, stale: set[str]) -> None:
        """Note what will be written, and what will be deleted."""
        document = {
            "manifest": manifest.key,
            "window": _window(manifest),
            "incremental": manifest.incremental,
            "keys": sorted({*manifest.keys, *stale}),
        }
        self._storage.put(self.key, json.dumps(document).encode())

    def left_by_the_killed(self, manifest: Manifest) -> set[str]:
        """Give the keys of objects that a killed export may have left, and that no manifest names.

        :param manifest: of the export that is under way. Of one of another window nothing is told: its objects are
            whole files of other days, which its own repetition sets right.
        """
        try:
            content = self._storage.get(self.key)
        except AccessDenied:
            return set()
        if content is None:
            return set()
        try:
            note = json.loads(content)
            named, keys, is_same = note["manifest"], set(note["keys"]), note["window"] == _window(manifest)
            is_increment = note["incremental"] and manifest.incremental
        except (ValueError, KeyError, TypeError):
            return set()
        if not is_same and (not is_increment or self._storage.get(named) is not None):
            return set()
        return keys


def previous_keys(previous: Manifest, manifest: Manifest) -> set[str]:
    """Give the keys of the export that a new one replaces; of one of another window none, which stays beside it."""
    return set(previous.keys) if _window(previous) == _window(manifest) else set()


def _window(manifest: Manifest) -> list[str]:
    return [moment.isoformat() if moment else "" for moment in (manifest.since, manifest.until)]
