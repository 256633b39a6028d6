# SPDX-License-Identifier: Apache-2.0
"""Route ``api``: the environment's own web server writes its database to S3, in pieces that this process requests.

This process needs no access to the database, and the rows never reach it. Each request is short, because of load
balancers and the web server's other users; its uploads become visible when this process commits them.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    DatabaseRefused,
    MwaaError,
    MwaaInputError,
    NoMetadataRoute,
    Throttled,
)
from airflow_mwaa_provider.metadata.measures import Measures
from airflow_mwaa_provider.metadata.remote_api.client import ask, has_no_such_api
from airflow_mwaa_provider.metadata.remote_api.messages import (
    CONTRADICTION,
    MEASURES,
    PREFIX,
    Description,
    Piece,
    PieceRequest,
    object_keys_document,
)
from airflow_mwaa_provider.metadata.storage.destinations import is_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.catalog.selection import TableRows
    from airflow_mwaa_provider.metadata.catalog.snapshot import Snapshot
    from airflow_mwaa_provider.metadata.catalog.witnesses import TableWitness
    from airflow_mwaa_provider.metadata.export.formats import Compression, FileFormat
    from airflow_mwaa_provider.metadata.export.layout import ObjectKeys
    from airflow_mwaa_provider.metadata.export.source import Progress
    from airflow_mwaa_provider.metadata.remote_api.client import Call
    from airflow_mwaa_provider.metadata.storage.bucket import PendingObject, Storage

__all__ = ["PIECE_ROWS", "ApiSource"]

log = logging.getLogger(__name__)

_PATIENCE_S = 3600.0
_TRIES_OF_A_ROW = 4
_PAUSE_S = 5.0
PIECE_ROWS = 50_000
"""Maximum rows of one request: they take a small database a second or two."""
_NEEDS = "read the configuration and all DAGs, such as Op or Admin, and the audit log for the table log"


class ApiSource:
    """The tables of an environment whose web server has the plugin ``metadata_api``; a context.

    There is no snapshot: each piece of a table shows its rows as they were when it was requested. A row that exists
    before and after the export is returned exactly once, because pieces are divided by the primary key. But a task that
    is cleared, or fails and runs again, gets another key on Airflow 3, and may be returned under both.

    :param call: repeats a request if its answer was lost; a piece that is written twice leaves an upload that is never
        committed, and that the export aborts at its end.
    """

    route = "api"

    def __init__(
        self,
        call: Call,
        label: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.label = label
        self._clock = clock
        self._sleep = sleep
        self._call = call
        self._description: Description | None = None

    def open(self) -> None:
        """Request the server's description.

        :raises NoMetadataRoute: it has no such plugin, or the plugin is turned off.
        :raises AccessDenied: the caller may not use it.
        """
        try:
            self._description = Description.from_dict(self._ask("GET", "/schema"))
        except MwaaError as error:
            if not has_no_such_api(error):
                raise
            raise NoMetadataRoute(
                f"Route api: {self.label} has no metadata API. Install airflow-mwaa-provider there, and set its "
                "configuration option mwaa_provider.metadata_api_export_to to s3://BUCKET/PREFIX."
            ) from error

    def __enter__(self) -> ApiSource:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        return

    @property
    def description(self) -> Description:
        """The server's description of its database, and of what it may do."""
        assert self._description is not None
        return self._description

    @property
    def airflow_version(self) -> str:
        """The environment's."""
        return self.description.airflow_version

    @property
    def schema(self) -> Schema:
        """The tables of the environment's database."""
        return self.description.schema

    @property
    def now(self) -> datetime:
        """When the export started, by the database's clock."""
        return self.description.now

    @property
    def snapshot(self) -> Snapshot:
        """The state of the database at the start of the export, as transactions.

        :raises MwaaInputError: the server does not report it.
        """
        if self.description.snapshot is None:
            raise MwaaInputError(
                f"Route api: {self.label} has an older version of airflow-mwaa-provider, whose increments miss rows. "
                "Install this version there, or export without incremental."
            )
        return self.description.snapshot

    def witnesses(self) -> tuple[TableWitness, ...]:
        """Return evidence of the database's state when the export started, which a later export compares."""
        return self.description.witnesses

    def find_contradiction(self, witnesses: Sequence[TableWitness]) -> str | None:
        """Return a description of what shows that the database was restored since; older servers report nothing."""
        document = {"witnesses": [asdict(witness) for witness in witnesses]}
        try:
            found = self._ask("POST", CONTRADICTION, document).get("found")
        except MwaaError as error:
            if not has_no_such_api(error):
                raise
            return None
        return None if found is None else str(found)

    def measure(self) -> Measures:
        """Let the server measure its database; :meth:`open` is not required.

        :raises NoMetadataRoute: it has no such plugin, the plugin is turned off, or its version does not measure.
        :raises AccessDenied: the caller may not use it, or may not read the runs and tasks of all DAGs.
        """
        try:
            return Measures.read(self._ask("POST", MEASURES, {}))
        except MwaaError as error:
            if not has_no_such_api(error):
                raise
            raise NoMetadataRoute(
                f"Route api: {self.label} has no metadata API, or one of an older version, which does not measure. "
                "Install this version of airflow-mwaa-provider there, and set its configuration option "
                "mwaa_provider.metadata_api_export_to to s3://BUCKET/PREFIX."
            ) from error

    def horizon(self) -> datetime:
        """Return the time up to which the tables are practically complete."""
        return self.description.horizon

    def check_until(self, until: datetime) -> None:
        """Check nothing, because Airflow's own database is not a standby."""

    def check_destination(self, bucket: str, prefix: str) -> None:
        """Check that the server writes to this place.

        :raises NoMetadataRoute: it does not.
        """
        if not is_within(bucket, prefix, self.description.destinations):
            raise NoMetadataRoute(
                f"Route api: {self.label} does not export to s3://{bucket}/{prefix}: its configuration option "
                f"mwaa_provider.metadata_api_export_to allows {', '.join(self.description.destinations)}."
            )

    def check(self, tables: Sequence[str], bucket: str, prefix: str) -> None:
        """Check that the server may write these tables to this place.

        :raises NoMetadataRoute: it writes only to other places.
        :raises AccessDenied: the caller may not read one of the tables.
        """
        self.check_destination(bucket, prefix)
        refused = {name: self.description.refused[name] for name in tables if name in self.description.refused}
        for name, why in refused.items():
            raise AccessDenied(
                f"Route api, at {self.label}: table {name}: {why}. Give the caller a role that may, or leave out with "
                f"exclude={sorted(refused)}."
            )

    def writer(
        self,
        storage: Storage,
        form: FileFormat,
        compression: Compression,
        progress: Progress,
        *,
        limit_bytes: int | None = None,
    ) -> _ServerWriter:
        """Return a writer that lets the server write tables."""
        return _ServerWriter(self, storage, form, compression, progress, limit_bytes)

    def piece(self, request: PieceRequest) -> Piece:
        """Let the server write one piece; wait while it is busy with other exports.

        :raises Throttled: it was busy for an hour.
        """
        deadline = self._clock() + _PATIENCE_S
        is_told = False
        while True:
            try:
                return Piece.from_dict(self._ask("POST", "/pieces", vars(request)))
            except Throttled:
                if self._clock() > deadline:
                    raise
            if not is_told:
                log.info("Route api: %s is busy with other exports; waiting", self.label)
                is_told = True
            self.pause(random.uniform(0.2, 1.5))  # noqa: S311 - so that waiting callers do not all ask at once

    def pause(self, seconds: float) -> None:
        """Wait."""
        self._sleep(seconds)

    def _ask(self, method: str, path: str, json: Any = None) -> dict[str, Any]:
        return ask(self._call, self.label, method, f"{PREFIX}{path}", json, needs=_NEEDS)


