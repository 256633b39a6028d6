# SPDX-License-Identifier: Apache-2.0
"""Archives that the user has downloaded, read member by member, with their symbolic links and permissions.

They are never unpacked to a folder, so no member can be written outside of one.
"""

from __future__ import annotations

import gzip
import posixpath
import re
import shutil
import tarfile
import tempfile
import zipfile
from typing import TYPE_CHECKING, BinaryIO, cast

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.plugins_zip.links import LEADS_OUT, target_of
from airflow_mwaa_provider.packaging.zip_entries import is_folder, is_meant_as_link, path_of
from airflow_mwaa_provider.packaging.zip_writing import DAMAGED, OpenedLater, ZipEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

__all__ = ["read_tar", "read_zip", "top_folder"]

_LINK_BYTES = 4096
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_BROKEN = (*DAMAGED, gzip.BadGzipFile, UnicodeDecodeError)


def read_tar(path: Path, opened: ExitStack) -> list[ZipEntry]:
    """Return the files and links of a ``.tar.gz`` or ``.tar``.

    It is decompressed into an unnamed temporary file, because its members are written in another order.

    :param opened: keeps it open until its members have been read.
    :raises MwaaInputError: it cannot be read, or a member leads out of it.
    """
    try:
        source: BinaryIO = opened.enter_context(path.open("rb"))
        if source.read(2) == b"\x1f\x8b":
            source.seek(0)
            unpacked = cast("BinaryIO", opened.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115
            with gzip.GzipFile(fileobj=source) as file:
                shutil.copyfileobj(file, unpacked, 1 << 20)
            source = unpacked
        source.seek(0)
        archive = opened.enter_context(tarfile.open(fileobj=source, mode="r:"))  # noqa: SIM115
        return list(_tar_entries(archive, path))
    except _BROKEN as error:
        raise MwaaInputError(f"{path} is not a .tar.gz archive, or is damaged: download it again.") from error
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_zip(path: Path, opened: ExitStack) -> list[ZipEntry]:
    """Return the files and links of a zip.

    :param opened: keeps it open until its members have been read.
    :raises MwaaInputError: it cannot be read, or a member leads out of it.
    """
    try:
        archive = opened.enter_context(zipfile.ZipFile(path))
        return list(_zip_entries(archive, path))
    except _BROKEN as error:
        raise MwaaInputError(f"{path} is not a zip file, or is damaged: download it again.") from error
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be read: {error.strerror or error}.") from error


def top_folder(entries: list[ZipEntry], path: Path, expected: str) -> str:
    """Return the single folder that contains a whole archive.

    :param expected: what the archive should be, for the error.
    :raises MwaaInputError: there is not exactly one, or its name has other characters than a release's: it is written
        into a plugin and a script, where a shell would run it.
    """
    tops = {entry.name.partition("/")[0] if "/" in entry.name else "" for entry in entries}
    if len(tops) != 1 or "" in tops:
        raise MwaaInputError(f"{path} is not {expected}, which has a single folder at the top.")
    [top] = tops
    if _PLAIN.fullmatch(top) is None:
        raise MwaaInputError(
            f"{path}: its folder is called {top[:80]!r}, but that of a release has only letters, digits, '.', '_' and "
            "'-' in its name. Download the archive again, from its publisher."
        )
    return top


def _tar_entries(archive: tarfile.TarFile, path: Path) -> Iterator[ZipEntry]:
    members = [member for member in archive if not member.isdir()]
    by_name = {posixpath.normpath(member.name): member for member in members}
    for member in members:
        name = _inside(member.name, path)
        if member.issym():
            yield _link(name, member.linkname, path)
            continue
        content = member
        if member.islnk():  # a second name of the same file
            content = by_name.get(posixpath.normpath(member.linkname), member)
        if not content.isreg():
            raise MwaaInputError(f"{path}: {name} is neither a file nor a link. Remove it from the archive.")
        yield ZipEntry(name, _member_of_tar(archive, content), 0o755 if member.mode & 0o111 else 0o644)


def _member_of_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> OpenedLater:
    return OpenedLater(lambda: cast("BinaryIO", archive.extractfile(member)), member.size)


def _zip_entries(archive: zipfile.ZipFile, path: Path) -> Iterator[ZipEntry]:
    for member in archive.infolist():
        if is_folder(member):
            continue
        name = _inside(path_of(member), path)
        if is_meant_as_link(member):
            if member.file_size > _LINK_BYTES:
                raise MwaaInputError(f"{path}: {name} is a damaged link: download the archive again.")
            yield _link(name, archive.read(member).decode("utf-8", "surrogateescape"), path)
        else:
            mode = 0o755 if (member.external_attr >> 16) & 0o111 else 0o644
            yield ZipEntry(name, _member_of_zip(archive, member), mode)


def _member_of_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> OpenedLater:
    return OpenedLater(lambda: cast("BinaryIO", archive.open(member)), member.file_size)


def _inside(name: str, path: Path) -> str:
    normal = posixpath.normpath(name)
    if normal.startswith(("/", "../")) or normal in (".", ".."):
        raise MwaaInputError(f"{path}: {name!r} leads out of the archive: download it again, from its publisher.")
    return normal


def _link(name: str, target: str, path: Path) -> ZipEntry:
    if target_of(name, target) is LEADS_OUT:
        raise MwaaInputError(f"{path}: {name} is a symbolic link that leads out of the archive ({target}).")
    return ZipEntry(name, target.encode("utf-8", "surrogateescape"), 0o777, is_link=True)
