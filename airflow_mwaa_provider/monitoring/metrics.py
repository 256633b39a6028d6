# SPDX-License-Identifier: Apache-2.0
"""Metrics in the form that CloudWatch takes, checked before anything is sent.

Source: the API reference of PutMetricData, MetricDatum, Dimension and StatisticSet (API version 2010-08-01).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from numbers import Real
from typing import Any

from airflow_mwaa_provider.exceptions import MwaaInputError

__all__ = ["UNITS", "Metric", "StatisticSet", "check_namespace", "metrics_of"]

_RATES = ("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits", "Kilobits", "Megabits", "Gigabits",
          "Terabits", "Count")  # fmt: skip
UNITS = ("Seconds", "Microseconds", "Milliseconds", *_RATES, "Percent", *(f"{each}/Second" for each in _RATES), "None")
"""CloudWatch's units."""

MAX_DIMENSIONS = 30
MAX_VALUES = 150
"""The different values in one entry of a request; a metric with more has several entries."""
MAX_MAGNITUDE = 2.0**360
OLDEST_S = 14 * 86_400.0
NEWEST_S = 2 * 3600.0
_NAMESPACE = re.compile(r"[A-Za-z0-9 ._/#:-]{1,255}")
_PRINTABLE = re.compile(r"[ -~]+")
_SECONDS = re.compile(r"\d+(\.\d*)?")
_SHOWN = 60


