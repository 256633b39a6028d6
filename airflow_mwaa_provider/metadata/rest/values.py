# SPDX-License-Identifier: Apache-2.0
"""Values of JSON answers as text, exactly as PostgreSQL's COPY writes the same values.

Source: ``CopyAttributeOutCSV``, ``timestamptz_out`` and ``float8out`` of PostgreSQL 18, with the settings of an export
(UTC, ISO dates, shortest floats); a test compares them with a server. Floats over 2**53, which no duration reaches,
may have one more digit there, for the same number.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["EARLIEST_US", "LATEST_US", "csv_line", "micros", "parse_datetime", "text_of", "written_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
EARLIEST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
LATEST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND + 1
"""Both in microseconds since 1970: the first that Airflow can represent, and the first that it cannot."""

_NEEDS_QUOTES = re.compile(r'[",\r\n]')
# float8out's own limits for digits without an exponent.
_FIXED_FROM, _FIXED_TO = -4, 15


def parse_datetime(text: Any) -> datetime | None:
    """Parse a point in time as the API writes it.

    :raises ValueError: it is not a time, or has no time zone.
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError("no text")
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("no time zone")
    return found.astimezone(UTC)


def micros(time: datetime) -> int:
    """Return the microseconds since 1970, without the loss of a float."""
    return (time - _EPOCH) // _MICROSECOND


def written_time(time_us: int) -> str:
    """Write microseconds since 1970 for a filter of the API; with a Z, because a URL could change a +."""
    return (_EPOCH + time_us * _MICROSECOND).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def text_of(kind: str) -> Callable[[Any], str]:
    """Return a function that writes a value, not ``None``, of a PostgreSQL type.

    The function raises ValueError for a value of another type.
    """
    return _WRITERS.get(kind, _text)


def csv_line(values: Sequence[str | None]) -> bytes:
    r"""Write a row: NULL as nothing, quotes only if they are required, and around ``""`` and a lone ``\.``."""
    if len(values) == 1 and values[0] == r"\.":
        return b'"\\."\n'
    return (",".join(["" if value is None else _quoted(value) for value in values]) + "\n").encode()


def _quoted(value: str) -> str:
    if value and not _NEEDS_QUOTES.search(value):
        return value
    return '"' + value.replace('"', '""') + '"'


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _timestamptz(value: Any) -> str:
    time = parse_datetime(value)
    assert time is not None  # NULL is never written
    return _plain_time(time) + "+00"


def _plain_time(time: datetime) -> str:
    text = time.replace(tzinfo=None).isoformat(" ")
    return text.rstrip("0") if time.microsecond else text


def _integer(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("no integer")
    return str(value)


def _boolean(value: Any) -> str:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return "true" if value else "false"


def _float(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    value = float(value)
    if not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return f"{sign}0"
    # Python and PostgreSQL find the same shortest digits, and differ in where they begin to write an exponent.
    mantissa, _, power = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) + (len(whole) - 1 if whole != "0" else -1 - (len(fraction) - len(fraction.lstrip("0"))))
    digits = digits.rstrip("0") or "0"
    if not _FIXED_FROM <= exponent < _FIXED_TO:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    digits = digits.ljust(exponent + 1, "0")
    tail = f".{digits[exponent + 1 :]}" if len(digits) > exponent + 1 else ""
    return f"{sign}{digits[: exponent + 1]}{tail}"


_WRITERS: dict[str, Callable[[Any], str]] = {
    "timestamptz": _timestamptz,
    "int4": _integer,
    "bool": _boolean,
    "float8": _float,
}
