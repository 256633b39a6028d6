# SPDX-License-Identifier: Apache-2.0
"""The logic of a wait, without a clock, a thread or a network: pure steps for sync and deferred waits alike.

A driver looks at the remote runs, passes what it saw to a wait's ``step``, and does what the step returns. There are
two: :mod:`~airflow_mwaa_provider.client.waits.blocking` sleeps in a thread, and the triggers of a process share one
poller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mwaa_provider.client.models import DagRun, TaskInstance
from airflow_mwaa_provider.client.parameters import check_seconds
from airflow_mwaa_provider.client.states import DagRunState
from airflow_mwaa_provider.exceptions import DagRunFailed, DagRunNotFound, MwaaError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

__all__ = ["Done", "Failed", "PollInterval", "RunWait", "Step", "Wait"]


@dataclass(frozen=True)
class Wait:
    """Look again after ``delay_s`` seconds."""

    delay_s: float
    note: str = ""


@dataclass(frozen=True)
class Done:
    """What was waited for ended in a state that counts as success.

    ``skipped``: all tasks that were waited for were skipped.
    """

    run: DagRun | None = None
    tasks: tuple[TaskInstance, ...] = ()
    skipped: bool = False


@dataclass(frozen=True)
class Failed:
    """The wait ended without success. ``run`` is the run as last seen."""

    error: MwaaError
    run: DagRun | None = None


Step = Wait | Done | Failed


@dataclass(frozen=True)
class PollInterval:
    """How often to look: at a fixed interval, or at one that grows with the age of the wait.

    :param fixed_s: a fixed interval; ``None`` adapts it.
    :param min_s: shortest interval, used at first and near the expected end.
    :param max_s: longest interval.
    """

    fixed_s: float | None = None
    min_s: float = 2.0
    max_s: float = 60.0

    def delay_s(self, age_s: float, expected_s: float | None = None) -> float:
        """Return the pause for a wait of this age: a tenth of it, within the bounds.

        :param expected_s: the age at which the end is expected; the nearer it is, the shorter the pause, but never
            shorter than a fiftieth of the age.
        """
        if self.fixed_s is not None:
            return self.fixed_s
        delay_s = age_s / 10
        if expected_s is not None:
            delay_s = min(delay_s, max(abs(expected_s - age_s) / 2, age_s / 50))
        return min(self.max_s, max(self.min_s, delay_s))


@dataclass(frozen=True)
class Patience:
    """What all waits have: what they wait for, how long, and how often they look.

    :param started_at: when the wait began, in seconds of the driver's clock.
    :param deadline_s: seconds after which the wait ends; errors meanwhile consume it too.
    :param may_appear: if the run does not exist, wait for it to be created.
    """

    env_name: str
    dag_id: str
    run_id: str
    started_at: float
    deadline_s: float
    interval: PollInterval = field(default=PollInterval(), kw_only=True)
    may_appear: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check the times: a wait must end, and must look."""
        check_seconds(self.started_at, "started_at")
        check_seconds(self.deadline_s, "deadline_s")
        if self.interval.fixed_s is not None:
            check_seconds(self.interval.fixed_s, "waiter_delay")

    def left_s(self, now: float) -> float:
        """Return the seconds until the deadline; negative after it."""
        return self.deadline_s - (now - self.started_at)

    def continue_or_time_out(
        self,
        what: str,
        note: str,
        now: float,
        *,
        run: DagRun | None = None,
        error: MwaaError | None = None,
        expected_s: float | None = None,
    ) -> Wait | Failed:
        """Continue, or end because the deadline has passed.

        :param what: what is waited for, for the error.
        :param note: what the last look saw.
        :param error: the error of the last look.
        """
        left_s = self.left_s(now)
        if left_s <= 0:
            last = f"the last look failed ({str(error).rstrip('.')})" if error else f"it is {note}"
            gave_up = WaitTimeout(
                f"Environment {self.env_name!r}: {what} did not end within {self.deadline_s:g} s; {last}. "
                "It continues there. Wait longer, or stop it.",
                env_name=self.env_name,
            )
            return Failed(gave_up, run)
        delay_s = self.interval.delay_s(now - self.started_at, expected_s)
        if error is not None and error.retry_after_s:
            delay_s = max(delay_s, error.retry_after_s)
        return Wait(min(delay_s, left_s), note)

    def wait_or_fail(self, error: DagRunNotFound, now: float) -> Wait | Failed:
        """End because the run no longer exists, or wait for it to appear."""
        if self.may_appear:
            return self.continue_or_time_out(f"run {self.run_id!r} of DAG {self.dag_id!r}", "not created yet", now)
        return Failed(
            DagRunNotFound(
                f"Environment {self.env_name!r}: run {self.run_id!r} of DAG {self.dag_id!r} is gone: it, or its DAG, "
                "was deleted while it was waited for, or the role may no longer see it. Trigger a new "
                "one.",
                env_name=self.env_name,
                status=error.status,
            )
        )


@dataclass(frozen=True)
class RunWait(Patience):
    """A wait for one remote DAG run.

    :param allowed_states: final states that end the wait with success.
    :param failed_states: states that end it with failure. Any other final state fails as well.
    """

    allowed_states: AbstractSet[DagRunState] = frozenset({DagRunState.SUCCESS})
    failed_states: AbstractSet[DagRunState] = frozenset({DagRunState.FAILED})

    @property
    def ends_early(self) -> bool:
        """Whether a state that is not final can end the wait, so that each look must return the exact state."""
        return not all(state.is_final for state in (*self.allowed_states, *self.failed_states))

    def step(self, seen: DagRun | MwaaError | None, now: float, expected_s: float | None = None) -> Step:
        """Return what one look means.

        :param seen: the run; ``None`` if it is only known that it has not ended; or the error of the look. After a
            transient error the wait continues within the deadline; any other error ends it.
        :param expected_s: the age of the wait at which the run's end is expected.
        """
        what = f"run {self.run_id!r} of DAG {self.dag_id!r}"
        if isinstance(seen, DagRun):
            if seen.state in self.allowed_states:
                return Done(seen)
            if seen.state in self.failed_states or seen.state.is_final:
                return Failed(_failure(self, seen), seen)
            return self.continue_or_time_out(what, seen.state.value, now, run=seen, expected_s=expected_s)
        if seen is None:
            return self.continue_or_time_out(what, "not finished", now, expected_s=expected_s)
        if isinstance(seen, DagRunNotFound):
            return self.wait_or_fail(seen, now)
        if not seen.transient:
            return Failed(seen)
        return self.continue_or_time_out(what, str(seen), now, error=seen)


def _failure(wait: RunWait, run: DagRun) -> MwaaError:
    return DagRunFailed(
        f"Environment {wait.env_name!r}: run {run.run_id!r} of DAG {run.dag_id!r} ended as {run.state.value}.",
        env_name=wait.env_name,
        dag_id=run.dag_id,
        run_id=run.run_id,
        state=run.state.value,
    )
