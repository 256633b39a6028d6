# SPDX-License-Identifier: Apache-2.0
"""Objects in S3 that become visible together: uploaded in parts while they are written, and completed at the end.

Until :meth:`PendingObject.commit`, nothing of an object is visible, and an earlier object with its name is kept.
"""

from __future__ import annotations

import hashlib
import io
import logging
import uuid
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError
from airflow_mwaa_provider.metadata.storage.errors import ObjectMissing, refusal, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

__all__ = ["MAX_OBJECT_BYTES", "PART_BYTES", "ObjectWriter", "PendingObject", "Storage", "StoredFile", "UploadHandle"]

log = logging.getLogger(__name__)

PART_BYTES = 6 << 20
"""Minimum size of a part; S3 requires 5 MiB."""
MAX_OBJECT_BYTES = 9_000 * PART_BYTES
"""S3 accepts 10,000 parts per object, which are 52 GiB here."""
UPLOADS_AT_ONCE = 3
HELD_BYTES = 16 << 20
_DELETED_AT_ONCE = 1000
_MARK = "upload"
# Newer releases of boto3 send one anyway. With it, S3 rejects a part that was changed on its way.
_CHECKSUM = {"ChecksumAlgorithm": "CRC32"}


@dataclass(frozen=True)
class StoredFile:
    """An object of an export.

    :param bytes: its size.
    :param sha256: of its bytes, hexadecimal.
    :param partition: names and values of its partition.
    """

    key: str
    rows: int
    bytes: int
    sha256: str
    partition: dict[str, str] = field(default_factory=dict)


class UploadHandle(NamedTuple):
    """An object that one process has uploaded and another one commits.

    :param parts: S3's answer for each part, as ``CompleteMultipartUpload`` requires it.
    :param mark: metadata by which the object names the upload that it is from.
    """

    file: StoredFile
    upload_id: str
    parts: tuple[dict[str, str], ...]
    mark: str


