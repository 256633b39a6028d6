# SPDX-License-Identifier: Apache-2.0
"""A file of an archive, read back from where it was written to, and checked by the way."""

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
    """Counts the records of CSV as it comes: a line break between quotes ends none."""

    def __init__(self) -> None:
        self.records = 0
        self._is_quoted = False

    def count(self, data: bytes) -> None:
        """Take some bytes, wherever they were cut."""
        # Of two quotes with nothing between them that counts, neither does.
        pieces = data.translate(None, _NEITHER).replace(b'""', b"").split(b'"')
        for place, piece in enumerate(pieces):
            if self._is_quoted == bool(place % 2):
                self.records += len(piece)
        self._is_quoted ^= len(pieces) % 2 == 0


class ArchivedFile:
    """The rows of a file as CSV, with its header: a file to read, in constant memory.

    :param raw: what is stored; it is closed in the end.
    :param file: what the manifest says of it.
    :param label: names it in errors.
    :param on_rows: is told how many rows there were by now; what it raises ends the reading.
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
        """How many there were by now."""
        return max(0, self._counter.records - 1)

    def read(self, size: int = _BLOCK_BYTES) -> bytes:
        """Read some bytes of CSV, at most so many; none at the end.

        What goes wrong is kept as ``error`` too: COPY, which reads here, tells of it in its own words.

        :raises StorageError: it cannot be read, or is damaged.
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
        """Read what is left, and compare all of it with what the manifest says.

        :raises StorageError: it is something else.
        """
        while not self._is_over:
            self.read()
        if self._sha256.hexdigest() != self._file.sha256:
            raise self.damage("its SHA-256 is not that of its manifest")
        if self.rows != self._file.rows:
            raise self.damage(f"it has {self.rows:,} rows, and its manifest says {self._file.rows:,}")

    def is_damaged(self) -> bool:
        """Read what is left, and say whether its bytes are others than those that were written."""
        while block := self._raw.read(_BLOCK_BYTES):
            self._sha256.update(block)
        return self._sha256.hexdigest() != self._file.sha256

    def damage(self, what: str) -> StorageError:
        """Make the error for a file that isn't what it was."""
        return StorageError(f"{self._label} is damaged: {what}.")

    def _some(self, size: int) -> bytes:
        if self._zip is None:
            return self._block(size)
        if self._zip.unconsumed_tail:
            return self._decompressed(self._zip.unconsumed_tail, size)
        block = self._block(_BLOCK_BYTES)
        if self._is_over:
            return self._zip.flush()
        # What comes after the end of its gzip is none of it; the checksum tells.
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
