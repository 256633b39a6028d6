# SPDX-License-Identifier: Apache-2.0
"""Export the lab's databases, and read what was written."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.manifest import Manifest
    from tests.metadata.lab import Lab

csv.field_size_limit(1 << 30)


def export(lab: Lab, database: str, bucket: str, **options: Any) -> Manifest:
    with DatabaseSource(lab.database(database)) as source, Storage(lab.s3(), bucket) as storage:
        return export_metadata(source, storage, ExportOptions(**options))


def keys(lab: Lab, bucket: str) -> list[str]:
    pages = lab.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))


def uploads(lab: Lab, bucket: str) -> list[str]:
    return [upload["Key"] for upload in lab.s3().list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


def body(lab: Lab, bucket: str, key: str) -> bytes:
    content: bytes = lab.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    return gzip.decompress(content) if key.endswith(".gz") else content


def manifest(lab: Lab, bucket: str, key: str = "files/export/manifest.json") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body(lab, bucket, key))
    return document


def rows(lab: Lab, bucket: str, key: str) -> list[dict[str, str]]:
    """Read a CSV file as a careful reader does: quoted line breaks are part of the value."""
    return list(csv.DictReader(io.StringIO(body(lab, bucket, key).decode(), newline="")))


def copied(lab: Lab, database: str, query: str, **settings: str) -> bytes:
    """Return the output of PostgreSQL's own COPY, with a header, in UTC."""
    connection = lab.connect(database)
    out = io.BytesIO()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TimeZone TO 'UTC'; SET synchronize_seqscans TO off")
            for name, value in settings.items():
                cursor.execute(f"SET {name} TO %s", (value,))
            cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)", out)
    finally:
        connection.close()
    return out.getvalue()
