# SPDX-License-Identifier: Apache-2.0
"""Work on Airflow's metadata database: export it to S3, and delete what is old."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider.client.parameters import (
    check_bucket,
    check_database_timeout,
    flag,
    names,
    number,
    parse_datetime,
)
from airflow_mwaa_provider.hooks.templating import is_rendered_later
from airflow_mwaa_provider.metadata.catalog.selection import Window
from airflow_mwaa_provider.metadata.export.formats import read_format
from airflow_mwaa_provider.metadata.export.layout import check_layout
from airflow_mwaa_provider.metadata.routes import ROUTES, check_route
from airflow_mwaa_provider.operators.base import MwaaOperator
from airflow_mwaa_provider.operators.metadata_cleanup import MetadataCleanupOperator

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.hooks.metadata import MetadataHook
    from airflow_mwaa_provider.metadata.export.run import ExportOptions

__all__ = ["MetadataCleanupOperator", "MetadataToS3Operator"]

_LOG_EVERY_S = 30.0


class MetadataToS3Operator(MwaaOperator):
    """Export tables of Airflow's metadata database to S3, in constant memory.

    All tables are exported from one snapshot. Nothing is visible until all tables are uploaded; then all objects
    appear, and last the manifest: if it exists, all objects do. A task that fails or is killed leaves an earlier export
    as it was; the next task removes what it has left. Repeated for the same ``since`` and ``until``, it writes the same
    objects.

    Credentials, sessions and people are left out, and so are secret columns of other tables. Name a table to include
    it, and ``table.column`` to include a column, which is then exported encrypted as it is stored, or as ``***``.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.

    :param bucket: bucket to write to (templated).
    :param prefix: where in it (templated).
    :param tables: tables to export (templated); ``None``: all of this version's.
    :param exclude: tables, or ``table.column``, to leave out (templated).
    :param since: rows from this time on (templated), compared with the start of a run or task, or whatever else dates
        a row. Tables without a history, such as ``dag``, are always exported completely.
    :param until: rows before this time (templated).
    :param file_format: ``"csv"`` or ``"parquet"`` (templated); Parquet needs the extra ``[parquet]``.
    :param compression: ``"none"``, ``"gzip"``, ``"zstd"``, for Parquet also ``"snappy"`` (templated). Default:
        none for CSV, zstd for Parquet.
    :param layout: ``"table"``: ``PREFIX/dag_run.csv``; ``"hive"``: ``PREFIX/table=dag_run/date=2026-11-22/...``
        (templated). Default: ``"hive"`` if ``incremental``, otherwise ``"table"``.
    :param file_bytes: start a new file when one has this size, in bytes; at least 6 MiB.
    :param incremental: only what is new or has changed since the last incremental export to this prefix; a row that was
        exported before and has changed since is exported again, under ``change=changed``.
    :param manifest_name: name of the manifest under the prefix (templated). Mapped tasks that share a prefix need one
        each.
    :param route: ``"database"``, ``"mwaa_environment"``, ``"api"``, ``"rest"`` or ``"auto"`` (templated); see
        :class:`~airflow_mwaa_provider.hooks.metadata.MetadataHook`.
    :param env_name: the environment whose web server routes ``api`` and ``rest`` call (templated); by default the
        task's own.
    :param metadata_conn_id: a ``postgres`` connection to the database (templated); by default, on Airflow 2, the
        environment's own.
    :param kms_key_id: encrypt the objects with this KMS key (templated).
    :param bucket_owner: account that must own the bucket (templated).
    :param statement_timeout: the database cancels a table's query after this time.
    :param s3_conn_id: connection for S3 (templated); ``None`` uses ``aws_conn_id``.
    :return: the manifest without the fields of the files: ``{"tables": {name: {"rows", "bytes", "objects", "sha256"}},
        "schema_version", "airflow_version", "since", "until", "bucket", "key", ...}``; sizes in bytes. With more than
        1,000 objects, ``objects`` is empty, and the manifest in S3 lists them.
    """

    template_fields: Sequence[str] = (
        *MwaaOperator.template_fields,
        "bucket",
        "prefix",
        "tables",
        "exclude",
        "since",
        "until",
        "file_format",
        "compression",
        "layout",
        "incremental",
        "manifest_name",
        "route",
        "env_name",
        "metadata_conn_id",
        "kms_key_id",
        "bucket_owner",
        "s3_conn_id",
    )
    text_fields: ClassVar[Collection[str]] = (
        *MwaaOperator.text_fields, "bucket", "prefix", "file_format", "compression", "layout", "manifest_name",
        "route", "env_name", "metadata_conn_id", "kms_key_id", "bucket_owner", "s3_conn_id",
    )  # fmt: skip
    narrowing_fields: ClassVar[Collection[str]] = ("tables",)

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "files/export",
        tables: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        since: Any = None,
        until: Any = None,
        file_format: str = "csv",
        compression: str | None = None,
        layout: str | None = None,
        file_bytes: int | None = None,
        incremental: bool = False,
        manifest_name: str = "manifest.json",
        route: str = "auto",
        env_name: str | None = None,
        metadata_conn_id: str | None = None,
        kms_key_id: str | None = None,
        bucket_owner: str | None = None,
        statement_timeout: timedelta = timedelta(hours=1),
        s3_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.tables = tables
        self.exclude = exclude
        self.since = since
        self.until = until
        self.file_format = file_format
        self.compression = compression
        self.layout = layout
        self.file_bytes = file_bytes
        self.incremental = incremental
        self.manifest_name = manifest_name
        self.route = route
        self.env_name = env_name
        self.metadata_conn_id = metadata_conn_id
        self.kms_key_id = kms_key_id
        self.bucket_owner = bucket_owner
        self.statement_timeout = statement_timeout
        self.s3_conn_id = s3_conn_id
        self._check_when_parsed()

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Export.

        :raises MwaaInputError: something cannot be done as asked; nothing was written.
        :raises AccessDenied: the role may not write there, or not read the database.
        :raises MetadataError: the database refused, or was lost; nothing is visible.
        :raises StorageError: S3 refused; nothing is visible, or, in the last seconds, no manifest.
        """
        self.read_rendered(required=("bucket", "prefix", "file_format", "manifest_name", "route", "exclude"))
        check_bucket(self.bucket)
        options = self._options()
        manifest = self._hook().export(
            self.bucket,
            options,
            kms_key_id=self.kms_key_id,
            bucket_owner=self.bucket_owner,
            s3_conn_id=self.s3_conn_id,
            statement_timeout=self.statement_timeout,
            progress=self._progress(),
        )
        summary = manifest.summary()
        self.log.info(
            "Exported %s rows of %s tables, %s bytes; the manifest is s3://%s/%s",
            f"{sum(table.rows for table in manifest.tables.values()):,}",
            len(manifest.tables),
            f"{sum(table.bytes for table in manifest.tables.values()):,}",
            self.bucket,
            manifest.key,
        )
        return summary

    def _check_when_parsed(self) -> None:
        """Check what is known before the task runs."""

        def known(*names: str) -> bool:
            return not any(is_rendered_later(getattr(self, name)) for name in names)

        check_database_timeout(self.statement_timeout, "statement_timeout")
        for name in ("tables", "exclude"):
            if known(name):
                names(getattr(self, name), name)
        if known("bucket"):
            check_bucket(self.bucket)
        if known("route", "metadata_conn_id"):
            check_route(self.route, ROUTES, metadata_conn_id=self.metadata_conn_id)
        if known("file_format", "compression"):
            read_format(self.file_format, self.compression)
        if known("layout", "incremental"):
            check_layout(self.layout, incremental=flag(self.incremental, "incremental"))
        window = [parse_datetime(getattr(self, name), name) if known(name) else None for name in ("since", "until")]
        Window(*window)

    def _options(self) -> ExportOptions:
        # Imported here, because it brings psycopg2, which a DAG file's parsing must not load.
        from airflow_mwaa_provider.metadata.export.run import ExportOptions

        size = number(self.file_bytes, "file_bytes")
        return ExportOptions(
            tables=names(self.tables, "tables"),
            exclude=names(self.exclude, "exclude") or (),
            since=parse_datetime(self.since, "since"),
            until=parse_datetime(self.until, "until"),
            prefix=self.prefix,
            file_format=self.file_format,
            compression=self.compression,
            layout=self.layout,
            file_bytes=None if size is None else int(size),
            incremental=flag(self.incremental, "incremental"),
            manifest_name=self.manifest_name,
        )

    def _hook(self) -> MetadataHook:
        from airflow_mwaa_provider.hooks.metadata import MetadataHook

        return MetadataHook(
            self.metadata_conn_id,
            self.route,
            self.env_name,
            self.aws_conn_id,
            self.region_name,
            self.verify,
            self.botocore_config,
        )

    def _progress(self) -> Any:
        """Return a callback that logs each table when it begins, and its progress every half minute."""
        last: dict[str, Any] = {"table": "", "told": 0.0}

        def tell(table: str, rows: int, size: int, expected_rows: int | None) -> None:
            now = time.monotonic()
            if table != last["table"]:
                last.update(table=table, told=now)
            elif expected_rows == rows or now - last["told"] >= _LOG_EVERY_S:
                last["told"] = now
                of = f" of about {expected_rows:,}" if expected_rows and expected_rows != rows else ""
                self.log.info("%s: %s%s rows, %s bytes", table, f"{rows:,}", of, f"{size:,}")

        return tell
