# SPDX-License-Identifier: Apache-2.0
"""Fill an environment's bucket when ``local up`` starts it.

The local S3 forgets everything when it ends. So DAG files are restored from the DAGs folder, which mirrors the bucket,
and plugins.zip, requirements.txt and startup script from the copies that the environment last ran with.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.airflow import environment_files
from airflow_mwaa_provider.local.machine.bucket_sync import Mirror
from airflow_mwaa_provider.local.runtime import FileKind, S3File

if TYPE_CHECKING:
    from airflow_mwaa_provider.local.machine.bucket_files import BucketFiles
    from airflow_mwaa_provider.local.machine.bucket_sync import BucketSync
    from airflow_mwaa_provider.local.machine.state import EnvironmentFolder
    from airflow_mwaa_provider.local.up_request import EnvironmentRequest

log = logging.getLogger(__name__)

DAGS_PREFIX = "dags"


@dataclass(frozen=True)
class BucketContents:
    """What is uploaded to one environment's bucket."""

    request: EnvironmentRequest
    bucket: str
    folder: EnvironmentFolder
    sources: dict[FileKind, tuple[str, Path]]
    """The key in the bucket, and the file to upload."""

    @classmethod
    def plan(cls, request: EnvironmentRequest, folder: EnvironmentFolder) -> BucketContents:
        """Return what is to be uploaded."""
        sources = environment_files.recall(folder)
        for name, path in request.files.items():
            kind = FileKind(name)
            sources.pop(kind, None)
            if path:
                sources[kind] = (environment_files.DEFAULT_PATHS[kind], Path(path))
        bucket = request.bucket or f"local-mwaa-{request.name.lower().replace('_', '-')}"
        return cls(request, bucket, folder, sources)

    @property
    def files(self) -> dict[FileKind, S3File]:
        """Return the parameters of CreateEnvironment for them."""
        return {kind: S3File(key) for kind, (key, _) in self.sources.items()}

    def upload(self, sync: BucketSync, files: BucketFiles) -> None:
        """Create the bucket, and upload everything to it."""
        self.folder.create()
        sync.ensure_bucket(self.bucket)
        if self.request.dags is None:
            sync.upload(self.folder.dags, self.bucket, DAGS_PREFIX)
        else:
            count = sync.upload(Path(self.request.dags), self.bucket, DAGS_PREFIX)
            log.info("environment %s: uploaded %d files from %s", self.request.name, count, self.request.dags)
        for key, path in self.sources.values():
            files.upload(path, self.bucket, key)
        sync.sync(Mirror(self.request.name, self.bucket, DAGS_PREFIX, self.folder.dags))
