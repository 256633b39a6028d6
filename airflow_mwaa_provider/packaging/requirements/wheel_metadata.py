# SPDX-License-Identifier: Apache-2.0
"""Metadata of wheels, as pip reads it: pip refuses some that uv repairs silently.

Source: pip 24.1 to 26. It skips a version whose metadata contains a requirement that it cannot parse, as if the index
did not have it; a Requires-Python that it cannot parse is only a warning.
"""

from __future__ import annotations

import http.client
import io
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from typing import IO, TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit

from packaging.requirements import InvalidRequirement, Requirement

from airflow_mwaa_provider.packaging.requirements.downloading import open_file

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["may_be_refused", "why_refused"]

_AT_ONCE = 8
_TIMEOUT_S = 10
_ALL_S = 20
_MAX_BYTES = 1_000_000
_PYPI_REFUSES = datetime(2025, 1, 1, tzinfo=UTC)
"""PyPI has accepted no such file since 2024."""
_UNREADABLE = (
    *(OSError, ValueError, http.client.HTTPException),
    *(zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError),
)


def may_be_refused(uploaded: datetime | None) -> bool:
    """Return whether a wheel is old enough to have such metadata, or of unknown age."""
    return uploaded is None or uploaded < _PYPI_REFUSES


def why_refused(wheels: Sequence[tuple[str, int | None]]) -> list[str | None]:
    """Return the requirement for which pip refuses each wheel: empty if there is none, None if it cannot be examined.

    A wheel on this machine is opened. Otherwise the index is asked for the metadata beside it, or for the wheel itself
    if it has at most 1 MB: eight requests at once, and none after 20 seconds.

    :param wheels: their URLs or paths, and their sizes in bytes if known.
    """
    until = time.monotonic() + _ALL_S
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda wheel: _why_refused(wheel[0], wheel[1], until), wheels))


def _why_refused(address: str, size_bytes: int | None, until: float) -> str | None:
    if time.monotonic() > until:
        return None
    try:
        content = _metadata(address, size_bytes)
    except _UNREADABLE:
        return None
    for needed in map(str, BytesHeaderParser().parsebytes(content).get_all("Requires-Dist", [])):
        try:
            Requirement(needed.strip())
        except InvalidRequirement:
            return needed.strip()
    return ""


def _metadata(address: str, size_bytes: int | None) -> bytes:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        with open_file(address) as file:
            return _of_archive(file)
    try:
        return _read(urlunsplit(parts._replace(path=f"{parts.path}.metadata", fragment="")))
    except HTTPError:
        if size_bytes is None or size_bytes > _MAX_BYTES:
            raise
        return _of_archive(io.BytesIO(_read(address)))


def _read(address: str) -> bytes:
    with open_file(address, _TIMEOUT_S) as answer:
        content = answer.read(_MAX_BYTES)
        if getattr(answer, "length", 0):
            raise ValueError("incomplete, or too large")
    return content


def _of_archive(wheel: IO[bytes]) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
        return archive.read(name)
