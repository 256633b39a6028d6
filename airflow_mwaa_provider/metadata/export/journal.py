# SPDX-License-Identifier: Apache-2.0
"""A note in S3 of what is about to become visible, by which the next export cleans up after one that was killed.

Between the first object of an export and its manifest there are some seconds. A process that is killed then leaves
objects that no manifest names. If a prefix has exports of several windows, whose one manifest names only the last of
them, the note of a window is kept, and lists what a repetition of it replaces.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaInputError
from airflow_mwaa_provider.metadata.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_mwaa_provider.metadata.storage.bucket import Storage

__all__ = ["Journal", "keys_of_other_windows", "previous_keys"]


class Journal:
    """The note in one place.

    :param key: its key.
    """

    def __init__(self, storage: Storage, key: str) -> None:
        self.key = key
        self._storage = storage

    def write(self, manifest: Manifest, stale: Iterable[str], replaces: Manifest | None = None) -> None:
        """Note what will be written, and what will be deleted.

        :param replaces: the manifest that is deleted before the new one exists; needed to continue after a kill.
        """
        document = {
            "manifest": manifest.key,
            "window": _window(manifest),
            "incremental": manifest.incremental,
            "keys": sorted({*manifest.keys, *stale}),
        }
        if replaces is not None:
            document["replaces"] = replaces.document()
        self._storage.put(self.key, json.dumps(document).encode())

    def left_by_the_killed(self, manifest: Manifest, *, of_any_window: bool = False) -> set[str]:
        """Return the keys of objects that a killed export may have left and that no manifest names.

        :param manifest: of the running export. Objects of another window's export are not returned: they are complete
            files of other days, which a repetition of that export replaces.
        :param of_any_window: whether exports of all windows use the same names.
        """
        note = self._read()
        if note is None:
            return set()
        try:
            named, keys, is_same = note["manifest"], set(note["keys"]), note["window"] == _window(manifest)
            is_increment = note["incremental"] and manifest.incremental
        except (KeyError, TypeError):
            return set()
        is_same = is_same or (of_any_window and not note["incremental"])
        if not is_same and (not is_increment or self._storage.get(named) is not None):
            return set()
        return keys

    def replaced(self) -> Manifest | None:
        """Return the manifest of an increment whose repetition was killed before it had written the manifest again."""
        note = self._read()
        try:
            if note is None or "replaces" not in note or self._storage.get(note["manifest"]) is not None:
                return None
            return Manifest.read(json.dumps(note["replaces"]).encode(), f"s3://{self._storage.bucket}/{self.key}")
        except (KeyError, TypeError, MwaaInputError):
            return None

    def _read(self) -> dict[str, Any] | None:
        try:
            note = json.loads(self._storage.get(self.key) or b"null")
        except (AccessDenied, ValueError):
            return None
        return note if isinstance(note, dict) else None


def previous_keys(previous: Manifest, manifest: Manifest, *, of_any_window: bool = False) -> set[str]:
    """Return the keys of the export that a new one replaces; none if it is of another window, which is kept.

    :param of_any_window: whether exports of all windows use the same names.
    """
    return set(previous.keys) if of_any_window or _window(previous) == _window(manifest) else set()


def keys_of_other_windows(storage: Storage, note_key: str, manifest: Manifest) -> set[str]:
    """Return the keys of what exports of overlapping windows have written.

    :param note_key: of this window's note; those of the others are in the same folder.
    :raises AccessDenied: the role may not list them.
    """
    found: set[str] = set()
    for key in storage.keys(f"{note_key.rpartition('/')[0]}/"):
        if key == note_key:
            continue
        try:
            note = json.loads(storage.get(key) or b"null")
            if _overlap(note["window"], _window(manifest)):
                found.update(note["keys"])
        except (ValueError, KeyError, TypeError):
            continue  # not one of ours
    return found


def _overlap(one: list[str], other: list[str]) -> bool:
    """Return whether two windows overlap; an empty end is open."""
    (since, until), (other_since, other_until) = ([_moment(written) for written in window] for window in (one, other))
    ends_before = until is not None and other_since is not None and until <= other_since
    begins_after = since is not None and other_until is not None and other_until <= since
    return not ends_before and not begins_after


def _moment(written: str) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


def _window(manifest: Manifest) -> list[str]:
    return [moment.isoformat() if moment else "" for moment in (manifest.since, manifest.until)]
