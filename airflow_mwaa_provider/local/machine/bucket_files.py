# SPDX-License-Identifier: Apache-2.0
"""Single objects of the local S3."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from airflow_mwaa_provider.local.errors import LocalMwaaError

_CHUNK_BYTES = 1 << 20
_ABSENT = {
    "NoSuchKey": "no such object",
    "NoSuchVersion": "no such version",
    "NoSuchBucket": "no such bucket",
    "MethodNotAllowed": "it was deleted",  # a delete marker
    "404": "no such object",
}


def make_s3_client(s3_url: str, region: str) -> Any:
    """Return a client that calls moto directly, which requires credentials but does not check them."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=s3_url,
        region_name=region,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106
        verify=False,
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=30,
            retries={"total_max_attempts": 2},
            proxies={},
        ),
    )


@dataclass(frozen=True)
class ReadObject:
    """An object that was read."""

    version: str | None
    """None in a bucket without versions."""
    sha256: str


class BucketFiles:
    """Reads and writes single objects."""

    def __init__(self, s3_url: str, region: str) -> None:
        self._s3 = make_s3_client(s3_url, region)

    def upload(self, file: Path, bucket: str, key: str) -> None:
        """Upload a file."""
        self._s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())

    def download(self, bucket: str, key: str, version: str | None, target: Path) -> ReadObject:
        """Write an object, or a version of it, to a file, atomically.

        :raises LocalMwaaError: it cannot be read; the message names it and says why.
        """
        wanted = {"VersionId": version} if version is not None else {}
        # The guide's words for a version that has been deleted.
        what = f"version {version} of file {key}" if version is not None else f"file {key}"
        digest = hashlib.sha256()
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                answer = self._s3.get_object(Bucket=bucket, Key=key, **wanted)
                for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
            Path(temporary).replace(target)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            reason = _ABSENT.get(code, str(error))
            raise LocalMwaaError(f"Unable to read {what} in bucket {bucket}: {reason}") from error
        except BotoCoreError as error:
            raise LocalMwaaError(f"Unable to read {what} in bucket {bucket}: {error}") from error
        finally:
            Path(temporary).unlink(missing_ok=True)
        found = answer.get("VersionId")
        return ReadObject(found if found != "null" else None, digest.hexdigest())
