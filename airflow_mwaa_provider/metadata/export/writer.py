# SPDX-License-Identifier: Apache-2.0
"""Write rows of a table as files of an export: uploaded, and not visible before they are committed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from airflow_mwaa_provider.metadata.export.formats import FileFormat, make_encoder
from airflow_mwaa_provider.metadata.storage.bucket import MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from airflow_mwaa_provider.metadata.catalog.selection import TableRows
    from airflow_mwaa_provider.metadata.export.copy import Chunk
    from airflow_mwaa_provider.metadata.export.formats import Compression, Encoder
    from airflow_mwaa_provider.metadata.export.layout import ObjectKeys
    from airflow_mwaa_provider.metadata.export.source import Progress, RowSource
    from airflow_mwaa_provider.metadata.storage.bucket import ObjectWriter, PendingObject, Storage

__all__ = ["FileWriter"]

_CONTENT_TYPES = {
    FileFormat.CSV: "text/csv; charset=utf-8",
    FileFormat.PARQUET: "application/vnd.apache.parquet",
}


class FileWriter:
    """Reads rows in this process, and writes them as files.

    :param limit_bytes: start a new file when one has this size.
    :param first_number: number of the first file of a table or partition.
    :param writes_empty: also write a file for a table without rows, unless it is divided into partitions.
    """

    def __init__(
        self,
        source: RowSource,
        storage: Storage,
        form: FileFormat,
        compression: Compression,
        progress: Progress,
        *,
        limit_bytes: int | None = None,
        first_number: int = 0,
        writes_empty: bool = True,
    ) -> None:
        self._source, self._storage, self._progress = source, storage, progress
        self._form, self._compression = form, compression
        self._limit_bytes = min(limit_bytes or MAX_OBJECT_BYTES, MAX_OBJECT_BYTES)
        self._first_number = first_number
        self._writes_empty = writes_empty

    def write(
        self, rows: TableRows, object_keys: ObjectKeys, changed_before: datetime | None
    ) -> Iterator[PendingObject]:
        """Write the files of a table."""
        partition_sql = object_keys.partition_sql(rows, changed_before)
        expected = rows.table.estimated_rows if rows.is_whole else None
        count, size = 0, 0
        # Not every source returns a partition's rows in one piece.
        numbers: defaultdict[str, int] = defaultdict(lambda: self._first_number)
        file: _File | None = None
        partition = ""
        with self._source.chunks(rows, self._form, partition_sql) as chunks:
            for chunk in chunks:
                if file is not None and (chunk.partition != partition or file.size >= self._limit_bytes):
                    yield file.finish()
                    numbers[partition] += 1
                    size, file = size + file.size, None
                if file is None:
                    partition = chunk.partition
                    file = self._file(rows, object_keys, partition, numbers[partition])
                file.write(chunk)
                count += chunk.rows
                self._progress(rows.name, count, size + file.size, expected)
        if file is None:
            if partition_sql is not None or not self._writes_empty:
                return  # without a row in any partition there is no file
            file = self._file(rows, object_keys, "", self._first_number)
        yield file.finish()
        self._progress(rows.name, count, size + file.size, count)

    def _file(self, rows: TableRows, object_keys: ObjectKeys, partition: str, number: int) -> _File:
        named = object_keys.partition(partition)
        writer = self._storage.writer(object_keys.file(rows.name, named, number), _CONTENT_TYPES[self._form], named)
        return _File(writer, make_encoder(self._form, self._compression, rows, writer.write))


class _File:
    """A file that is being written."""

    def __init__(self, writer: ObjectWriter, encoder: Encoder) -> None:
        self._writer = writer
        self._encoder = encoder
        self._rows = 0

    @property
    def size(self) -> int:
        """Its current size."""
        return self._writer.size

    def write(self, chunk: Chunk) -> None:
        self._encoder.write(chunk.data)
        self._rows += chunk.rows

    def finish(self) -> PendingObject:
        self._encoder.close()
        return self._writer.finish(self._rows)
