# SPDX-License-Identifier: Apache-2.0
"""A metadata export: tables as files in S3, in constant memory, visible together or not at all."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaInputError
from airflow_mwaa_provider.metadata.formats import check_format, file_suffix, make_encoder, value_writer
from airflow_mwaa_provider.metadata.journal import Journal, previous_keys
from airflow_mwaa_provider.metadata.layout import CHANGED, Places, check_layout, stamp
from airflow_mwaa_provider.metadata.manifest import Manifest, TableExport
from airflow_mwaa_provider.metadata.selection import TableRows, Window, by_change, select_tables
from airflow_mwaa_provider.metadata.storage import MAX_OBJECT_BYTES, PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_mwaa_provider.metadata.copying import Chunk
    from airflow_mwaa_provider.metadata.formats import Encoder
    from airflow_mwaa_provider.metadata.sources import RowSource
    from airflow_mwaa_provider.metadata.storage import ObjectWriter, PendingObject, Storage

__all__ = ["ExportOptions", "Progress", "export_metadata"]

log = logging.getLogger(__name__)

_CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


@dataclass(frozen=True)
class ExportOptions:
    """What shall be exported, and how; checked when made, before anything is opened.

    :param tables: names of tables; ``None`` for all but those of credentials, sessions and people. ``table.column``
        takes a secret column along: encrypted as it is stored, or ``***``.
    :param exclude: tables, or ``table.column``, to leave out.
    :param since: rows from this time on, with a time zone; ``None`` from the beginning.
    :param until: rows before this time; ``None`` to the end.
    :param prefix: where the objects go in the bucket, without slashes at its ends.
    :param file_format: ``csv`` or ``parquet``.
    :param compression: ``none``, ``gzip`` or ``zstd``; Parquet also ``snappy``.
    :param layout: ``table``: one file per table. ``hive``: partitions by table and date.
    :param file_bytes: begin another file once one has this size; ``None``: files grow to S3's own limit.
    :param incremental: only what is new or changed since the last export to this prefix.
    :param manifest_name: name of the manifest object under the prefix.
    """

    tables: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    prefix: str = "files/export"
    file_format: str = "csv"
    compression: str | None = None
    layout: str | None = None
    file_bytes: int | None = None
    incremental: bool = False
    manifest_name: str = "manifest.json"

    def __post_init__(self) -> None:
        check_format(self.file_format, self.compression)
        check_layout(self.layout, incremental=self.incremental)
        Window(self.since, self.until)
        if self.file_bytes is not None and self.file_bytes < PART_BYTES:
            raise MwaaInputError(
                f"file_bytes={self.file_bytes:,} is less than {PART_BYTES:,}: many small files make every reader slow."
            )
        if not self.manifest_name.endswith(".json") or "/" in self.manifest_name:
            raise MwaaInputError(f"manifest_name={self.manifest_name!r} is no name like manifest.json.")

    def places(self, export: str | None) -> Places:
        """Give the names of its objects."""
        form, compression = check_format(self.file_format, self.compression)
        return Places(
            prefix=self.prefix.strip("/"),
            layout=check_layout(self.layout, incremental=self.incremental),
            suffix=file_suffix(form, compression),
            manifest_name=self.manifest_name,
            export=export,
            is_numbered=self.file_bytes is not None,
            since=self.since,
            until=self.until,
        )


class Progress(Protocol):
    """Is told how far an export is; called often, from one thread."""

    def __call__(self, table: str, rows: int, size: int, expected_rows: int | None) -> None:
        """Take the rows and bytes of a table that are under way."""


def export_metadata(
    source: RowSource,
    storage: Storage,
    options: ExportOptions,
    *,
    airflow_version: str | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Export tables, and write the manifest last.

    Until all tables are uploaded nothing can be seen; then all objects become visible, and last the manifest. Where it
    fails before, nothing is left. Repeated for the same window, it writes the same objects in the place of the old.

    :param airflow_version: of the environment, where the caller knows it better than the schema's revision tells.
    :return: what was written.
    :raises MwaaInputError: something cannot be done as asked; nothing was written.
    :raises MetadataError: the database refused, or was lost.
    :raises StorageError: S3 refused; nothing is visible, unless it refused in the last seconds: then no manifest is.
    :raises AccessDenied: the role may not do it; nothing was written.
    """
    return _Export(source, storage, options, progress or _silent).run(airflow_version)


