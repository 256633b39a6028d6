# SPDX-License-Identifier: Apache-2.0
"""Zip files that are reproducible, byte for byte.

Entries are sorted by name; their times are fixed, and their modes are those that were requested, not those of the
machine. A file is streamed, never read as a whole, and may be larger than 4 GiB (ZIP64).

The output of a *compressor* depends on its build: zlib-ng, which newer Pythons use on some systems, deflates the same
file to other bytes than zlib does. So :attr:`Compression.STORED` produces the same bytes on any machine, and
:attr:`Compression.DEFLATED` wherever zlib is the same.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.file_writing import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "DAMAGED",
    "Compression",
    "OpenedLater",
    "WrittenZip",
    "ZipEntry",
    "check_name",
    "write_entries",
    "write_zip",
    "zip_draft",
]

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""Errors for a member of an archive that is damaged, or (RuntimeError) encrypted."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can store."""
_UNIX = 3
_CHUNK_BYTES = 1 << 20
_COMPRESSED_ALREADY = (
    ".whl", ".jar", ".war", ".egg", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".png", ".jpg", ".jpeg",
)  # fmt: skip


class Compression(Enum):
    """How the entries of a zip are compressed."""

    STORED = zipfile.ZIP_STORED
    """Not compressed: the same bytes on any machine."""
    DEFLATED = zipfile.ZIP_DEFLATED
    """Deflated, except for files that are already compressed, such as wheels and jars: the same bytes with the same
    build of zlib."""


@dataclass(frozen=True)
class OpenedLater:
    """Content that is opened only when it is written, such as a member of another archive.

    :param open: returns it as a binary file, which is closed after reading.
    :param size_bytes: its exact length.
    """

    open: Callable[[], BinaryIO]
    size_bytes: int


@dataclass(frozen=True)
class ZipEntry:
    """One file of a zip.

    :param name: its path in the zip, with slashes; relative, without ``..``.
    :param content: a file's path, its bytes, or how to open it. For a symbolic link: its target, as bytes.
    :param mode: its permissions, such as ``0o755``.
    :param is_link: it is a symbolic link, and ``unzip`` creates one.
    """

    name: str
    content: Path | bytes | OpenedLater
    mode: int = 0o644
    is_link: bool = False

    @classmethod
    def of_file(cls, name: str, path: Path) -> ZipEntry:
        """Return the entry of a file. Its permission to execute is kept, and a symbolic link remains one.

        The rest of its mode depends on the machine's umask, and is not kept.
        """
        if path.is_symlink():
            return cls(name, os.fsencode(path.readlink()), 0o777, is_link=True)
        return cls(name, path, 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)

    def open(self) -> BinaryIO:
        """Open the content."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)
        return self.content.open("rb") if isinstance(self.content, Path) else self.content.open()

    @property
    def size_bytes(self) -> int:
        """The length of the content."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size if isinstance(self.content, Path) else self.content.size_bytes


@dataclass(frozen=True)
class WrittenZip:
    """A zip that was written.

    :param changed: whether the file has other bytes than before.
    :param names: of its entries, sorted.
    :param unpacked_bytes: the size of its entries when unpacked.
    """

    path: Path
    changed: bool
    names: tuple[str, ...]
    size_bytes: int
    unpacked_bytes: int
    sha256: str


def write_zip(
    path: Path,
    entries: Iterable[ZipEntry],
    *,
    comment: bytes,
    compression: Compression = Compression.STORED,
    replace_anything: bool = False,
    check: Callable[[BinaryIO], None] | None = None,
) -> WrittenZip:
    """Write a zip as a whole or not at all.

    It uses a few megabytes of memory, however large the files are.

    :param comment: the zip's comment, which marks its kind: only a zip with the same one is replaced.
    :param replace_anything: also replaces a file that is not such a zip.
    :param check: called with the zip before it replaces the target; if it raises, the target is not changed.
    :raises MwaaInputError: another kind of file exists, two entries have one name, a name leads out of the zip, or
        something cannot be read or written.
    """
    listed = list(entries)
    with zip_draft(path, comment=comment, replace_anything=replace_anything) as draft:
        unpacked_bytes = write_entries(draft.file, listed, comment=comment, compression=compression)
        size_bytes = draft.file.seek(0, os.SEEK_END)
        draft.file.seek(0)
        sha256 = hashlib.file_digest(draft.file, "sha256").hexdigest()
        if check is not None:
            draft.file.flush()
            check(draft.file)
    names = tuple(sorted(entry.name for entry in listed))
    return WrittenZip(path, draft.changed, names, size_bytes, unpacked_bytes, sha256)


