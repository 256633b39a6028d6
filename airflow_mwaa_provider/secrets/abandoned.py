# SPDX-License-Identifier: Apache-2.0
"""Folders of environments that are gone: with another Fernet key nobody reads or sweeps what is in them."""

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

    A process that begins to use one meanwhile loses what it had and nothing else: the folder is moved away in one step,
    and the next write makes it anew. Folders of other users, and those with anything that is not a cache's, are left
    alone.

    :param parent: the folder that all of them are in.
    :param own: the name of that one which is kept however long it is unused.
    :param longest_s: for how long an answer may be used; nothing younger is removed.
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
                # Also what a process that was killed has moved away.
                if name.endswith(_ASIDE) and _NAME.fullmatch(name.removesuffix(_ASIDE)) and _is_cache(path):
                    import shutil

                    shutil.rmtree(path, ignore_errors=True)


def _is_cache(path: str) -> bool:
    found = os.lstat(path)
    is_private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return is_private and all(map(_CONTENT.fullmatch, os.listdir(path)))


def _unused_s(path: str) -> float:
    """Return for how long nothing was looked up: each look-up is counted, and each new answer changes the folder."""
    used_s = os.stat(path).st_mtime
    with contextlib.suppress(FileNotFoundError):
        used_s = max(used_s, os.stat(os.path.join(path, "statistics")).st_mtime)
    return time.time() - used_s
