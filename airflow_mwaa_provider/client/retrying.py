# SPDX-License-Identifier: Apache-2.0
"""Retries within a deadline: what may be repeated is decided by the error, how long by the caller."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import tenacity

from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """How long, and how patiently, a call is tried again.

    :param deadline_s: seconds after which no new attempt begins, counted from the first one.
    :param first_delay_s: upper bound of the first pause; it doubles with every attempt, with full jitter.
    :param max_delay_s: upper bound of any pause that the service itself did not ask for.
    """

    deadline_s: float = 60.0
    first_delay_s: float = 0.5
    max_delay_s: float = 20.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    random: Callable[[], float] = field(default=random.random, repr=False)


def call_with_retries(
    attempt: Callable[[], T],
    policy: RetryPolicy,
    *,
    may_repeat: Callable[[MwaaError], bool] = lambda error: error.transient,
) -> T:
    """Call until it succeeds, fails for good, or the deadline passes; then the last error is raised.

    :param attempt: one attempt; only :class:`MwaaError` is ever retried.
    :param may_repeat: whether this error allows another attempt. An error with ``retry_after_s`` is waited for
        that long.
    """
    started = policy.clock()

    def left_s() -> float:
        return policy.deadline_s - (policy.clock() - started)

    def pause_s(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        bound = min(policy.max_delay_s, policy.first_delay_s * 2 ** (state.attempt_number - 1))
        pause = bound * (0.5 + policy.random() / 2)
        if isinstance(error, MwaaError) and error.retry_after_s is not None:
            pause = max(pause, error.retry_after_s)
        log.info("attempt %s failed, next in %.1f s: %s", state.attempt_number, pause, error)
        return float(max(0.0, min(pause, left_s())))

    retrying = tenacity.Retrying(
        sleep=policy.sleep,
        stop=lambda _: left_s() <= 0,
        wait=pause_s,
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, MwaaError) and may_repeat(error)),
        reraise=True,
    )
    return retrying(attempt)
