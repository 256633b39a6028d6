# SPDX-License-Identifier: Apache-2.0
"""Route ``api`` of a cleanup: the environment's own web server deletes, in short steps that this process requests.

This process needs no access to the database. A step can be repeated: it continues where the last one stopped.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    CleanupUnderWay,
    MwaaError,
    MwaaInputError,
    NoMetadataRoute,
    Throttled,
)
from airflow_mwaa_provider.metadata.cleaning.options import check_wait_timeout
from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome, Plan
from airflow_mwaa_provider.metadata.cleaning.routes.api_messages import (
    PLAN,
    STEPS,
    UNITS,
    Step,
    StepRequest,
    Units,
    read_plan,
)
from airflow_mwaa_provider.metadata.remote_api.client import ask, has_no_such_api
from airflow_mwaa_provider.metadata.remote_api.messages import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.cleaning.outcome import Progress
    from airflow_mwaa_provider.metadata.remote_api.client import Call

__all__ = ["STEPS_IN_VAIN", "ApiCleanup"]

log = logging.getLogger(__name__)

_PATIENCE_S = 600.0
STEPS_IN_VAIN = 3
"""Consecutive steps that end before they reach a row, after which more of them would not help."""
_IN_VAIN_S = 600.0
_SHORTEST = timedelta(milliseconds=1)
_NEEDS = (
    "read the configuration, and read all DAGs and delete their runs and task instances, such as Op or Admin; for the "
    "table log also read the audit log, for connection_test_request delete connections, for dag_version delete DAGs; "
    "or exclude these tables"
)


class ApiCleanup:
    """A cleanup of an environment whose web server has the plugin ``metadata_api``.

    :param call: sends a request, again if an answer is lost: rows that were deleted by then are not counted.
    :param label: the name of the environment in messages.
    :param options: ``workers`` is ignored, and ``max_transaction`` at most a second, because the web server also serves
        other requests.
    :param wait_timeout_s: how long to wait for a web server that is busy with another cleanup, or fails. If the answer
        to a step was lost, the step itself takes some seconds to end.
    :param notify: called with what the cleanup waits for, and with each lost answer.
    """

    route = "api"

    def __init__(
        self,
        call: Call,
        label: str,
        options: CleanupOptions,
        *,
        wait_timeout_s: float = _PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        notify: Callable[[str], None] = log.info,
    ) -> None:
        check_wait_timeout(wait_timeout_s)
        self.label = label
        self._call = call
        self._options = options
        self._wait_timeout_s = wait_timeout_s
        self._clock = clock
        self._sleep = sleep
        self._notify = notify
        self._began = clock()

    def check(self) -> None:
        """Check that the web server can do the cleanup; delete nothing.

        :raises NoMetadataRoute: the web server does not have the plugin, or the plugin's cleanup is off.
        :raises MwaaError: any other error of :meth:`run`, after as long a wait.
        """
        self._request(UNITS, {"options": self._options.document()}, "the parts of the cleanup")

    def plan(self) -> Plan:
        """Count what a cleanup would delete, and report what it would keep; delete nothing.

        :raises DatabaseRefused: counting takes longer than a request may.
        :raises AccessDenied: the caller may not clean one of the tables.
        :raises NoMetadataRoute: the web server does not have the plugin, or the plugin's cleanup is off.
        :raises TableNotFound: a table does not exist.
        :raises MwaaInputError: an option is wrong, or cannot be followed.
        """
        return read_plan(self._ask(PLAN, {"options": self._options.document()}), route=self.route)

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete old rows, table by table; if one fails, the others are still cleaned.

        :param progress: called with a table and how many of its rows are deleted; of how many is not known.
        :return: what happened; :attr:`Outcome.failures` names the tables that failed.
        :raises AccessDenied: the caller may not clean one of the tables; nothing was deleted.
        :raises NoMetadataRoute: the web server does not have the plugin, or the plugin's cleanup is off.
        :raises TableNotFound: a table does not exist.
        :raises MwaaInputError: an option is wrong, or cannot be followed; nothing was deleted.
        :raises CleanupUnderWay: another cleanup was running during all of the time to wait.
        :raises MwaaError: the web server, or its database, failed during all of that time.
        """
        self._began = self._clock()
        outcome = Outcome(route=self.route)
        answer = self._request(UNITS, {"options": self._options.document()}, "the parts of the cleanup")
        if answer is None:
            self._is_over(outcome)
        else:
            found = Units.from_dict(answer)
            self._check(found)
            options = replace(self._options, now=found.now, max_duration=None)
            for unit in found.units:
                if self._is_over(outcome):
                    break
                try:
                    self._clean(unit, options, outcome, progress)
                except MwaaInputError as error:
                    # Each step reads the schema again. It has changed, and other steps would fail in the same way.
                    if not outcome.deleted:
                        raise
                    why = f"a step was refused and deleted nothing; earlier steps are counted: {error}"
                    self._fail(unit, why, outcome)
                    break
            self._count(options, outcome)
        outcome.seconds = self._clock() - self._began
        return outcome

    def _check(self, found: Units) -> None:
        for name, why in found.refused.items():
            raise AccessDenied(
                f"Route api, at {self.label}: table {name}: {why}; nothing was deleted. Give the caller a role that "
                f"may, or set exclude={sorted(found.refused)}."
            )

    def _clean(self, unit: str, options: CleanupOptions, outcome: Outcome, progress: Progress | None) -> None:
        """Request steps for a unit until it is done, it fails, or the time is over."""
        after: tuple[str, ...] | None = None
        gone, in_vain, progressed = 0, 0, self._clock()
        while not self._is_over(outcome):
            left = self._left()
            bounded = replace(options, max_duration=None if left is None else max(left, _SHORTEST))
            answer = self._request(STEPS, StepRequest(bounded, unit, after).to_dict(), f"a step of {unit}")
            if answer is None:
                continue
            step = Step.from_dict(answer)
            _add(step.outcome, outcome)
            if unit in step.outcome.tables:
                gone += step.outcome.tables[unit].deleted
                if progress is not None:
                    progress(unit, gone, None)
            if step.after is None or step.outcome.failures:
                return
            if step.outcome.deleted or step.after != after:
                in_vain, progressed = 0, self._clock()
            elif not step.outcome.paused_s:
                in_vain += 1
            if in_vain == STEPS_IN_VAIN or self._clock() - progressed > _IN_VAIN_S:
                self._give_up(unit, outcome)
                return
            after = step.after

    def _give_up(self, unit: str, outcome: Outcome) -> None:
        why = (
            f"Route api, at {self.label}: steps of {unit} end before they have deleted a row: the search for old rows "
            "takes longer than a step may, or the environment is always under load. Clean it by a database route."
        )
        self._fail(unit, why, outcome)

    @staticmethod
    def _fail(unit: str, why: str, outcome: Outcome) -> None:
        outcome.table(unit).failure = why
        outcome.record_skipped(f"{unit}: {why}")

    def _count(self, options: CleanupOptions, outcome: Outcome) -> None:
        """Count the rows that are left, if any."""
        if outcome.is_complete:
            return
        try:
            plan = read_plan(self._ask(PLAN, {"options": options.document()}), route=self.route)
        except MwaaError as error:
            self._notify(f"The rows that are left were not counted: {error}")
            return
        for table in plan.tables:
            outcome.table(table.table).matched += table.rows

    def _left(self) -> timedelta | None:
        """Return how much of ``max_duration`` is left; ``None`` without one."""
        limit = self._options.max_duration
        return None if limit is None else limit - timedelta(seconds=self._clock() - self._began)

    def _is_over(self, outcome: Outcome) -> bool:
        left = self._left()
        if left is None or left > timedelta(0):
            return False
        outcome.time_out(self._options.max_duration)
        return True

    def _request(self, path: str, body: dict[str, Any], what: str) -> dict[str, Any] | None:
        """Repeat a request after transient errors; return ``None`` if ``max_duration`` is over before an answer."""
        deadline: float | None = None
        while True:
            try:
                return self._ask(path, body)
            except MwaaError as error:
                if not (error.transient or error.ambiguous):
                    raise
                now = self._clock()
                if deadline is None:
                    deadline = now + self._wait_timeout_s
                    self._notify(self._trouble(error, what))
                pause = (error.retry_after_s or 1.0) * random.uniform(1.0, 1.5)  # noqa: S311 - not all in step
                if now + pause > deadline:
                    if isinstance(error, Throttled):
                        raise CleanupUnderWay(
                            f"Route api, at {self.label}: another cleanup is running.",
                            advice="Let it end, or wait for it with {}.",
                            parameter="wait_timeout",
                        ) from error
                    raise
            left = self._left()
            self._sleep(pause if left is None else max(0.0, min(pause, left.total_seconds())))
            if left is not None and left.total_seconds() <= pause:
                return None

    def _trouble(self, error: MwaaError, what: str) -> str:
        if isinstance(error, Throttled):
            return f"Route api: {self.label} is busy with another cleanup; waiting"
        if error.ambiguous:
            return (
                f"Route api: the answer to {what} was lost, and what it deleted is not counted. Repeating it: {error}"
            )
        return f"Route api: {what}: {error} Repeating it"

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return ask(self._call, self.label, "POST", f"{PREFIX}{path}", body, needs=_NEEDS)
        except MwaaError as error:
            if not has_no_such_api(error):
                raise
            raise NoMetadataRoute(
                f"Route api: {self.label} has no metadata API that cleans. Install airflow-mwaa-provider there, and "
                "set its configuration option mwaa_provider.metadata_api_cleanup to True."
            ) from error


def _add(step: Outcome, outcome: Outcome) -> None:
    """Add the outcome of a step to the outcome of the cleanup."""
    for name, table in step.tables.items():
        total = outcome.table(name)
        total.matched += table.matched
        total.deleted += table.deleted
        total.batches += table.batches
        total.seconds += table.seconds
        total.longest_transaction_s = max(total.longest_transaction_s, table.longest_transaction_s)
        total.failure = total.failure or table.failure
    for why in step.skipped:
        outcome.record_skipped(why)
    outcome.paused_s += step.paused_s
    for why, seconds in step.paused_why.items():
        outcome.paused_why[why] = outcome.paused_why.get(why, 0.0) + seconds
    outcome.longest_transaction_s = max(outcome.longest_transaction_s, step.longest_transaction_s)
