# SPDX-License-Identifier: Apache-2.0
"""Route ``cli``: Airflow's own ``db clean``, called through the CLI endpoint of an environment, with safeguards.

``db clean`` exits with 0 after a failure and deletes unfinished runs, and MWAA interrupts a long call. So rows are
counted before and after each call, and the counts show what happened. Dependents of runs are deleted only as far as no
unfinished run can be among them; tables of which ``db clean`` would delete rows in use are not cleaned; and a call is
given no more rows than it can delete in a short time, the oldest first.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import AccessDenied, CallTimeout, MetadataError, MwaaError, MwaaInputError
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome, Plan, RetainedRows, TablePlan
from airflow_mwaa_provider.metadata.cleaning.routes.db_clean_output import error_line, last_line, read_output
from airflow_mwaa_provider.metadata.cleaning.routes.db_clean_tables import (
    CASCADED,
    LIVE,
    LIVE_FOR,
    OF_RUNS,
    choose_tables,
)
from airflow_mwaa_provider.metadata.cleaning.routes.unfinished_runs import Runs
from airflow_mwaa_provider.metadata.cleaning.scope.plan import no_dag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.metadata.cleaning.outcome import Progress
    from airflow_mwaa_provider.metadata.cleaning.routes.db_clean_output import Printed
    from airflow_mwaa_provider.metadata.cleaning.routes.unfinished_runs import Bound, CliEnvironment

__all__ = ["CliCleanup"]

log = logging.getLogger(__name__)

FIRST_ROWS, MIN_ROWS, MAX_ROWS = 20_000, 100, 2_000_000
"""Rows of the first call, which a database under load deletes in 1-2 s, and the limits for those of others."""
GOAL_S = 10.0
"""The longest that a call should take, without the start of the command. The client waits a minute for an answer."""
PATIENCE_S = 120.0
"""How long to wait for the end of a call whose answer was lost: it may still be deleting."""
STRIKES = 3
"""Consecutive calls without an answer and without an effect, after which a table has failed."""

_ALL_TIME = datetime(2999, 1, 1, tzinfo=UTC)
_BATCHES_SINCE = [3, 1, 8]
_PROBES, _FIRST_SPAN, _MOMENT = 30, timedelta(days=30), timedelta(seconds=1)
_ROWS_PER_S, _CALL_S = 5_000.0, 6.0
_UNCOUNTED = "db clean could not count its rows: see what `airflow db clean --dry-run` prints"
_WITHOUT_EFFECT = ("max_transaction", "lock_timeout", "max_pause", "workers", "statement_timeout")
"""Options that ``db clean`` has no equivalent of."""


@dataclass(frozen=True)
class _Target:
    """The rows of a table that are to be deleted.

    :param cutoff: rows that ended before it are old enough.
    :param until: rows that began before it are deleted.
    :param rows: how many; ``None`` if ``db clean`` could not count them.
    """

    table: str
    cutoff: datetime
    bound: Bound | None
    until: datetime
    rows: int | None


class _TimeIsUp(Exception):
    """``max_duration`` has passed."""


class CliCleanup:
    """A cleanup of an environment by ``airflow db clean``.

    Tables are cleaned one by one, children before their parents. Each call deletes rows older than some time, which
    moves up to the cutoff. A call is never repeated before its rows have been counted again, and one that fails is
    followed by a call with half of the rows.

    Rows are chosen by when they began, because ``db clean`` looks at nothing else. Tasks of a finished run that was
    cleared and run again may be deleted before their run. A run that is cleared during a call may lose tasks.

    :param environment: a client, such as ``MwaaEnvironment``, whose role sees all DAGs.
    :param notify: called with each difference between what was asked for and what this route does.
    """

    def __init__(
        self,
        environment: CliEnvironment,
        options: CleanupOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        notify: Callable[[str], None] = log.info,
    ) -> None:
        self._environment = environment
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._notify = notify
        self._version = environment.airflow_version
        self._label = f"Airflow {self._version} of environment {environment.name!r}"
        self._runs = Runs(environment, options.dag_ids)
        self._now = options.now or datetime.now(UTC)
        self._only_dags = [] if options.dag_ids is None else ["--dag-ids", ",".join(options.dag_ids)]
        numbers = [int(part) for part in re.findall(r"\d+", self._version)[:3]]
        self._batches = ["--batch-size", str(options.batch_rows)] if numbers >= _BATCHES_SINCE else []
        self._start_s = _CALL_S
        self._deadline: float | None = None
        self._outcome = Outcome(route="cli")

    def plan(self) -> Plan:
        """Count what would be deleted; delete nothing.

        :return: with sizes of 0 bytes, because this route does not know them.
        :raises TableNotFound: a table does not exist.
        :raises MwaaInputError: this route cannot do what the options ask for.
        :raises AccessDenied: the role does not see all DAGs, so it is not known which runs are unfinished.
        :raises MwaaError: the environment did not answer.
        """
        targets, kept = self._prepare()
        tables = [TablePlan(t.table, t.table, t.rows, 0, None, t.until) for t in targets if t.rows is not None]
        calls = sum(3 + 3 * (table.rows // (FIRST_ROWS * 4)) for table in tables if table.rows)
        return Plan(
            tables=tuple(tables),
            kept=kept,
            advice=tuple(self._advice(targets)),
            seconds=calls * self._start_s + sum(table.rows for table in tables) / _ROWS_PER_S,
            now=self._now,
            route="cli",
            airflow_version=self._version,
        )

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete old rows; if a table fails, others are still cleaned, except its parents.

        :param progress: called with a table, how many of its rows are deleted, and how many are to be.
        :return: a batch is a call, and ``longest_transaction_s`` the longest call, because its transactions don't show.
        :raises MwaaError: as :meth:`plan` raises; nothing was deleted.
        """
        began, limit = self._clock(), self._options.max_duration
        self._deadline = None if limit is None else began + limit.total_seconds()
        self._outcome = outcome = Outcome(route="cli")
        targets, _ = self._prepare()
        for sentence in self._advice(targets):
            self._notify(sentence)
        for target in targets:
            outcome.table(target.table).matched = target.rows or 0
            if target.bound is not None and target.bound.is_unfinished:
                outcome.record_skipped(f"{target.table}: {target.bound.clause}")
        try:
            for target in targets:
                self._clean_or_fail(target, progress)
        except _TimeIsUp:
            outcome.time_out(limit)
        except MwaaError as error:
            outcome.record_skipped(f"the cleanup was stopped: {error}")
        outcome.seconds = self._clock() - began
        return outcome

    # -- what is to be deleted ---------------------------------------------------------------------

    def _prepare(self) -> tuple[list[_Target], tuple[RetainedRows, ...]]:
        options = self._options
        if options.max_age is not None:
            raise MwaaInputError(
                "Route cli does not support max_age: db clean has --clean-before-timestamp alone. Leave it out, or "
                "use route database or api."
            )
        if wrong := [name for name in options.dag_ids or () if "," in name or name != name.strip()]:
            raise MwaaInputError(
                f"dag_ids: {wrong[0]!r} cannot be the name of a DAG. Remove commas, and spaces around the name."
            )
        first = self._now - options.retention
        listing = self._dry_run((), first)
        choice = choose_tables(listing, options, self._label)
        self._check_dags()
        cutoffs = {name: self._now - retention for name, retention in choice.retention.items()}
        of_runs = [name for name in cutoffs if name in OF_RUNS]
        if of_runs:
            self._check_sees_all(of_runs)
        bounds = {cutoff: self._runs.bound(cutoff) for cutoff in {cutoffs[name] for name in of_runs}}
        untils = {name: bounds[cutoff].time if name in OF_RUNS else cutoff for name, cutoff in cutoffs.items()}
        untils |= {name: min(untils[name], self._now - LIVE_FOR) for name in LIVE & set(untils)}
        counts = {(name, first): rows for name, rows in listing.counts.items()}
        for until in set(untils.values()) - {first}:
            printed = self._dry_run([name for name in untils if untils[name] == until], until)
            counts |= {(name, until): rows for name, rows in printed.counts.items()}
        targets, kept = [], list(choice.kept)
        for name, cutoff in cutoffs.items():
            bound = bounds[cutoff] if name in OF_RUNS else None
            rows, all_rows = counts.get((name, untils[name])), counts.get((name, cutoff))
            targets.append(_Target(name, cutoff, bound, untils[name], rows))
            if rows is None:
                kept.append(RetainedRows(name, "db clean could not count its rows"))
            elif bound is not None and bound.why and all_rows != rows:
                kept.append(RetainedRows(name, bound.clause, None if all_rows is None else max(0, all_rows - rows)))
            elif name in LIVE and untils[name] < cutoff:
                kept.append(RetainedRows(name, "it may be in use: route cli keeps the last day of this table"))
        if "dag_run" in cutoffs:
            kept.append(
                RetainedRows(
                    "dag_run", "it is the last run of its DAG that was not triggered manually; its tasks are deleted"
                )
            )
        return targets, tuple(kept)

    def _check_dags(self) -> None:
        """Check that each name in ``dag_ids`` has a DAG, or at least a run."""
        names = self._options.dag_ids or ()
        if not names or self._count_dags(names) == len(names):
            return
        known = self._runs.dags()
        for name in names:
            if name not in known and not self._count_dags([name]) and not self._runs.has_any(name):
                raise no_dag(name, known)

    def _count_dags(self, names: Sequence[str]) -> int:
        """Return how many of these DAGs the database has, whether their files can be imported or not."""
        only = ["--dag-ids", ",".join(names)]
        return self._dry_run(["dag"], _ALL_TIME, only_dags=only).counts.get("dag", 0)

    def _check_sees_all(self, of_runs: Sequence[str]) -> None:
        there = self._dry_run(["dag"], _ALL_TIME, only_dags=[]).counts.get("dag")
        seen = self._runs.count_dags()
        if there is None or seen < there:
            raise AccessDenied(
                f"{self._label}: the role sees {seen} of {there or 'all'} DAGs by REST, so route cli cannot tell "
                "which runs are unfinished. Let the role see all DAGs, use route database or api, or exclude "
                f"{', '.join(of_runs)}.",
                env_name=self._environment.name,
            )

    def _advice(self, targets: Sequence[_Target]) -> Iterator[str]:
        if any(target.table == "dag_run" for target in targets):
            yield (
                "Of each DAG, db clean keeps the last run that was not triggered manually, without its tasks, and no "
                "other last run; routes database and api keep the last of each kind."
                if self._options.keep_last_run
                else "db clean always keeps the last run of a DAG that was not triggered manually: keep_last_run "
                "has no effect by route cli."
            )
        if not self._batches:
            yield f"db clean of {self._label} has no --batch-size: a call deletes its rows in one transaction."
        without_effect = (*_WITHOUT_EFFECT, *(() if self._batches else ("batch_rows",)))
        defaults = CleanupOptions()
        ignored = [name for name in without_effect if getattr(self._options, name) != getattr(defaults, name)]
        if ignored:
            yield f"Route cli ignores {', '.join(ignored)}: db clean has no such option."

    # -- deleting ----------------------------------------------------------------------------------

    def _clean_or_fail(self, target: _Target, progress: Progress | None) -> None:
        """Clean a table; raise only what ends the whole cleanup."""
        failed = [name for name in CASCADED.get(target.table, ()) if name in self._outcome.failures]
        try:
            if target.rows is None:
                raise MetadataError(_UNCOUNTED)
            if target.rows and failed:
                raise MetadataError(f"not cleaned, because {failed[0]}, which is deleted with it, could not be cleaned")
            if target.rows:
                self._clean(target, progress)
        except MwaaError as error:
            self._outcome.table(target.table).failure = str(error)
            self._outcome.record_skipped(f"{target.table}: {error}")
            if not isinstance(error, MetadataError | CallTimeout):
                raise

    def _clean(self, target: _Target, progress: Progress | None) -> None:
        name, until, outcome = target.table, target.until, self._outcome
        table = outcome.table(name)
        slices = Slices(lambda before: self._count(name, before), until, self._count(name, until))
        table.matched = slices.left
        strikes, error, failed = 0, "", None
        while slices.left:
            upto, rows = slices.next()
            # Slices begin with the oldest row: one with as many rows as the last has the same rows.
            if rows == failed:
                raise MetadataError(f"{error}; {slices.left} rows were not deleted")
            if self._deadline is not None and self._clock() >= self._deadline:
                raise _TimeIsUp
            if target.bound is not None and (bound := self._runs.bound(target.cutoff)).time < upto:
                outcome.record_skipped(f"{name}: {bound.clause}")
                slices.end_at(bound.time)
                continue
            began = self._clock()
            error, is_certain = self._delete(name, upto)
            seconds = self._clock() - began
            left = slices.count(upto)
            if left >= rows and not is_certain:
                left = self._count_later(name, upto, rows)
            if left < rows:
                strikes, failed = 0, None
                table.add(rows - left, seconds, seconds)
                outcome.longest_transaction_s = max(outcome.longest_transaction_s, seconds)
                slices.take(upto, rows, left)
                if progress is not None:
                    progress(name, table.deleted, max(table.matched, table.deleted))
            if not left:
                slices.learn(seconds - self._start_s if is_certain else GOAL_S * 4)
                continue
            slices.shrink(left, 2 if is_certain else 4)
            if left < rows:
                continue
            if is_certain:
                failed = rows
                if rows <= MIN_ROWS:
                    raise MetadataError(f"{error}; {slices.left} rows were not deleted")
            elif (strikes := strikes + 1) >= STRIKES:
                raise MetadataError(f"{error}; {slices.left} rows were not deleted by {STRIKES} calls")

    def _delete(self, name: str, upto: datetime) -> tuple[str, bool]:
        """Call ``db clean`` once; return the error if rows are still there, and whether it has certainly ended."""
        argv = ["db", "clean", "--tables", name, "--clean-before-timestamp", upto.isoformat(), "--skip-archive"]
        # With --verbose Airflow 2 also prints why it failed; Airflow 3 accepts the option, and ignores it.
        argv += ["--yes", "--verbose", *self._only_dags, *self._batches]
        try:
            answer = self._environment.run_cli(argv)
        except MwaaError as error:
            if not error.ambiguous and not error.transient:
                raise
            self._notify(f"Table {name}: db clean gave no answer; its rows are counted again. {error}")
            if error.ambiguous:
                self._outcome.record_skipped(
                    f"{name}: the answer to a call was lost; the call may have left a copy of rows in a table "
                    f"_airflow_deleted__{name}__…, which you can drop"
                )
            return f"db clean gave no answer: {error}", False
        printed = read_output(answer)
        failure = error_line(answer) if answer.exit_status or name in printed.failed else None
        # After a failure Airflow 3 drops the copy; after an interruption nothing does.
        if (failure and self._version.startswith("2.")) or not (failure or printed.has_finished):
            for archive in printed.archives:
                self._outcome.record_skipped(
                    f"{name}: db clean may have left a copy of rows in table {archive}, which you can drop"
                )
        return failure or "db clean did not say why", failure is not None or printed.has_finished

    def _count_later(self, name: str, upto: datetime, rows: int) -> int:
        """Count again until a call that may still be running has had time to end."""
        pause_s, waited_s, left = 5.0, 0.0, rows
        while waited_s < PATIENCE_S:
            self._sleep(pause_s)
            waited_s += pause_s
            before, left = left, self._count(name, upto)
            if not left or (left < rows and left == before):
                break
            pause_s = min(pause_s * 2, 40.0)
        self._outcome.pause("a call of db clean may still have been running", waited_s)
        return left

    def _count(self, name: str, before: datetime) -> int:
        """Return how many rows of a table a call would delete."""
        printed = self._dry_run([name], before)
        if unknown := set(printed.names) - {name, *CASCADED.get(name, ())}:
            raise MetadataError(
                f"db clean of {self._label} also deletes rows of {min(unknown)}, a table unknown to this version"
            )
        if name not in printed.counts:
            raise MetadataError(_UNCOUNTED)
        return printed.counts[name]

    def _dry_run(self, tables: Sequence[str], before: datetime, *, only_dags: Sequence[str] | None = None) -> Printed:
        argv = ["db", "clean", "--dry-run", "--clean-before-timestamp", before.isoformat()]
        argv += ["--tables", ",".join(tables)] if tables else []
        argv += self._only_dags if only_dags is None else only_dags
        began = self._clock()
        answer = self._environment.run_cli(argv, idempotent=True)
        self._start_s = min(self._start_s, self._clock() - began)
        printed = read_output(answer)
        if printed.names and not answer.exit_status:
            return printed
        line = error_line(answer) or last_line(answer)
        if "--dag-ids" in line:
            raise MwaaInputError(
                f"db clean of {self._label} has no --dag-ids, which is new in 3.3. Leave dag_ids out, or use route "
                "database or api."
            )
        raise MetadataError(f"`airflow db clean --dry-run` of {self._label} failed: {line}")