class Storage:
    """A bucket, and how objects are written to it.

    A context: its end stops the threads, and aborts every upload that was not committed.

    :param client: boto3's S3 client.
    :param put: parameters for each object, as S3's ``PutObject`` accepts them.
    :param kms_key_id: encrypt the objects with this KMS key; ``None`` leaves it to the bucket.
    :param owner: account that must own the bucket; ``None`` for any.
    :param uploads_at_once: parts that are uploaded in parallel, each of 6 MiB or the size of the object.
    :param held_bytes: total size of small objects that are kept in memory until they are committed, with one call each
        instead of three; 0 if another process commits them.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        *,
        put: dict[str, str] | None = None,
        kms_key_id: str | None = None,
        owner: str | None = None,
        held_bytes: int = HELD_BYTES,
        uploads_at_once: int = UPLOADS_AT_ONCE,
    ) -> None:
        if not bucket or "/" in bucket:
            raise MwaaInputError(
                f"bucket={bucket!r} is not a bucket's name. Write it without s3:// and without a path."
            )
        self.client = client
        self.bucket = bucket
        self.owner = owner
        by_kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
        self.put_parameters = {**(put or {}), **by_kms}
        self._own = {"Bucket": bucket, **({"ExpectedBucketOwner": owner} if owner else {})}
        self._uploads_at_once = uploads_at_once
        self._pool = ThreadPoolExecutor(uploads_at_once, thread_name_prefix="s3-upload")
        self._in_flight = BoundedSemaphore(uploads_at_once)
        self._open: set[PendingObject] = set()
        self._lock = Lock()
        self._may_hold_bytes = held_bytes
        self._held_bytes = 0

    def __enter__(self) -> Storage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads, and abort what was not committed."""
        # After this, every part is uploaded or never will be, so that none follows the abort of its upload.
        self._pool.shutdown(wait=True, cancel_futures=True)
        with ThreadPoolExecutor(self._uploads_at_once, thread_name_prefix="s3-abort") as pool:
            list(pool.map(PendingObject.abort, list(self._open)))

    def check_writable(self, key: str) -> None:
        """Begin an upload and abort it, so that S3 rejects now what it would reject later.

        :raises StorageError: no such bucket, another region or account, a KMS key that may not be used.
        :raises AccessDenied: the role may not write, or may not abort.
        """
        with storage_errors(self.bucket, key, "s3:PutObject"):
            upload_id = self.client.create_multipart_upload(**self._own, Key=key, **self.put_parameters)["UploadId"]
        self.abort_upload(key, upload_id)

    def get(self, key: str, *, max_bytes: int = 256 << 20) -> bytes | None:
        """Return an object's content; ``None`` if it does not exist."""
        try:
            with storage_errors(self.bucket, key, "s3:GetObject"):
                body = self.client.get_object(**self._own, Key=key)["Body"]
                try:
                    content: bytes = body.read(max_bytes)
                finally:
                    body.close()
        except ObjectMissing:
            return None
        return content

    def put(self, key: str, content: bytes, content_type: str = "application/json") -> None:
        """Write a small object."""
        with storage_errors(self.bucket, key, "s3:PutObject"):
            self.client.put_object(**self._own, Key=key, Body=content, ContentType=content_type, **self.put_parameters)

    def put_new(self, key: str, content: bytes) -> bool:
        """Write a small object that must not exist yet.

        :return: whether S3 has checked this; boto3 before 1.35.2 cannot request the check.
        :raises ObjectExists: it exists.
        """
        can_ask = "IfNoneMatch" in self.client.meta.service_model.operation_model("PutObject").input_shape.members
        only = {"IfNoneMatch": "*"} if can_ask else {}
        with storage_errors(self.bucket, key, "s3:PutObject"):
            self.client.put_object(
                **self._own, **only, Key=key, Body=content, ContentType="application/json", **self.put_parameters
            )
        return can_ask

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored."""
        listed = list(keys)
        for start in range(0, len(listed), _DELETED_AT_ONCE):
            some = listed[start : start + _DELETED_AT_ONCE]
            with storage_errors(self.bucket, some[0], "s3:DeleteObject"):
                answer = self.client.delete_objects(
                    **self._own, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
            # S3 answers 200 even if the role may delete none of them, with an error for each.
            for refused in answer.get("Errors", ())[:1]:
                raise refusal(refused, self.bucket, refused["Key"], "s3:DeleteObject")

    def abort_left_uploads(self, prefix: str, is_ours: Callable[[str], bool]) -> int:
        """Abort uploads that a killed process has left.

        :param is_ours: whether a key is one that this export writes.
        :return: how many were aborted.
        """
        with storage_errors(self.bucket, prefix, "s3:ListBucketMultipartUploads"):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(**self._own, Prefix=prefix)
            left = [
                (upload["Key"], upload["UploadId"])
                for page in pages
                for upload in page.get("Uploads", ())
                if is_ours(upload["Key"])
            ]
        for key, upload_id in left:
            self.abort_upload(key, upload_id)
        return len(left)

    def folders(self, prefix: str) -> list[str]:
        """List the folders whose names begin with a prefix, each with a slash at its end."""
        with storage_errors(self.bucket, prefix, "s3:ListBucket"):
            pages = self.client.get_paginator("list_objects_v2").paginate(**self._own, Prefix=prefix, Delimiter="/")
            return [found["Prefix"] for page in pages for found in page.get("CommonPrefixes", ())]

    def keys(self, prefix: str) -> list[str]:
        """List the keys that begin with a prefix."""
        with storage_errors(self.bucket, prefix, "s3:ListBucket"):
            pages = self.client.get_paginator("list_objects_v2").paginate(**self._own, Prefix=prefix)
            return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def writer(self, key: str, content_type: str, partition: dict[str, str] | None = None) -> ObjectWriter:
        """Begin an object."""
        return ObjectWriter(self, key, content_type, partition or {})

    def settle(self, pending: Iterable[PendingObject], *, timeout_s: float | None = None) -> None:
        """Wait until all parts of these objects are uploaded.

        :raises StorageError: a part could not be uploaded.
        :raises TimeoutError: it takes longer than this.
        """
        parts = [part for item in pending for part in item.parts]
        _, late = wait(parts, timeout_s, FIRST_EXCEPTION)
        for part in parts:
            if part.done():
                part.result()
        if late:
            raise TimeoutError

    def commit(self, pending: Iterable[PendingObject]) -> None:
        """Make objects visible, several in parallel.

        :raises StorageError: one of them failed; those before it are visible, the others never will be.
        """
        futures = [self._pool.submit(item.commit) for item in pending]
        wait(futures)
        for future in futures:
            future.result()

    def hand_over(self, pending: PendingObject) -> UploadHandle:
        """Leave the commit of an uploaded object to another process; this process no longer aborts it.

        :raises StorageError: a part could not be uploaded.
        """
        assert pending.upload_id is not None, "an object in memory cannot be committed by another process"
        parts = tuple(part.result() for part in pending.parts)
        self.forget(pending)
        return UploadHandle(pending.file, pending.upload_id, parts, pending.mark)

    def take_over(self, handed: UploadHandle) -> PendingObject:
        """Take over an object that another process has uploaded, to commit or abort it."""
        pending = PendingObject(self, handed.file, "")
        pending.upload_id, pending.mark = handed.upload_id, handed.mark
        for told in handed.parts:
            part: Future[dict[str, str]] = Future()
            part.set_result(told)
            pending.parts.append(part)
        self.track(pending)
        return pending

    # The following methods are for the classes below.

    def hold(self, size: int) -> bool:
        """Reserve memory for a small object, if enough is left."""
        with self._lock:
            if self._held_bytes + size > self._may_hold_bytes:
                return False
            self._held_bytes += size
            return True

    def release(self, size: int) -> None:
        """Release it."""
        with self._lock:
            self._held_bytes -= size

    def begin_upload(self, key: str, content_type: str, mark: str) -> str:
        """Begin an upload in parts, and return its id."""
        with storage_errors(self.bucket, key, "s3:PutObject"):
            answer = self.client.create_multipart_upload(
                **self._own,
                **_CHECKSUM,
                Key=key,
                ContentType=content_type,
                Metadata={_MARK: mark},
                **self.put_parameters,
            )
        upload_id: str = answer["UploadId"]
        return upload_id

    def submit_part(self, pending: PendingObject, number: int, body: io.BytesIO) -> Future[dict[str, str]]:
        """Upload a part in the background; wait while as many are being uploaded as memory allows."""
        self._in_flight.acquire()
        try:
            future = self._pool.submit(self._upload_part, pending, number, body)
        except BaseException:
            self._in_flight.release()
            raise
        future.add_done_callback(lambda _: self._in_flight.release())
        return future

    def _upload_part(self, pending: PendingObject, number: int, body: io.BytesIO) -> dict[str, str]:
        pending.begin()
        body.seek(0)
        with body, storage_errors(self.bucket, pending.file.key, "s3:PutObject"):
            answer = self.client.upload_part(
                **self._own,
                **_CHECKSUM,
                Key=pending.file.key,
                UploadId=pending.upload_id,
                PartNumber=number,
                Body=body,
            )
        return {name: answer[name] for name in ("ETag", "ChecksumCRC32") if answer.get(name)}

    def track(self, pending: PendingObject) -> None:
        """Remember an object that must be committed or aborted."""
        with self._lock:
            self._open.add(pending)

    def forget(self, pending: PendingObject) -> None:
        """Forget an object that was committed or aborted."""
        with self._lock:
            self._open.discard(pending)

    def complete(self, pending: PendingObject, parts: list[dict[str, Any]]) -> None:
        """Make an uploaded object visible."""
        key = pending.file.key
        with storage_errors(self.bucket, key, "s3:PutObject"):
            try:
                self.client.complete_multipart_upload(
                    **self._own, Key=key, UploadId=pending.upload_id, MultipartUpload={"Parts": parts}
                )
            except self.client.exceptions.NoSuchUpload:
                # botocore repeats a call whose answer was lost, and the first call may have succeeded.
                found = self.client.head_object(**self._own, Key=key)
                if found.get("Metadata", {}).get(_MARK) != pending.mark:
                    raise

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort an upload; its parts are deleted."""
        with suppress(ObjectMissing), storage_errors(self.bucket, key, "s3:AbortMultipartUpload"):
            self.client.abort_multipart_upload(**self._own, Key=key, UploadId=upload_id)


