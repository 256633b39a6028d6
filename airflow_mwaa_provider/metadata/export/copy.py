# SPDX-License-Identifier: Apache-2.0
"""The rows of a query as a stream of CSV from PostgreSQL's COPY.

A thread reads them, so that the rows are processed in parallel, and so that a signal, such as Airflow's at the end of a
task, is handled immediately and not after the query.
"""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CHUNK_BYTES", "Chunk", "copied"]

CHUNK_BYTES = 1 << 20
_CHUNKS_AHEAD = 4
_LOOK_S = 0.5
_END_S = 15.0


class Chunk(NamedTuple):
    """Some complete rows.

    :param partition: the value of the query's first column if it is the partition, otherwise an empty string.
    :param data: the rows as CSV, each with a line break at its end.
    """

    partition: str
    rows: int
    data: bytes


class _Stopped(Exception):
    """The rows are no longer needed."""


class _RowFile:
    """The file that COPY writes to. libpq writes one complete row at a time."""

    def __init__(self, chunks: queue.Queue[Any], is_stopped: threading.Event) -> None:
        self._chunks = chunks
        self._is_stopped = is_stopped
        self._rows: list[bytes] = []
        self._size = 0

    def write(self, row: bytes) -> None:
        self._rows.append(row)
        self._size += len(row)
        if self._size >= CHUNK_BYTES:
            self.flush()

    def flush(self, partition: str = "") -> None:
        if self._rows:
            self.put(Chunk(partition, len(self._rows), b"".join(self._rows)))
            self._rows, self._size = [], 0

    def put(self, item: Any) -> None:
        while not self._is_stopped.is_set():
            try:
                self._chunks.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return
        raise _Stopped


class _PartitionedRowFile(_RowFile):
    """The same for rows that begin with their partition and are sorted by it."""

    _partition: bytes = b""

    def write(self, row: bytes) -> None:
        partition, _, rest = row.partition(b",")
        if partition != self._partition:
            self.flush()
            self._partition = partition
        super().write(rest)

    def flush(self, partition: str = "") -> None:
        super().flush(partition or self._partition.decode())


@contextmanager
def copied(connection: Any, query: str, *, is_partitioned: bool = False) -> Iterator[Iterator[Chunk]]:
    """Run a query, and return its rows in chunks of about :data:`CHUNK_BYTES`.

    Keeps a few chunks in memory, whatever the size of the result. If the context ends early, the query is canceled.

    :param query: a SELECT.
    :param is_partitioned: its first column is the partition, without comma or quote, by which the rows are sorted; it
        is removed from the rows, and a chunk has rows of one partition.
    :raises psycopg2.Error: while iterating, the error of the query.
    """
    chunks: queue.Queue[Any] = queue.Queue(_CHUNKS_AHEAD)
    is_stopped = threading.Event()
    file = (_PartitionedRowFile if is_partitioned else _RowFile)(chunks, is_stopped)
    end: list[BaseException | None] = []

    def read() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv)", file, CHUNK_BYTES)
            file.flush()
            end.append(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the rows are consumed
            end.append(error)
        with suppress(_Stopped):
            file.put(None)

    def take() -> Iterator[Chunk]:
        while (chunk := chunks.get()) is not None:
            yield chunk
        error = end[0]
        if error is not None:
            raise error

    thread = threading.Thread(target=read, name="metadata-copy", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        is_stopped.set()
        if thread.is_alive():
            with suppress(psycopg2.Error):
                connection.cancel()
            # Over a dead network even the cancellation may hang; then the connection is closed underneath it.
            thread.join(_END_S)
