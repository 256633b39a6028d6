# SPDX-License-Identifier: Apache-2.0
"""Copies of an environment's files in the bucket: plugins.zip, requirements.txt, startup script.

Airflow starts from these copies, never from the bucket, so later uploads change nothing, and a failed update can be
rolled back. The local S3 forgets its objects when it ends; they are restored from the copies in use.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.airflow import plugins_zip
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import state
from airflow_mwaa_provider.local.machine.threads import run_whole
from airflow_mwaa_provider.local.runtime import FileKind, RuntimeStartError, S3File

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_mwaa_provider.local.machine.bucket_files import BucketFiles
    from airflow_mwaa_provider.local.machine.state import EnvironmentFolder
    from airflow_mwaa_provider.local.runtime import EnvironmentSpec

DEFAULT_PATHS = {
    FileKind.PLUGINS: "plugins.zip",
    FileKind.REQUIREMENTS: "requirements.txt",
    FileKind.STARTUP_SCRIPT: "startup.sh",
}
"""Where ``local up`` stores them, as in the guide."""
_IN_USE = "in_use.json"


def copy_of(folder: EnvironmentFolder, files: Mapping[FileKind, S3File], kind: FileKind) -> Path | None:
    """Return the copy of a file that was read; None if the environment has no such file."""
    file = files.get(kind)
    return _copy(folder, kind, file.sha256) if file is not None else None


async def read(spec: EnvironmentSpec, folder: EnvironmentFolder, buckets: BucketFiles) -> EnvironmentSpec:
    """Copy the files that a spec names from the bucket, and check them.

    :raises RuntimeStartError: a file cannot be read, or is invalid.
    """
    if not spec.files:
        return spec
    try:
        folder.create()
        files = {}
        for kind in FileKind:
            if kind in spec.files:
                file = spec.files[kind]
                files[kind] = await run_whole(_read, buckets, spec.bucket, kind, file, folder)
    except LocalMwaaError as error:
        raise RuntimeStartError(str(error)) from error
    except OSError as error:
        raise RuntimeStartError(state.describe_os_error(error)) from error
    return replace(spec, files=files)


def remember(folder: EnvironmentFolder, files: Mapping[FileKind, S3File]) -> None:
    """Record the files that an environment uses, and delete the copies of others."""
    state.write_json(
        folder.files / _IN_USE, {kind: {"path": file.path, "sha256": file.sha256} for kind, file in files.items()}
    )
    kept = {_IN_USE, *(_copy(folder, kind, file.sha256).name for kind, file in files.items())}
    for path in folder.files.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def recall(folder: EnvironmentFolder) -> dict[FileKind, tuple[str, Path]]:
    """Return the files that an environment last used: their keys and their copies."""
    found = {}
    for name, file in state.read_json(folder.files / _IN_USE).items():
        kind = FileKind(name)
        copy = _copy(folder, kind, file["sha256"])
        if copy.is_file():
            found[kind] = (str(file["path"]), copy)
    return found


def _read(buckets: BucketFiles, bucket: str, kind: FileKind, file: S3File, folder: EnvironmentFolder) -> S3File:
    incoming = folder.files / f"{kind}.incoming"
    try:
        found = buckets.download(bucket, file.path, file.version, incoming)
        if kind is FileKind.PLUGINS:
            plugins_zip.check(incoming, file.path)
        incoming.replace(_copy(folder, kind, found.sha256))
    finally:
        incoming.unlink(missing_ok=True)
    return S3File(file.path, found.version, found.sha256)


def _copy(folder: EnvironmentFolder, kind: FileKind, sha256: str) -> Path:
    return folder.files / f"{kind}-{sha256}"
