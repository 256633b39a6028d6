# SPDX-License-Identifier: Apache-2.0
"""What an export requires of the source of its rows, whichever route leads to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.catalog.selection import TableRows
    from airflow_mwaa_provider.metadata.catalog.snapshot import Snapshot
    from airflow_mwaa_provider.metadata.catalog.witnesses import TableWitness
    from airflow_mwaa_provider.metadata.export.formats import Compression, FileFormat
    from airflow_mwaa_provider.metadata.export.layout import ObjectKeys
    from airflow_mwaa_provider.metadata.storage.bucket import PendingObject, Storage

__all__ = ["Progress", "RowSource", "ServerSource", "TableWriter"]


class Progress(Protocol):
    """Called with the progress of an export: often, and from one thread."""

    def __call__(self, table: str, rows: int, size: int, expected_rows: int | None) -> None:
        """Take the number of rows and bytes of a table that are written or being written."""


class TableWriter(Protocol):
    """Write the rows of tables, in this process or where they are."""

    def write(
        self, rows: TableRows, object_keys: ObjectKeys, changed_before: datetime | None
    ) -> Iterator[PendingObject]:
        """Write the files of a table, and upload them without making them visible.

        :param changed_before: rows from before this time were in an earlier export, and go to files of their own.
        """


class _Source(Protocol):
    """What every source reports of its tables."""

    route: str

    @property
    def airflow_version(self) -> str | None:
        """The environment's, if it is known more precisely than by the schema's revision."""

    @property
    def schema(self) -> Schema:
        """The tables that the source can see."""

    @property
    def now(self) -> datetime:
        """The time of the snapshot."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot as transactions; ``None`` if they are not known."""

    def witnesses(self) -> tuple[TableWitness, ...]:
        """Return evidence of the database's state, which a later export compares."""

    def find_contradiction(self, witnesses: Sequence[TableWitness]) -> str | None:
        """Return a description of what shows that the database has been restored since; ``None`` if nothing does."""

    def horizon(self) -> datetime:
        """Return the time up to which the tables are practically complete; earlier rows may still arrive late."""

    def check_until(self, until: datetime) -> None:
        """Check that all rows from before a time have been replayed.

        :raises DatabaseUnavailable: some may be missing.
        """


class RowSource(_Source, Protocol):
    """A source of rows: the database, or an API that shows them."""

    def chunks(self, rows: TableRows, form: FileFormat, partition_sql: str | None) -> AbstractContextManager[Any]:
        """Return a context with an iterator over :class:`~airflow_mwaa_provider.metadata.export.copy.Chunk`.

        :param partition_sql: as returned by
            :meth:`~airflow_mwaa_provider.metadata.export.layout.ObjectKeys.partition_sql`.
        """


@runtime_checkable
class ServerSource(_Source, Protocol):
    """A source that writes its rows to S3 itself, so that they never reach this process."""

    def check(self, tables: Sequence[str], bucket: str, prefix: str) -> None:
        """Check that it may write these tables to this place; called before anything is written.

        :raises NoMetadataRoute: it writes only to other places.
        :raises AccessDenied: the caller may not read one of the tables.
        """

    def writer(
        self,
        storage: Storage,
        form: FileFormat,
        compression: Compression,
        progress: Progress,
        *,
        limit_bytes: int | None = None,
    ) -> TableWriter:
        """Return a writer of its tables; the parameters are those of :class:`FileWriter`."""