@dataclass(frozen=True)
class StatisticSet:
    """Many values summarized in four numbers, if the values themselves are no longer known."""

    sample_count: float
    sum: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Metric:
    """One or more numbers with a name, dimensions and a time.

    Set one of ``value``, ``values`` and ``statistics``.

    A number is a Python number, a ``Decimal``, a number of numpy or another library that converts to a float, or a
    string of one, as templates render it.

    :param name: up to 255 printable ASCII characters.
    :param value: a number with a magnitude of at most 2^360.
    :param unit: one of :data:`UNITS`; ``"None"`` for a number without one.
    :param dimensions: up to 30, none of them empty.
    :param timestamp: the time of the value: a datetime (Python or numpy; UTC if it has no time zone), an ISO 8601
        string, or seconds since 1970; at most two weeks ago and two hours ahead. ``None``: when it is sent.
    :param resolution_s: 60, or 1 for a high-resolution metric.
    :param values: several numbers of the same time: a list, an array, or a generator, which is read immediately.
    :param counts: how often each of ``values`` occurred; by default once.
    :param statistics: a summary of many values.
    """

    name: str
    value: float | None = None
    unit: str = "None"
    dimensions: Mapping[str, str] = field(default_factory=dict)
    timestamp: datetime | str | float | None = None
    resolution_s: int = 60
    values: Iterable[float] = ()
    counts: Iterable[float] = ()
    statistics: StatisticSet | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        # Read once, here: a generator is empty the second time, and an array has no truth value.
        for name in ("values", "counts"):
            object.__setattr__(self, name, _listed(getattr(self, name)))

    def entries(self, now_s: float | None = None) -> list[dict[str, Any]]:
        """Return the metric as entries of a request; more than one if it has more than 150 different values.

        :param now_s: the current time, in seconds since 1970.
        :raises MwaaInputError: CloudWatch would reject it; the message names the metric and the problem.
        """
        now_s = time.time() if now_s is None else now_s
        where = f"Metric {_shown(self.name)}"
        problem = _problem_of_text(self.name, 255)
        if problem:
            raise MwaaInputError(f"{where}: its name {problem}. Give up to 255 printable ASCII characters.")
        common: dict[str, Any] = {
            "MetricName": self.name,
            "Dimensions": self._dimensions(where),
            "Timestamp": self._timestamp(where, now_s),
            "Unit": self._unit(where),
            "StorageResolution": self._resolution(where),
        }
        return [{**common, **numbers} for numbers in self._numbers(where)]

    def _unit(self, where: str) -> str:
        if self.unit not in UNITS:
            known = {unit.lower(): unit for unit in UNITS}
            meant = known.get(str(self.unit).lower())
            advice = f"Write {meant!r}." if meant else f"Give one of {', '.join(UNITS)}."
            raise MwaaInputError(f"{where}: CloudWatch has no unit {_shown(self.unit)}. {advice}")
        return self.unit

    def _resolution(self, where: str) -> int:
        seconds = number_of(self.resolution_s, where, "resolution_s")
        if seconds not in (1, 60):
            raise MwaaInputError(f"{where}: resolution_s must be 1 or 60, not {_shown(self.resolution_s)}.")
        return int(seconds)

    def _dimensions(self, where: str) -> list[dict[str, str]]:
        if not isinstance(self.dimensions, Mapping):
            raise MwaaInputError(f"{where}: its dimensions must be a dict such as {{'Environment': 'prod'}}.")
        if len(self.dimensions) > MAX_DIMENSIONS:
            raise MwaaInputError(
                f"{where} has {len(self.dimensions)} dimensions, and CloudWatch accepts {MAX_DIMENSIONS}. Leave some "
                "out."
            )
        found = []
        for name, value in self.dimensions.items():
            problem = _problem_of_text(name, 255) or ("begins with a colon" if name.startswith(":") else "")
            if problem:
                raise MwaaInputError(f"{where}: the name of its dimension {_shown(name)} {problem}. Correct it.")
            problem = _problem_of_text(value, 1024)
            if problem or value == "None":
                problem = problem or "is the text 'None'"
                raise MwaaInputError(
                    f"{where}: the value of its dimension {name!r} {problem}. Give a value, or leave the dimension out."
                )
            found.append({"Name": name, "Value": value})
        return found

    def _timestamp(self, where: str, now_s: float) -> datetime:
        seconds = now_s if self.timestamp is None else _seconds(self.timestamp, where)
        if not now_s - OLDEST_S <= seconds <= now_s + NEWEST_S:
            raise MwaaInputError(
                f"{where}: its time {_shown(self.timestamp)} is more than two weeks ago or two hours ahead, which "
                "CloudWatch rejects. Check the clock, or leave it out."
            )
        return datetime.fromtimestamp(seconds, UTC)

    def _numbers(self, where: str) -> list[dict[str, Any]]:
        given = [name for name in ("value", "statistics") if getattr(self, name) is not None]
        if not _is_empty(self.values):
            given.append("values")
        if len(given) != 1:
            what = f"has {' and '.join(given)}" if given else "has no number"
            raise MwaaInputError(f"{where} {what}. Give one of value, values and statistics.")
        if not _is_empty(self.counts) and given != ["values"]:
            raise MwaaInputError(f"{where} has counts without values. Give both, or value alone.")
        if given == ["value"]:
            return [{"Value": number_of(self.value, where, "value")}]
        if given == ["statistics"]:
            return [{"StatisticValues": self._statistic_values(where)}]
        return self._counted_values(where)

    def _statistic_values(self, where: str) -> dict[str, float]:
        given = self.statistics
        names = [each.name for each in fields(StatisticSet)]
        if isinstance(given, Mapping):
            if set(given) != set(names):
                raise MwaaInputError(f"{where}: its statistics must have {', '.join(names)}, and nothing else.")
            given = StatisticSet(**given)
        if not isinstance(given, StatisticSet):
            raise MwaaInputError(f"{where}: its statistics must be a StatisticSet, or a dict of {', '.join(names)}.")
        count, total, low, high = (number_of(getattr(given, name), where, f"statistics: {name}") for name in names)
        # Apart from rounding, the mean is between the minimum and the maximum.
        slack = 1e-9 * max(abs(low), abs(high), abs(total))
        if count <= 0 or low > high or not low * count - slack * count <= total <= high * count + slack * count:
            raise MwaaInputError(
                f"{where}: its statistics contradict themselves (sample_count {count:g}, sum {total:g}, minimum "
                f"{low:g}, maximum {high:g}). Correct them."
            )
        return {"SampleCount": count, "Sum": total, "Minimum": low, "Maximum": high}

    def _counted_values(self, where: str) -> list[dict[str, Any]]:
        for name in ("values", "counts"):
            if not isinstance(getattr(self, name), tuple):
                raise MwaaInputError(f"{where}: its {name} must be a list of numbers.")
        numbers = [number_of(value, where, "values") for value in self.values]
        counts = [number_of(count, where, "counts") for count in self.counts] or [1.0] * len(numbers)
        if len(counts) != len(numbers):
            raise MwaaInputError(f"{where} has {len(numbers)} values and {len(counts)} counts. Give one for each.")
        if min(counts) <= 0:
            raise MwaaInputError(f"{where}: a count is {min(counts):g}. Each must be positive.")
        seen: dict[float, float] = {}
        for number, count in zip(numbers, counts, strict=True):
            seen[number] = seen.get(number, 0.0) + count
        different = list(seen.items())
        parts = [different[start : start + MAX_VALUES] for start in range(0, len(different), MAX_VALUES)]
        return [{"Values": [value for value, _ in part], "Counts": [count for _, count in part]} for part in parts]


