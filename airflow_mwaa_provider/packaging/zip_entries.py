# SPDX-License-Identifier: Apache-2.0
"""Entries of a zip, as unzip on Linux reads them."""

from __future__ import annotations

import posixpath
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zipfile

__all__ = [
    "DEFLATED64", "MAX_RATIO", "UNIX", "is_bomb", "is_encrypted", "is_folder", "is_link", "is_meant_as_link",
    "is_uncheckable", "name_of", "path_of", "utf_8_name_of",
]  # fmt: skip

DEFLATED64 = 9
UNIX = 3
MAX_RATIO = 200
"""Text compresses to a tenth; the most that zlib can reach is 1,032."""
_SUSPECT_BYTES = 64 << 20
"""A smaller entry is not a bomb, however well it compresses."""
_ENCRYPTED = 0x1
_UTF_8 = 0x800
_UNICODE_PATH = 0x7075


def path_of(entry: zipfile.ZipInfo) -> str:
    """Return the path to which an entry is unpacked, with slashes, but without ``./`` and a trailing slash."""
    return posixpath.normpath(name_of(entry).replace("\\", "/"))


def name_of(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name as unzip on Linux reads it.

    :mod:`zipfile` decodes it as cp437 unless a flag marks it as UTF-8, but Info-ZIP writes UTF-8 without that flag. A
    name that is not UTF-8 is left as zipfile has decoded it.
    """
    return utf_8_name_of(entry) or entry.filename


def utf_8_name_of(entry: zipfile.ZipInfo) -> str | None:
    """Return an entry's name, or None if it is not in UTF-8."""
    if entry.flag_bits & _UTF_8 or entry.filename.isascii():
        return entry.filename
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if kind == _UNICODE_PATH:
            return extra[9 : 4 + size].decode("utf-8", "replace")
        extra = extra[4 + size :]
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return None


def is_link(entry: zipfile.ZipInfo) -> bool:
    """Return whether unzip creates a symbolic link: the entry must also be marked as made on Unix."""
    return is_meant_as_link(entry) and entry.create_system == UNIX


def is_meant_as_link(entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry is marked as a symbolic link, whatever system it was made on."""
    return stat.S_ISLNK(entry.external_attr >> 16)


def is_folder(entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry is a folder, with either kind of slash."""
    return entry.filename.endswith(("/", "\\"))


def is_encrypted(entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry needs a password."""
    return bool(entry.flag_bits & _ENCRYPTED)


def is_uncheckable(entry: zipfile.ZipInfo) -> bool:
    """Return whether unzip can read an entry that :mod:`zipfile` cannot."""
    return entry.compress_type == DEFLATED64


def is_bomb(entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry unpacks to so many times its size that it should not be unpacked."""
    return entry.file_size > _SUSPECT_BYTES and entry.file_size > MAX_RATIO * entry.compress_size
