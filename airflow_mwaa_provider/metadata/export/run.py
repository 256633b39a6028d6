# SPDX-License-Identifier: Apache-2.0
"""A metadata export: tables as files in S3, in constant memory, visible together or not at all."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import AccessDenied, DatabaseUnavailable, MwaaInputError, StorageError
from airflow_mwaa_provider.metadata.catalog.selection import TableRows, Window, by_change, select_tables
from airflow_mwaa_provider.metadata.export.formats import check_format, file_suffix
from airflow_mwaa_provider.metadata.export.journal import Journal, keys_of_other_windows, previous_keys
from airflow_mwaa_provider.metadata.export.layout import CHANGED, Layout, ObjectKeys, check_layout, stamp
from airflow_mwaa_provider.metadata.export.lease import ExportLease
from airflow_mwaa_provider.metadata.export.source import ServerSource
from airflow_mwaa_provider.metadata.export.writer import FileWriter
from airflow_mwaa_provider.metadata.manifest import Manifest, TableExport
from airflow_mwaa_provider.metadata.storage.bucket import PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.metadata.catalog.witnesses import TableWitness
    from airflow_mwaa_provider.metadata.export.source import Progress, RowSource, TableWriter
    from airflow_mwaa_provider.metadata.storage.bucket import PendingObject, Storage

__all__ = ["ExportOptions", "export_metadata"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and how; checked when it is created, before anything is opened.

    :param tables: names of tables; ``None`` for all except those of credentials, sessions and people.
        ``table.column`` includes a secret column: encrypted as it is stored, or as ``***``.
    :param exclude: tables, or ``table.column``, to leave out.
    :param since: rows from this time on, with a time zone; ``None`` from the beginning.
    :param until: rows before this time; ``None`` to the end.
    :param prefix: of the objects in the bucket, without slashes at its ends.
    :param file_format: ``csv`` or ``parquet``.
    :param compression: ``none``, ``gzip`` or ``zstd``; Parquet also ``snappy``.
    :param layout: ``table``: one file per table. ``hive``: partitions by table and date.
    :param file_bytes: start a new file when one has this size; ``None``: files grow to S3's own limit.
    :param incremental: only what is new or has changed since the last export to this prefix.
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
                f"file_bytes={self.file_bytes:,} is less than {PART_BYTES:,}: many small files slow down every reader."
            )
        if not self.manifest_name.endswith(".json") or "/" in self.manifest_name:
            raise MwaaInputError(f"manifest_name={self.manifest_name!r} is not a name such as manifest.json.")

    def object_keys(self, export: str | None) -> ObjectKeys:
        """Return the names of its objects."""
        form, compression = check_format(self.file_format, self.compression)
        return ObjectKeys(
            prefix=self.prefix.strip("/"),
            layout=check_layout(self.layout, incremental=self.incremental),
            suffix=file_suffix(form, compression),
            manifest_name=self.manifest_name,
            export=export,
            is_numbered=self.file_bytes is not None,
            since=self.since,
            until=self.until,
        )


def export_metadata(
    source: RowSource | ServerSource,
    storage: Storage,
    options: ExportOptions,
    *,
    progress: Progress | None = None,
) -> Manifest:
    """Export tables, and write the manifest last.

    Until all tables are uploaded nothing is visible; then all objects become visible, and last the manifest. If the
    export fails before, it leaves nothing. Repeated for the same window, it replaces the objects by the same ones.

    :return: what was written.
    :raises MwaaInputError: something cannot be done as requested; nothing was written.
    :raises MetadataError: the database rejected a statement, or the connection was lost.
    :raises ExportUnderWay: another export writes to the same place.
    :raises StorageError: S3 rejected a call; nothing is visible or, in the last seconds, everything but the manifest.
    :raises AccessDenied: the role lacks a permission; nothing was written.
    """
    return _Export(source, storage, options, progress or _silent).run()


def _silent(table: str, rows: int, size: int, expected_rows: int | None) -> None:
    """Report nothing."""


class _Export:
    def __init__(
        self, source: RowSource | ServerSource, storage: Storage, options: ExportOptions, progress: Progress
    ) -> None:
        self.source, self.storage, self.options = source, storage, options
        self.form, self.compression = check_format(options.file_format, options.compression)
        self.tables = select_tables(
            source.schema, options.tables, options.exclude, Window(options.since, options.until)
        )
        self._witnesses: tuple[TableWitness, ...] | None = None
        self._contradictions: dict[tuple[TableWitness, ...], str | None] = {}
        how = (storage, self.form, self.compression, progress)
        self.writer: TableWriter
        if isinstance(source, ServerSource):
            source.check([rows.name for rows in self.tables], storage.bucket, options.prefix.strip("/"))
            self.writer = source.writer(*how, limit_bytes=options.file_bytes)
        else:
            self.writer = FileWriter(source, *how, limit_bytes=options.file_bytes)

    def run(self) -> Manifest:
        options, storage = self.options, self.storage
        first_keys = options.object_keys(None)
        storage.check_writable(first_keys.manifest)
        key = first_keys.lease(is_incremental=options.incremental)
        with ExportLease(storage, key, is_needed=options.incremental) as lease:
            try:
                return self._run(first_keys, lease)
            except StorageError:
                lease.check()  # an export that took over the place has aborted the uploads of this one
                raise

    def _run(self, first_keys: ObjectKeys, lease: ExportLease) -> Manifest:
        options, source, storage = self.options, self.source, self.storage
        last = self._manifest(first_keys.manifest)
        until, horizon = options.until, source.now
        if until is not None:
            source.check_until(until)
        if options.incremental:
            horizon = source.horizon()
            until = until or horizon.replace(microsecond=0)
        object_keys = options.object_keys(stamp(until) if options.incremental and until else None)
        previous = last
        if options.incremental and until is not None:
            replaced = self._replaced_by_the_killed(object_keys)
            previous = self._manifest(object_keys.increment(stamp(until))) or replaced
            if previous is None and last is not None and last.until is not None and until <= last.until:
                if options.until is None:
                    raise DatabaseUnavailable(
                        f"s3://{storage.bucket}/{object_keys.manifest} reaches until {last.until.isoformat()}, and a "
                        "transaction has been open since before that, or the database lags behind: there is nothing to "
                        "add yet. Try again later.",
                        transient=True,
                    )
                raise MwaaInputError(
                    f"s3://{storage.bucket}/{object_keys.manifest} reaches until {last.until.isoformat()}, which is "
                    f"not before until={until.isoformat()}, so there is nothing to add. Use a later until or another "
                    "prefix."
                )
        lease.check()
        self._warn_of_hidden_rows()
        self._abort_left_uploads(object_keys)
        pending: list[PendingObject] = []
        tables: dict[str, TableExport] = {}
        for rows in self.tables:
            table = TableExport(
                columns={column.name: column.type for column in rows.columns},
                key=rows.table.identity,
                until=until,
                since=options.since,
                by=None if rows.is_whole else "time",
                may_lack_rows=rows.may_lack_rows,
            )
            if options.incremental and until is not None:
                rows, table = self._increment(rows, table, previous, last, until, horizon)
            written = list(self.writer.write(rows, object_keys, table.since if options.incremental else None))
            pending += written
            tables[rows.name] = replace(
                table,
                files=tuple(item.file for item in written),
                rows_changed=sum(item.file.rows for item in written if item.file.partition.get("change") == CHANGED),
            )
        self._check_names(pending)
        manifest = Manifest(
            bucket=storage.bucket,
            key=object_keys.increment(object_keys.export) if object_keys.export else object_keys.manifest,
            tables=tables,
            schema_version=source.schema.revision,
            airflow_version=source.airflow_version or source.schema.airflow_version,
            since=options.since,
            until=until,
            exported_at=source.now.astimezone(UTC),
            file_format=self.form.value,
            compression=self.compression.value,
            layout=object_keys.layout.value,
            route=source.route,
            incremental=options.incremental,
        )
        lease.check()
        self._commit(manifest, pending, previous)
        if isinstance(source, ServerSource):
            self._abort_left_uploads(object_keys)  # of requests that were repeated because their answer was lost
        if object_keys.export and (last is None or last.until is None or (until and until >= last.until)):
            storage.put(object_keys.manifest, manifest.write())
        return manifest

    def _warn_of_hidden_rows(self) -> None:
        names = [rows.name for rows in self.tables if rows.may_lack_rows]
        if names:
            log.warning(
                "Tables %s: row-level security may hide rows from the exporting user, which are then missing from the "
                "export. Export as a role with BYPASSRLS, or as the tables' owner if it is exempt.",
                ", ".join(names),
            )

    def _check_names(self, pending: list[PendingObject]) -> None:
        """Check that no file would overwrite another one."""
        seen: set[str] = set()
        for item in pending:
            if item.file.key in seen:
                raise MwaaInputError(
                    f"s3://{self.storage.bucket}/{item.file.key}: two files of this export would have this name, and "
                    "one of them would be lost. Choose layout='hive', or export one of the tables to another prefix."
                )
            seen.add(item.file.key)

    def _increment(
        self,
        rows: TableRows,
        table: TableExport,
        previous: Manifest | None,
        last: Manifest | None,
        until: datetime,
        horizon: datetime,
    ) -> tuple[TableRows, TableExport]:
        """Choose the rows of a table for this increment: those changed since the last, or the same ones if repeated.

        The transactions that the database records, if known, take precedence over the times of rows: a row
        may come late, with old times or none. A table is exported completely each time if its rows have no times, or no
        key that identifies older versions of a row.
        """
        if rows.time_sql is None or not rows.table.identity:
            return replace(rows, window=Window()), replace(table, since=None, by=None)
        since, written_since, columns_before = self.options.since, None, table.columns
        earlier = TableExport()
        if since is None and previous is not None and rows.name in previous.tables:
            earlier = previous.tables[rows.name]
            since, written_since, columns_before = earlier.since, earlier.written_since, earlier.columns
        elif since is None and last is not None and rows.name in last.tables:
            earlier = last.tables[rows.name]
            since, written_since, columns_before = earlier.watermark, earlier.snapshot, earlier.columns
        seen = self.source.snapshot
        watermark = min(until, horizon)
        if seen is None:
            # What this one misses is in the next one that sees transactions.
            rows = by_change(rows, Window(since, until))
            table = replace(table, since=since, by="change", watermark=watermark)
            return rows, replace(table, snapshot=written_since, witnesses=earlier.witnesses)
        is_known = (
            written_since is not None
            and written_since.can_be_told_from(seen)
            and columns_before == table.columns  # a column may be added without a row being written
            and not self._was_restored(earlier.witnesses)
        )
        if since is not None and self.options.since is None and not is_known:
            log.info("%s is exported completely: what was written since the last export is unknown", rows.name)
            since = None
        if not is_known:
            written_since = None
        rows = by_change(rows, Window(since, until), None if written_since is None else written_since.oldest)
        table = replace(table, since=since, by="change", watermark=watermark)
        if self.options.since is not None:
            # What came late, with earlier times, is in the next one.
            kept = last.tables[rows.name] if last is not None and rows.name in last.tables else TableExport()
            return rows, replace(table, snapshot=kept.snapshot, witnesses=kept.witnesses)
        if self._witnesses is None:
            self._witnesses = self.source.witnesses()
        return rows, replace(table, snapshot=seen, witnesses=self._witnesses, written_since=written_since)

    def _was_restored(self, witnesses: tuple[TableWitness, ...]) -> bool:
        """Return whether the database's state contradicts what was recorded, so that it must have been restored."""
        if witnesses not in self._contradictions:
            found = self.source.find_contradiction(witnesses) if witnesses else None
            if found:
                log.warning(
                    "The database was restored to an earlier state since the last export: %s. Its tables are exported "
                    "completely, once. Rows that were lost stay in the earlier increments; for an export without them, "
                    "use another prefix.",
                    found,
                )
            self._contradictions[witnesses] = found
        return self._contradictions[witnesses] is not None

    def _commit(self, manifest: Manifest, pending: list[PendingObject], previous: Manifest | None) -> None:
        storage = self.storage
        storage.settle(pending)
        object_keys, tables = self.options.object_keys(None), set(manifest.tables)
        note_key = None if manifest.incremental else object_keys.window_note
        is_replacing_all = object_keys.layout is Layout.TABLE
        journal = Journal(storage, object_keys.journal)
        left = journal.left_by_the_killed(manifest, of_any_window=is_replacing_all)
        recorded = Journal(storage, note_key).left_by_the_killed(manifest) if note_key else set()
        before = left | recorded
        if previous is not None:
            before |= previous_keys(previous, manifest, of_any_window=is_replacing_all)
        stale = {key for key in before - set(manifest.keys) if object_keys.is_replaced(key, tables)}
        of_other_tables = recorded - stale - set(manifest.keys)
        if note_key and stale:
            stale -= self._keys_of_other_windows(note_key, manifest, stale)
        note = Journal(storage, note_key) if note_key else journal
        note.write(manifest, stale | of_other_tables, previous if manifest.incremental else None)
        if previous is not None:
            # Until the new manifest is written there is none, because objects of both exports are visible.
            self._delete([manifest.key])
        storage.commit(pending)
        storage.put(manifest.key, manifest.write())
        is_deleted = self._delete(sorted(stale))
        if note_key:
            note.write(manifest, of_other_tables if is_deleted else stale | of_other_tables)
        if left or not note_key:
            self._delete([journal.key])

    def _replaced_by_the_killed(self, object_keys: ObjectKeys) -> Manifest | None:
        """Return the manifest of this increment if a killed repetition has deleted it.

        :raises MwaaInputError: a repetition has deleted that of another increment, whose rows would be in no file.
        """
        key = self.options.object_keys(None).journal
        replaced = Journal(self.storage, key).replaced()
        if replaced is None or replaced.key == object_keys.increment(object_keys.export or ""):
            return replaced
        raise MwaaInputError(
            f"s3://{self.storage.bucket}/{replaced.key}: an export that repeated this increment was killed before it "
            f"had rewritten all of it. Export again with until={replaced.until and replaced.until.isoformat()}, "
            "then go on."
        )

    def _keys_of_other_windows(self, note_key: str, manifest: Manifest, stale: set[str]) -> set[str]:
        try:
            return keys_of_other_windows(self.storage, note_key, manifest)
        except AccessDenied as error:
            log.warning("Files of an earlier export are not deleted: %s", error)
            return stale

    def _delete(self, keys: list[str]) -> bool:
        try:
            self.storage.delete(keys)
        except AccessDenied as error:
            log.warning("Files of an earlier export are not deleted: %s", error)
            return False
        return True

    def _manifest(self, key: str) -> Manifest | None:
        try:
            content = self.storage.get(key)
        except AccessDenied:
            if self.options.incremental:
                raise
            # S3 also answers this for a missing object, if the role may not list the bucket.
            log.info("s3://%s/%s cannot be read. If it is from an export, it is overwritten.", self.storage.bucket, key)
            return None
        return None if content is None else Manifest.read(content, f"s3://{self.storage.bucket}/{key}")

    def _abort_left_uploads(self, object_keys: ObjectKeys) -> None:
        tables = {rows.name for rows in self.tables}
        prefix = f"{object_keys.prefix}/" if object_keys.prefix else ""
        tried = self.options.object_keys(None).manifest  # the upload that tests the permission to write
        try:
            count = self.storage.abort_left_uploads(
                prefix, lambda key: key == tried or object_keys.may_have_left(key, tables)
            )
        except AccessDenied as error:
            log.info("Uploads that an earlier export may have left are not aborted: %s", error)
            return
        if count:
            log.info("Aborted %d unfinished upload(s) of earlier exports.", count)
