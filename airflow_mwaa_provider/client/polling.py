# SPDX-License-Identifier: Apache-2.0
"""The logic of a wait, without a clock, a thread or a network: pure steps for sync and deferred waits alike.

A driver looks at the remote run, hands what it saw to :meth:`RunWait.step`, and does what the step says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.client.models import DagRun, DagRunState
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
    """The run ended in a state that counts as success."""

    run: DagRun


@dataclass(frozen=True)
class Failed:
    """The wait is over without success. ``run`` is the last that was seen of the run."""

    error: MwaaError
    run: DagRun | None = None


Step = Wait | Done | Failed


@dataclass(frozen=True)
class PollInterval:
    """How often to look: a fixed pace, or one that slows down with the age of the wait.

    :param fixed_s: a fixed pace; ``None`` adapts.
    :param min_s: fastest pace, used at first.
    :param max_s: slowest pace.
    """

    fixed_s: float | None = None
    min_s: float = 2.0
    max_s: float = 60.0

    def delay_s(self, age_s: float) -> float:
        """Give the pause for a wait of this age: a tenth of it, within the bounds."""
        if self.fixed_s is not None:
            return self.fixed_s
        return min(self.max_s, max(self.min_s, age_s / 10))


@dataclass(frozen=True)
class RunWait:
    """A wait for one remote DAG run.

    :param allowed_states: final states that end the wait with success.
    :param failed_states: states that end it with failure. Any other final state fails as well.
    :param started_at: when the wait began, seconds of the driver's clock.
    :param deadline_s: seconds after which the wait gives up; errors on the way consume it too.
    """

    env_name: str
    dag_id: str
    run_id: str
    started_at: float
    deadline_s: float
    allowed_states: AbstractSet[DagRunState] = frozenset({DagRunState.SUCCESS})
    failed_states: AbstractSet[DagRunState] = frozenset({DagRunState.FAILED})
    interval: PollInterval = PollInterval()

    def left_s(self, now: float) -> float:
        """Give the seconds until the deadline; negative after it."""
        return self.deadline_s - (now - self.started_at)

    def step(self, seen: DagRun | MwaaError, now: float) -> Step:
        """Decide what one look means.

        :param seen: the run, or the error that the look ended with. A transient error is waited out within the
            deadline; any other ends the wait.
        """
        if isinstance(seen, DagRun):
            if seen.state in self.allowed_states:
                return Done(seen)
            if seen.state in self.failed_states or seen.state.is_final:
                return Failed(_failure(self, seen), seen)
        elif isinstance(seen, DagRunNotFound):
            return Failed(
                DagRunNotFound(
                    f"Environment {self.env_name!r}: run {self.run_id!r} of DAG {self.dag_id!r} is gone: it was "
                    "deleted while it was waited for.",
                    env_name=self.env_name,
                    status=seen.status,
                )
            )
        elif not seen.transient:
            return Failed(seen)
        left_s = self.left_s(now)
        if left_s <= 0:
            return Failed(self._timed_out(seen), seen if isinstance(seen, DagRun) else None)
        delay_s = self.interval.delay_s(now - self.started_at)
        note = seen.state.value if isinstance(seen, DagRun) else str(seen)
        if isinstance(seen, MwaaError) and seen.retry_after_s:
            delay_s = max(delay_s, seen.retry_after_s)
        return Wait(min(delay_s, left_s), note)

    def _timed_out(self, seen: DagRun | MwaaError) -> WaitTimeout:
        last = f"it is {seen.state.value}" if isinstance(seen, DagRun) else f"the last look failed: {seen}"
        return WaitTimeout(
            f"Environment {self.env_name!r}: run {self.run_id!r} of DAG {self.dag_id!r} did not end within "
            f"{self.deadline_s:g} s; {last}. It goes on there; wait longer, or stop it.",
            env_name=self.env_name,
        )


def _failure(wait: RunWait, run: DagRun) -> MwaaError:
    return DagRunFailed(
        f"Environment {wait.env_name!r}: run {run.run_id!r} of DAG {run.dag_id!r} ended as {run.state.value}.",
        env_name=wait.env_name,
        dag_id=run.dag_id,
        run_id=run.run_id,
        state=run.state.value,
    )