class PendingObject:
    """An object that is uploaded, and becomes visible when it is committed."""

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
        """Begin the upload if it has not begun; the first part's thread does this, so that many begin in parallel."""
        with self._beginning:
            if self.upload_id is None:
                self.upload_id = self._storage.begin_upload(self.file.key, self._content_type, self.mark)

    def commit(self) -> StoredFile:
        """Make the object visible; it replaces an earlier one with its name.

        :raises StorageError: this failed.
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
        """Abort the upload; if this fails, the next export with the same name aborts it."""
        self._storage.forget(self)
        self._let_go()
        if self.upload_id is not None:
            try:
                self._storage.abort_upload(self.file.key, self.upload_id)
            except MwaaError as error:
                log.warning("An unfinished upload could not be aborted: %s", error)

    def check(self) -> None:
        """Raise the error of one of its parts, if any failed."""
        for part in self.parts:
            if part.done():
                part.result()

    def _let_go(self) -> None:
        if self.body is not None:
            self._storage.release(len(self.body))
            self.body = None


class ObjectWriter:
    """Writes one object from bytes as they come, and keeps less than two parts of them in memory."""

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
        """Write some bytes, and wait while S3 is behind. Many bytes make one part.

        :raises StorageError: an earlier part could not be uploaded.
        """
        if not data:
            return
        self._sha256.update(data)
        self.size += len(data)
        # In a buffer and not in a list that is joined, which would be in memory twice while S3 is behind.
        self._part.write(data)
        if self._part.tell() >= PART_BYTES:
            part, self._part = self._part, io.BytesIO()
            self._upload(part)

    def finish(self, rows: int) -> PendingObject:
        """Upload the rest; the object is then complete, and becomes visible when it is committed."""
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
