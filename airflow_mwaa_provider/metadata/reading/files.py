# SPDX-License-Identifier: Apache-2.0
"""Read an export from a folder or a bucket. Files are opened as streams, and never fetched completely."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.exceptions import MwaaInputError, StorageError
from airflow_mwaa_provider.metadata.storage.errors import ObjectMissing, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BucketFiles", "Files", "FolderFiles"]

_BLOCK_BYTES = 1 << 20
_TRIES = 4


class Files(Protocol):
    """Files in one place; names are relative to it, with ``/`` between folders."""

    label: str

    def get(self, name: str) -> bytes | None:
        """Return a small file's content; ``None`` if it does not exist."""

    def names(self, folder: str) -> list[str]:
        """List the files directly in a folder, sorted."""

    def open(self, name: str, size: int) -> io.RawIOBase:
        """Open a file for reading; it can seek.

        :param size: its expected size; a file with another size is not the one that was written.
        :raises StorageError: it does not exist, or has another size.
        """

    def url(self, name: str) -> str:
        """Return a file's location in the form that other programs need."""


class FolderFiles:
    """Files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.label = str(folder)

    def get(self, name: str) -> bytes | None:
        """Return a small file's content; ``None`` if it does not exist."""
        try:
            return self._path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise MwaaInputError(f"{self.url(name)} cannot be read: {error.strerror}.") from None

    def names(self, folder: str) -> list[str]:
        """List the files directly in a folder, sorted."""
        found = self._path(folder)
        if not found.is_dir():
            return []
        return sorted(f"{folder}/{path.name}" for path in found.iterdir() if path.is_file())

    def open(self, name: str, size: int) -> io.RawIOBase:
        """Open a file for reading."""
        path = self._path(name)
        try:
            file = path.open("rb", buffering=0)
        except OSError as error:
            raise StorageError(
                f"{path} is named by the manifest and cannot be read: {error.strerror}. Copy the whole export: aws s3 "
                "sync s3://BUCKET/PREFIX DIR."
            ) from None
        if (found := path.stat().st_size) != size:
            file.close()
            raise _changed(str(path), found, size)
        return file

    def url(self, name: str) -> str:
        """Return a file's absolute path."""
        return str(self._path(name).absolute())

    def _path(self, name: str) -> Path:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise MwaaInputError(f"The manifest in {self.folder} names {name!r}, which is outside of that folder.")
        return self.folder / name


class BucketFiles:
    """Files under a prefix of a bucket.

    :param client: makes boto3's S3 client at the first call.
    :param prefix: without slashes at its ends.
    """

    def __init__(self, client: Callable[[], Any], bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = bucket, prefix
        self.label = f"s3://{bucket}/{prefix}".rstrip("/")
        self._make_client = client
        self._made: Any = None

    def get(self, name: str) -> bytes | None:
        """Return a small object's content; ``None`` if it does not exist."""
        key = self._key(name)
        try:
            with storage_errors(self.bucket, key, "s3:GetObject"):
                body = self._client.get_object(Bucket=self.bucket, Key=key)["Body"]
                try:
                    content: bytes = body.read()
                finally:
                    body.close()
        except ObjectMissing:
            return None
        return content

    def names(self, folder: str) -> list[str]:
        """List the objects directly in a folder, sorted."""
        prefix = self._key(f"{folder}/")
        with storage_errors(self.bucket, prefix, "s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/"
            )
            keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        return sorted(f"{folder}/{key.removeprefix(prefix)}" for key in keys if key != prefix)

    def open(self, name: str, size: int) -> io.RawIOBase:
        """Open an object for reading."""
        return _ObjectStream(self._client, self.bucket, self._key(name), size)

    def url(self, name: str) -> str:
        """Return an object's location as ``s3://...``."""
        return f"s3://{self.bucket}/{self._key(name)}"

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = self._make_client()
        return self._made


class _ObjectStream(io.RawIOBase):
    """An object as a file: one call while it is read from beginning to end, otherwise one for each piece.

    A broken connection is reopened at the same position; all calls see the same version of the object.
    """

    def __init__(self, client: Any, bucket: str, key: str, size: int) -> None:
        super().__init__()
        self._client, self._bucket, self._key, self._size = client, bucket, key, size
        self._at = 0
        self._body: Any = None
        self._etag: str | None = None
        self._waiting = b""
        self._has_jumped = False
        if size:
            self._open(size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if target != self._at:
            self._release()
            self._at, self._has_jumped = target, True
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what is available, at most the size of the buffer."""
        if self._at >= self._size:
            return 0
        wanted = len(buffer)
        if not self._waiting:
            self._waiting = self._read(min(max(wanted, _BLOCK_BYTES), self._size - self._at))
        taken, self._waiting = self._waiting[:wanted], self._waiting[wanted:]
        buffer[: len(taken)] = taken
        self._at += len(taken)
        return len(taken)

    def close(self) -> None:
        self._release()
        super().close()

    def _read(self, count: int) -> bytes:
        for attempt in range(_TRIES):
            try:
                with storage_errors(self._bucket, self._key, "s3:GetObject"):
                    if self._body is None:
                        self._open(self._at + count if self._has_jumped else self._size)
                    data: bytes = self._body.read(count)
                if data:
                    if self._has_jumped:
                        self._release()
                    return data
                raise StorageError(f"s3://{self._bucket}/{self._key} ended early.", transient=True)
            except StorageError as error:
                self._release()
                if not error.transient or attempt == _TRIES - 1:
                    raise
        raise AssertionError("the last attempt raises")

    def _open(self, end: int) -> None:
        same = {"IfMatch": self._etag} if self._etag else {}
        with storage_errors(self._bucket, self._key, "s3:GetObject"):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=self._key, Range=f"bytes={self._at}-{end - 1}", **same
            )
        found = int(str(answer["ContentRange"]).rpartition("/")[2])
        self._body, self._etag = answer["Body"], answer["ETag"]
        if found != self._size:
            self._release()
            raise _changed(f"s3://{self._bucket}/{self._key}", found, self._size)

    def _release(self) -> None:
        self._waiting = b""
        if self._body is not None:
            self._body.close()
            self._body = None


def _changed(label: str, found: int, size: int) -> StorageError:
    return StorageError(
        f"{label} has {found:,} bytes instead of the {size:,} in its manifest: it is damaged, or another export is "
        "replacing it. Try again when that export has ended, or export again."
    )