class _ServerWriter:
    """Requests a table piece by piece."""

    def __init__(
        self,
        source: ApiSource,
        storage: Storage,
        form: FileFormat,
        compression: Compression,
        progress: Progress,
        limit_bytes: int | None,
    ) -> None:
        self._source, self._storage, self._progress = source, storage, progress
        self._form, self._compression, self._limit_bytes = form, compression, limit_bytes

    def write(
        self, rows: TableRows, object_keys: ObjectKeys, changed_before: datetime | None
    ) -> Iterator[PendingObject]:
        """Let the server write the files of a table."""
        expected = rows.table.estimated_rows if rows.is_whole else None
        count, size, number, max_rows = 0, 0, 0, PIECE_ROWS
        after: tuple[str, ...] | None = None
        tries = 0
        while True:
            piece = self._source.piece(self._request(rows, object_keys, changed_before, after, number, max_rows))
            if piece.is_too_slow:
                tries += max_rows == 1
                if tries == _TRIES_OF_A_ROW:
                    raise DatabaseRefused(
                        f"Route api: a single row of table {rows.name} takes {self._source.label} longer than a "
                        f"request may. Leave out the table with exclude, or large columns with exclude=['{rows.name}."
                        "COLUMN']."
                    )
                log.info("%s: %d row(s) took longer than a request may; requesting fewer", rows.name, max_rows)
                if max_rows == 1:  # the database may be busy for a while
                    self._source.pause(_PAUSE_S * tries)
                max_rows = max(1, max_rows // 4)
                continue
            tries, max_rows = 0, min(PIECE_ROWS, max_rows * 2)
            for upload in piece.uploads:
                count, size = count + upload.file.rows, size + upload.file.bytes
                yield self._storage.take_over(upload)
            of_partition = Counter(tuple(upload.file.partition.items()) for upload in piece.uploads)
            number += max(of_partition.values(), default=0)
            self._progress(rows.name, count, size, expected)
            if piece.next is None:
                break
            after = piece.next
        self._progress(rows.name, count, size, count)

    def _request(
        self,
        rows: TableRows,
        object_keys: ObjectKeys,
        changed_before: datetime | None,
        after: tuple[str, ...] | None,
        number: int,
        max_rows: int,
    ) -> PieceRequest:
        since, until = rows.window.since, rows.window.until
        return PieceRequest(
            table=rows.name,
            columns=rows.column_names,
            bucket=self._storage.bucket,
            places=object_keys_document(object_keys),
            file_format=self._form.value,
            compression=self._compression.value,
            max_rows=max_rows,
            since=since.isoformat() if since else None,
            until=until.isoformat() if until else None,
            by="change" if rows.changed_sql is not None else "time",
            written_since=rows.written_since,
            told_apart=changed_before.isoformat() if changed_before else None,
            after=list(after) if after is not None else None,
            first_number=number,
            limit_bytes=self._limit_bytes,
            writes_empty=number == 0,
            kms_key_id=self._storage.put_parameters.get("SSEKMSKeyId"),
            bucket_owner=self._storage.owner,
        )
