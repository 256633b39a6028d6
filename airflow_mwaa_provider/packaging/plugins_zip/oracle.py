# SPDX-License-Identifier: Apache-2.0
"""Oracle Instant Client, from the zip that Oracle publishes, with libaio, which no image of MWAA has.

Only python-oracledb's *thick* mode needs it; the thin mode, its default, needs no client.
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.plugins_zip.archives import read_zip
from airflow_mwaa_provider.packaging.plugins_zip.elf import HEADER_BYTES, is_elf, is_x86_64
from airflow_mwaa_provider.packaging.plugins_zip.environment import Variable
from airflow_mwaa_provider.packaging.zip_writing import DAMAGED, ZipEntry

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mwaa_provider.packaging.plugins_zip.contents import Contents

__all__ = ["LIBAIO", "OracleClient", "add_oracle"]

LIBAIO = "libaio.so.1"
_FOLDER = re.compile(r"instantclient_\d+_\d+")
_NEEDED = (r"libnnz\d*\.so", r"libclntshcore\.so\.[\d.]+")
_LEFT_OUT = "META-INF"


@dataclass(frozen=True)
class OracleClient:
    """An Instant Client in a plugins.zip.

    :param folder: its folder's name.
    :param needed: libraries that ``libclntsh.so`` needs, below the plugins folder, each after its own dependencies.
    """

    folder: str
    needed: tuple[str, ...]

    @property
    def variables(self) -> list[Variable]:
        """The environment variables that it needs."""
        return [Variable("LD_LIBRARY_PATH", (self.folder,), is_list=True)]


def add_oracle(contents: Contents, client: Path, libaio: Path | None) -> OracleClient:
    """Add an Instant Client, in the folder of its archive.

    :param client: ``instantclient-basic-linux.x64-….zip``, or the light one.
    :param libaio: ``libaio.so.1``, or a ``.deb`` that contains it.
    :raises MwaaInputError: it is another archive, or one for another system or processor.
    """
    entries = [entry for entry in read_zip(client, contents.opened) if not entry.name.startswith(f"{_LEFT_OUT}/")]
    folders = {entry.name.partition("/")[0] for entry in entries}
    found = sorted(folder for folder in folders if _FOLDER.fullmatch(folder))
    libraries = [
        entry for entry in entries if re.fullmatch(r"instantclient_\d+_\d+/libclntsh\.so\.\d+\.\d+", entry.name)
    ]
    if len(found) != 1 or not libraries:
        raise MwaaInputError(
            f"{client} is not Oracle's Instant Client for Linux: it does not contain instantclient_…/libclntsh.so. "
            "Download instantclient-basic-linux.x64-….zip."
        )
    [folder] = found
    for library in libraries:
        try:
            with library.open() as file:
                start = file.read(HEADER_BYTES)
        except DAMAGED as error:
            raise MwaaInputError(
                f"{client} is damaged: {library.name} in it cannot be read. Download it again."
            ) from error
        if is_elf(start) and not is_x86_64(start):
            raise MwaaInputError(f"{client} is for another processor. Download the one for Linux x86-64.")
    for entry in entries:
        contents.add(entry, client.name)
    if libaio is not None:
        contents.add(ZipEntry(f"{folder}/{LIBAIO}", _libaio(libaio), 0o755), libaio.name)
    contents.ignore([folder])
    names = [entry.name for entry in entries if not entry.is_link]
    needed = [f"{folder}/{LIBAIO}"] * (libaio is not None)
    for pattern in _NEEDED:
        needed += sorted(name for name in names if re.fullmatch(f"{folder}/{pattern}", name))
    return OracleClient(folder, tuple(needed))


def _libaio(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if content.startswith(b"!<arch>\n"):
        content = _of_deb(path, content)
    if content.startswith(b"\xed\xab\xee\xdb"):
        raise MwaaInputError(
            f"{path} is an RPM package, which only rpm can unpack. Give the library in it: rpm2cpio {path.name} "
            "| cpio -id '*libaio.so*', or cp /lib64/libaio.so.1 in a container of amazonlinux:2023 after dnf "
            "install libaio."
        )
    if not is_x86_64(content[:HEADER_BYTES]):
        raise MwaaInputError(f"{path} is not a library for Linux x86-64. Give the {LIBAIO} of Amazon Linux 2023.")
    return content


def _of_deb(path: Path, content: bytes) -> bytes:
    """Return the library from a Debian package: an ``ar`` archive that contains a compressed tar."""
    at = 8
    while at + 60 <= len(content):
        header = content[at : at + 60]
        name, digits = header[:16].decode("ascii", "replace").strip(" /"), header[48:58].strip()
        if not digits.isdigit():
            break
        size = int(digits)
        if name in ("data.tar.xz", "data.tar.gz", "data.tar"):
            try:
                with tarfile.open(fileobj=io.BytesIO(content[at + 60 : at + 60 + size])) as data:
                    for member in data:
                        file = data.extractfile(member) if re.search(r"/libaio\.so\.1[^/]*$", member.name) else None
                        if file is not None:
                            return file.read()
            except (tarfile.TarError, lzma.LZMAError, zlib.error, KeyError, EOFError):
                break
        at += 60 + size + size % 2
    raise MwaaInputError(f"{path}: this package has no readable libaio.so.1. Give the library itself.")
