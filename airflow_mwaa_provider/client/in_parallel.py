# SPDX-License-Identifier: Apache-2.0
"""A few calls at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["AT_ONCE", "call_all"]

AT_ONCE = 4
"""MWAA runs as many CLI commands at once; of REST calls it takes about ten a second."""


def call_all(call: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Call for every item, a few at once, and give the results in order.

    When it raises, the first error in the order of the items, no call is still under way.
    """
    if len(items) == 1:
        return [call(items[0])]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            futures = [pool.submit(call, item) for item in items]
            wait(futures)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # interrupted: what has begun ends first
            raise
    return [future.result() for future in futures]
