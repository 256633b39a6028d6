# SPDX-License-Identifier: Apache-2.0
"""Read a file of an archive back from S3, and check it on the way."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import StorageError
from airflow_mwaa_provider.metadata.export.formats import Compression

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.storage.bucket import StoredFile

__all__ = ["ArchivedFile", "RecordCounter"]

_BLOCK_BYTES = 1 << 20
_NEITHER = bytes(set(range(256)) - set(b'"\n'))


class RecordCounter:
    """Count the records of a CSV stream; a line break between quotes does not end one."""

    def __init__(self) -> None:
        self.records = 0
        self._is_quoted = False

    def count(self, data: bytes) -> None:
        """Count the records in the next bytes, wherever they were split."""
        # Two quotes with nothing between them that counts can be ignored.
        pieces = data.translate(None, _NEITHER).replace(b'""', b"").split(b'"')
        for place, piece in enumerate(pieces):
            if self._is_quoted == bool(place % 2):
                self.records += len(piece)
        self._is_quoted ^= len(pieces) % 2 == 0


class ArchivedFile:
    """The rows of a file as CSV with a header: a readable file object, in constant memory.

    :param raw: the stored object; it is closed at the end.
    :param file: its entry in the manifest.
    :param label: its name in errors.
    :param on_rows: called with the number of rows read; an error that it raises ends the reading.
    """

    def __init__(
        self,
        raw: io.RawIOBase,
        file: StoredFile,
        compression: Compression,
        label: str,
        on_rows: Callable[[int], None],
    ) -> None:
        self.error: BaseException | None = None
        self._raw, self._file, self._label, self._on_rows = raw, file, label, on_rows
        self._sha256 = hashlib.sha256()
        self._counter = RecordCounter()
        self._zip = zlib.decompressobj(31) if compression is Compression.GZIP else None
        self._is_over = False

    def __enter__(self) -> ArchivedFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._raw.close()

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return max(0, self._counter.records - 1)

    def read(self, size: int = _BLOCK_BYTES) -> bytes:
        """Return some bytes of CSV, at most so many; none at the end.

        An error is also kept as ``error``, because COPY, which reads from here, reports it in other words.

        :raises StorageError: the file cannot be read, or is damaged.
        """
        try:
            data = b""
            while not data and not self._is_over:
                data = self._some(size)
            self._counter.count(data)
            self._on_rows(self.rows)
        except BaseException as error:
            self.error = error
            raise
        return data

    def check(self) -> None:
        """Read the rest, and compare the whole file with the manifest.

        :raises StorageError: they differ.
        """
        while not self._is_over:
            self.read()
        if self._sha256.hexdigest() != self._file.sha256:
            raise self.damage("its SHA-256 differs from the manifest")
        if self.rows != self._file.rows:
            raise self.damage(f"it has {self.rows:,} rows instead of the {self._file.rows:,} in the manifest")

    def is_damaged(self) -> bool:
        """Read the rest, and return whether the bytes differ from those that were written."""
        while block := self._raw.read(_BLOCK_BYTES):
            self._sha256.update(block)
        return self._sha256.hexdigest() != self._file.sha256

    def damage(self, what: str) -> StorageError:
        """Return the error for a damaged file."""
        return StorageError(f"{self._label} is damaged: {what}.")

    def _some(self, size: int) -> bytes:
        if self._zip is None:
            return self._block(size)
        if self._zip.unconsumed_tail:
            return self._decompressed(self._zip.unconsumed_tail, size)
        block = self._block(_BLOCK_BYTES)
        if self._is_over:
            return self._zip.flush()
        # Bytes after the end of the gzip data are ignored here; the checksum shows them.
        return b"" if self._zip.eof else self._decompressed(block, size)

    def _decompressed(self, block: bytes, size: int) -> bytes:
        assert self._zip is not None
        try:
            return self._zip.decompress(block, size)
        except zlib.error as error:
            raise self.damage(" ".join(str(error).split())) from error

    def _block(self, size: int) -> bytes:
        block = self._raw.read(size) or b""
        self._sha256.update(block)
        self._is_over = not block
        return block
