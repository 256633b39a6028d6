# SPDX-License-Identifier: Apache-2.0
"""The small metadata database of the golden exports, archives and messages, and the operations on it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.export import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.reading import open_export
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage import Storage
from tests.golden import rooms
from tests.metadata import history
from tests.metadata.exports import keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mwaa_provider.metadata.manifest import Manifest
    from tests.metadata.lab import Lab

TABLES = ["dag", "dag_run", "task_instance", "log"]
PREFIX = "history"
MAY, OCTOBER = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)
WINDOW = {"since": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2026, 9, 1, 12, 30, tzinfo=UTC)}
EXPORTS: dict[str, dict[str, Any]] = {
    "table-csv": {"tables": TABLES},
    "table-csv-gzip": {"tables": ["log"], "compression": "gzip", "file_bytes": 64 << 20},
    "table-csv-zstd": {"tables": ["log"], "compression": "zstd", "until": OCTOBER},
    "table-parquet": {"tables": ["dag_run", "log"], "file_format": "parquet"},
    "table-parquet-gzip": {"tables": ["log"], "file_format": "parquet", "compression": "gzip"},
    "table-parquet-zstd": {"tables": ["log"], "file_format": "parquet", "compression": "zstd"},
    "table-parquet-none": {"tables": ["log"], "file_format": "parquet", "compression": "none"},
    "hive-csv": {"tables": ["dag", "dag_run", "log"], "layout": "hive", **WINDOW},
    "hive-parquet": {"tables": ["log"], "layout": "hive", "file_format": "parquet", "until": OCTOBER},
    "incremental-csv": {"tables": ["dag", "dag_run", "log"], "incremental": True, "manifest_name": "last.json"},
}
"""Options of each export; an incremental one is repeated with another ``until``."""
CUT: dict[str, dict[str, Any]] = {
    "cut-table": {"tables": ["dag_run", "log"]},
    "cut-hive": {"tables": ["dag_run", "log"], "layout": "hive", **WINDOW},
    "cut-incremental": {"tables": ["dag_run", "log"], "incremental": True},
}
"""Exports that were then repeated as ``.csv.gz`` by a process that was killed before the manifest."""
CLEANUP = {
    "retention": timedelta(days=90),
    "now": datetime(2026, 11, 22, tzinfo=UTC),
    "tables": ["dag_run", "log", "celery_taskmeta"],
}
ARCHIVE = "cold/archive-20260824T000000Z"


class Killed(BaseException):
    """The process ends here."""


class KilledBefore:
    """boto3's S3 client, which ends the process before it writes an object.

    :param then: called at that point, before any cleanup.
    """

    def __init__(self, client: Any, key: str, then: Callable[[], None]) -> None:
        self._client, self._key, self._then = client, key, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **given: Any) -> Any:
        if given["Key"] == self._key:
            self._then()
            raise Killed
        return self._client.put_object(**given)


def fill(lab: Lab, database: str) -> None:
    """Create six runs of two DAGs in a year, with two tasks each."""
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=6, tasks=2, dags=2)
        cursor.execute(
            "UPDATE task_instance SET duration = 2.5, external_executor_id = NULL; "
            "UPDATE log SET extra = E'a \"quoted\",\\nthing 😀' WHERE id = 2; UPDATE log SET extra = '' WHERE id = 3; "
            "UPDATE log SET extra = NULL WHERE id = 4"
        )
        celery = {
            "id": "r.id",
            "task_id": "r.id",
            "status": "'SUCCESS'",
            "date_done": "r.end_date",
            "result": r"'\x80057d942e'::bytea",
        }
        history.insert(cursor, "celery_taskmeta", celery, "dag_run r WHERE r.id <= 3")
    connection.close()


def change(lab: Lab, database: str) -> None:
    """Change rows of an earlier increment."""
    changed = "state = 'failed', updated_at = '2026-06-01 00:00:00+00'"
    lab.execute(database, f"UPDATE dag_run SET {changed} WHERE id = 1")


def export(lab: Lab, database: str, bucket: str, *, client: Any = None, **options: Any) -> Manifest:
    with DatabaseSource(lab.database(database)) as source, Storage(client or lab.s3(), bucket) as storage:
        return export_metadata(source, storage, ExportOptions(prefix=PREFIX, **options))


def export_all(lab: Lab, database: str, bucket: str, options: dict[str, Any]) -> None:
    """Export a case; an incremental one twice."""
    if not options.get("incremental"):
        export(lab, database, bucket, **options)
        return
    export(lab, database, bucket, until=MAY, **options)
    change(lab, database)
    export(lab, database, bucket, until=OCTOBER, **options)


def manifest_key(options: dict[str, Any]) -> str:
    """Return the key of the manifest that an export writes first."""
    return f"{PREFIX}/manifests/20261001T000000Z.json" if options.get("incremental") else f"{PREFIX}/manifest.json"


def export_killed(lab: Lab, database: str, bucket: str, options: dict[str, Any], then: Callable[[], None]) -> None:
    """Export once, and again until just before the manifest."""
    export_all(lab, database, bucket, options)
    again = {**options, "compression": "gzip", **({"until": OCTOBER} if options.get("incremental") else {})}
    client = KilledBefore(lab.s3(), manifest_key(options), then)
    try:
        export(lab, database, bucket, client=client, **again)
    except Killed:
        return
    raise AssertionError("it was to be killed")


def clean(lab: Lab, database: str, bucket: str, **options: Any) -> Any:
    """Archive old rows, and delete them."""
    chosen = CleanupOptions(**{**CLEANUP, **options})
    with Storage(lab.s3(), bucket) as storage:
        return rooms.run_archived_cleanup(
            lab.database(database), chosen, storage, "cold", tell=lambda _: None, progress=None, wait_timeout_s=5
        )


def rows_of(lab: Lab, database: str, tables: list[str]) -> dict[str, list[str]]:
    """Return every row of some tables, as strings."""
    connection = lab.connect(database)
    found = {}
    with connection.cursor() as cursor:
        cursor.execute("SET TimeZone TO 'UTC'")
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            found[table] = sorted(row[0] for row in cursor.fetchall())
    connection.close()
    return found


def download(lab: Lab, bucket: str, folder: Path) -> None:
    """Write all objects of a bucket to a folder, replacing its contents."""
    shutil.rmtree(folder, ignore_errors=True)
    for key in keys(lab, bucket):
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lab.s3().get_object(Bucket=bucket, Key=key)["Body"].read())


def upload(lab: Lab, folder: Path, bucket: str) -> None:
    """Upload the contents of a folder to a bucket."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            lab.s3().put_object(Bucket=bucket, Key=path.relative_to(folder).as_posix(), Body=path.read_bytes())


def read_back(place: Path) -> dict[str, Any]:
    """Return the contents of an export in a folder, as JSON types."""
    exported = open_export(str(place), lambda: None)
    found = {}
    for table in exported.tables:
        columns = sorted(exported.columns(table))
        rows = [row for batch in exported.batches(table, columns) for row in zip(*batch, strict=True)]
        plain = json.loads(json.dumps(rows, default=str))
        found[table] = {"columns": exported.columns(table), "names": columns, "rows": sorted(plain, key=str)}
    return found
