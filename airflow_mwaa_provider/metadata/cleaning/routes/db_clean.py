# SPDX-License-Identifier: Apache-2.0
"""Route ``cli``: Airflow's own ``db clean``, through the CLI endpoint of an environment, so that it can be trusted.

``db clean`` exits with 0 when it failed, deletes what runs, and MWAA cuts a long call off. So rows are counted before
and after each call, and the counts say what happened; what hangs on runs goes only as far as nothing unfinished can
be among it; what ``db clean`` cannot tell from what is in use stays; and a call takes no more rows than it can delete
in a short time, the oldest first.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import AccessDenied, CallTimeout, MetadataError, MwaaError, MwaaInputError
from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome, Plan, RetainedRows, TablePlan
from airflow_mwaa_provider.metadata.cleaning.routes.db_clean_output import (
    LIVE,
    LIVE_FOR,
    OF_RUNS,
    TAKEN_ALONG,
    Runs,
    choose_tables,
    error_line,
    last_line,
    read_output,
)
from airflow_mwaa_provider.metadata.cleaning.scope.plan import no_dag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.cleaning.outcome import Progress
    from airflow_mwaa_provider.metadata.cleaning.routes.db_clean_output import Bound, CliEnvironment, Printed

__all__ = ["CliCleanup"]

log = logging.getLogger(__name__)

FIRST_ROWS, MIN_ROWS, MAX_ROWS = 20_000, 100, 2_000_000
"""Rows of a call: of the first, 1-2 s of a database that has something else to do; and limits."""
GOAL_S = 10.0
"""What a call shall take at most, the start of the command not counted. The client waits a minute for an answer."""
PATIENCE_S = 120.0
"""How long a call whose answer was lost is given to end: it may go on deleting."""
STRIKES = 3
"""Calls in a row without an answer and without an effect, after which a table is given up."""

_ALL_TIME = datetime(2999, 1, 1, tzinfo=UTC)
_BATCHES_SINCE = [3, 1, 8]
_PROBES, _FIRST_SPAN, _MOMENT = 30, timedelta(days=30), timedelta(seconds=1)
_ROWS_PER_S, _CALL_S = 5_000.0, 6.0
_UNCOUNTED = "db clean could not count its rows: see what `airflow db clean --dry-run` prints"


@dataclass(frozen=True)
class _Target:
    """What of a table is to go.

    :param cutoff: what ended before this is old enough; what began before ``until`` goes.
    :param rows: how many; ``None`` where ``db clean`` could not count them.
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

    Tables are cleaned one by one, children before what they hang on, each by calls that delete what is older than a
    time; that time moves up to the cutoff. A call is never repeated before its rows have been counted again.

    It goes by when a row began, for ``db clean`` knows nothing else. Tasks of a finished run that was cleared and run
    again may go before their run. A run that somebody clears within the seconds of a call may lose tasks.

    :param environment: a client, such as ``MwaaEnvironment``, whose role sees all DAGs.
    :param notify: is told what this route does otherwise than asked.
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
        """Count what would go; deletes nothing.

        :return: sizes in bytes are not known by this route, and 0.
        :raises TableNotFound: a table is not there.
        :raises MwaaInputError: something cannot be done as asked by this route.
        :raises AccessDenied: the role does not see all DAGs, so that nobody can tell which runs are unfinished.
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
        """Delete what is old; a table that fails doesn't keep others from being cleaned, but for what it hangs on.

        :param progress: is called with a table, how many of its rows are gone, and how many there are to go.
        :return: a batch is a call, and ``longest_transaction_s`` the longest call, for its transactions don't show.
        :raises MwaaError: as :meth:`plan`, before anything was deleted.
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
            outcome.record_skipped(f"the cleanup was given up: {error}")
        outcome.seconds = self._clock() - began
        return outcome

    # -- what is to go -----------------------------------------------------------------------------

    def _prepare(self) -> tuple[list[_Target], tuple[RetainedRows, ...]]:
        options = self._options
        if options.max_age is not None:
            raise MwaaInputError(
                "Route cli cannot keep max_age: db clean has no other end than --clean-before-timestamp. Leave max_age "
                "out, or use route database or api."
            )
        if wrong := [name for name in options.dag_ids or () if "," in name or name != name.strip()]:
            raise MwaaInputError(f"dag_ids names {wrong[0]!r}, which cannot be a DAG's: name it without , and space.")
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
        if "dag_run" in cutoffs:
            kept.append(
                RetainedRows("dag_run", "it is the last run of its DAG that nobody triggered by hand; its tasks go")
            )
        return targets, tuple(kept)

    def _check_dags(self) -> None:
        """Check that there are DAGs, or at least runs of DAGs, of the names that were asked for."""
        names = self._options.dag_ids or ()
        if not names or self._count_dags(names) == len(names):
            return
        known = self._runs.dags()
        for name in names:
            if name not in known and not self._count_dags([name]) and not self._runs.has_any(name):
                raise no_dag(name, known)

    def _count_dags(self, names: Sequence[str]) -> int:
        """Count those of some DAGs that the database has, whether their files can be imported or not."""
        only = ["--dag-ids", ",".join(names)]
        return self._dry_run(["dag"], _ALL_TIME, only_dags=only).counts.get("dag", 0)

    def _check_sees_all(self, of_runs: Sequence[str]) -> None:
        there = self._dry_run(["dag"], _ALL_TIME, only_dags=[]).counts.get("dag")
        seen = self._runs.count_dags()
        if there is None or seen < there:
            raise AccessDenied(
                f"{self._label}: the role sees {seen} of {there or 'all'} DAGs by REST, so route cli cannot tell "
                "which runs are unfinished. Let it see all DAGs, use route database or api, or exclude "
                f"{', '.join(of_runs)}.",
                env_name=self._environment.name,
            )

    def _advice(self, targets: Sequence[_Target]) -> Iterator[str]:
        if any(target.table == "dag_run" for target in targets):
            yield (
                "Of each DAG, db clean keeps the last run that nobody triggered by hand, without its tasks, and no "
                "other last run; routes database and api keep the last of each kind."
                if self._options.keep_last_run
                else "db clean always keeps the last run of a DAG that nobody triggered by hand: keep_last_run=False "
                "changes nothing by route cli."
            )
        if not self._batches:
            yield f"db clean of {self._label} has no --batch-size: what a call deletes goes in one transaction."

    # -- deleting ----------------------------------------------------------------------------------

    def _clean_or_fail(self, target: _Target, progress: Progress | None) -> None:
        """Clean a table. What it raises concerns the others too, or is the end of the time."""
        failed = [name for name in TAKEN_ALONG.get(target.table, ()) if name in self._outcome.failures]
        try:
            if target.rows is None:
                raise MetadataError(_UNCOUNTED)
            if target.rows and failed:
                raise MetadataError(f"it was left alone, for {failed[0]}, which goes with it, could not be cleaned")
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
        strikes = 0
        while slices.left:
            upto, rows = slices.next()
            if self._deadline is not None and self._clock() >= self._deadline:
                raise _TimeIsUp
            if target.bound is not None and (bound := self._runs.bound(target.cutoff)).time < upto:
                outcome.record_skipped(f"{name}: {bound.clause}")
                until = bound.time
                slices = Slices(slices.count, until, slices.count(until), slices.size)
                continue
            began = self._clock()
            error, is_certain = self._delete(name, upto)
            seconds = self._clock() - began
            left = slices.count(upto)
            if left >= rows and not is_certain:
                left = self._count_later(name, upto, rows)
            if left < rows:
                strikes = 0
                table.add(rows - left, seconds, seconds)
                outcome.longest_transaction_s = max(outcome.longest_transaction_s, seconds)
                slices.take(upto, rows, left)
                if progress is not None:
                    progress(name, table.deleted, max(table.matched, table.deleted))
            if left and is_certain:
                raise MetadataError(f"{error}; {left} rows that were to go are still there")
            if left >= rows and (strikes := strikes + 1) >= STRIKES:
                raise MetadataError(f"{error}; {left} rows are still there after {STRIKES} calls")
            slices.learn(seconds - self._start_s if is_certain else GOAL_S * 4)

    def _delete(self, name: str, upto: datetime) -> tuple[str, bool]:
        """Call ``db clean`` once; give what to say if rows are still there, and whether it has certainly ended."""
        argv = ["db", "clean", "--tables", name, "--clean-before-timestamp", upto.isoformat(), "--skip-archive"]
        # Verbose, Airflow 2 also prints why it failed; Airflow 3 takes it and does nothing.
        argv += ["--yes", "--verbose", *self._only_dags, *self._batches]
        try:
            answer = self._environment.run_cli(argv)
        except MwaaError as error:
            if not error.ambiguous and not error.transient:
                raise
            self._notify(f"Table {name}: db clean gave no answer, so its rows are counted again. {error}")
            if error.ambiguous:
                self._outcome.record_skipped(
                    f"{name}: the answer of a call was lost, which may have left a copy of rows in a table called "
                    f"_airflow_deleted__{name}__…; look for it in the database"
                )
            return f"db clean gave no answer: {error}", False
        printed = read_output(answer)
        failure = error_line(answer) if answer.exit_status or name in printed.failed else None
        # Airflow 3 drops the copy where it fails; nobody does where it is cut off.
        if (failure and self._version.startswith("2.")) or not (failure or printed.has_finished):
            for archive in printed.archives:
                self._outcome.record_skipped(
                    f"{name}: db clean may have left a copy of rows in table {archive}; look for it"
                )
        return failure or "db clean did not say why", failure is not None or printed.has_finished

    def _count_later(self, name: str, upto: datetime, rows: int) -> int:
        """Count until a call that may still be at work has had the time to end."""
        pause_s, waited_s, left = 5.0, 0.0, rows
        while waited_s < PATIENCE_S:
            self._sleep(pause_s)
            waited_s += pause_s
            before, left = left, self._count(name, upto)
            if not left or (left < rows and left == before):
                break
            pause_s = min(pause_s * 2, 40.0)
        self._outcome.pause("a call of db clean may still have been at work", waited_s)
        return left

    def _count(self, name: str, before: datetime) -> int:
        """Count the rows of a table that a call would delete."""
        printed = self._dry_run([name], before)
        if strange := set(printed.names) - {name, *TAKEN_ALONG.get(name, ())}:
            raise MetadataError(f"db clean of {self._label} takes rows of {min(strange)} along, which isn't known here")
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
                f"db clean of {self._label} has no --dag-ids, which came with 3.3. Leave dag_ids out, or use route "
                "database or api."
            )
        raise MetadataError(f"`airflow db clean --dry-run` of {self._label} failed: {line}")


class Slices:
    """Cuts the ``left`` rows of a table before ``until`` by time into what one call can delete, the oldest first.

    :param count: counts the rows before a time.
    :param size: rows of a slice; halves and doubles with the time that calls take.
    """

    def __init__(self, count: Callable[[datetime], int], until: datetime, left: int, size: int = FIRST_ROWS) -> None:
        self.count = count
        self.size = size
        self._until = until
        self._known = {until: left}

    @property
    def left(self) -> int:
        """Rows that are still to go."""
        return self._known[self._until]

    def next(self) -> tuple[datetime, int]:
        """Give the end of the next slice, and its rows: those of one moment cannot be parted."""
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
        """Note that of ``rows`` before a time ``left`` are still there."""
        gone = rows - left
        self._known = {time: max(0, count - gone) for time, count in self._known.items() if time > upto}
        self._known[upto] = left

    def learn(self, seconds: float) -> None:
        """Note how long a call took."""
        if seconds > GOAL_S:
            self.size = max(MIN_ROWS, self.size // (2 if seconds < GOAL_S * 4 else 4))
        elif seconds < GOAL_S / 4:
            self.size = min(MAX_ROWS, self.size * 2)
