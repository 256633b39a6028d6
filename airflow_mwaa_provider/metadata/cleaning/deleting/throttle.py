# SPDX-License-Identifier: Apache-2.0
"""Pause a cleanup while the environment is under load."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.catalog.schema import Schema

__all__ = ["Load", "Throttle"]

_EVERY_S = 2.0
_FIRST_PAUSE_S = 0.5
# Airflow calls a scheduler unhealthy after 30 s. One without a heartbeat for minutes has died, or was stopped.
_LATE_S, _DEAD_S = 30.0, 300.0
_WAITING = 3
_LAG_S = 30.0


@dataclass(frozen=True)
class Load:
    """The load of the environment.

    :param heartbeat_s: age of the scheduler's last heartbeat; ``None`` if no scheduler is running.
    :param waiting: sessions that wait for locks.
    :param blocked_by_us: those of them that wait for a lock of a cleanup.
    :param lag_s: how far replicas lag behind, if the user may see that.
    """

    heartbeat_s: float | None = None
    waiting: int = 0
    blocked_by_us: int = 0
    lag_s: float | None = None

    @property
    def overload_reason(self) -> str | None:
        """Why the environment is overloaded, with figures; ``None`` if it is not."""
        return self._words()[0]

    @property
    def overload_kind(self) -> str | None:
        """Why the environment is overloaded, without figures, so that pauses can be added up."""
        return self._words()[1]

    def _words(self) -> tuple[str, str] | tuple[None, None]:
        if self.heartbeat_s is not None and _LATE_S < self.heartbeat_s < _DEAD_S:
            why = f"the scheduler's heartbeat was late; after {_DEAD_S / 60:.0f} minutes it counts as stopped"
            return f"the scheduler's last heartbeat is {self.heartbeat_s:.0f} s old", why
        if self.blocked_by_us:
            words = "wait for rows that were about to be deleted"
            return f"{self.blocked_by_us} sessions {words}", "sessions waited for rows that were about to be deleted"
        if self.waiting >= _WAITING:
            return f"{self.waiting} sessions wait for locks", "sessions waited for locks"
        if self.lag_s is not None and self.lag_s > _LAG_S:
            return f"a replica lags behind by {self.lag_s:.0f} s", "a replica lagged behind"
        return None, None


class Throttle:
    """Check the load of the environment between transactions.

    :param ask: runs a query.
    :param notify: called when a pause begins.
    :param max_pause_s: the longest pause before the next transaction is tried anyway; 0: never pause.

    ``paused_s`` is the sum of all pauses, and ``paused_why`` the reasons, with the seconds for each.
    """

    def __init__(
        self,
        schema: Schema,
        ask: Callable[[str, str], list[tuple[Any, ...]]],
        notify: Callable[[str], None],
        *,
        max_pause_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._max_pause_s = max_pause_s
        self._sql = _LOAD.format(job=schema.qualified("job"))
        self._ask = ask
        self._notify = notify
        self._clock = clock
        self._sleep = sleep
        self._looked = float("-inf")
        self.paused_s = 0.0
        self.paused_why: dict[str, float] = {}

    def look(self) -> Load:
        """Return the current load."""
        [(heartbeat, waiting, blocked, lag)] = self._ask(self._sql, "checking the load of the environment")
        return Load(
            float(heartbeat) if heartbeat is not None else None,
            waiting,
            blocked,
            float(lag) if lag is not None else None,
        )

    def pause_if_overloaded(self, should_continue: Callable[[], bool]) -> None:
        """Pause while the environment is overloaded, for the longest pause at most."""
        if self._clock() - self._looked < _EVERY_S or not self._max_pause_s:
            return
        began, pause = self._clock(), _FIRST_PAUSE_S
        reason: str | None = None
        while (load := self.look()).overload_reason is not None and should_continue():
            if reason is None:
                self._notify(f"Pausing for up to {self._max_pause_s:.0f} s: {load.overload_reason}")
            reason = load.overload_kind
            left = self._max_pause_s - (self._clock() - began)
            if left <= 0:
                break
            self._sleep(min(pause, left))
            pause = min(pause * 2, 5.0)
        self._looked = self._clock()
        if reason is not None:
            paused_s = self._looked - began
            self.paused_s += paused_s
            self.paused_why[reason] = self.paused_why.get(reason, 0.0) + paused_s


_LOAD = """
SELECT (SELECT extract(epoch FROM now() - max(latest_heartbeat)) FROM {job}
        WHERE job_type = 'SchedulerJob' AND state = 'running'),
       count(*) FILTER (WHERE wait_event_type = 'Lock' AND wait_event <> 'advisory'),
       count(*) FILTER (WHERE wait_event_type = 'Lock' AND wait_event <> 'advisory' AND EXISTS (
           SELECT 1 FROM unnest(pg_blocking_pids(pid)) b(pid) JOIN pg_stat_activity o ON o.pid = b.pid
           WHERE o.application_name LIKE 'airflow-mwaa cleanup%')),
       (SELECT extract(epoch FROM max(replay_lag)) FROM pg_stat_replication)
FROM pg_stat_activity WHERE datname = current_database()
"""
