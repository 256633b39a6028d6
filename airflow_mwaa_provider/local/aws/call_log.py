# SPDX-License-Identifier: Apache-2.0
"""A log of calls and their results, for tests that count requests and for the demo's summary.

It never contains a body, a token or a query string, because those may contain secrets.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

_KEPT = 1_000


@dataclass(frozen=True)
class Call:
    """One finished call."""

    at: str
    target: str
    """``create_cli_token``, ``cli``, ``login``, ``rest``, ``ui``, ``aws:s3`` …"""
    environment: str | None
    method: str
    path: str
    """The path without its query; for InvokeRestApi the path of Airflow's API."""
    status: int | None
    """None if a fault closed the connection."""
    milliseconds: float
    fault: str | None = None
    """The kind of fault that was injected into this call."""
    command: str | None = None
    """For ``cli``: the allowed command's words, without its arguments."""


class CallLog:
    """The last calls in full, and counters of all."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._calls: deque[Call] = deque(maxlen=kept)
        self._counts: Counter[tuple[str, str]] = Counter()

    def record(
        self,
        *,
        target: str,
        environment: str | None,
        method: str,
        path: str,
        status: int | None,
        seconds: float,
        fault: str | None = None,
        command: str | None = None,
    ) -> None:
        """Record one call."""
        self._counts[environment or "", target] += 1
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        milliseconds = round(seconds * 1000, 1)
        self._calls.append(Call(at, target, environment, method, path, status, milliseconds, fault, command))

    def clear(self) -> None:
        """Delete all calls and counts."""
        self._calls.clear()
        self._counts.clear()

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how often each target was called, by environment; ``""`` stands for no environment."""
        table: dict[str, dict[str, int]] = {}
        for (environment, target), count in sorted(self._counts.items()):
            table.setdefault(environment, {})[target] = count
        return table

    def last(self, limit: int | None = None, environment: str | None = None) -> list[dict[str, Any]]:
        """Return the last calls, oldest first."""
        calls = [call for call in self._calls if environment is None or call.environment == environment]
        return [asdict(call) for call in calls[-limit if limit else 0 :]]