class Slices:
    """The rows of a table before a time, ``until``, in slices that one call can delete, the oldest first.

    :param count: returns how many rows are older than a time.
    :param left: how many rows are older than ``until``.
    """

    def __init__(self, count: Callable[[datetime], int], until: datetime, left: int) -> None:
        self.count = count
        self.size = FIRST_ROWS
        """Rows of a slice: halved and doubled with the time that calls take, and halved after a failure."""
        self._until = until
        self._known = {until: left}
        self._most = MAX_ROWS
        self._failures = self._successes = 0

    @property
    def left(self) -> int:
        """Rows that are not deleted."""
        return self._known[self._until]

    def next(self) -> tuple[datetime, int]:
        """Return the end of the next slice and its number of rows; rows of the same time cannot be divided."""
        known = self._known
        span = _FIRST_SPAN
        high = min(time for time, rows in known.items() if rows > self.size or time == self._until)
        if known[high] <= self.size:
            return high, known[high]
        for probe in range(_PROBES):
            low = max((time for time in known if time < high), default=None)
            if low is None:
                guess, span = high - span, span * 2
            elif known[low] * 4 >= self.size:
                return low, known[low]
            else:
                part = (self.size * 0.75 - known[low]) / (known[high] - known[low])
                guess = low + (high - low) * (0.5 if probe % 2 else min(max(part, 0.05), 0.95))
            if high - guess < _MOMENT:
                break
            known[guess] = self.count(guess)
            if known[guess] > self.size:
                high = guess
        low = max((time for time in known if time < high and known[time]), default=high)
        return low, known[low]

    def take(self, upto: datetime, rows: int, left: int) -> None:
        """Record that of ``rows`` rows before a time ``left`` still exist."""
        gone = rows - left
        self._known = {time: max(0, count - gone) for time, count in self._known.items() if time > upto}
        self._known[upto] = left

    def end_at(self, until: datetime) -> None:
        """Count the rows before another time instead."""
        self._until = until
        self._known = {until: self.count(until)}

    def learn(self, seconds: float) -> None:
        """Record how long a call took that deleted all rows of its slice."""
        self._successes += 1
        if self._successes >= 2**self._failures:
            self._successes = 0
            self._most = min(MAX_ROWS, self._most * 2)
        if seconds > GOAL_S:
            self.size = max(MIN_ROWS, self.size // (2 if seconds < GOAL_S * 4 else 4))
        elif seconds < GOAL_S / 4:
            self.size = min(self._most, self.size * 2)

    def shrink(self, rows: int, divisor: int) -> None:
        """Make slices smaller after a call that did not delete so many rows.

        They stay small until twice as many calls have succeeded as had to after the last failure. So few calls fail,
        even if every call fails that is given more rows than some number.
        """
        self._failures += 1
        self._successes = 0
        self.size = self._most = max(MIN_ROWS, min(self.size, rows) // divisor)
