# SPDX-License-Identifier: Apache-2.0
"""Lengths of time as people write them: ``30d``, ``36h``, ``90m``, ``10s``, ``500ms``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click

__all__ = ["DURATION"]

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[wdhms])", re.IGNORECASE)


class _Duration(click.ParamType):  # type: ignore[type-arg]
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = _WRITTEN.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no length of time; write 30d, 36h, 90m, 10s or 500ms.", param, ctx)
        try:
            return timedelta(**{_UNITS[found[2].lower()]: float(found[1])})
        except OverflowError:
            self.fail(f"{value!r} is too long.", param, ctx)


DURATION = _Duration()
"""Type of an option that takes a length of time."""
