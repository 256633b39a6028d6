# SPDX-License-Identifier: Apache-2.0
"""Look at what many waits of one environment wait for, with few calls.

A look at N unfinished runs costs one call, not N: it reads which runs of these DAGs have ended since the last look. A
sweep finds what that could miss (a wrong clock, a deleted run): every few minutes it reads the runs themselves, a
hundred per call.
"""

from __future__ import annotations

import logging
import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from airflow_mwaa_provider.client.models import DagRun
from airflow_mwaa_provider.client.states import DagRunState
from airflow_mwaa_provider.client.waits.bisect import Batch
from airflow_mwaa_provider.client.waits.run_wait import RunWait
from airflow_mwaa_provider.client.waits.task_wait import TasksSeen, TaskWait
from airflow_mwaa_provider.exceptions import DagRunNotFound, MwaaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_mwaa_provider.client.models import TaskInstance

__all__ = ["Seen", "Watched", "Watcher"]

log = logging.getLogger(__name__)

# How far the environment's clock may be behind ours before only the sweep finds an end.
_CLOCK_SKEW_S = 120.0
# A run that was not looked at for longer than this is read itself: "what has ended since" would be long.
_FRESH_S = 600.0
_SWEEP_EVERY_S = 300.0
# Below this age a wait is looked at every few seconds anyway.
_EXPECTATION_FROM_S = 20.0
_EXPECTATION_LASTS_S = 1800.0
_RUNS_TO_EXPECT_BY = 10
# DAGs whose durations are read after one look, because they delay the next one.
_DURATIONS_A_LOOK = 3

Pair = tuple[str, str]
AnyWait = RunWait | TaskWait
Seen = DagRun | TasksSeen | MwaaError | None


class Watched(Protocol):
    """What a watcher reads from an environment."""

    @property
    def name(self) -> str:
        """The environment's name."""

    def get_dag_runs(self, pairs: Sequence[Pair]) -> dict[Pair, DagRun]:
        """Read many runs in few calls."""

    def get_ended_dag_runs(self, dag_ids: Sequence[str], since: datetime) -> list[DagRun]:
        """Read the runs that ended since a time."""

    def get_recent_dag_runs(self, dag_id: str, limit: int = 1, *, states: Sequence[DagRunState] = ()) -> list[DagRun]:
        """Read the latest runs of a DAG."""

    def get_tasks_of_runs(self, pairs: Sequence[Pair], *, task_ids: Sequence[str] | None = None) -> list[TaskInstance]:
        """List task instances of many runs."""


