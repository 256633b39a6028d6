# SPDX-License-Identifier: Apache-2.0
"""Copy DAG files from an environment's bucket to its DAGs folder, as on MWAA."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from airflow_mwaa_provider.local.machine.bucket_files import make_s3_client
from airflow_mwaa_provider.local.machine.state import describe_os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

SYNC_INTERVAL_S = 2.5
_CACHE_FOLDER = "__pycache__"
_ERRORS = (BotoCoreError, ClientError)


@dataclass(frozen=True)
class Mirror:
    """A folder of a bucket and the local folder that mirrors it."""

    env_name: str
    bucket: str
    prefix: str
    """Without leading or trailing slashes; empty for the whole bucket."""
    folder: Path

    @property
    def key_prefix(self) -> str:
        """The prefix of all keys of the mirror."""
        return f"{self.prefix}/" if self.prefix else ""


@dataclass
class _Known:
    """What is known about a mirror from earlier rounds."""

    etags: dict[str, str] = field(default_factory=dict)
    complaints: set[str] = field(default_factory=set)
    listing_complaints: set[str] = field(default_factory=set)
    """Cleared once the bucket can be listed again, so that the next failure is logged, too."""


class BucketSync:
    """Mirrors buckets of the local S3 into folders."""

    def __init__(self, s3_url: str, region: str) -> None:
        self._s3 = make_s3_client(s3_url, region)
        self._region = region
        self._known: dict[Mirror, _Known] = {}
        self._lock = threading.Lock()

    def ensure_bucket(self, bucket: str) -> None:
        """Create a versioned bucket, as MWAA requires, unless it exists."""
        try:
            self._s3.head_bucket(Bucket=bucket)
        except ClientError:
            location = {} if self._region == "us-east-1" else {"LocationConstraint": self._region}
            self._s3.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": location} if location else {}))
            self._s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def upload(self, folder: Path, bucket: str, prefix: str) -> int:
        """Upload a folder's files, except those in hidden and cache folders; return how many."""
        count = 0
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            hidden = any(part.startswith(".") or part == _CACHE_FOLDER for part in relative.parts[:-1])
            if path.is_file() and not hidden:
                key = f"{prefix}/{relative.as_posix()}" if prefix else relative.as_posix()
                self._s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
                count += 1
        return count

    async def run(self, mirrors: Callable[[], Iterable[Mirror]]) -> None:
        """Mirror forever; failures are logged and retried."""
        while True:
            for mirror in mirrors():
                await asyncio.to_thread(self.sync, mirror)
            await asyncio.sleep(SYNC_INTERVAL_S)

    def sync(self, mirror: Mirror) -> None:
        """Make the folder equal to the bucket's. Nothing is deleted unless the whole listing was read."""
        with self._lock:
            self._sync(mirror)

    def _sync(self, mirror: Mirror) -> None:
        known = self._known.setdefault(mirror, _Known())
        try:
            listing = self._list(mirror, known)
        except _ERRORS as error:
            self._complain(
                known.listing_complaints, mirror, f"can't list s3://{mirror.bucket}/{mirror.prefix}: {error}"
            )
            return
        known.listing_complaints.clear()
        # Deletions first: a folder may have become a file.
        self._delete_others(mirror, known, set(listing))
        for name, etag in listing.items():
            target = mirror.folder / name
            if known.etags.get(name) == etag and target.is_file():
                continue
            try:
                if not _has_etag(target, etag):
                    self._download(mirror, name, target)
                    log.info("environment %s: updated %s/%s", mirror.env_name, mirror.prefix, name)
            except _ERRORS as error:
                self._complain(known.complaints, mirror, f"can't read {name}: {error}")
            except OSError as error:
                self._complain(known.complaints, mirror, f"can't write {name}: {describe_os_error(error)}")
            else:
                known.etags[name] = etag

    def _list(self, mirror: Mirror, known: _Known) -> dict[str, str]:
        listing = {}
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=mirror.bucket, Prefix=mirror.key_prefix)
        for page in pages:
            for entry in page.get("Contents", ()):
                name = entry["Key"][len(mirror.key_prefix) :]
                if not name or name.endswith("/"):
                    continue  # the console's way of creating a folder
                if not is_safe_name(name):
                    self._complain(
                        known.complaints, mirror, f"skipped the key {entry['Key']!r}, which leads out of the folder"
                    )
                    continue
                listing[name] = entry["ETag"].strip('"')
        return listing

    def _delete_others(self, mirror: Mirror, known: _Known, wanted: set[str]) -> None:
        for parent, folders, files in os.walk(mirror.folder, topdown=False):
            relative = Path(parent).relative_to(mirror.folder)
            if _CACHE_FOLDER in relative.parts:
                continue
            for file in files:
                name = (relative / file).as_posix()
                if name not in wanted:
                    (Path(parent) / file).unlink(missing_ok=True)
                    known.etags.pop(name, None)
                    log.info("environment %s: removed %s/%s", mirror.env_name, mirror.prefix, name)
            for folder in folders:
                path = Path(parent) / folder
                if path.is_symlink():
                    path.unlink()  # not created here: it could lead anywhere
                elif folder == _CACHE_FOLDER and not files:
                    shutil.rmtree(path, ignore_errors=True)
                elif folder != _CACHE_FOLDER:
                    with contextlib.suppress(OSError):
                        path.rmdir()  # only if nothing is left in it

    def _download(self, mirror: Mirror, name: str, target: Path) -> None:
        if not mirror.folder.is_dir():
            return  # its environment was deleted, and must not be partly restored
        target.parent.mkdir(parents=True, exist_ok=True)
        # Written beside the DAGs folder and then renamed, so that Airflow never sees an incomplete file.
        descriptor, temporary = tempfile.mkstemp(dir=mirror.folder.parent, prefix=".incoming.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                body = self._s3.get_object(Bucket=mirror.bucket, Key=mirror.key_prefix + name)["Body"]
                shutil.copyfileobj(body, file)
            Path(temporary).replace(target)
        finally:
            Path(temporary).unlink(missing_ok=True)

    @staticmethod
    def _complain(logged: set[str], mirror: Mirror, text: str) -> None:
        if text not in logged:  # once, not in every round
            logged.add(text)
            log.warning("environment %s: %s", mirror.env_name, text)


def is_safe_name(name: str) -> bool:
    """Return whether the rest of a key is the name of a file below the folder."""
    parts = name.split("/")
    return (
        "\0" not in name
        and not PurePosixPath(name).is_absolute()
        and all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
        and _CACHE_FOLDER not in parts
    )


def _has_etag(path: Path, etag: str) -> bool:
    """Return whether a file exists and is equal to an object that was uploaded in one piece."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == etag
