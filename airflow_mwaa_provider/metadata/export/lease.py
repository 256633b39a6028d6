# SPDX-License-Identifier: Apache-2.0
"""Let one export at a time write to a place, by a note in S3 that the export renews while it runs."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import AccessDenied, ExportUnderWay, MwaaError
from airflow_mwaa_provider.metadata.storage.errors import ObjectExists

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.storage.bucket import Storage

__all__ = ["ExportLease"]

log = logging.getLogger(__name__)

RENEW_S = 10.0
"""A versioned bucket keeps each of them."""
DEAD_AFTER_S = 40.0
"""A note that has not changed for this long is from an export that was killed."""
_LOOK_S = 0.5
_SETTLE_S = 1.0


class ExportLease:
    """The right to write to a place; a context.

    No clocks are compared: an export that finds a note waits to see whether it changes. An export that was
    presumed dead, because S3 or its machine hung, notices this by :meth:`check` before anything becomes visible.

    :param key: of the note.
    :param is_needed: ``False`` if the role may lack the permission to read; then no other export is kept out.
    """

    def __init__(self, storage: Storage, key: str, *, is_needed: bool) -> None:
        self._storage, self._key, self._is_needed = storage, key, is_needed
        self._id = uuid.uuid4().hex
        self._began = datetime.now(UTC).isoformat(timespec="seconds")
        self._renewals = 0
        self._is_held = False
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="export-lease", daemon=True)

    def __enter__(self) -> ExportLease:
        try:
            self._wait_for_the_dead()
        except AccessDenied:
            if self._is_needed:
                raise
            log.info(
                "s3://%s/%s cannot be read, so two exports to this place are not detected",
                self._storage.bucket,
                self._key,
            )
            return self
        self._take()
        self._is_held = True
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if not self._is_held:
            return
        self._is_over.set()
        self._thread.join()
        try:
            if self._is_mine(self._storage.get(self._key)):
                self._storage.delete([self._key])
        except MwaaError as failure:
            log.warning("The next export will wait for %g s: %s", DEAD_AFTER_S, failure)

    def check(self) -> None:
        """Check that no other export has taken over the place.

        :raises ExportUnderWay: one has.
        """
        if self._is_held and not self._is_mine(content := self._storage.get(self._key)):
            raise self._refusal(content)

    def _wait_for_the_dead(self) -> None:
        found = self._storage.get(self._key)
        if found is not None:
            log.info(
                "Another export has left a note; checking for at most %g s whether it is still running", DEAD_AFTER_S
            )
        deadline = time.monotonic() + DEAD_AFTER_S
        while found is not None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
            now = self._storage.get(self._key)
            if now is not None and now != found:
                raise self._refusal(now)
            found = now
        if found is not None:
            self._storage.delete([self._key])

    def _take(self) -> None:
        try:
            is_sure = self._storage.put_new(self._key, self._note())
        except ObjectExists:
            raise self._refusal(self._storage.get(self._key)) from None
        if not is_sure:  # another one may just have written its own, and the last one counts
            time.sleep(_SETTLE_S)
            if not self._is_mine(content := self._storage.get(self._key)):
                raise self._refusal(content)

    def _note(self) -> bytes:
        self._renewals += 1
        return json.dumps({"export": self._id, "began": self._began, "renewals": self._renewals}).encode()

    def _keep(self) -> None:
        while not self._is_over.wait(RENEW_S):
            try:
                if not self._is_mine(self._storage.get(self._key)):
                    return
                self._storage.put(self._key, self._note())
            except MwaaError as error:
                log.info("The export's note was not renewed: %s", error)

    def _is_mine(self, content: bytes | None) -> bool:
        return content is not None and self._id.encode() in content

    def _refusal(self, content: bytes | None) -> ExportUnderWay:
        place = f"s3://{self._storage.bucket}/{self._key.rpartition('/')[0]}"
        try:
            since = f" since {json.loads(content or b'')['began']}"
        except (ValueError, KeyError, TypeError):
            since = ""
        return ExportUnderWay(
            f"{place}: another export has been writing there{since}. Let it finish, and run one export to a prefix at "
            "a time, with max_active_runs=1 in the DAG.",
            transient=True,
        )
