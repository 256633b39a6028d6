# SPDX-License-Identifier: Apache-2.0
"""Files that are written as a whole or not at all: a draft beside the target, which then takes its place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from io import BufferedRandom
    from types import TracebackType

__all__ = ["Draft", "refuse_other_file", "write_text"]


class Draft:
    """The next content of a file, written beside it. A context: it replaces the file unless an error leaves the block.

    A file that has the same content already is not touched. The draft's name begins with a dot and the file's name,
    and is different each time, so that two writers at once do not write into each other's draft.

    :param mode: permissions of the new file, such as ``0o644``. By default, the umask decides.
    :raises OSError: the file cannot be written.
    """

    def __init__(self, path: Path, *, mode: int | None = None) -> None:
        self.changed = False
        """Whether the file has other content than before; known after the block."""
        self._target = path
        self._path = path.with_name(f".{path.name}.{token_hex(4)}")
        # Not mkstemp: only their owner can read its files, regardless of the umask.
        self.file: BufferedRandom = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "w+b")
        if mode is not None:
            os.fchmod(self.file.fileno(), mode)

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.file.close()
            if error is None and not (self._target.exists() and _are_same(self._target, self._path)):
                self._path.replace(self._target)
                self.changed = True
        finally:
            self._path.unlink(missing_ok=True)


def refuse_other_file(path: Path, text: str, *, fix: str) -> None:
    """Refuse to replace a file that has other content than this text.

    :param fix: what to do about it: the last sentence of the error.
    :raises MwaaInputError: such a file exists, or it cannot be read.
    """
    try:
        is_other = path.exists() and (not path.is_file() or path.read_bytes() != text.encode())
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be read: {error.strerror or error}. Choose another name.") from error
    if is_other:
        raise MwaaInputError(f"{path} exists and differs from what would be written. {fix}")


def write_text(path: Path, text: str) -> bool:
    """Write a text file, in UTF-8. Its permissions are kept; those of a new one are ``0o644``.

    :return: whether the file has changed.
    :raises MwaaInputError: it cannot be written, or is not a file.
    """
    target = Path(os.path.realpath(path))  # so that a symbolic link remains one
    try:
        if target.exists() and not target.is_file():
            raise MwaaInputError(f"{path} is not a file. Choose another name.")
        if target.exists() and target.read_bytes() == text.encode():
            return False  # a folder that cannot be written is no error then
        with Draft(target, mode=target.stat().st_mode & 0o7777 if target.exists() else 0o644) as draft:
            draft.file.write(text.encode())
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error
    return draft.changed


def _are_same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        return hashlib.file_digest(first, "sha256").digest() == hashlib.file_digest(second, "sha256").digest()
