# SPDX-License-Identifier: Apache-2.0
"""One object of an export: its bytes as they come, then an upload that somebody makes visible."""

from __future__ import annotations

import hashlib
import io
import logging
import uuid
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from airflow_mwaa_provider.metadata.storage.bucket import Storage

__all__ = ["PART_BYTES", "ObjectWriter", "PendingObject", "StoredFile"]

log = logging.getLogger(__name__)

PART_BYTES = 6 << 20
"""Of an upload at least; S3 wants 5 MiB."""


@dataclass(frozen=True)
class StoredFile:
    """An object of an export.

    :param bytes: its size.
    :param sha256: of its bytes, hexadecimal.
    :param partition: names and values of the partition that it lies in.
    """

    key: str
    rows: int
    bytes: int
    sha256: str
    partition: dict[str, str] = field(default_factory=dict)


class PendingObject:
    """An object that is all uploaded, and not visible yet."""

    def __init__(self, storage: Storage, file: StoredFile, content_type: str) -> None:
        self.file = file
        self.upload_id: str | None = None
        self.parts: list[Future[dict[str, str]]] = []
        self.body: bytes | None = None
        self.mark = uuid.uuid4().hex
        self._storage = storage
        self._content_type = content_type
        self._beginning = Lock()

    def begin(self) -> None:
        """Begin the upload, if it has not begun; by whoever uploads the first part, so that many begin at once."""
        with self._beginning:
            if self.upload_id is None:
                self.upload_id = self._storage.begin_upload(self.file.key, self._content_type, self.mark)

    def commit(self) -> StoredFile:
        """Make it visible, in place of what was there under its name.

        :raises StorageError: it could not be.
        """
        if self.body is not None:
            self._storage.put(self.file.key, self.body, self._content_type)
            self._let_go()
        else:
            parts = [{"PartNumber": number, **part.result()} for number, part in enumerate(self.parts, 1)]
            self._storage.complete(self, parts)
        self._storage.forget(self)
        return self.file

    def abort(self) -> None:
        """Take it back; what cannot be aborted now the next export of the same name aborts."""
        self._storage.forget(self)
        self._let_go()
        if self.upload_id is not None:
            try:
                self._storage.abort_upload(self.file.key, self.upload_id)
            except MwaaError as error:
                log.warning("An unfinished upload is left: %s", error)

    def check(self) -> None:
        """Raise what a part of it has met, if any has."""
        for part in self.parts:
            if part.done():
                part.result()

    def _let_go(self) -> None:
        if self.body is not None:
            self._storage.release(len(self.body))
            self.body = None


class ObjectWriter:
    """Takes the bytes of one object as they come; of them it holds less than two parts."""

    def __init__(self, storage: Storage, key: str, content_type: str, partition: dict[str, str]) -> None:
        self.key = key
        self.size = 0
        self._storage = storage
        self._partition = partition
        self._sha256 = hashlib.sha256()
        self._part = io.BytesIO()
        self._pending = PendingObject(storage, StoredFile(key, 0, 0, ""), content_type)
        storage.track(self._pending)

    def write(self, data: bytes) -> None:
        """Take some bytes; waits while S3 is behind. They make one part where they are many.

        :raises StorageError: an earlier part could not be uploaded.
        """
        if not data:
            return
        self._sha256.update(data)
        self.size += len(data)
        # In a buffer rather than a list that is joined: that would be there twice while S3 is behind.
        self._part.write(data)
        if self._part.tell() >= PART_BYTES:
            part, self._part = self._part, io.BytesIO()
            self._upload(part)

    def finish(self, rows: int) -> PendingObject:
        """Upload what is left; the object is complete, and not visible yet."""
        pending = self._pending
        pending.file = StoredFile(self.key, rows, self.size, self._sha256.hexdigest(), self._partition)
        if not pending.parts and self._storage.hold(self.size):
            pending.body = self._part.getvalue()
        elif self._part.tell() or not pending.parts:
            self._upload(self._part)
        self._part = io.BytesIO()
        return pending

    def _upload(self, part: io.BytesIO) -> None:
        self._pending.check()
        self._pending.parts.append(self._storage.submit_part(self._pending, len(self._pending.parts) + 1, part))
