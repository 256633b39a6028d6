# SPDX-License-Identifier: Apache-2.0
"""Write an archive of the rows that a cleanup will delete: to S3, from one snapshot, and read back."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaError, MwaaInputError, StorageError
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.catalog.schema import quoted
from airflow_mwaa_provider.metadata.catalog.selection import TableRows
from airflow_mwaa_provider.metadata.cleaning.archiving.digests import WINDOW_ROWS, Digests, elsewhere
from airflow_mwaa_provider.metadata.cleaning.archiving.files import ArchivedFile
from airflow_mwaa_provider.metadata.cleaning.scope.plan import expressions_sql
from airflow_mwaa_provider.metadata.cleaning.scope.unit import RetentionGuard
from airflow_mwaa_provider.metadata.export.formats import Compression, FileFormat, file_suffix
from airflow_mwaa_provider.metadata.export.journal import Journal
from airflow_mwaa_provider.metadata.export.layout import Layout, ObjectKeys, stamp
from airflow_mwaa_provider.metadata.export.writer import FileWriter
from airflow_mwaa_provider.metadata.identity import identity_of
from airflow_mwaa_provider.metadata.manifest import Manifest, TableExport
from airflow_mwaa_provider.metadata.reading.files import BucketFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.cleaning.archiving.digests import Spool, Window
    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit, DependentTable
    from airflow_mwaa_provider.metadata.sources import DatabaseSource
    from airflow_mwaa_provider.metadata.storage.bucket import PendingObject, Storage

__all__ = ["Archive", "ArchiveWriter", "count_expired", "secret_tables", "without_secrets"]

log = logging.getLogger(__name__)

_ARCHIVE = re.compile(r"\d{8}T\d{6}(\.\d+)?Z(-\d+)?/")
_FORM, _COMPRESSION = FileFormat.CSV, Compression.GZIP
_MAX_KEPT = 10_000
"""The most keys of old rows that are kept, which a query may name."""


def secret_tables(schema: Schema, names: Iterable[str]) -> list[str]:
    """Return the tables with values that are never written out in clear: their archive could not be restored."""
    return [
        name
        for name in names
        if registry.facts_of(name).is_private
        or any(registry.is_secret(name, column.name) for column in schema.tables[name].columns)
    ]


def without_secrets(
    schema: Schema, units: Sequence[CleanupUnit], options: CleanupOptions
) -> tuple[list[CleanupUnit], list[CleanupUnit]]:
    """Return the units that can be archived completely, and those that cannot.

    :raises MwaaInputError: one that cannot was named.
    """
    whole: list[CleanupUnit] = []
    others: list[CleanupUnit] = []
    for unit in units:
        secret = secret_tables(schema, unit.tables)
        (others if secret else whole).append(unit)
        if secret and unit.name in (options.tables or ()):
            raise MwaaInputError(
                f"Table {unit.name} cannot be archived: {', '.join(secret)} may hold secrets, which are never written "
                "out in clear. Clean it in a task without archive_to."
            )
    return whole, others


def count_expired(
    unit: CleanupUnit, earlier: Sequence[CleanupUnit], ask: Callable[[str, str], list[tuple[Any, ...]]]
) -> int:
    """Return how many rows of a unit are old, all its tables together."""
    counts = " + ".join(f"({unit.count_sql(part)})" for part in unit.parts)
    [(count,)] = ask(f"{expressions_sql(unit, earlier)} SELECT {counts}", f"counting old rows of {unit.name}")
    return int(count)


@dataclass
class Archive:
    """The rows that are archived, and will be deleted.

    :param windows: by unit, in the order of its keys.
    :param places: the names of its objects.
    :param manifest: in S3 after :meth:`ArchiveWriter.publish`.
    """

    units: list[CleanupUnit]
    windows: dict[str, list[Window]]
    places: ObjectKeys
    manifest: Manifest
    pending: list[PendingObject] = field(default_factory=list, repr=False)

    @property
    def place(self) -> str:
        """Where its manifest is."""
        return f"s3://{self.manifest.bucket}/{self.manifest.key}"

    @property
    def rows(self) -> dict[str, int]:
        """How many rows of each table it has."""
        return {name: table.rows for name, table in self.manifest.tables.items()}


class ArchiveWriter:
    """Write an archive.

    :param storage: an open context.
    :param prefix: each archive has a folder below it.
    :param spool: stores the keys of archived rows.
    :param keep_alive: called often, at least once a second while rows are read; an error that it raises ends it.
    """

    def __init__(
        self, storage: Storage, prefix: str, spool: Spool, options: CleanupOptions, keep_alive: Callable[[], None]
    ) -> None:
        self._storage = storage
        self._prefix = prefix.strip("/")
        self._spool = spool
        self._options = options
        self._keep_alive = keep_alive

    def take(self, source: DatabaseSource, units: Sequence[CleanupUnit], now: datetime, route: str) -> Archive | None:
        """Upload the rows to delete, not visible before :meth:`publish`; return ``None`` if there are none.

        :param source: an open snapshot.
        :param now: the time that the units' ages are counted from.
        :raises StorageError: S3 rejected something.
        :raises MetadataError: the database did.
        """
        counts: dict[str, list[int]] = {}
        windows: dict[str, list[Window]] = {}
        going = {name for unit in units for name in unit.tables}
        settled: list[CleanupUnit] = []
        for unit in units:
            settled.append(self._settled(source, unit, settled))
            self._keep_alive()
        for number, unit in enumerate(settled):
            counts[unit.name] = [0] * len(unit.parts)
            expressions = expressions_sql(unit, settled[:number])
            with source.errors(f"looking for rows of {unit.name} to delete"):
                found = Digests(unit, going).windows(
                    source.connection,
                    expressions,
                    self._spool,
                    counts[unit.name],
                    window_rows=min(WINDOW_ROWS, self._options.batch_rows),
                )
                windows[unit.name] = []
                for window in found:
                    windows[unit.name].append(window)
                    self._keep_alive()
        if not any(map(sum, counts.values())):
            return None
        until = now - self._options.retention
        places = self._places(until)
        archive = Archive(list(units), windows, places, self._manifest(source, places, now, until, route))
        for number, unit in enumerate(settled):
            for part, count in zip(unit.parts, counts[unit.name], strict=True):
                if count:
                    self._upload(archive, source, places, (unit, settled[:number], part), count)
        return archive

    def _settled(self, source: DatabaseSource, unit: CleanupUnit, earlier: Sequence[CleanupUnit]) -> CleanupUnit:
        """Find the kept rows once, and name them: to find them again for each table would take most of the time."""
        before = {other.name for other in unit.without}
        unit = replace(unit, without=tuple(other for other in earlier if other.name in before))
        own = tuple(guard for guard in unit.guards if not guard.reads_other_rows)
        if len(own) == len(unit.guards):
            return unit
        keys = [f"t.{quoted(column.name)}" for column in unit.key]
        same = [f"k.{quoted(column.name)} = {key}" for column, key in zip(unit.key, keys, strict=True)]
        with source.errors(f"looking for rows of {unit.name} that are kept"), source.connection.cursor() as cursor:
            cursor.execute(
                f"{expressions_sql(unit, earlier)} SELECT {', '.join(f'{key}::text' for key in keys)} "
                f"FROM {unit.schema.qualified(unit.root_table.name)} t WHERE {unit.row_condition_sql} "
                f"AND NOT EXISTS (SELECT 1 FROM {unit.expired_cte} k WHERE {' AND '.join(same)}) LIMIT {_MAX_KEPT + 1}"
            )
            kept = [tuple(row) for row in cursor.fetchall()]
        if len(kept) > _MAX_KEPT:
            return unit
        if kept:
            same = [f"w.{quoted(column.name)} = {key}" for column, key in zip(unit.key, keys, strict=True)]
            these = f"SELECT 1 FROM {unit.keys_sql(kept)} w WHERE {' AND '.join(same)}"
            own += (RetentionGuard("another row keeps it", query=these),)
        return replace(unit, guards=own)

    def _places(self, until: datetime) -> ObjectKeys:
        """Return a folder without an archive: the rows of an existing one may no longer be in the database."""
        first = f"archive-{stamp(until)}"
        number = 1
        while True:
            name = first if number == 1 else f"{first}-{number}"
            folder = f"{self._prefix}/{name}" if self._prefix else name
            places = ObjectKeys(folder, Layout.TABLE, file_suffix(_FORM, _COMPRESSION))
            try:
                if self._storage.get(places.manifest) is None:
                    break
            except AccessDenied as error:
                # S3 also answers this for a missing object if the role may not list the bucket.
                raise AccessDenied(
                    f"{error} An archive is never overwritten, and is read back: the role needs s3:GetObject, and "
                    "s3:ListBucket on the bucket.",
                    action="s3:ListBucket",
                ) from error
            number += 1
        self._storage.check_writable(places.manifest)
        self._tidy()
        return places

    def _tidy(self) -> None:
        """Remove what killed archives have left: uploads, and journals beside a manifest.

        This is safe because only one cleanup of a database runs at a time, and a prefix belongs to one environment.
        """
        archives = f"{self._prefix}/archive-" if self._prefix else "archive-"
        try:
            self._storage.abort_left_uploads(archives, lambda key: _ARCHIVE.match(key[len(archives) :]) is not None)
            for folder in self._storage.folders(archives):
                if _ARCHIVE.match(folder[len(archives) :]) is None:
                    continue
                places = ObjectKeys(folder.rstrip("/"), Layout.TABLE, file_suffix(_FORM, _COMPRESSION))
                if self._storage.get(places.journal) is not None and self._storage.get(places.manifest) is not None:
                    self._storage.delete([places.journal])
        except AccessDenied as error:
            log.info("What an interrupted archive may have left is kept: %s", error)

    def _manifest(
        self, source: DatabaseSource, places: ObjectKeys, now: datetime, until: datetime, route: str
    ) -> Manifest:
        max_age = self._options.max_age
        with source.errors("reading the identity of the database"):
            identity = identity_of(source.connection, source.schema)
        return Manifest(
            bucket=self._storage.bucket,
            key=places.manifest,
            tables={},
            schema_version=source.schema.revision,
            airflow_version=source.airflow_version or source.schema.airflow_version,
            since=now - max_age if max_age else None,
            until=until,
            exported_at=source.now.astimezone(UTC),
            file_format=_FORM.value,
            compression=_COMPRESSION.value,
            layout=Layout.TABLE.value,
            route=route,
            database=identity,
        )

    def _upload(
        self,
        archive: Archive,
        source: DatabaseSource,
        places: ObjectKeys,
        which: tuple[CleanupUnit, Sequence[CleanupUnit], DependentTable],
        count: int,
    ) -> None:
        unit, earlier, part = which
        table = part.table
        conditions = [f"EXISTS ({unit.deleted_with_sql(table.name, 't')})", *elsewhere(unit, part)]
        rows = TableRows(
            schema=source.schema,
            table=table,
            columns=table.columns,
            with_sql=expressions_sql(unit, earlier),
            condition=" AND ".join(conditions),
        )
        before = archive.manifest.tables.get(table.name)
        writer = FileWriter(
            source,
            self._storage,
            _FORM,
            _COMPRESSION,
            lambda *_: self._keep_alive(),
            first_number=len(before.files) if before else 0,
            writes_empty=False,
        )
        written = list(writer.write(rows, places, None))
        archive.pending += written
        files = tuple(item.file for item in written)
        if sum(file.rows for file in files) != count:
            raise StorageError(
                f"The archive of {table.name} has {sum(file.rows for file in files):,} rows instead of {count:,}; "
                "nothing was deleted. Report this."
            )
        archive.manifest.tables[table.name] = TableExport(
            files=(*(before.files if before else ()), *files),
            columns={column.name: column.type for column in table.columns},
            key=table.identity,
            since=archive.manifest.since,
            until=max(unit.cutoff, before.until) if before and before.until else unit.cutoff,
            by="time",
        )

    def publish(self, archive: Archive) -> None:
        """Make the archive visible, read it back, and write the manifest if everything is right.

        :raises StorageError: it is not; then there is no manifest, and as much of the archive as possible is removed.
        """
        storage, manifest, places = self._storage, archive.manifest, archive.places
        storage.settle(archive.pending)
        journal = Journal(storage, places.journal)
        stale = journal.left_by_the_killed(manifest) - set(manifest.keys)
        stale = {key for key in stale if key.startswith(f"{places.prefix}/") and key.endswith(places.suffix)}
        journal.write(manifest, stale)
        try:
            storage.commit(archive.pending)
            self._read_back(manifest)
            content = manifest.write()
            storage.put(manifest.key, content)
            if storage.get(manifest.key) != content:
                raise StorageError(
                    f"{archive.place} differs from what was written; nothing was deleted. Check what else writes "
                    "there, and try again.",
                    bucket=manifest.bucket,
                    key=manifest.key,
                )
        except BaseException:
            with suppress(MwaaError):
                storage.delete([manifest.key, *manifest.keys, *sorted(stale), journal.key])
            raise
        try:
            storage.delete([*sorted(stale), journal.key])
        except AccessDenied as error:
            log.warning("What an interrupted archive has left is kept: %s", error)

    def _read_back(self, manifest: Manifest) -> None:
        files = BucketFiles(lambda: self._storage.client, manifest.bucket, manifest.key.rpartition("/")[0])
        for table in manifest.tables.values():
            for file in table.files:
                name = file.key.rpartition("/")[2]
                try:
                    raw = files.open(name, file.bytes)
                    with ArchivedFile(raw, file, _COMPRESSION, files.url(name), lambda _: self._keep_alive()) as read:
                        read.check()
                except StorageError as error:
                    raise StorageError(
                        f"{error} The archive was read back, and nothing was deleted. Try again.",
                        code=error.code,
                        bucket=manifest.bucket,
                        key=file.key,
                        transient=True,
                    ) from error
