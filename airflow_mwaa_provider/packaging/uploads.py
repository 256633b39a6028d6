# SPDX-License-Identifier: Apache-2.0
"""Files of an environment, uploaded to its bucket: MWAA refers to each by its *version*."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.aws.calls import AwsCalls
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaError, MwaaInputError
from airflow_mwaa_provider.s3_uri import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mwaa_provider.client.http.retrying import RetryPolicy

__all__ = ["PART_BYTES", "Uploaded", "parse_s3_uri", "upload_file"]

PART_BYTES = 16 << 20
"""A larger file is uploaded in parts of this size; S3 allows 10,000 of them."""
_SHA256 = "sha256"
"""Key in an object's metadata for the SHA-256 of the whole file: S3's checksum of an object in parts differs."""
_MAX_KEY_BYTES = 1024
_PUT = "s3:PutObject"


@dataclass(frozen=True)
class Uploaded:
    """An object in the bucket.

    :param version_id: the version to set in the environment.
    :param changed: whether a new version was uploaded; not if the newest had the same content.
    """

    bucket: str
    key: str
    version_id: str
    changed: bool


def parse_s3_uri(text: str) -> S3Uri:
    """Parse the address of an object.

    :raises MwaaInputError: it does not name an object.
    """
    uri = S3Uri.parse(text)
    if uri is None or not uri.names_object:
        raise MwaaInputError(f"{text!r} does not name an object in S3. Write s3://BUCKET/plugins.zip.")
    if len(uri.key.encode("utf-8", "surrogateescape")) > _MAX_KEY_BYTES:
        raise MwaaInputError(
            f"s3://{uri.bucket}/{uri.key[:30]}…: its key is longer than the {_MAX_KEY_BYTES:,} bytes that S3 allows. "
            "Choose a shorter one."
        )
    return uri


def upload_file(
    client: Any,
    path: Path,
    uri: str,
    *,
    policy: RetryPolicy | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Uploaded:
    """Upload a file, unless the newest version has the same content already.

    S3 checks the SHA-256 of everything sent. Each call is retried; a failed upload leaves no parts behind. It uses
    :data:`PART_BYTES` of memory.

    :param client: boto3's client of S3, without retries of its own.
    :param uri: ``s3://BUCKET/KEY``.
    :param on_progress: called with the number of bytes uploaded.
    :raises MwaaInputError: the bucket has no versioning, or the file cannot be read.
    :raises AccessDenied: the credentials may not upload; ``.action``.
    :raises AwsError: S3 rejected a call, or did not answer.
    """
    address = parse_s3_uri(uri)
    bucket, key = address.bucket, address.key
    calls = AwsCalls(client, "S3", "s3", policy=policy)
    bucket_versioning = calls.call("GetBucketVersioning", f"s3://{bucket}", Bucket=bucket)
    if bucket_versioning.get("Status") != "Enabled":
        raise MwaaInputError(
            f"s3://{bucket}: versioning is off, but an environment needs the version of a file. Turn it on: aws "
            f"s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled."
        )
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            size_bytes = 0
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                size_bytes += len(chunk)
            upload = _Upload(calls, bucket, key, digest.hexdigest(), size_bytes)
            existing = upload.existing_version()
            if existing is not None:
                return Uploaded(bucket, key, existing, changed=False)
            file.seek(0)
            return Uploaded(bucket, key, upload.send(file, on_progress or (lambda _: None)), changed=True)
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be read: {error.strerror or error}.") from error


class _Upload:
    def __init__(self, calls: AwsCalls, bucket: str, key: str, sha256: str, size_bytes: int) -> None:
        self._calls = calls
        self._object: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self._what = f"s3://{bucket}/{key}"
        self._sha256 = sha256
        self._size_bytes = size_bytes

    def existing_version(self) -> str | None:
        """Return the newest version's id if it has the same content; None without permission to read it."""
        try:
            found = self._calls.call("HeadObject", self._what, action="s3:GetObject", **self._object)
        except AccessDenied:
            return None
        except AwsError as error:
            if error.code in ("404", "403", "NoSuchKey", "NotFound"):
                return None
            raise
        is_same = found.get("Metadata", {}).get(_SHA256) == self._sha256
        is_same = is_same and found.get("ContentLength") == self._size_bytes
        version = found.get("VersionId")
        return str(version) if is_same and version not in (None, "null") else None

    def send(self, file: Any, on_progress: Callable[[int], None]) -> str:
        if self._size_bytes > PART_BYTES:
            return self._in_parts(file, on_progress)
        content = file.read()
        # If it is sent twice, two versions exist, either of which is right.
        answer = self._calls.call(
            "PutObject", self._what, is_mutating=True, repeat_unsure=True, member="VersionId", **self._object,
            Body=content, ChecksumSHA256=_checksum(content), Metadata={_SHA256: self._sha256},
        )  # fmt: skip
        on_progress(len(content))
        return str(answer["VersionId"])

    def _in_parts(self, file: Any, on_progress: Callable[[int], None]) -> str:
        upload = {
            **self._object,
            "UploadId": self._calls.call(
                "CreateMultipartUpload", self._what, is_mutating=True, repeat_unsure=True, member="UploadId",
                action=_PUT, **self._object, ChecksumAlgorithm="SHA256", Metadata={_SHA256: self._sha256},
            )["UploadId"],
        }  # fmt: skip
        try:
            parts: list[dict[str, Any]] = []
            sent_bytes = 0
            while content := file.read(PART_BYTES):
                checksum, number = _checksum(content), len(parts) + 1
                answer = self._calls.call(
                    "UploadPart", self._what, is_mutating=True, repeat_unsure=True, member="ETag", action=_PUT,
                    **upload, PartNumber=number, Body=content, ChecksumSHA256=checksum,
                )  # fmt: skip
                parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})
                sent_bytes += len(content)
                on_progress(sent_bytes)
            answer = self._calls.call(
                "CompleteMultipartUpload", self._what, is_mutating=True, member="VersionId", action=_PUT,
                **upload, MultipartUpload={"Parts": parts},
            )  # fmt: skip
        except BaseException:
            with suppress(MwaaError):
                self._calls.call("AbortMultipartUpload", self._what, is_mutating=True, **upload)
            raise
        return str(answer["VersionId"])


def _checksum(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")
