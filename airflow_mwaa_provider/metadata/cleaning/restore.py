# SPDX-License-Identifier: Apache-2.0
"""Restore an archive into the database that it came from, each table completely or not at all."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg2

from airflow_mwaa_provider.exceptions import DatabaseRefused, MwaaInputError, StorageError, TableNotFound
from airflow_mwaa_provider.metadata.catalog.schema import quoted, read_schema
from airflow_mwaa_provider.metadata.cleaning.archiving.digests import SETTINGS
from airflow_mwaa_provider.metadata.cleaning.archiving.files import ArchivedFile
from airflow_mwaa_provider.metadata.cleaning.archiving.writer import secret_tables
from airflow_mwaa_provider.metadata.cleaning.deleting.lease import Lease
from airflow_mwaa_provider.metadata.cleaning.options import MAX_TIMEOUT, check_wait_timeout
from airflow_mwaa_provider.metadata.cleaning.scope.graph import ancestry
from airflow_mwaa_provider.metadata.database import BEGIN, database_errors
from airflow_mwaa_provider.metadata.export.formats import Compression, FileFormat
from airflow_mwaa_provider.metadata.identity import identity_of
from airflow_mwaa_provider.metadata.reading.export import Export, open_export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.metadata.catalog.schema import Schema, Table
    from airflow_mwaa_provider.metadata.cleaning.outcome import Progress
    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.metadata.identity import DatabaseIdentity
    from airflow_mwaa_provider.metadata.manifest import Manifest, TableExport
    from airflow_mwaa_provider.metadata.storage.bucket import StoredFile

__all__ = ["restore_archive"]

log = logging.getLogger(__name__)

_LOCK_TIMEOUT_MS = 10_000
_TEMPORARY = "pg_temp.archived"


def restore_archive(
    database: Database,
    client: Any,
    bucket: str,
    key: str,
    *,
    tables: Sequence[str] | None = None,
    keep_changed: bool = False,
    other_database: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] = log.info,
    statement_timeout_s: float = 3600.0,
    wait_timeout_s: float = 0.0,
) -> dict[str, dict[str, int]]:
    """Insert the rows of an archive that do not exist, with exactly the values that they had.

    A table is restored in one transaction, completely or, if its files are damaged or a row is in the way, not at all.
    Then the tables after it are not restored; those before it are. Rows that exist with the same values are skipped, so
    an interrupted restore can be repeated. Sequences are not changed. No cleanup runs meanwhile; the next one deletes
    the same rows again.

    :param client: boto3's client of S3.
    :param key: of the manifest, or of its folder.
    :param tables: which of its tables; ``None`` for all.
    :param keep_changed: keep rows that exist with other values, instead of refusing the table.
    :param other_database: also restore into another database than the archive's own, such as a copy of it, or the same
        one after an upgrade of Airflow. If that has new rows of its own, they may use ids of archived rows.
    :param progress: called with a table, how many of its rows have been read, and of how many. An error that it raises
        ends the restore, and undoes the table.
    :param tell: called with each table that is restored.
    :param wait_timeout_s: how long to wait for a cleanup to end.
    :return: by table, how many ``rows`` the archive has, and how many of them were ``inserted``.
    :raises MwaaInputError: there is no archive, or it is of another database or of other tables; nothing was changed.
    :raises TableNotFound: a table is not in the archive, or not in the database; nothing was changed.
    :raises StorageError: a file is damaged, or cannot be read.
    :raises DatabaseRefused: a row exists with other values, or refers to one that does not exist.
    :raises CleanupUnderWay: a cleanup is running.
    """
    check_wait_timeout(wait_timeout_s)
    if not 0.001 <= statement_timeout_s <= MAX_TIMEOUT.total_seconds():
        raise MwaaInputError(f"statement_timeout={statement_timeout_s:g} s must be between a millisecond and 24 days.")
    archive = open_export(f"s3://{bucket}/{key.strip('/')}", lambda: client)
    with database.connection() as connection:
        with database_errors(database.label, "reading its tables"):
            schema = read_schema(connection)
            with connection.cursor() as cursor:
                cursor.execute(f"{BEGIN} READ ONLY")
                here = identity_of(connection, schema)
                cursor.execute("COMMIT")
        if not other_database:
            _check_identity(archive, here, tell)
        chosen = _chosen(archive, schema, tables)
        _check_writable(connection, schema, chosen, database.label)
        lease = Lease(database)
        lease.wait(wait_timeout_s)
        try:
            restore = _Restore(connection, database.label, archive, schema, statement_timeout_s, lease, progress)
            found = {}
            for name in chosen:
                found[name] = restore.table(name, keep_changed=keep_changed)
                tell(f"Restored {name}: inserted {found[name]['inserted']:,} of {found[name]['rows']:,} rows")
            return found
        finally:
            lease.release()


def _check_identity(archive: Export, here: DatabaseIdentity, tell: Callable[[str], None]) -> None:
    there = archive.last.database
    if there is None:
        tell(f"{archive.label} does not name its database: assuming that it is this one")
        return
    if differ := there.differences(here):
        raise MwaaInputError(
            f"{archive.label} is of another database: {', '.join(differ)}. Nothing was restored.",
            advice="Name its own database, or set {} if this is a copy of it, or the same one after an upgrade.",
            parameter="other_database",
        )


def _chosen(archive: Export, schema: Schema, tables: Sequence[str] | None) -> list[str]:
    """Check that these tables can be restored, and return them in order, parents first."""
    manifest = archive.last
    if manifest.incremental or manifest.file_format != FileFormat.CSV or manifest.compression == Compression.ZSTD:
        raise MwaaInputError(
            f"{archive.label} is an export, not an archive of a cleanup, and cannot be restored. Name the folder that "
            "the cleanup logged."
        )
    if isinstance(tables, str):
        raise MwaaInputError(f"tables={tables!r} is a string. Pass a list of names: [{tables!r}].")
    names = list(dict.fromkeys(manifest.tables if tables is None else tables))
    for name in names:
        if name not in manifest.tables:
            raise TableNotFound(
                f"{archive.label} has no table {name!r}; it has {', '.join(sorted(manifest.tables))}.", table=name
            )
        _check_columns(archive, schema.table(name), manifest.tables[name].columns)
    if secret := secret_tables(schema, names):
        raise MwaaInputError(
            f"Table {secret[0]} cannot be restored: its secrets are in no archive and in no export. Leave it out with "
            "tables."
        )
    return ancestry(schema, names)


def _check_columns(archive: Export, table: Table, archived: dict[str, str]) -> None:
    there = {column.name: column.type for column in table.columns}
    if there == archived:
        return
    differ = sorted(name for name in there.keys() | archived.keys() if there.get(name) != archived.get(name))
    raise MwaaInputError(
        f"Table {table.name} has other columns than in {archive.label}, which has schema "
        f"{archive.last.schema_version}: {', '.join(differ[:5])}. Restore into a database of that version, or leave "
        "the table out with tables."
    )


def _check_writable(connection: Any, schema: Schema, names: Sequence[str], label: str) -> None:
    with database_errors(label, "checking the privileges of its user"), connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', "
            "has_database_privilege(current_database(), 'TEMP'), array(SELECT name FROM unnest(%s) AS u(name) "
            "WHERE NOT has_table_privilege(name, 'SELECT') OR NOT has_table_privilege(name, 'INSERT'))",
            ([schema.qualified(name) for name in names],),
        )
        user, is_read_only, may_temp, missing = cursor.fetchone()
    if is_read_only:
        raise DatabaseRefused(f"{label} is read-only. Use the address of the writer, and a user who may write.")
    if missing or not may_temp:
        what = f"SELECT and INSERT on {', '.join(missing[:5])}" if missing else "TEMPORARY on the database"
        raise DatabaseRefused(f"{label}: its user {user} lacks {what}; nothing was restored. GRANT these privileges.")


class _Restore:
    """One running restore."""

    def __init__(
        self,
        connection: Any,
        label: str,
        archive: Export,
        schema: Schema,
        statement_timeout_s: float,
        lease: Lease,
        progress: Progress | None,
    ) -> None:
        self._connection = connection
        self._label = label
        self._archive = archive
        self._schema = schema
        self._settings = (
            f"{SETTINGS}; SET LOCAL client_encoding TO 'UTF8'; SET LOCAL lock_timeout TO {_LOCK_TIMEOUT_MS}; "
            f"SET LOCAL statement_timeout TO {round(statement_timeout_s * 1000)}; "
            "SET LOCAL application_name TO 'airflow-mwaa restore'"
        )
        self._lease = lease
        self._progress = progress

    def table(self, name: str, *, keep_changed: bool) -> dict[str, int]:
        """Restore a table in one transaction."""
        table, archived = self._schema.tables[name], self._archive.last.tables[name]
        with self._errors(name), self._connection.cursor() as cursor:
            cursor.execute(f"{BEGIN}; {self._settings}")
            try:
                cursor.execute(f"CREATE TEMPORARY TABLE archived (LIKE {self._schema.qualified(name)}) ON COMMIT DROP")
                before = 0
                for file in archived.files:
                    self._copy(cursor, name, archived, file, before)
                    before += file.rows
                cursor.execute(f"ANALYZE {_TEMPORARY}")
                if not keep_changed:
                    self._check_conflicts(cursor, table)
                inserted = self._insert(cursor, table, archived)
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(psycopg2.Error):
                    cursor.execute("ROLLBACK")
                raise
        if self._progress is not None:
            self._progress(name, archived.rows, archived.rows)
        return {"rows": archived.rows, "inserted": inserted}

    def _copy(self, cursor: Any, name: str, archived: TableExport, file: StoredFile, before: int) -> None:
        """Copy a file into the temporary table; report COPY's errors about a damaged file as damage."""
        manifest: Manifest = self._archive.last
        place = self._archive.name_of(manifest, file.key)
        label = self._archive.files.url(place)
        columns = ", ".join(quoted(column) for column in archived.columns)

        def on_rows(rows: int) -> None:
            self._lease.renew()
            if self._progress is not None:
                self._progress(name, before + rows, archived.rows)

        try:
            raw = self._archive.files.open(place, file.bytes)
            with ArchivedFile(raw, file, Compression(manifest.compression), label, on_rows) as rows:
                try:
                    cursor.copy_expert(f"COPY {_TEMPORARY} ({columns}) FROM STDIN (FORMAT csv, HEADER)", rows)
                except psycopg2.Error as error:
                    if rows.error is not None:
                        raise rows.error from error
                    if rows.is_damaged():
                        raise rows.damage("its SHA-256 differs from the manifest") from error
                    raise
                copied = cursor.rowcount
                rows.check()
                if copied != file.rows:
                    raise rows.damage(f"only {copied:,} of its {file.rows:,} rows could be read")
        except StorageError as error:
            raise StorageError(
                f"Table {name} was not restored, and has not changed: {error} Restore an older version of that object, "
                "or leave the table out with tables.",
                code=error.code,
                bucket=error.bucket,
                key=file.key,
                transient=error.transient,
            ) from error

    def _check_conflicts(self, cursor: Any, table: Table) -> None:
        if not table.key:
            return
        key = ", ".join(f"t.{quoted(name)}::text" for name in table.key)
        cursor.execute(
            f"SELECT count(*) OVER (), {key} FROM {_TEMPORARY} a JOIN {self._schema.qualified(table.name)} t "
            f"ON {_same(table)} WHERE a::text <> t::text LIMIT 1"
        )
        if (found := cursor.fetchone()) is not None:
            count, *values = found
            what = f"{', '.join(table.key)} = {', '.join(values)}"
            others = f" (and {count - 1:,} others)" if count > 1 else ""
            raise DatabaseRefused(
                f"Table {table.name} was not restored, and has not changed: its row {what}{others} has other values "
                f"than in {self._archive.label}. Keep the row with keep_changed, or delete it first."
            )

    def _insert(self, cursor: Any, table: Table, archived: TableExport) -> int:
        columns = ", ".join(quoted(name) for name in archived.columns)
        # Without a key, rows are the same if all their values are.
        same = _same(table) if table.key else "a::text = t::text"
        name = self._schema.qualified(table.name)
        cursor.execute(
            f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {_TEMPORARY} a "
            f"WHERE NOT EXISTS (SELECT 1 FROM {name} t WHERE {same})"
        )
        return int(cursor.rowcount)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        with database_errors(self._label, f"restoring table {name}"):
            try:
                yield
            except (psycopg2.errors.ForeignKeyViolation, psycopg2.errors.UniqueViolation) as error:
                detail = str(error.diag.message_detail or error.diag.message_primary).strip().rstrip(".")
                is_reference = isinstance(error, psycopg2.errors.ForeignKeyViolation)
                advice = (
                    "Restore the row that it refers to first, or leave the table out with tables."
                    if is_reference
                    else "Delete the existing row first, or leave the table out with tables."
                )
                raise DatabaseRefused(
                    f"Table {name} was not restored, and has not changed: {detail}. {advice}", sqlstate=error.pgcode
                ) from error


def _same(table: Table) -> str:
    return " AND ".join(f"a.{quoted(name)} = t.{quoted(name)}" for name in table.key)
