# SPDX-License-Identifier: Apache-2.0
"""Unpack plugins.zip to ``$AIRFLOW_HOME/plugins``."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.errors import LocalMwaaError

if TYPE_CHECKING:
    from pathlib import Path

_LINK_BYTES = 4096
_UNIX = 3
_NAME_BYTES = 255
_PATH_BYTES = 4095 - len("/usr/local/airflow/plugins/")
_DRIVE = re.compile(r"^[A-Za-z]:")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""The errors that :mod:`zipfile` raises; RuntimeError if a password is needed."""


def check(archive: Path, name: str) -> None:
    """Read the whole archive and check every name in it.

    :param name: the archive's name, for people.
    :raises LocalMwaaError: it is not a zip file, is damaged, or has entries that could lead out of the plugins folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                problem = _problem(entry)
                if problem:
                    raise LocalMwaaError(
                        f"{name} contains {entry.filename!r}, which {problem}: create the archive without it"
                    )
            damaged = opened.testzip()
            links = _links(opened)
            for link in links:
                if not _stays_inside(link, links):
                    raise LocalMwaaError(
                        f"{name} contains {str(link)!r}, a symbolic link that leads out of the plugins folder: create "
                        "the archive without it"
                    )
    except _BROKEN as error:
        raise LocalMwaaError(f"{name} can't be read as a zip file: {error}") from error
    if damaged is not None:
        raise LocalMwaaError(f"{name} is damaged: {damaged!r} in it has another checksum; upload it again")


def unpack(archive: Path | None, folder: Path) -> None:
    """Replace a folder's contents with those of a checked archive; None empties it.

    A top folder in the archive is kept, and so are execute permissions and symbolic links. Like Info-ZIP's unzip, links
    are created after all files, so that nothing is written through one.

    :raises LocalMwaaError: the archive is inconsistent.
    :raises OSError: the folder cannot be written.
    """
    unfinished = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if archive is not None:
        try:
            with zipfile.ZipFile(archive) as opened:
                for entry in opened.infolist():
                    if not _is_link(entry):
                        _extract(opened, entry, unfinished)
                for link, target in _links(opened).items():
                    made = unfinished / link
                    made.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    made.symlink_to(target)
        except (*_BROKEN, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise LocalMwaaError(f"plugins.zip can't be unpacked: {error}") from error
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.replace(folder)


def _path(entry: zipfile.ZipInfo) -> PurePosixPath:
    # Some tools on Windows write backslashes, which unzip treats as slashes.
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _problem(entry: zipfile.ZipInfo) -> str | None:
    path = _path(entry)
    if path.is_absolute() or _DRIVE.match(entry.filename):
        return "is an absolute path"
    if ".." in path.parts:
        return "leads out of the plugins folder"
    if any(len(os.fsencode(part)) > _NAME_BYTES for part in path.parts):
        return "has a longer name than Linux permits"
    if len(os.fsencode(path)) > _PATH_BYTES:
        return "has a longer path than Linux permits"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        return "is neither a file nor a folder"
    if kind == stat.S_IFLNK and entry.file_size > _LINK_BYTES:
        return "is a symbolic link longer than a path"
    return None


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return entry.create_system == _UNIX and stat.S_ISLNK(entry.external_attr >> 16)


def _links(opened: zipfile.ZipFile) -> dict[PurePosixPath, str]:
    return {_path(entry): os.fsdecode(opened.read(entry)) for entry in opened.infolist() if _is_link(entry)}


def _stays_inside(link: PurePosixPath, links: dict[PurePosixPath, str]) -> bool:
    """Follow a link without accessing the disk.

    A link through another link is rejected, whether or not it would leave the folder.
    """
    target = PurePosixPath(links[link])
    if target.is_absolute() or not links[link]:
        return False
    here = link.parent
    for part in target.parts:
        if here in links:
            return False
        if part != "..":
            here /= part
        elif here.parts:
            here = here.parent
        else:
            return False
    return True


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder.joinpath(*_path(entry).parts)
    if entry.filename.endswith(("/", "\\")):
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with opened.open(entry) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    if (entry.external_attr >> 16) & 0o111:
        target.chmod(0o700)
