# SPDX-License-Identifier: Apache-2.0
"""Route ``api`` of a cleanup: the environment's own web server deletes, in short steps that this process asks for.

This process needs no access to the database. A step can be asked for again: what is gone is gone.
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
"""Steps in a row that end before they have come to a row: more of them would not help."""
_IN_VAIN_S = 600.0
_SHORTEST = timedelta(milliseconds=1)
_NEEDS = (
    "read the configuration, and read all DAGs and delete their runs and task instances, such as Op or Admin; for the "
    "table log also read the audit log, for connection_test_request delete connections, for dag_version delete DAGs; "
    "or leave such tables out with exclude"
)


class ApiCleanup:
    """A cleanup of an environment whose web server has the plugin ``metadata_api``.

    :param call: is repeated by whoever gives it, where an answer was lost: rows whose deletion nobody was told of are
        gone, and not counted.
    :param label: what the environment is called in messages.
    :param options: ``workers`` is passed over, and ``max_transaction`` at most a second: the web server has others to
        serve.
    :param wait_timeout_s: how long a web server is waited for that is busy with another cleanup, or out of order. A
        step of one's own whose answer was lost takes some seconds to end.
    :param notify: is told of what is waited for, and of answers that were lost.
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
        """Ask the web server how the cleanup would be done; deletes nothing.

        :raises NoMetadataRoute: the web server has no such plugin, or it does not clean.
        :raises MwaaError: whatever else is wrong, as for :meth:`run`.
        """
        self._ask(UNITS, {"options": self._options.document()})

    def plan(self) -> Plan:
        """Count what a cleanup would delete, and say what it would keep; deletes nothing.

        :raises DatabaseRefused: counting takes longer than a request may.
        :raises AccessDenied: the caller may not clean one of the tables.
        :raises NoMetadataRoute: the web server has no such plugin, or it doesn't clean.
        :raises TableNotFound: a table is not there.
        :raises MwaaInputError: something cannot be done as asked.
        """
        return read_plan(self._ask(PLAN, {"options": self._options.document()}), route=self.route)

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete what is old, table by table; one that fails doesn't keep the others from it.

        :param progress: is called with a table and how many of its rows are gone; how many there are is not known.
        :return: what happened; :attr:`Outcome.failures` says which tables went wrong.
        :raises AccessDenied: the caller may not clean one of the tables; nothing was deleted.
        :raises NoMetadataRoute: the web server has no such plugin, or it doesn't clean.
        :raises TableNotFound: a table is not there.
        :raises MwaaInputError: something cannot be done as asked; nothing was deleted.
        :raises CleanupUnderWay: another cleanup was at work for as long as it is waited for.
        :raises MwaaError: the web server, or its database, was out of order for as long.
        """
        self._began = self._clock()
        outcome = Outcome(route=self.route)
        answer = self._persistently(UNITS, {"options": self._options.document()}, "the parts of the cleanup")
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
                    # Each step reads the schema anew: since the first it has changed, and others would say the same.
                    if not outcome.deleted:
                        raise
                    why = f"a step was refused, which deleted nothing; those before it are counted: {error}"
                    self._fail(unit, why, outcome)
                    break
            self._count(options, outcome)
        outcome.seconds = self._clock() - self._began
        return outcome

    def _check(self, found: Units) -> None:
        for name, why in found.refused.items():
            raise AccessDenied(
                f"Route api, at {self.label}: table {name}: {why}; nothing was deleted. Give the caller a role that "
                f"may, or leave out with exclude={sorted(found.refused)}."
            )

    def _clean(self, unit: str, options: CleanupOptions, outcome: Outcome, progress: Progress | None) -> None:
        """Do the steps of a part until nothing of it is left, it fails, or the time is up."""
        after: tuple[str, ...] | None = None
        gone, in_vain, progressed = 0, 0, self._clock()
        while not self._is_over(outcome):
            left = self._left()
            bounded = replace(options, max_duration=None if left is None else max(left, _SHORTEST))
            answer = self._persistently(STEPS, StepRequest(bounded, unit, after).to_dict(), f"a step of {unit}")
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
            f"Route api, at {self.label}: steps of {unit} end before they have deleted a row: looking for what is to "
            "go takes as long as a step may, or the environment suffers all the time. Clean it by a database route."
        )
        self._fail(unit, why, outcome)

    @staticmethod
    def _fail(unit: str, why: str, outcome: Outcome) -> None:
        outcome.table(unit).failure = why
        outcome.record_skipped(f"{unit}: {why}")

    def _count(self, options: CleanupOptions, outcome: Outcome) -> None:
        """Say how much there was to go, where not all is gone."""
        if outcome.is_complete:
            return
        try:
            plan = read_plan(self._ask(PLAN, {"options": options.document()}), route=self.route)
        except MwaaError as error:
            self._notify(f"What is left was not counted: {error}")
            return
        for table in plan.tables:
            outcome.table(table.table).matched += table.rows

    def _left(self) -> timedelta | None:
        """Say how much of ``max_duration`` is left; ``None`` without one."""
        limit = self._options.max_duration
        return None if limit is None else limit - timedelta(seconds=self._clock() - self._began)

    def _is_over(self, outcome: Outcome) -> bool:
        left = self._left()
        if left is None or left > timedelta(0):
            return False
        outcome.time_out(self._options.max_duration)
        return True

    def _persistently(self, path: str, body: dict[str, Any], what: str) -> dict[str, Any] | None:
        """Ask again after what passes; ``None`` where ``max_duration`` was over before there was an answer."""
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
                            f"Route api, at {self.label}: another cleanup is under way. Let it end, or wait for it "
                            "with wait_timeout (--wait)."
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
                f"Route api: the answer to {what} was lost, and what it deleted is not counted; asking again: {error}"
            )
        return f"Route api: {what}: {error} Asking again"

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
    """Add what a step has done to what was done before."""
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
