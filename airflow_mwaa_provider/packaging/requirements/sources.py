# SPDX-License-Identifier: Apache-2.0
"""Source archives: whether one is pure Python, and can be built without a compiler."""

from __future__ import annotations

import io
import tarfile
import zipfile
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from airflow_mwaa_provider.packaging.requirements.downloading import open_file

if TYPE_CHECKING:
    from airflow_mwaa_provider.packaging.requirements.resolving import PackageFile

__all__ = ["SourceKind", "kind_of_source"]

MAX_BYTES = 50_000_000
_COMPILED = (".c", ".cc", ".cpp", ".cxx", ".f", ".f90", ".go", ".pyx", ".rs", ".swg", ".i")
_ASIDE = ("doc", "docs", "test", "tests", "example", "examples", "benchmark", "benchmarks")


class SourceKind(StrEnum):
    """What it takes to build a source archive."""

    PURE = "pure"
    COMPILED = "compiled"
    UNKNOWN = "unknown"


def kind_of_source(source: PackageFile | None) -> SourceKind:
    """Return whether an archive contains code to be compiled, judging by the names of its files.

    At most 50 MB are read. An archive that cannot be read is unknown.
    """
    if source is None:
        return SourceKind.UNKNOWN
    try:
        names = _names(source.name, _content(source.address))
    except (OSError, ValueError, tarfile.TarError, zipfile.BadZipFile):
        return SourceKind.UNKNOWN
    is_compiled = any(
        PurePosixPath(name).suffix.lower() in _COMPILED and not set(PurePosixPath(name).parts[1:-1]) & set(_ASIDE)
        for name in names
    )
    return SourceKind.COMPILED if is_compiled else SourceKind.PURE


def _content(address: str) -> bytes:
    with open_file(address) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError("too large")
    return content


def _names(file_name: str, content: bytes) -> list[str]:
    if file_name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.namelist()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return tar.getnames()
