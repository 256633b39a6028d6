# SPDX-License-Identifier: Apache-2.0
"""Let one cleanup run at a time, without a transaction that lasts as long as the cleanup."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg2

from airflow_mwaa_provider.exceptions import CleanupUnderWay
from airflow_mwaa_provider.metadata.database import BEGIN, database_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.database import Database

__all__ = ["Lease"]

_LOCK = 0x4D57_4142  # the first half of an advisory lock; the second is the hand
_TURN_S = 0.5


class Lease:
    """A lock that one process holds at a time, until it releases it or dies; a context.

    It consists of two transaction-level advisory locks, called hands, of two connections, because RDS Proxy would pin
    sessions with session-level ones. One hand is always held, and none for long: when the transaction of one is half a
    second old, the other is locked, and the first released. To acquire the lease, a process must lock both.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sleep = sleep
        self._hands: list[Any] = []
        self._holding = 0
        self._since = 0.0

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Acquire the lease.

        :raises CleanupUnderWay: another process holds it.
        """
        try:
            self._hands = [self._database.open(), self._database.open()]
            if not (self._try(0) and self._try(1)):
                raise CleanupUnderWay(
                    f"{self._database.label}: another cleanup is running.",
                    advice="Let it end, or wait for it with {}.",
                    parameter="wait_timeout",
                )
            self._end(1)
            self._holding, self._since = 0, self._clock()
        except BaseException:
            self.release()
            raise

    def wait(self, timeout_s: float) -> None:
        """Acquire the lease as soon as it is released.

        :raises CleanupUnderWay: it was not released in that time.
        """
        deadline = self._clock() + timeout_s
        while True:
            try:
                return self.acquire()
            except CleanupUnderWay:
                if self._clock() >= deadline:
                    raise
            self._sleep(min(2.0, max(0.1, deadline - self._clock())))

    def renew(self) -> None:
        """Change hands if it is time; to be called about every second.

        A lost connection is replaced; if both were lost, another process may have acquired the lease meanwhile.

        :raises CleanupUnderWay: another process has acquired it.
        :raises DatabaseUnavailable: the database cannot be reached.
        """
        if self._clock() - self._since < _TURN_S:
            return
        other = 1 - self._holding
        try:
            # Another process that tries to lock both may hold this one for a short time.
            self._take(other)
        except psycopg2.Error:
            if not self._is_held():
                # Another process may have acquired it meanwhile: acquire it from scratch.
                self.release()
                self.acquire()
                return
            self._replace(other)
            try:
                self._take(other)
            except psycopg2.Error as error:
                if error.pgcode == "55P03":
                    raise CleanupUnderWay(f"{self._database.label}: another cleanup is running.") from error
                with database_errors(self._database.label, "renewing the cleanup's lock"):
                    raise
        try:
            self._end(self._holding)
        except psycopg2.Error:
            self._replace(self._holding)
        self._holding, self._since = other, self._clock()

    def _is_held(self) -> bool:
        try:
            with self._hands[self._holding].cursor() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.Error:
            return False
        return True

    def _replace(self, hand: int) -> None:
        with suppress(psycopg2.Error):
            self._hands[hand].close()
        self._hands[hand] = self._database.open()

    def release(self) -> None:
        """Release the lease."""
        for hand in self._hands:
            with suppress(psycopg2.Error):
                hand.close()
        self._hands = []

    def _try(self, hand: int) -> bool:
        with database_errors(self._database.label, "looking for other cleanups"), self._hands[hand].cursor() as cursor:
            cursor.execute(f"{BEGIN}; SELECT pg_try_advisory_xact_lock({_LOCK}, {hand})")
            return bool(cursor.fetchone()[0])

    def _take(self, hand: int) -> None:
        with self._hands[hand].cursor() as cursor:
            cursor.execute(f"{BEGIN}; SET LOCAL lock_timeout TO 5000; SELECT pg_advisory_xact_lock({_LOCK}, {hand})")

    def _end(self, hand: int) -> None:
        with self._hands[hand].cursor() as cursor:
            cursor.execute("COMMIT")
