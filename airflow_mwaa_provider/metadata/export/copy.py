# SPDX-License-Identifier: Apache-2.0
"""The rows of a query as a stream of CSV, out of PostgreSQL's COPY.

A thread reads, so that what is done with the rows goes on meanwhile, and so that a signal, such as Airflow's end of a
task, is seen at once and not after the query.
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
    """Some whole rows.

    :param partition: the text of the query's first column where that is the partition's; else empty.
    :param data: the rows as CSV, each with the line break at its end.
    """

    partition: str
    rows: int
    data: bytes


class _Stopped(Exception):
    """Nobody takes the rows any more."""


class _RowFile:
    """The file that COPY writes to. libpq gives it one whole row at a time."""

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
    """The same for rows that begin with the text of their partition, sorted by it."""

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
    """Run a query, and give its rows in chunks of some :data:`CHUNK_BYTES`.

    Holds a few chunks, whatever the size of the result. When the context ends early the query is cancelled.

    :param query: a SELECT.
    :param is_partitioned: its first column is the partition's text, without comma or quote, which the rows are sorted
        by; it is taken off the rows, and a chunk holds rows of one partition.
    :raises psycopg2.Error: what the query met, while iterating.
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
        except BaseException as error:  # noqa: BLE001 - raised again where the rows are taken
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
            # Over a dead network even the cancellation may hang: the connection is closed under it then.
            thread.join(_END_S)
