# SPDX-License-Identifier: Apache-2.0
"""Read an export, from a folder or from S3: its manifests, and the rows of its tables in batches.

Each row of an incremental export is returned once, with its latest values.
"""

from __future__ import annotations

from array import array
from itertools import compress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.export.formats import Compression, FileFormat
from airflow_mwaa_provider.metadata.manifest import Manifest, TableExport
from airflow_mwaa_provider.metadata.reading.files import BucketFiles, Files, FolderFiles
from airflow_mwaa_provider.metadata.reading.rows import Batch, file_batches
from airflow_mwaa_provider.s3_uri import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Batch", "Export", "open_export"]


class Export:
    """A finished export.

    :param manifests: oldest first; more than one if it is incremental.
    """

    def __init__(self, files: Files, manifests: Sequence[Manifest]) -> None:
        self.files = files
        self.manifests = tuple(manifests)

    @property
    def label(self) -> str:
        """Its location."""
        return self.files.label

    @property
    def last(self) -> Manifest:
        """The newest manifest."""
        return self.manifests[-1]

    @property
    def tables(self) -> list[str]:
        """Names of its tables, sorted."""
        return sorted({name for manifest in self.manifests for name in manifest.tables})

    def exports_of(self, table: str) -> list[tuple[Manifest, TableExport]]:
        """Return the exports with a table's rows, oldest first; only the last one if it is always exported whole."""
        found = [(manifest, manifest.tables[table]) for manifest in self.manifests if table in manifest.tables]
        return found[-1:] if found and found[-1][1].by is None else found

    def columns(self, table: str) -> dict[str, str]:
        """Return the names and PostgreSQL types of a table's columns, including those of older schemas."""
        return {name: kind for _, exported in self.exports_of(table) for name, kind in exported.columns.items()}

    def rows_written(self, table: str) -> int:
        """Number of rows in its files, in which a row can occur more than once."""
        return sum(exported.rows for _, exported in self.exports_of(table))

    def bytes_written(self, table: str) -> int:
        """Size of its files."""
        return sum(exported.bytes for _, exported in self.exports_of(table))

    def name_of(self, manifest: Manifest, key: str) -> str:
        """Return the name of a file in this location, even if the export was written elsewhere.

        :raises MwaaInputError: it is not beside its manifest.
        """
        folder = PurePosixPath(manifest.key).parent
        prefix = str(folder.parent if manifest.incremental else folder)
        if prefix == ".":
            return key
        if not key.startswith(f"{prefix}/"):
            raise MwaaInputError(f"The manifest in {self.label} names {key!r}, which is not beside it.")
        return key.removeprefix(f"{prefix}/")

    def batches(self, table: str, columns: Sequence[str]) -> Iterator[Batch]:
        """Read columns of a table.

        Some thousand rows of these columns are in memory and, for an incremental export, 12 to 24 bytes for each
        row of all increments but the first.

        :param columns: names; a column that an increment does not have is ``None``.
        :return: batches: a list of values for each column. Times are seconds since 1970, in UTC.
        :raises StorageError: a file is missing or damaged, or cannot be read.
        """
        exports = self.exports_of(table)
        key = exports[-1][1].key if exports else ()
        if len(exports) == 1 or not key:
            for manifest, exported in exports:
                yield from self._batches(manifest, exported, columns)
            return
        seen = _Seen(sum(exported.rows for _, exported in exports[1:]))
        for manifest, exported in reversed(exports):
            is_first = manifest is exports[0][0]
            for batch in self._batches(manifest, exported, [*columns, *key]):
                keys = zip(*batch[len(columns) :], strict=True)
                look = seen.has_not if is_first else seen.add
                is_new = [look(hash(tuple(map(str, values)))) for values in keys]
                yield [list(compress(column, is_new)) for column in batch[: len(columns)]]

    def _batches(self, manifest: Manifest, exported: TableExport, columns: Sequence[str]) -> Iterator[Batch]:
        form, compression = FileFormat(manifest.file_format), Compression(manifest.compression)
        typed = [(name, exported.columns[name]) if name in exported.columns else None for name in columns]
        for file in exported.files:
            if file.rows:
                name = self.name_of(manifest, file.key)
                raw = self.files.open(name, file.bytes)
                yield from file_batches(raw, self.files.url(name), form, compression, typed, size=file.bytes)


def open_export(place: str, client: Callable[[], Any]) -> Export:
    """Open an export.

    :param place: ``s3://bucket/prefix``, or a folder with a copy of it; or its manifest.
    :param client: makes boto3's S3 client, if it is needed.
    :raises MwaaInputError: no finished export was found.
    :raises StorageError: S3 rejected the request.
    :raises AccessDenied: the role may not read there.
    """
    files, name = _files(place, client)
    last = _manifest(files, name)
    if last is None:
        raise MwaaInputError(
            f"{files.label} has no {name}: no finished metadata export is there. Give the folder or prefix that it was "
            "written to."
        )
    if not last.incremental:
        return Export(files, [last])
    names = files.names(f"{name.removesuffix('.json')}s")
    found = [_manifest(files, increment) for increment in names if increment.endswith(".json")]
    increments = {manifest.key: manifest for manifest in [last, *found] if manifest is not None}
    if last.key not in {manifest.key for manifest in found if manifest is not None}:
        raise MwaaInputError(
            f"{files.label} is an incremental export and lacks its increments' manifests: copy the whole prefix, with "
            f"{name.removesuffix('.json')}s/."
        )
    return Export(files, sorted(increments.values(), key=lambda manifest: manifest.until or manifest.exported_at))


def _files(place: str, client: Callable[[], Any]) -> tuple[Files, str]:
    if place.startswith("s3://"):
        uri = S3Uri.parse(place)
        if uri is None:
            raise MwaaInputError(f"{place!r} names no bucket: write s3://bucket/prefix.")
        if uri.prefix.endswith(".json"):
            prefix, _, name = uri.prefix.rpartition("/")
            return BucketFiles(client, uri.bucket, prefix), name
        return BucketFiles(client, uri.bucket, uri.prefix), "manifest.json"
    path = Path(place)
    if path.suffix == ".json":
        return FolderFiles(path.parent), path.name
    if not path.is_dir():
        raise MwaaInputError(f"{place!r} is not a folder. Name a folder with an export, or s3://bucket/prefix.")
    return FolderFiles(path), "manifest.json"


def _manifest(files: Files, name: str) -> Manifest | None:
    content = files.get(name)
    return None if content is None else Manifest.read(content, files.url(name))


class _Seen:
    """A set of 64-bit numbers, in 12 to 24 bytes each rather than Python's 60 to 100.

    :param count: their maximum number.
    """

    def __init__(self, count: int) -> None:
        size = 1 << max(10, (count * 3 // 2).bit_length())
        self._mask = size - 1
        self._slots = array("q", bytes(8 * size))

    def add(self, number: int) -> bool:
        """Add a number; return whether it is new."""
        number = number or 1  # 0 is an empty slot
        slots, mask = self._slots, self._mask
        at = number & mask
        while slots[at]:
            if slots[at] == number:
                return False
            at = (at + 1) & mask
        slots[at] = number
        return True

    def has_not(self, number: int) -> bool:
        """Return whether a number was never added."""
        number = number or 1
        slots, mask = self._slots, self._mask
        at = number & mask
        while slots[at]:
            if slots[at] == number:
                return False
            at = (at + 1) & mask
        return True
