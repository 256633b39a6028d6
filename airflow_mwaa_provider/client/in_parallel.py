# SPDX-License-Identifier: Apache-2.0
"""A few calls at once."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["AT_ONCE", "call_all", "read_all"]

AT_ONCE = 4
"""MWAA runs this many CLI commands at once, and accepts about ten REST calls a second."""


def call_all(call: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Call for every item, a few at once, and return the results in order.

    It raises the first error in the order of the items, after all calls have ended.
    """
    if len(items) == 1:
        return [call(items[0])]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            futures = [pool.submit(call, item) for item in items]
            wait(futures)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # interrupted: calls that have begun end first
            raise
    return [future.result() for future in futures]


def read_all(call: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Make a reading call for every item, a few at once, and return the results in order.

    If it is interrupted, it ends at once and abandons the running calls.
    """
    futures = [Future[R]() for _ in items]
    left = iter(list(zip(items, futures, strict=True)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                item, future = next(left, (None, None))
            if future is None:
                return
            try:
                future.set_result(call(item))  # type: ignore[arg-type]
            except BaseException as error:  # noqa: BLE001 - raised where the result is read
                future.set_exception(error)

    for _ in range(min(AT_ONCE, len(items))):
        threading.Thread(target=work, daemon=True).start()
    return [future.result() for future in futures]
