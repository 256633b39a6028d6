# SPDX-License-Identifier: Apache-2.0
"""What the cache was asked, and what it asked Secrets Manager: counted by all processes of a container together."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import time
from typing import Any

__all__ = ["COUNTED", "Statistics", "read_statistics"]

COUNTED = ("hits", "negative_hits", "misses", "calls", "batch_calls", "stale", "errors", "not_cached")
"""Look-ups answered from the cache with a value, and with the absence of one; look-ups that were not; requests to AWS;
answers that were past their time to live; requests that failed; answers that could not be kept."""

_FORM = struct.Struct(f"<d{len(COUNTED)}Q")
_TRIES, _PAUSE_S = 100, 0.001
_DAY_S, _MOST = 86_400.0, 2**62
_METRICS = (
    "airflow.sdk._shared.observability.metrics.stats",
    "airflow._shared.observability.metrics.stats",
    "airflow.stats",
)
"""Airflow's metrics: of tasks since 3.2, of its other processes since 3.2, and before."""


class Statistics:
    """Counts, in a file that processes share, or in memory.

    :param folder: where the file is; ``None`` for memory.
    """

    def __init__(self, folder: str | None) -> None:
        self._path = None if folder is None else os.path.join(folder, "statistics")
        self._here: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self._since = time.time()

    def count(self, **more: int) -> None:
        """Add to the numbers. What cannot be counted is not: a look-up never fails for it."""
        for name, number in more.items():
            _tell_airflow(name, number)
        if self._path is None:
            for name, number in more.items():
                self._here[name] += number
            return
        with contextlib.suppress(OSError, struct.error):
            self._add(more)

    def _add(self, more: dict[str, int]) -> None:
        assert self._path is not None
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(self._path, flags, 0o600)
        try:
            if not _locked(file):
                return
            since, *numbers = _numbers(os.pread(file, _FORM.size, 0))
            for name, number in more.items():
                numbers[COUNTED.index(name)] += number
            os.pwrite(file, _FORM.pack(since, *numbers), 0)
        finally:
            # A process that was forked meanwhile has the file open too, and would keep the lock.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def read(self) -> dict[str, Any]:
        """Return the numbers, and ``since``, the time from which they are counted."""
        if self._path is None:
            return {"since": self._since, **self._here}
        return read_statistics(self._path)


def _locked(file: int) -> bool:
    """Lock a file, but do not wait for a process that was stopped in the middle."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False


def read_statistics(path: str) -> dict[str, Any]:
    """Return what a file has counted.

    :raises OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        since, *numbers = _numbers(file.read(_FORM.size))
    return {"since": since, **dict(zip(COUNTED, numbers, strict=True))}


def _numbers(data: bytes) -> tuple[Any, ...]:
    if len(data) == _FORM.size:
        since, *numbers = _FORM.unpack(data)
        if 0 <= since <= time.time() + _DAY_S and max(numbers) < _MOST:
            return (since, *numbers)
    return (time.time(), *(0 for _ in COUNTED))  # a new file, or a damaged one


def _tell_airflow(name: str, number: int) -> None:
    """Count it among Airflow's own metrics too, in processes that have these."""
    metrics = _metrics()
    if metrics is not None:
        metrics.incr(f"mwaa_secrets.{name}", number)


def _metrics() -> Any:
    """Return what takes the metrics of this process; ``None`` if nothing does.

    Since 3.2 Airflow has two copies of it. A process may have loaded both, and has told one of them where to send.
    """
    for name in _METRICS:
        module = sys.modules.get(name)
        found = module if hasattr(module, "_factory") else getattr(module, "Stats", None)
        if getattr(found, "_factory" if found is module else "factory", None) is not None:
            return found
    return None
