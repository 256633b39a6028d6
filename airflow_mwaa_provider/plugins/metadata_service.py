# SPDX-License-Identifier: Apache-2.0
"""The work of a web server's metadata API, in short, bounded pieces and independent of the web framework."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import AccessDenied, DatabaseRefused, MwaaError, MwaaInputError
from airflow_mwaa_provider.metadata.catalog.selection import Window, by_change, next_range, rows_of
from airflow_mwaa_provider.metadata.export.formats import check_format, file_suffix
from airflow_mwaa_provider.metadata.export.writer import FileWriter
from airflow_mwaa_provider.metadata.measures import measure_database
from airflow_mwaa_provider.metadata.remote_api.messages import (
    Description,
    Piece,
    PieceRequest,
    read_witness_list,
    reading,
)
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from airflow_mwaa_provider.metadata.storage.destinations import is_within
from airflow_mwaa_provider.plugins.answers import BUDGET_S, CANCELLED, Answer, refusal, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.plugins.permissions import Caller

__all__ = ["MetadataService"]

log = logging.getLogger(__name__)

PIECE_BYTES = 8 << 20
"""Size of a piece's long values in the database, compressed; as text they are several times as large."""
MAX_PIECE_ROWS = 200_000
_AT_ONCE = 2
_LOCK = 0x4D57_4141  # the first half of advisory locks, whose second half counts to _AT_ONCE
_UPLOADS_AT_ONCE = 8


class _TooSlow(Exception):
    """A piece would take longer than a request may."""


class _Busy(Exception):
    """The maximum number of pieces is being written."""


class MetadataService:
    """Describes a database, and writes pieces of it to S3. Thread-safe.

    All processes of all web servers of an environment together write two pieces at a time, and refuse more.

    :param destinations: the places that it may write to.
    :param s3: returns boto3's client.
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

    def describe(self, caller: Caller) -> Answer:
        """Describe the database."""
        return self._answered(caller, (None,), lambda: self._describe(caller))

    def measure(self, caller: Caller) -> Answer:
        """Measure the database: runs and tasks by state, ages, and sizes.

        For those who may read the runs and the task instances of all DAGs.
        """
        return self._answered(
            caller,
            ("dag_run", "task_instance"),
            lambda: measure_database(
                self._database, statement_timeout_s=self._budget_s, budget_s=self._budget_s, clock=self._clock
            ).document(),
        )

    def find_contradiction(self, caller: Caller, document: Any) -> Answer:
        """Report whether the database was restored since an earlier export."""
        return self._answered(caller, (None,), lambda: self._find_contradiction(caller, document))

    def write_piece(self, caller: Caller, document: Any) -> Answer:
        """Write a piece of a table."""
        try:
            request = PieceRequest.from_dict(document)
        except MwaaInputError as error:
            return refusal(400, error)
        return self._answered(caller, (request.table,), lambda: self._write_piece(caller, request))

    @staticmethod
    def _answered(caller: Caller, tables: Sequence[str | None], work: Callable[[], dict[str, Any]]) -> Answer:
        try:
            for table in tables:
                caller.check(table)
        except AccessDenied as error:
            return refusal(403, error)
        try:
            return Answer(200, work())
        except _Busy:
            return Answer(429, {"detail": f"{_AT_ONCE} pieces are under way already"}, retry_after_s=1)
        except MwaaError as error:
            log.warning("The metadata API refused: %s", error)
            return refusal(status_of(error), error)

    def _describe(self, caller: Caller) -> dict[str, Any]:
        with DatabaseSource(self._database, statement_timeout_s=self._budget_s) as source:
            refused = {name: why for name in source.schema.tables if (why := caller.refusal(name))}
            return Description(
                refused=refused,
                schema=source.schema,
                airflow_version=self._airflow_version,
                now=source.now,
                horizon=source.horizon(),
                snapshot=source.snapshot,
                witnesses=tuple(found for found in source.witnesses() if found.table not in refused),
                destinations=self._destinations,
            ).to_dict()

    def _find_contradiction(self, caller: Caller, document: Any) -> dict[str, Any]:
        with reading("the request"):
            witnesses = read_witness_list(document["witnesses"])
        allowed = [witness for witness in witnesses if not caller.refusal(witness.table)]
        with DatabaseSource(self._database, statement_timeout_s=self._budget_s) as source:
            return {"found": source.find_contradiction(allowed)}

    def _write_piece(self, caller: Caller, request: PieceRequest) -> dict[str, Any]:
        try:
            piece = self._piece(request)
        except _TooSlow:
            piece = Piece(is_too_slow=True)
        log.info(
            "The metadata API wrote %d rows of %s below s3://%s for %s%s",
            sum(upload.file.rows for upload in piece.uploads),
            request.table,
            request.bucket,
            caller.name,
            ", and had to stop: it took too long" if piece.is_too_slow else "",
        )
        return piece.to_dict()

    def _piece(self, request: PieceRequest) -> Piece:
        began = self._clock()
        form, compression = check_format(request.file_format, request.compression)
        object_keys = request.object_keys(file_suffix(form, compression))
        if not is_within(request.bucket, object_keys.prefix, self._destinations):
            raise MwaaInputError(
                f"s3://{request.bucket}/{object_keys.prefix} is none of the places that "
                f"mwaa_provider.metadata_api_export_to names: {', '.join(self._destinations)}"
            )

        def left_s() -> float:
            left = self._budget_s - (self._clock() - began)
            if left <= 0:
                raise _TooSlow
            return left

        def check_time(table: str, rows: int, size: int, expected_rows: int | None) -> None:  # noqa: ARG001
            left_s()

        window = Window(request.datetime_of("since"), request.datetime_of("until"))
        with DatabaseSource(self._database, statement_timeout_s=self._budget_s) as source:
            if not source.lock_one_of(_LOCK, _AT_ONCE):
                raise _Busy
            rows = rows_of(source.schema, request.table, request.columns, window)
            if request.by == "change":
                rows = by_change(rows, window, request.written_since)
            with _cancelled_as_too_slow(), source.errors(f"looking for the next rows of table {rows.name}"):
                source.limit(left_s())
                keys, is_last = next_range(
                    source.connection,
                    rows,
                    request.after,
                    max_rows=min(request.max_rows, MAX_PIECE_ROWS),
                    max_bytes=PIECE_BYTES,
                )
            with Storage(
                self._s3(), request.bucket, kms_key_id=request.kms_key_id, owner=request.bucket_owner, held_bytes=0,
                uploads_at_once=_UPLOADS_AT_ONCE,
            ) as storage:  # fmt: skip
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
                source.limit(left_s())
                with _cancelled_as_too_slow():
                    pending = list(
                        writer.write(replace(rows, keys=keys), object_keys, request.datetime_of("told_apart"))
                    )
                try:
                    storage.settle(pending, timeout_s=left_s())
                except TimeoutError:
                    raise _TooSlow from None
                uploads = tuple(storage.hand_over(item) for item in pending)
        return Piece(uploads, None if is_last else keys.last)


@contextmanager
def _cancelled_as_too_slow() -> Iterator[None]:
    try:
        yield
    except DatabaseRefused as error:
        if error.sqlstate == CANCELLED:
            raise _TooSlow from error
        raise