def write_entries(
    file: BinaryIO, entries: Iterable[ZipEntry], *, comment: bytes = b"", compression: Compression = Compression.STORED
) -> int:
    """Write a zip into an open, seekable file.

    :return: the size of the entries when unpacked, in bytes.
    :raises MwaaInputError: two entries have one name, or a name leads out of the zip.
    :raises OSError: something cannot be read or written.
    """
    in_order = sorted(entries, key=lambda entry: entry.name)
    before = None
    for entry in in_order:
        check_name(entry.name)
        if entry.name == before:
            raise MwaaInputError(f"{entry.name} occurs twice; a zip may contain each name only once.")
        before = entry.name
    unpacked_bytes = 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = comment
        for entry in in_order:
            unpacked_bytes += _write_entry(archive, entry, compression)
    return unpacked_bytes


@contextmanager
def zip_draft(path: Path, *, comment: bytes, replace_anything: bool = False) -> Iterator[Draft]:
    """Open a draft that becomes a zip; see :class:`~airflow_mwaa_provider.packaging.file_writing.Draft`.

    :param comment: of a zip that may be replaced.
    :param replace_anything: also replaces a file that is not such a zip.
    :raises MwaaInputError: another kind of file exists, or something cannot be read or written.
    """
    try:
        if path.exists() and not path.is_file():
            raise MwaaInputError(f"{path} is not a file; choose another name.")
        if path.exists() and not replace_anything and not _has_comment(path, comment):
            raise MwaaInputError(
                f"{path} exists and was not written by this command; choose another name, or replace it with --force."
            )
        with Draft(path) as draft:
            yield draft
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be written: {_reason(error, path)}") from error


def check_name(name: str) -> None:
    """Check the name of an entry.

    :raises MwaaInputError: it leads out of the zip, is absolute, or contains backslashes or invalid UTF-8.
    """
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise MwaaInputError(f"{name!r} is not a valid name for a file in a zip: give a relative path with slashes.")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise MwaaInputError(f"{name!r} is not valid UTF-8; rename the file.")


def _write_entry(archive: zipfile.ZipFile, entry: ZipEntry, compression: Compression) -> int:
    written = zipfile.ZipInfo(entry.name, _EARLIEST)
    written.create_system = _UNIX  # the modes are Unix modes
    written.external_attr = ((stat.S_IFLNK if entry.is_link else stat.S_IFREG) | entry.mode) << 16
    if not entry.is_link and not entry.name.lower().endswith(_COMPRESSED_ALREADY):
        written.compress_type = compression.value
    written.file_size = size_bytes = entry.size_bytes  # decides on ZIP64
    copied = 0
    try:
        with entry.open() as source, archive.open(written, "w") as target:
            while chunk := source.read(_CHUNK_BYTES):
                target.write(chunk)
                copied += len(chunk)
    except DAMAGED as error:
        raise MwaaInputError(
            f"{entry.name}: the archive that contains it is damaged; copy or download it again."
        ) from error
    if copied != size_bytes:
        raise MwaaInputError(
            f"{entry.name} changed while it was being read ({size_bytes} bytes, then {copied}); try again."
        )
    return copied


def _has_comment(path: Path, comment: bytes) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == comment
    except zipfile.BadZipFile:
        return False


def _reason(error: OSError, path: Path) -> str:
    """Return what went wrong and what to do; with the name of the file if it is another one, such as a source."""
    reason = error.strerror or str(error)
    named = error.filename
    if isinstance(named, str) and Path(named).name != path.name and not Path(named).name.startswith(f".{path.name}."):
        return f"{named}: {reason}. Fix this, or leave the file out."
    return f"{reason}. Choose another place."
