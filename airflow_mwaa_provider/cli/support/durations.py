# SPDX-License-Identifier: Apache-2.0
"""Durations as people write them, in every command: ``30d``, ``1h30m``, ``90m``, ``10s``, ``500ms``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click

__all__ = ["DURATION", "WAIT_TIME", "duration_text"]

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}
# Each unit once, from the longest to the shortest.
_WRITTEN = re.compile(
    "".join(rf"(?:(?P<{name}>\d+(?:\.\d+)?)\s*{unit}\s*)?" for unit, name in _UNITS.items()), re.ASCII | re.IGNORECASE
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


class _Duration(click.ParamType):  # type: ignore[type-arg]
    """A duration.

    :param is_wait: it must be positive, and a number without a unit means seconds.
    """

    name = "duration"

    def __init__(self, *, is_wait: bool) -> None:
        self._is_wait = is_wait

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        text = str(value).strip()
        is_bare = _NUMBER.fullmatch(text) is not None
        if is_bare and not self._is_wait:
            examples = f"{text}d for days, {text}h for hours or {text}m for minutes"
            self.fail(f"{value!r} has no unit; write {examples}.", param, ctx)
        found = _WRITTEN.fullmatch(f"{text}s" if is_bare else text)
        parts = {name: float(number) for name, number in found.groupdict().items() if number} if found else {}
        try:
            read = timedelta(**parts)
        except OverflowError:
            self.fail(f"{value!r} is too long.", param, ctx)
        if self._is_wait and not read:
            self.fail(f"{value!r} is not a positive duration; write 45s, 30m or 1h30m.", param, ctx)
        if not parts:
            self.fail(f"{value!r} is not a duration; write 30d, 1h30m, 90m, 10s or 500ms.", param, ctx)
        return read


def duration_text(seconds: float) -> str:
    """Format a duration in its two largest units: ``2h05m``, ``5m09s``, ``9s``."""
    minutes, rest = divmod(int(seconds), 60)
    return (
        f"{minutes // 60}h{minutes % 60:02}m" if minutes >= 60 else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
    )


DURATION = _Duration(is_wait=False)
"""Type of an option that takes a duration."""
WAIT_TIME = _Duration(is_wait=True)
"""Type of an option for how long to wait."""