def metrics_of(given: Any) -> list[Metric]:
    """Return metrics from a metric, a dict of its fields, or any iterable of these.

    :raises MwaaInputError: something is not a metric, or has an unknown field.
    """
    if isinstance(given, Metric | Mapping):
        given = [given]
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise MwaaInputError(f"metrics: {type(given).__name__} is not a list of metrics. Give Metric values, or dicts.")
    return [_metric(each, number) for number, each in enumerate(given, 1)]


def check_namespace(namespace: str) -> None:
    """Check a namespace.

    :raises MwaaInputError: CloudWatch would reject it.
    """
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace) or not namespace.strip():
        raise MwaaInputError(
            f"Namespace {_shown(namespace)}: a namespace has 1 to 255 letters, digits, spaces and . - _ / # : in it. "
            "Give another."
        )
    if namespace.startswith(":"):
        raise MwaaInputError(f"Namespace {namespace!r} begins with a colon, which CloudWatch rejects. Give another.")
    if namespace.lower().startswith("aws/"):
        raise MwaaInputError(f"Namespace {namespace!r}: namespaces that begin with AWS/ belong to AWS. Give another.")


def _metric(given: Any, number: int) -> Metric:
    if isinstance(given, Metric):
        return given
    if not isinstance(given, Mapping):
        raise MwaaInputError(
            f"Metric {number}: {type(given).__name__} is neither a Metric nor a dict. Give {{'name': …, 'value': …}}."
        )
    known = [each.name for each in fields(Metric)]
    unknown = [str(name) for name in given if name not in known]
    if unknown:
        raise MwaaInputError(f"Metric {number}: {', '.join(unknown)}: no such field. Fields are {', '.join(known)}.")
    if "name" not in given:
        raise MwaaInputError(f"Metric {number} has no name. Give one.")
    return Metric(**given)


def number_of(value: Any, where: str, what: str) -> float:
    """Return a number in the form that CloudWatch takes.

    :param where: the metric that has it, for the error.
    :param what: its field, such as ``"value"``.
    :raises MwaaInputError: it is not a number, or larger than CloudWatch accepts.
    """
    try:
        number = float(value) if isinstance(value, str) or _is_number(value) else None
    except OverflowError:
        number = math.inf
    except (ArithmeticError, RuntimeError, TypeError, ValueError):  # a string, or something with many numbers
        number = None
    if number is None:
        raise MwaaInputError(f"{where}: {what} {_shown(value)} is not a number. Give one.")
    if math.isnan(number):
        raise MwaaInputError(f"{where}: {what} is not a number (NaN). Leave the metric out.")
    if abs(number) > MAX_MAGNITUDE:
        raise MwaaInputError(f"{where}: {what} {number:g} is above 2^360, the largest that CloudWatch accepts.")
    return number


def _is_number(value: Any) -> bool:
    kind = _kind_of_array(value)
    if kind:  # numpy's durations would pass as integers, and its Booleans and arrays of one number as floats
        return kind in "iuf" and getattr(value, "ndim", None) == 0
    return not isinstance(value, bool) and (isinstance(value, Real) or hasattr(value, "__float__"))


def _kind_of_array(value: Any) -> str:
    """Return numpy's letter for the kind of a number or array; an empty string for anything else."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return kind if isinstance(kind, str) else ""


def _listed(given: Any) -> Any:
    """Return numbers as a tuple, and anything else unchanged."""
    if given is None:
        return ()
    if isinstance(given, str | bytes | Mapping):
        return given
    try:
        numbers = iter(given)
    except TypeError:
        return given
    return tuple(numbers)


def _is_empty(listed: Any) -> bool:
    return isinstance(listed, tuple) and not listed


def _seconds(moment: Any, where: str) -> float:
    if _kind_of_array(moment) == "M":
        moment = str(moment)
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            if not _SECONDS.fullmatch(moment.strip()):
                raise MwaaInputError(
                    f"{where}: its time {_shown(moment)} is not ISO 8601. Write 2026-11-30T12:00:00Z."
                ) from None
    if isinstance(moment, datetime):
        try:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (OverflowError, TypeError, ValueError):  # pandas has a datetime that is not a time
            raise MwaaInputError(
                f"{where}: its time {_shown(moment)} is not a time. Give one, or leave it out."
            ) from None
    return number_of(moment, where, "timestamp")


def _problem_of_text(text: Any, longest: int) -> str:
    """Return why CloudWatch would reject a name or value; an empty string if it would not."""
    if not isinstance(text, str):
        return f"is {_shown(text)}, not a string"
    if not text.strip():
        return "is empty"
    if len(text) > longest:
        return f"has {len(text)} characters, and CloudWatch accepts {longest}"
    if not _PRINTABLE.fullmatch(text):
        return "has characters that are not printable ASCII"
    return ""


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())  # that of an array has several lines
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
