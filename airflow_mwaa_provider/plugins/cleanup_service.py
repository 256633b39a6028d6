# SPDX-License-Identifier: Apache-2.0
"""Clean the database by the metadata API of a web server, in short steps, one at a time in the environment."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import cursor as Psycopg2Cursor  # noqa: N812 - it is a class

from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    CleanupUnderWay,
    DatabaseRefused,
    MwaaError,
    MwaaInputError,
)
from airflow_mwaa_provider.metadata.cleaning.routes.api_messages import Step, StepRequest, Units, read_options
from airflow_mwaa_provider.metadata.cleanup import cleanup_units, plan_cleanup, run_cleanup_step
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.plugins.answers import BUDGET_S, CANCELLED, Answer, refusal, status_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.plugins.permissions import Caller

__all__ = ["CleanupService"]

log = logging.getLogger(__name__)

STEP_S = 6.0
"""Time of a step, including the queries before it, some of which each step repeats; the last transaction may exceed
it."""
MAX_TRANSACTION = timedelta(seconds=1)
_NEXT_TURN_S = 2
_PASSING_S = 30
_HOPELESS_S = 600
"""Longer than any caller repeats the request, because a second try would take as long."""


class _TooSlow(Exception):
    """The queries have already taken as long as a request may."""


class CleanupService:
    """Plans cleanups of a database, and runs them step by step. Thread-safe.

    All processes of all web servers of an environment together run one step at a time, and refuse more; so does every
    other cleanup of the same database.

    :param step_s: time after which a step begins no other transaction.
    :param budget_s: maximum time of a query, and the time after which a request begins no other read-only query.
    """

    def __init__(
        self,
        database: Database,
        *,
        step_s: float = STEP_S,
        budget_s: float = BUDGET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._step = timedelta(seconds=step_s)
        self._budget_s = budget_s
        self._clock = clock

    def units(self, caller: Caller, document: Any) -> Answer:
        """Return the parts of a cleanup, and which of them the caller may not do.

        :param document: ``{"options": ...}``.
        """
        return self._answered(caller, None, lambda: self._units(caller, _options(document), self._in_time()).to_dict())

    def plan(self, caller: Caller, document: Any) -> Answer:
        """Count what a cleanup would delete, for callers who may do it.

        :param document: ``{"options": ...}``.
        """
        return self._answered(
            caller,
            None,
            lambda: self._plan(caller, _options(document)),
            way_out="Plan by a database route, or clean without a plan",
            retry_after_s=_HOPELESS_S,
        )

    def step(self, caller: Caller, document: Any) -> Answer:
        """Delete some rows of a part.

        :param document: a :class:`StepRequest`.
        """
        try:
            request = StepRequest.from_dict(document)
        except MwaaInputError as error:
            return refusal(400, error)
        return self._answered(caller, request.unit, lambda: self._clean(caller, request).to_dict())

    def _answered(
        self,
        caller: Caller,
        unit: str | None,
        work: Callable[[], dict[str, Any]],
        *,
        way_out: str = "Clean by a database route",
        retry_after_s: int = _PASSING_S,
    ) -> Answer:
        try:
            caller.check_cleanup(unit)
            return Answer(200, work())
        except AccessDenied as error:
            return refusal(403, error)
        except CleanupUnderWay as error:
            return refusal(429, error, _NEXT_TURN_S)
        except _TooSlow:
            pass
        except MwaaError as error:
            if not (isinstance(error, DatabaseRefused) and error.sqlstate == CANCELLED):
                log.warning("The metadata API refused: %s", error)
                return refusal(status_of(error), error)
            log.warning("The metadata API gave up: %s", error)
        slow = DatabaseRefused(
            f"{self._database.label}: finding the rows to delete takes longer than the {self._budget_s:g} s that a "
            f"request may. {way_out}."
        )
        return refusal(503, slow, retry_after_s)

    def _units(self, caller: Caller, options: CleanupOptions, database: Database) -> Units:
        now, units = cleanup_units(database, self._bounded(options))
        refused = {unit: why for unit in units if (why := caller.cleanup_refusal(unit))}
        return Units(now, tuple(units), refused)

    def _plan(self, caller: Caller, options: CleanupOptions) -> dict[str, Any]:
        database = self._in_time()
        for unit in self._units(caller, options, database).units:
            caller.check_cleanup(unit)
        return plan_cleanup(database, self._bounded(options)).document()

    def _clean(self, caller: Caller, request: StepRequest) -> Step:
        options = self._bounded(request.options)
        begin = request.after or None
        try:
            database = self._opened_until(math.inf)
            outcome, after = run_cleanup_step(database, options, request.unit, begin, tell=log.info)
        except ValueError as error:
            if isinstance(error, MwaaInputError) or begin is None:
                raise
            words = f"after={list(begin)} is not a key at which a step of {request.unit} ends."
            raise MwaaInputError(words) from error
        # The end of a step's time does not mean that rows are kept: the next step continues.
        if outcome.timed_out is not None:
            after = () if after is None else after
            outcome.skipped.remove(outcome.timed_out)
        for table, why in outcome.failures.items():
            log.warning("The metadata API could not clean %s for %s: %s", table, caller.name, why)
        log.info(
            "The metadata API deleted %d rows for %s, in a step of %s: %s",
            outcome.deleted,
            caller.name,
            request.unit,
            ", ".join(f"{name} {table.deleted}" for name, table in outcome.tables.items() if table.deleted) or "none",
        )
        return Step(outcome, after)

    def _bounded(self, options: CleanupOptions) -> CleanupOptions:
        """Limit what a caller may request from a web server."""
        return replace(
            options,
            max_duration=min(options.max_duration or self._step, self._step),
            max_transaction=min(options.max_transaction, MAX_TRANSACTION),
            statement_timeout=min(options.statement_timeout, timedelta(seconds=self._budget_s)),
            workers=1,
        )

    def _in_time(self) -> Database:
        """Return the database for queries that together end in time, except for the last of them."""
        return self._opened_until(self._clock() + self._budget_s)

    def _opened_until(self, deadline: float) -> Database:
        """Return the database, with each query limited to the time of a request, and none begun after a deadline."""
        return Database(partial(self._open, deadline), self._database.label)

    def _open(self, deadline: float) -> Any:
        clock, limit = self._clock, f"SET LOCAL statement_timeout TO {round(self._budget_s * 1000)}; "

        class Cursor(Psycopg2Cursor):
            def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - its name there
                if clock() > deadline:
                    raise _TooSlow
                # A transaction sets its own limits when it begins; a single query would wait forever for a lock.
                is_alone = self.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
                super().execute(query if not is_alone or query.startswith("BEGIN") else f"{limit}{query}", vars)

        connection = self._database.open()
        connection.cursor_factory = Cursor
        return connection


def _options(document: Any) -> CleanupOptions:
    if not isinstance(document, dict):
        raise MwaaInputError("The request is not a JSON object.")
    return read_options(document.get("options"))
