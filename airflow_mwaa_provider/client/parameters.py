# SPDX-License-Identifier: Apache-2.0
"""Read what users write: states, dates, versions. Each error names the parameter and the values that it accepts."""

from __future__ import annotations

import contextlib
import math
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.states import DagRunState, TaskState, TransportName
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "check_bucket",
    "check_database_timeout",
    "check_duration",
    "check_positive",
    "check_seconds",
    "check_transport",
    "flag",
    "major_version",
    "names",
    "number",
    "parse_datetime",
    "run_states",
    "task_states",
]


_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:[^\s]+", re.ASCII)
_LEAST_OF_DATABASE, _MOST_OF_DATABASE = timedelta(milliseconds=1), timedelta(days=24)


def run_states(names: Collection[str] | str | None, parameter: str) -> frozenset[DagRunState]:
    """Read states of a DAG run; return the empty set for ``None``."""
    return _states(DagRunState, names, parameter)


def task_states(names: Collection[str] | str | None, parameter: str) -> frozenset[TaskState]:
    """Read states of a task; return the empty set for ``None``."""
    return _states(TaskState, names, parameter)


def _states(kind: Any, names: Collection[str] | str | None, parameter: str) -> frozenset[Any]:
    if isinstance(names, str) and not isinstance(names, kind):
        raise MwaaInputError(f"{parameter}={names!r} is a string. Give a list: [{names!r}].")
    try:
        return frozenset(kind(str(getattr(name, "value", name))) for name in names or ())
    except ValueError as error:
        known = ", ".join(state.value for state in kind)
        raise MwaaInputError(f"{parameter}: {error}. The states are {known}.") from error


def major_version(version: object) -> int | None:
    """Read ``airflow_version``, in any of its forms: ``3``, ``"3"`` and ``"3.0.6"``."""
    if version is None:
        return None
    major = str(version).partition(".")[0].strip()
    if major not in ("2", "3"):
        raise MwaaInputError(
            f"airflow_version={version!r} is neither 2 nor 3. Leave it out to determine it automatically."
        )
    return int(major)


def parse_datetime(value: str | datetime | None, parameter: str) -> datetime | None:
    """Read a date with a time zone; return ``None`` for an empty string."""
    if value is None or value == "":
        return None
    try:
        read = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError as error:
        raise MwaaInputError(
            f"{parameter}={value!r} is not an ISO 8601 date. Write it as 2026-01-31T00:00:00+00:00."
        ) from error
    if read.tzinfo is None:
        raise MwaaInputError(f"{parameter}={value!r} has no time zone. Write 2026-01-31T00:00:00+00:00.")
    return read


def check_transport(transport: str | None) -> None:
    """Check the name of a transport."""
    if transport is not None and transport not in TransportName.__members__.values():
        known = ", ".join(repr(name.value) for name in TransportName)
        raise MwaaInputError(f"transport={transport!r} is none of {known}.")


def check_duration(value: object, parameter: str, unit: str = "seconds", *, or_zero: bool = False) -> None:
    """Check that a value is a positive ``timedelta``.

    :param unit: its usual unit, for the example in the error.
    :param or_zero: also accept 0.
    """
    if not isinstance(value, timedelta):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        example = value if is_number else {"seconds": 600, "hours": 1, "days": 30}[unit]
        raise MwaaInputError(f"{parameter}={value!r} is not a timedelta. Write timedelta({unit}={example}).")
    if value < timedelta(0) or (value == timedelta(0) and not or_zero):
        least = "0 or more" if or_zero else "more than 0"
        raise MwaaInputError(f"{parameter}={value} must be {least}.")


def check_database_timeout(value: object, parameter: str) -> None:
    """Check a limit for PostgreSQL, to which less than 1 ms means no limit, and more than 24 days is invalid."""
    check_duration(value, parameter)
    if isinstance(value, timedelta) and not _LEAST_OF_DATABASE <= value <= _MOST_OF_DATABASE:
        raise MwaaInputError(f"{parameter}={value} is out of the database's range. Give 1 millisecond to 24 days.")


def check_seconds(value: object, parameter: str) -> None:
    """Check that a value is a finite number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise MwaaInputError(f"{parameter}={value!r} must be a number of seconds, 0 or more.")


def check_bucket(value: object, parameter: str = "bucket") -> None:
    """Check that a value can be a bucket's name, or the ARN of an access point."""
    if not isinstance(value, str) or not _BUCKET.fullmatch(value):
        raise MwaaInputError(
            f"{parameter}={value!r} is not a bucket name. Give the name alone, without s3://, and the path in it as "
            "prefix."
        )


def check_positive(value: object, parameter: str) -> None:
    """Check that a value is a finite positive number, or ``None``."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and math.isfinite(value) and value > 0):  # type: ignore[arg-type,operator]
        raise MwaaInputError(f"{parameter}={value!r} must be a positive number.")


def number(value: Any, parameter: str, *, or_zero: bool = False) -> float | None:
    """Read a finite positive number, which may be a string, or a ``timedelta`` as seconds.

    :param or_zero: also accept 0.
    :return: ``None`` for ``None``.
    """
    read = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(read, str):
        with contextlib.suppress(ValueError):
            read = float(read)
    if or_zero and isinstance(read, int | float) and not isinstance(read, bool) and read == 0:
        return 0.0
    try:
        check_positive(read, parameter)
    except MwaaInputError:
        raise MwaaInputError(
            f"{parameter}={value!r} must be {'a number, 0 or more' if or_zero else 'a positive number'}."
        ) from None
    return None if read is None else float(read)


def flag(value: object, parameter: str) -> bool:
    """Read a truth value, which may be a string."""
    if isinstance(value, str):
        if value.strip().lower() not in ("true", "false", "1", "0"):
            raise MwaaInputError(f"{parameter}={value!r} is neither True nor False.")
        return value.strip().lower() in ("true", "1")
    return bool(value)


def names(value: Any, parameter: str, *, example: str = "['dag_run', 'task_instance']") -> list[str] | None:
    """Read a list of names; return ``None`` for ``None``."""
    if value is None:
        return None
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise MwaaInputError(f"{parameter}={value!r} is not a list of names. Give {example}.")
    return [str(name) for name in value]