def _silent(table: str, rows: int, size: int, expected_rows: int | None) -> None:
    """Tell nobody."""


class _Export:
    def __init__(self, source: RowSource, storage: Storage, options: ExportOptions, progress: Progress) -> None:
        self.source, self.storage, self.options, self.progress = source, storage, options, progress
        self.form, self.compression = check_format(options.file_format, options.compression)
        self.tables = select_tables(
            source.schema, options.tables, options.exclude, Window(options.since, options.until)
        )
        for rows in self.tables:
            value_writer(self.form, rows)  # refuses what the format cannot hold

    def run(self, airflow_version: str | None) -> Manifest:
        options, source, storage = self.options, self.source, self.storage
        first_places = options.places(None)
        storage.check_writable(first_places.manifest)
        last = self._manifest(first_places.manifest)
        until, horizon = options.until, source.now
        if options.incremental:
            horizon = source.horizon()
            until = until or horizon.replace(microsecond=0)
        places = options.places(stamp(until) if options.incremental and until else None)
        previous = last
        if options.incremental and until is not None:
            previous = self._manifest(places.increment(stamp(until)))
            if previous is None and last is not None and last.until is not None and until <= last.until:
                raise MwaaInputError(
                    f"s3://{storage.bucket}/{places.manifest} reaches until {last.until.isoformat()}, which is not "
                    f"before until={until.isoformat()}: there is nothing to add. Give a later until, or another prefix."
                )
        self._abort_left_uploads(places)
        pending: list[PendingObject] = []
        tables: dict[str, TableExport] = {}
        for rows in self.tables:
            table = TableExport(
                columns={column.name: column.type for column in rows.columns},
                key=rows.table.key,
                until=until,
                since=options.since,
                by=None if rows.is_whole else "time",
            )
            if options.incremental and until is not None:
                rows, table = self._increment(rows, table, previous, last, until, horizon)
            written = list(self._write(rows, places, table.since if options.incremental else None))
            pending += written
            tables[rows.name] = replace(
                table,
                files=tuple(item.file for item in written),
                rows_changed=sum(item.file.rows for item in written if item.file.partition.get("change") == CHANGED),
            )
        manifest = Manifest(
            bucket=storage.bucket,
            key=places.increment(places.export) if places.export else places.manifest,
            tables=tables,
            schema_version=source.schema.revision,
            airflow_version=airflow_version or source.schema.airflow_version,
            since=options.since,
            until=until,
            exported_at=source.now.astimezone(UTC),
            file_format=self.form.value,
            compression=self.compression.value,
            layout=places.layout.value,
            route=source.route,
            incremental=options.incremental,
        )
        self._commit(manifest, pending, previous)
        if places.export and (last is None or last.until is None or (until and until >= last.until)):
            storage.put(places.manifest, manifest.write())
        return manifest

    def _increment(
        self,
        rows: TableRows,
        table: TableExport,
        previous: Manifest | None,
        last: Manifest | None,
        until: datetime,
        horizon: datetime,
    ) -> tuple[TableRows, TableExport]:
        """Say which rows of a table this increment has: those changed since the last, or the same when repeated."""
        since = self.options.since
        if since is None and previous is not None and rows.name in previous.tables:
            since = previous.tables[rows.name].since
        elif since is None and last is not None and rows.name in last.tables:
            since = last.tables[rows.name].watermark
        if rows.time_sql is None:
            return rows, replace(table, since=None, by=None, watermark=None)
        watermark = min(until, horizon)
        rows = by_change(rows, Window(since, until))
        return rows, replace(table, since=since, by="change", watermark=watermark)

    def _write(self, rows: TableRows, places: Places, told_apart: datetime | None) -> Iterator[PendingObject]:
        limit = min(self.options.file_bytes or MAX_OBJECT_BYTES, MAX_OBJECT_BYTES)
        partition_sql = places.partition_sql(rows, told_apart)
        expected = rows.table.estimated_rows if rows.is_whole else None
        count, size = 0, 0
        numbers: defaultdict[str, int] = defaultdict(int)  # not every source has a partition's rows in one piece
        file: _File | None = None
        partition = ""
        with self.source.chunks(rows, self.form, partition_sql) as chunks:
            for chunk in chunks:
                if file is not None and (chunk.partition != partition or file.size >= limit):
                    yield file.finish()
                    numbers[partition] += 1
                    size, file = size + file.size, None
                if file is None:
                    partition = chunk.partition
                    file = self._file(rows, places, partition, numbers[partition])
                file.write(chunk)
                count += chunk.rows
                self.progress(rows.name, count, size + file.size, expected)
        if file is None:
            if partition_sql is not None:
                return  # no partition has a row: no file either
            file = self._file(rows, places, "", 0)
        yield file.finish()
        self.progress(rows.name, count, size + file.size, count)

    def _file(self, rows: TableRows, places: Places, partition: str, number: int) -> _File:
        named = places.partition(partition)
        writer = self.storage.writer(places.file(rows.name, named, number), _CONTENT_TYPES[self.form.value], named)
        return _File(writer, make_encoder(self.form, self.compression, rows, writer.write))

    def _commit(self, manifest: Manifest, pending: list[PendingObject], previous: Manifest | None) -> None:
        storage = self.storage
        storage.settle(pending)
        journal = Journal(storage, self.options.places(None).journal)
        tables = set(manifest.tables)
        stale = journal.left_by_the_killed(manifest) | (previous_keys(previous, manifest) if previous else set())
        stale = {key for key in stale - set(manifest.keys) if self.options.places(None).is_file_of(key, tables)}
        journal.write(manifest, stale)
        if previous is not None:
            # From here on until the new one is written there is none: objects of both exports are visible meanwhile.
            self._delete([manifest.key])
        storage.commit(pending)
        storage.put(manifest.key, manifest.write())
        self._delete(sorted(stale))
        self._delete([journal.key])

    def _delete(self, keys: list[str]) -> None:
        try:
            self.storage.delete(keys)
        except AccessDenied as error:
            log.warning("What an earlier export has written stays: %s", error)

    def _manifest(self, key: str) -> Manifest | None:
        try:
            content = self.storage.get(key)
        except AccessDenied:
            if self.options.incremental:
                raise
            # S3 says so too of what isn't there, to those who may not list the bucket.
            log.info("s3://%s/%s cannot be read: whatever export it is of is written over.", self.storage.bucket, key)
            return None
        return None if content is None else Manifest.read(content, f"s3://{self.storage.bucket}/{key}")

    def _abort_left_uploads(self, places: Places) -> None:
        tables = {rows.name for rows in self.tables}
        prefix = f"{places.prefix}/" if places.prefix else ""
        try:
            count = self.storage.abort_left_uploads(prefix, lambda key: places.may_have_left(key, tables))
        except AccessDenied as error:
            log.info("Uploads that an earlier export may have left stay: %s", error)
            return
        if count:
            log.info("Aborted %d upload(s) that an export had left which was killed.", count)


class _File:
    """A file that is being written."""

    def __init__(self, writer: ObjectWriter, encoder: Encoder) -> None:
        self._writer = writer
        self._encoder = encoder
        self._rows = 0

    @property
    def size(self) -> int:
        """Bytes that it has by now."""
        return self._writer.size

    def write(self, chunk: Chunk) -> None:
        self._encoder.write(chunk.data)
        self._rows += chunk.rows

    def finish(self) -> PendingObject:
        self._encoder.close()
        return self._writer.finish(self._rows)
