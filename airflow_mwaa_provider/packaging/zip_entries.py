# SPDX-License-Identifier: Apache-2.0
"""What an entry of a zip says of itself, as unzip on Linux reads it."""

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
"""Text compresses to a tenth, and zlib can make at most 1,032 of one."""
_SUSPECT_BYTES = 64 << 20
"""An entry below that is no bomb, however well it compresses."""
_ENCRYPTED = 0x1
_UTF_8 = 0x800
_UNICODE_PATH = 0x7075


def path_of(entry: zipfile.ZipInfo) -> str:
    """Return where an entry is unpacked to, with slashes and without ``./`` and a slash at its end."""
    return posixpath.normpath(name_of(entry).replace("\\", "/"))


def name_of(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name as unzip on Linux reads it: :mod:`zipfile` reads it by cp437 where no flag says UTF-8.

    Info-ZIP writes UTF-8 without that flag. A name that is in no UTF-8 is left as zipfile has read it.
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
    """Whether unzip makes a symbolic link of an entry: it has to be of a Unix."""
    return is_meant_as_link(entry) and entry.create_system == UNIX


def is_meant_as_link(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry says that it is a symbolic link, whatever system it is of."""
    return stat.S_ISLNK(entry.external_attr >> 16)


def is_folder(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder, whichever slashes it has."""
    return entry.filename.endswith(("/", "\\"))


def is_encrypted(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry needs a password."""
    return bool(entry.flag_bits & _ENCRYPTED)


def is_uncheckable(entry: zipfile.ZipInfo) -> bool:
    """Whether unzip reads an entry, and :mod:`zipfile` cannot."""
    return entry.compress_type == DEFLATED64


def is_bomb(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry unpacks to so much more than it has that nobody should unpack it."""
    return entry.file_size > _SUSPECT_BYTES and entry.file_size > MAX_RATIO * entry.compress_size
