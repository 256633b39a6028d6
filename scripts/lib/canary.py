# SPDX-License-Identifier: Apache-2.0
"""A value that stands for every secret of a test run, and the search for it in what the run leaves and prints.

The tests of secrets store it in Secrets Manager, as variables and as passwords. Nothing that a run writes or shows
may contain it in clear text or in a reversible form. Only the standard library: the scripts use this, too.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import hmac
import os
import secrets
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

SEED = "AIRFLOW_MWAA_TEST_CANARY_SEED"
"""Variable that the value is derived from, so that the value itself is in no process's environment by default."""
_CHUNK_BYTES = 4 * 2**20


@functools.cache
def value() -> str:
    """Return the value of this run: a new one each time, unless the variable is set.

    It has only letters and digits, which URLs, JSON and quoted SQL do not change.
    """
    seed = os.environ.setdefault(SEED, secrets.token_hex(16))
    return f"canary{hmac.new(seed.encode(), b'canary', 'sha256').hexdigest()[:26]}"


@functools.cache
def forms() -> dict[bytes, str]:
    """Return the forms to search for, with their names."""
    plain = value().encode()
    found = {plain: "in clear", b"\0".join(plain[at : at + 1] for at in range(len(plain))): "as UTF-16"}
    found |= {plain.hex().encode(): "in hexadecimal", plain.hex().upper().encode(): "in hexadecimal"}
    for before in range(3):  # preceding bytes of the same group of three
        encoded = base64.b64encode(bytes(before) + plain)
        found[encoded[-(-before * 8 // 6) : (before + len(plain)) * 8 // 6]] = "as base64"
    return found


def form_in(data: bytes) -> str | None:
    """Return the form in which the data contains the value, or ``None``."""
    return next((called for pattern, called in forms().items() if pattern in data), None)


def check(*folders: str | Path) -> None:
    """Search all files below folders, and their names.

    :raises AssertionError: names each file that contains the value.
    """
    found = [f"{called} in {path}" for folder in folders for path, called in _in_files(Path(folder))]
    assert not found, f"the value of a secret of this run is {', '.join(sorted(found))}"


def in_processes() -> Iterator[str]:
    """Yield each process of this machine that contains the value, and in which form."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            for name in ("cmdline", "environ"):
                if called := form_in((process / name).read_bytes()):
                    yield f"{called} in {process / name} ({(process / 'comm').read_text().strip()})"


def _in_files(folder: Path) -> Iterator[tuple[str, str]]:
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            if called := form_in(os.fsencode(name)):
                yield parent, f"{called} in a name"
        for path in (Path(parent, name) for name in files):
            with contextlib.suppress(OSError, EOFError, zlib.error):  # it no longer exists, or is no complete archive
                if stat.S_ISREG(path.lstat().st_mode) and (called := _form_in_file(path)):
                    yield str(path), called


def _form_in_file(path: Path) -> str | None:
    with path.open("rb") as file:
        called = _form_in_stream(file)
    if called is None:
        with gzip.open(path) as archive, contextlib.suppress(gzip.BadGzipFile):
            called = _form_in_stream(archive)
    return called


def _form_in_stream(file: IO[bytes]) -> str | None:
    longest, before = max(map(len, forms())), b""
    while chunk := file.read(_CHUNK_BYTES):
        if called := form_in(before + chunk):
            return called
        before = chunk[-longest:]
    return None
