# SPDX-License-Identifier: Apache-2.0
"""What the metadata API of a web server does, whatever framework it is served by: short, bounded pieces of work."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    DatabaseRefused,
    MetadataError,
    MwaaError,
    MwaaInputError,
    StorageError,
)
from airflow_mwaa_provider.metadata.api_protocol import Description, Piece, PieceRequest
from airflow_mwaa_provider.metadata.destinations import is_within
from airflow_mwaa_provider.metadata.formats import check_format, file_suffix, value_writer
from airflow_mwaa_provider.metadata.key_ranges import next_range
from airflow_mwaa_provider.metadata.selection import Window, by_change, rows_of
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage import Storage
from airflow_mwaa_provider.metadata.writing import FileWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.plugins.permissions import Caller

__all__ = ["Answer", "MetadataService"]

log = logging.getLogger(__name__)

BUDGET_S = 8.0
"""Of one request, so that neither a load balancer nor another user of the web server waits for it."""
_STATEMENT_S = 6.0
PIECE_BYTES = 8 << 20
"""What a piece's long values take in the database, compressed; as text some times as much."""
MAX_PIECE_ROWS = 200_000
_AT_ONCE = 2
_CANCELLED = "57014"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: dict[str, Any]
    retry_after_s: int | None = None


class _TooSlow(Exception):
    """A piece would take longer than a request may."""


class MetadataService:
    """Tells of a database, and writes pieces of it to S3. Thread-safe; does two pieces at once, and refuses more.

    :param destinations: where it may write to.
    :param s3: gives boto3's client.
    :param budget_s: seconds that a piece may take.
    """

    def __init__(
        self,
        database: Database,
        destinations: tuple[str, ...],
        s3: Callable[[], Any],
        airflow_version: str,
        *,
        budget_s: float = BUDGET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._destinations = destinations
        self._s3 = s3
        self._airflow_version = airflow_version
        self._budget_s = budget_s
        self._clock = clock
        self._free = threading.BoundedSemaphore(_AT_ONCE)

    def describe(self, caller: Caller) -> Answer:
        """Tell of the database."""
        return self._answered(lambda: self._describe(caller))

    def write_piece(self, caller: Caller, document: Any) -> Answer:
        """Write a piece of a table."""
        return self._answered(lambda: self._write_piece(caller, document))

    def _answered(self, work: Callable[[], dict[str, Any]]) -> Answer:
        if not self._free.acquire(blocking=False):
            return Answer(429, {"detail": f"{_AT_ONCE} requests are under way already"}, retry_after_s=1)
        try:
            return Answer(200, work())
        except MwaaError as error:
            log.warning("The metadata API refused: %s", error)
            return Answer(_status(error), {"detail": f"{type(error).__name__}: {error}"})
        finally:
            self._free.release()

    def _describe(self, caller: Caller) -> dict[str, Any]:
        caller.check()
        with DatabaseSource(self._database, statement_timeout_s=_STATEMENT_S) as source:
            refused = {name: why for name in source.schema.tables if (why := caller.refusal(name))}
            return Description(
                refused=refused,
                schema=source.schema,
                airflow_version=self._airflow_version,
                now=source.now,
                horizon=source.horizon(),
                destinations=self._destinations,
            ).document()

    def _write_piece(self, caller: Caller, document: Any) -> dict[str, Any]:
        request = PieceRequest.read(document)
        caller.check(request.table)
        try:
            piece = self._piece(request)
        except _TooSlow:
            piece = Piece(is_too_slow=True)
        except DatabaseRefused as error:
            if error.sqlstate != _CANCELLED:
                raise
            piece = Piece(is_too_slow=True)
        log.info(
            "The metadata API wrote %d rows of %s below s3://%s for %s%s",
            sum(upload.file.rows for upload in piece.uploads),
            request.table,
            request.bucket,
            caller.name,
            ", and had to stop: it took too long" if piece.is_too_slow else "",
        )
        return piece.document()

    def _piece(self, request: PieceRequest) -> Piece:
        began = self._clock()
        form, compression = check_format(request.file_format, request.compression)
        places = request.placed(file_suffix(form, compression))
        if not is_within(request.bucket, places.prefix, self._destinations):
            raise MwaaInputError(
                f"s3://{request.bucket}/{places.prefix} is none of the places that "
                f"mwaa_provider.metadata_api_export_to names: {', '.join(self._destinations)}"
            )

        def check_time(table: str, rows: int, size: int, expected_rows: int | None) -> None:  # noqa: ARG001
            if self._clock() - began > self._budget_s:
                raise _TooSlow

        window = Window(request.moment("since"), request.moment("until"))
        put = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": request.kms_key_id} if request.kms_key_id else {}
        with (
            DatabaseSource(self._database, statement_timeout_s=min(_STATEMENT_S, self._budget_s)) as source,
            Storage(self._s3(), request.bucket, put=put, owner=request.bucket_owner, held_bytes=0) as storage,
        ):
            rows = rows_of(source.schema, request.table, request.columns, window)
            if request.by == "change":
                rows = by_change(rows, window)
            value_writer(form, rows)  # refuses what the format cannot hold
            with source.errors(f"looking for the next rows of table {rows.name}"):
                keys, is_last = next_range(
                    source.connection,
                    rows,
                    request.after,
                    max_rows=min(request.max_rows, MAX_PIECE_ROWS),
                    max_bytes=PIECE_BYTES,
                )
            writer = FileWriter(
                source,
                storage,
                form,
                compression,
                check_time,
                limit_bytes=request.limit_bytes,
                first_number=request.first_number,
                writes_empty=request.writes_empty and is_last,
            )
            pending = list(writer.write(replace(rows, keys=keys), places, request.moment("told_apart")))
            storage.settle(pending)
            check_time(request.table, 0, 0, None)
            uploads = tuple(storage.hand_over(item) for item in pending)
        return Piece(uploads, None if is_last else keys.last)


def _status(error: MwaaError) -> int:
    if isinstance(error, AccessDenied) and error.action is None:
        return 403
    if isinstance(error, MwaaInputError):
        return 400
    if error.transient and isinstance(error, MetadataError | StorageError):
        return 503
    return 422
