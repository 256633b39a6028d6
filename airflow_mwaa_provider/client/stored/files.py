# SPDX-License-Identifier: Apache-2.0
"""Small files that are read or written as a whole: on disk, or in S3."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaError, MwaaInputError
from airflow_mwaa_provider.s3_uri import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read_file", "write_file"]

_MISSING = {"404", "NoSuchBucket", "NoSuchKey", "NotFound"}
_DENIED = {"403", "AccessDenied", "Forbidden"}


def read_file(place: str, s3: Callable[[], Any], *, max_bytes: int) -> bytes:
    """Read a file.

    :param place: a path, or ``s3://bucket/key``.
    :param s3: creates the boto3 client of S3, if one is needed.
    :raises MwaaInputError: it does not exist, or has more than ``max_bytes``.
    :raises AccessDenied: the role may not read it.
    """
    if place.startswith("s3://"):
        uri = _object(place)

        def get(client: Any) -> bytes:
            # One byte more than is allowed identifies a file that is too large.
            body = client.get_object(Bucket=uri.bucket, Key=uri.key)["Body"]
            try:
                return bytes(body.read(max_bytes + 1))
            finally:
                body.close()

        content: bytes = _with_s3(place, s3, "s3:GetObject", get)
    else:
        try:
            with Path(place).open("rb") as file:
                content = file.read(max_bytes + 1)
        except OSError as error:
            raise MwaaInputError(f"File {place!r} cannot be read: {error.strerror or error}.") from None
    if len(content) > max_bytes:
        raise MwaaInputError(f"File {place!r} is larger than {max_bytes:,} bytes. Divide it.")
    return content


def write_file(place: str, content: bytes, s3: Callable[[], Any]) -> None:
    """Write a file completely or not at all; on disk, only its owner may read it.

    The target of a link is written. Anything but a regular file (a pipe, ``/dev/stdout``) is written to, not replaced.

    :param place: a path, or ``s3://bucket/key``.
    :param s3: creates the boto3 client of S3, if one is needed.
    :raises MwaaInputError: the folder or bucket does not exist.
    :raises AccessDenied: the role may not write it.
    """
    if place.startswith("s3://"):
        uri = _object(place)
        put = {"Bucket": uri.bucket, "Key": uri.key, "Body": content, "ContentType": "application/json"}
        _with_s3(place, s3, "s3:PutObject", lambda client: client.put_object(**put))
        return
    try:
        path = Path(place)
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        path = path.resolve()
        # mkstemp's files have mode 0600 from the beginning.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise MwaaInputError(f"File {place!r} cannot be written: {error.strerror or error}.") from None


def _object(place: str) -> S3Uri:
    uri = S3Uri.parse(place)
    if uri is None or not uri.names_object:
        raise MwaaInputError(f"{place!r} names no object. Write s3://BUCKET/KEY.")
    return uri


def _with_s3(place: str, s3: Callable[[], Any], action: str, call: Callable[[Any], Any]) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call(s3())
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            raise MwaaInputError(f"{place!r} does not exist ({code}). Check bucket and key.") from None
        if code in _DENIED:
            raise AccessDenied(f"{place!r}: {action} was denied ({code}). Allow it.", action=action) from None
        raise MwaaError(f"{place!r}: S3 answered {code} to {action}. Try again.", transient=True) from error
    except BotoCoreError as error:
        raise MwaaError(f"{place!r}: {action} failed: {error}", transient=True) from error
