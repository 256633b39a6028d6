# SPDX-License-Identifier: Apache-2.0
"""Remove the folders of environments that no longer exist: with another Fernet key, no process reads or cleans them."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time

__all__ = ["remove_abandoned"]

_UNUSED_S = 7 * 86_400.0
_NAME = re.compile(r"[0-9a-f]{32}")
_ASIDE = ".removed"
_CONTENT = re.compile(r"locks|swept|statistics|.+\.(entry|tmp)")


def remove_abandoned(parent: str, own: str, longest_s: float = 0.0) -> None:
    """Remove the caches of other environments in which nothing was looked up for seven days.

    A process that begins to use one meanwhile loses its cached answers and nothing else: the folder is moved away in
    one step, and the next write creates it again. Folders of other users, and those that contain other files, are not
    touched.

    :param parent: the folder that contains all caches.
    :param own: the name of the cache that is kept, however long it is unused.
    :param longest_s: how long an answer may be used; nothing younger is removed.
    """
    with contextlib.suppress(OSError), os.scandir(parent) as listed:
        for item in listed:
            name, path = item.name, item.path
            with contextlib.suppress(OSError):
                if (
                    name != own
                    and _NAME.fullmatch(name)
                    and _is_cache(path)
                    and _unused_s(path) > max(_UNUSED_S, longest_s)
                ):
                    os.rename(path, path + _ASIDE)
                    name, path = name + _ASIDE, path + _ASIDE
                # Also folders that a killed process has moved away.
                if name.endswith(_ASIDE) and _NAME.fullmatch(name.removesuffix(_ASIDE)) and _is_cache(path):
                    import shutil

                    shutil.rmtree(path, ignore_errors=True)


def _is_cache(path: str) -> bool:
    found = os.lstat(path)
    is_private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return is_private and all(map(_CONTENT.fullmatch, os.listdir(path)))


def _unused_s(path: str) -> float:
    """Return how long nothing was looked up: each look-up is counted, and each new answer changes the folder."""
    used_s = os.stat(path).st_mtime
    with contextlib.suppress(FileNotFoundError):
        used_s = max(used_s, os.stat(os.path.join(path, "statistics")).st_mtime)
    return time.time() - used_s
