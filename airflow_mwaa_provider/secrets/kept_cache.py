# SPDX-License-Identifier: Apache-2.0
"""The cache of this container for everything but a backend: it is read and deleted from, never created."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.secrets.store import (
    VALUE,
    FileStore,
    UnusableFolder,
    default_parent,
    environment_keys,
    read_statistics,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_mwaa_provider.secrets.store import Entry

__all__ = ["KeptCache"]

_KINDS = ("connection", "variable", "config")
_UNBOUNDED = 2**62


class KeptCache:
    """The folder of this environment's cache.

    :param cache_dir: the backend's ``cache_dir``; ``None`` for its default.
    :raises MwaaInputError: this environment has no Fernet key, or no cache in that folder.
    """

    def __init__(self, cache_dir: str | None) -> None:
        import_module("airflow.configuration")  # where the key may be
        keys = environment_keys()
        if keys is None:
            raise MwaaInputError(
                "Secrets cache: this environment has no Fernet key (core.fernet_key), so each process has its own "
                "cache. Run this command where tasks run."
            )
        parent = cache_dir or default_parent()
        self.folder = os.path.join(parent, keys.folder_name)
        if not os.path.isdir(self.folder):
            raise MwaaInputError(
                f"Secrets cache: {parent} has no cache of this environment. Run this in the container whose tasks use "
                "it, with their Fernet key, or name another --cache-dir."
            )
        try:
            self._store = FileStore(
                parent, keys, max_entries=_UNBOUNDED, max_bytes=_UNBOUNDED, max_age_s=float(_UNBOUNDED)
            )
        except UnusableFolder as error:
            raise MwaaInputError(f"Secrets cache: {error}. Run this as the user that tasks run as.") from None

    def entries(self, secret_id: str | None = None, kind: str | None = None) -> Iterator[Entry]:
        """Return the answers to look-ups, for every configuration and team, oldest first."""
        for entry in self._store.entries():
            _, entry_kind, entry_id, _ = entry.identity
            if entry_kind in _KINDS and secret_id in (None, entry_id) and kind in (None, entry_kind):
                yield entry

    def invalidate(self, secret_ids: Iterable[str], kind: str | None = None) -> dict[str, int]:
        """Delete the answers for these ids; return how many were deleted for each."""
        deleted = dict.fromkeys(secret_ids, 0)
        for entry in self.entries(kind=kind):
            if entry.identity[2] in deleted:
                deleted[entry.identity[2]] += self._store.delete(entry.identity)
        return deleted

    def invalidate_all(self, kind: str | None = None) -> int:
        """Delete all answers; return how many were deleted."""
        found = self._store.entries() if kind is None else self.entries(kind=kind)
        kinds = (*_KINDS, "batch", "prefetch", "account", "silence")
        return sum(
            self._store.delete(entry.identity) and entry.identity[1] in _KINDS
            for entry in found
            if entry.identity[1] in kinds
        )

    def statistics(self) -> dict[str, Any]:
        """Return what was counted since ``since``.

        :raises MwaaInputError: nothing was counted.
        """
        try:
            return read_statistics(os.path.join(self.folder, "statistics"))
        except OSError as error:
            raise MwaaInputError(
                f"Secrets cache: nothing was counted in {self.folder} ({error.strerror}). Look up a secret first."
            ) from None

    def secrets(self) -> int:
        """Return how many secrets have a cached value."""
        return len({entry.names[-1] for entry in self.entries() if entry.outcome == VALUE and entry.names})