class Watcher:
    """Look at the waits of one environment. Not thread-safe: one look at a time.

    :param clock: seconds since 1970.
    """

    def __init__(self, environment: Watched, clock: Callable[[], float] = time.time) -> None:
        self._environment = environment
        self._clock = clock
        self._not_ended_at: dict[Pair, float] = {}
        self._swept_at = clock()
        self._expected: dict[str, tuple[float, float | None]] = {}
        self._reads: Batch[Pair] = Batch()
        self._reads_of_ends: Batch[str] = Batch()
        self._reads_of_tasks: Batch[Pair] = Batch()

    def created(self, dag_id: str, run_id: str, at: float) -> None:
        """Note that a run had not ended at that time, because it had just been created."""
        self._not_ended_at.setdefault((dag_id, run_id), at)

    def look(self, waits: Sequence[AnyWait]) -> list[Seen]:
        """Look at everything that is waited for; in the order of ``waits``.

        :return: for each a run, ``None`` (only known not to have ended), the tasks, or its own error.
        :raises MwaaError: nothing could be read, for the same reason for all.
        """
        now = self._clock()
        runs = self._look_at_runs([wait for wait in waits if isinstance(wait, RunWait)], now)
        tasks = self._look_at_tasks([wait for wait in waits if isinstance(wait, TaskWait)])
        waited_for = {(wait.dag_id, wait.run_id) for wait in waits}
        self._not_ended_at = {pair: at for pair, at in self._not_ended_at.items() if pair in waited_for}
        self._reads.keep(waited_for)
        self._reads_of_ends.keep({dag_id for dag_id, _ in waited_for})
        return [
            runs[wait.dag_id, wait.run_id] if isinstance(wait, RunWait) else tasks[wait.dag_id, wait.run_id]
            for wait in waits
        ]

    def expected_s(self, wait: AnyWait, now: float) -> float | None:
        """Return the age of a wait at which its run's end is expected, if :meth:`learn` has read it; makes no call."""
        if _needs_no_expectation(wait, now):
            return None
        return self._expected.get(wait.dag_id, (0.0, None))[1]

    def learn(self, waits: Iterable[AnyWait], now: float) -> None:
        """Read how long recent successful runs took, for a few DAGs whose waits depend on it.

        Called after the ends have been reported, so that it delays none of them.

        :param now: by the clock of the waits.
        """
        asked_at = self._clock()
        due = [
            dag_id
            for dag_id in dict.fromkeys(wait.dag_id for wait in waits if not _needs_no_expectation(wait, now))
            if dag_id not in self._expected or asked_at - self._expected[dag_id][0] >= _EXPECTATION_LASTS_S
        ]
        for dag_id in due[:_DURATIONS_A_LOOK]:
            self._expected[dag_id] = asked_at, self._usual_duration_s(dag_id)

    # -- within ------------------------------------------------------------------------------------

    def _look_at_runs(self, waits: Sequence[RunWait], now: float) -> dict[Pair, DagRun | MwaaError | None]:
        pairs = list(dict.fromkeys((wait.dag_id, wait.run_id) for wait in waits))
        needs_state = {(wait.dag_id, wait.run_id) for wait in waits if wait.ends_early}
        sweep = now - self._swept_at >= _SWEEP_EVERY_S
        fresh = [
            pair
            for pair in pairs
            if not sweep and pair not in needs_state and self._not_ended_at.get(pair, float("-inf")) > now - _FRESH_S
        ]
        if len(fresh) == 1:
            fresh = []  # one call either way, and reading the run returns its state
        if sweep:
            self._swept_at = now  # whether it succeeds or not; otherwise all looks would be sweeps until it does
        seen: dict[Pair, DagRun | MwaaError | None] = dict(self._read(set(pairs).difference(fresh), now))
        if fresh:
            seen.update(self._ended(fresh, now))
        return seen

    def _ended(self, pairs: Sequence[Pair], now: float) -> dict[Pair, DagRun | MwaaError | None]:
        """Read which of these runs have ended since they were last known not to have."""
        since = datetime.fromtimestamp(min(self._not_ended_at[pair] for pair in pairs) - _CLOCK_SKEW_S, UTC)
        # Airflow omits the DAGs that the role may not see; the sweep finds them.
        runs, errors = self._reads_of_ends.read(
            sorted({dag_id for dag_id, _ in pairs}), lambda ids: self._environment.get_ended_dag_runs(ids, since)
        )
        self._not_ended_at.update({pair: now for pair in pairs if pair[0] not in errors})
        ended = {(run.dag_id, run.run_id): run for run in runs}
        return {pair: ended.get(pair) or errors.get(pair[0]) for pair in pairs}

    def _read(self, pairs: Iterable[Pair], now: float) -> dict[Pair, DagRun | MwaaError]:
        found, errors = self._read_each(pairs)
        self._not_ended_at.update({pair: now for pair, run in found.items() if not run.state.is_final})
        return {pair: found.get(pair) or errors.get(pair) or self._no_such_run(pair) for pair in pairs}

    def _read_each(self, pairs: Iterable[Pair]) -> tuple[dict[Pair, DagRun], dict[Pair, MwaaError]]:
        found, errors = self._reads.read(sorted(pairs), lambda some: self._environment.get_dag_runs(some).items())
        return dict(found), errors

    def _no_such_run(self, pair: Pair) -> DagRunNotFound:
        dag_id, run_id = pair
        return DagRunNotFound(
            f"Environment {self._environment.name!r}: DAG {dag_id!r} has no run {run_id!r}. Check both ids, and "
            "that the role may see the DAG.",
            env_name=self._environment.name,
            status=404,
        )

    def _look_at_tasks(self, waits: Sequence[TaskWait]) -> dict[Pair, TasksSeen | MwaaError]:
        if not waits:
            return {}
        by_pair: dict[Pair, list[TaskInstance]] = {(wait.dag_id, wait.run_id): [] for wait in waits}
        named = [wait.tasks.task_ids for wait in waits]
        task_ids = None if None in named else sorted({task_id for ids in named for task_id in ids or ()})
        self._reads_of_tasks.keep(by_pair)
        instances, errors = self._reads_of_tasks.read(
            list(by_pair), lambda pairs: self._environment.get_tasks_of_runs(pairs, task_ids=task_ids)
        )
        for instance in instances:
            by_pair[instance.dag_id, instance.run_id].append(instance)
        unsure = {
            pair
            for wait in waits
            if (pair := (wait.dag_id, wait.run_id)) not in errors and wait.needs_run(by_pair[pair])
        }
        runs, errors_of_runs = self._read_each(unsure)
        errors |= {pair: self._no_such_run(pair) for pair in unsure.difference(runs)} | errors_of_runs
        return {
            pair: errors.get(pair) or TasksSeen(tuple(instances), runs.get(pair)) for pair, instances in by_pair.items()
        }

    def _usual_duration_s(self, dag_id: str) -> float | None:
        try:
            runs = self._environment.get_recent_dag_runs(dag_id, _RUNS_TO_EXPECT_BY, states=[DagRunState.SUCCESS])
        except MwaaError as error:
            log.debug("The duration of runs of DAG %r is unknown: %s", dag_id, error)
            return None
        durations = [(run.end_date - run.start_date).total_seconds() for run in runs if run.start_date and run.end_date]
        return statistics.median(durations) if durations else None


def _needs_no_expectation(wait: AnyWait, now: float) -> bool:
    """Return whether the interval of a wait is fixed, or so short that an expected end would not change it."""
    return wait.interval.fixed_s is not None or now - wait.started_at < _EXPECTATION_FROM_S
