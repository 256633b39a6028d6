# SPDX-License-Identifier: Apache-2.0
"""Retries within a deadline: the error decides what may be repeated, the caller for how long.

The deadline of the call in progress is known to everything below it (:func:`time_left_s`), so that no time-out, no
wait for another thread and no nested retry exceeds it by more than one short attempt.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from airflow_mwaa_provider.exceptions import CallTimeout, MwaaError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

T = TypeVar("T")
log = logging.getLogger(__name__)

# An attempt that has begun gets this long even if the deadline is nearer: a mutating call that is interrupted leaves
# more doubt than a deadline that is exceeded by a few seconds.
MIN_ATTEMPT_S = 5.0

_at_most_s: ContextVar[float | None] = ContextVar("at_most_s", default=None)
_time_left: ContextVar[Callable[[], float] | None] = ContextVar("time_left", default=None)


@dataclass(frozen=True)
class RetryPolicy:
    """How long, and with which pauses, a call is repeated.

    :param deadline_s: seconds after which no new attempt begins, counted from the first one.
    :param first_delay_s: upper bound of the first pause; it doubles with every attempt. The pause itself is chosen at
        random between half of the bound and all of it.
    :param max_delay_s: upper bound of any pause that the service itself did not request.
    """

    deadline_s: float = 60.0
    first_delay_s: float = 0.5
    max_delay_s: float = 20.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    random: Callable[[], float] = field(default=random.random, repr=False)

    def pause_s(self, attempt_number: int) -> float:
        """Return a random pause after an attempt; the first attempt is number 1."""
        bound = min(self.max_delay_s, self.first_delay_s * 2.0 ** min(attempt_number - 1, 30))
        return bound * (0.5 + self.random() / 2)


def call_with_retries(
    attempt: Callable[[], T],
    policy: RetryPolicy,
    *,
    may_repeat: Callable[[MwaaError], bool] = lambda error: error.transient,
) -> T:
    """Call until it succeeds, fails permanently, or the deadline passes; then the last error is raised.

    Within another call's retries it is called once, and that call's deadline and retries apply.

    :param attempt: one attempt; only :class:`MwaaError` is ever retried.
    :param may_repeat: whether this error allows another attempt. After an error with ``retry_after_s`` the pause is
        at least that long; one that requires more time than is left is raised at once.
    """
    if _time_left.get() is not None:
        return attempt()
    started, bound_s = policy.clock(), _at_most_s.get()
    deadline_s = policy.deadline_s if bound_s is None else max(0.0, min(policy.deadline_s, bound_s))

    def left_s() -> float:
        return deadline_s - (policy.clock() - started)

    reset = _time_left.set(left_s)
    try:
        number = 0
        while True:
            number += 1
            try:
                return attempt()
            except MwaaError as error:
                left, asked_s = left_s(), error.retry_after_s or 0.0
                if left <= 0 or asked_s > left or not may_repeat(error):
                    raise
                pause_s = min(max(policy.pause_s(number), asked_s), left)
                log.info("attempt %s failed, next in %.1f s: %s", number, pause_s, error)
            policy.sleep(pause_s)
    finally:
        _time_left.reset(reset)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit the deadline of every call that is made inside to this many seconds."""
    reset = _at_most_s.set(seconds)
    try:
        yield
    finally:
        _at_most_s.reset(reset)


def time_left_s(at_most_s: float) -> float:
    """Limit a time-out to what the call in progress has left, but to no less than :data:`MIN_ATTEMPT_S`."""
    left_s = _time_left.get()
    return at_most_s if left_s is None else min(at_most_s, max(MIN_ATTEMPT_S, left_s()))


def is_overdue() -> bool:
    """Return whether the call in progress has exceeded its deadline by more than one short attempt."""
    left_s = _time_left.get()
    return left_s is not None and left_s() < -MIN_ATTEMPT_S


@contextlib.contextmanager
def held(lock: threading.Lock | threading.RLock, env_name: str, what: str) -> Iterator[None]:
    """Hold a lock around a call that many threads would otherwise make at the same time.

    :param what: what is done under it, for the error: ``"the login"``.
    :raises CallTimeout: the thread that holds it did not finish in time.
    """
    if not lock.acquire(timeout=time_left_s(60.0)):
        raise CallTimeout(
            f"Environment {env_name!r}: {what}, which another thread started, did not finish in time. Try again.",
            env_name=env_name,
            transient=True,
        )
    try:
        yield
    finally:
        lock.release()
