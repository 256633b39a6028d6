# SPDX-License-Identifier: Apache-2.0
"""Reject metrics, alarms and dashboards that CloudWatch rejects and moto accepts.

The limits are those that CloudWatch publishes. Messages are worded like the service's if users have quoted them in
public; a code that nobody has quoted is the service's general one for the operation, and unproven.

Source: the API reference of PutMetricData, MetricDatum, Dimension, PutMetricAlarm and PutDashboard (2026), which is the
documentation in botocore's service model.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.aws.aws_errors import AwsError
from airflow_mwaa_provider.local.aws.cloudwatch_requests import ANY_REQUEST_MAX_BYTES, CloudWatchError, service_model
from airflow_mwaa_provider.local.aws.dashboard_checks import check_dashboard
from airflow_mwaa_provider.local.aws.validation import validate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mwaa_provider.local.aws.cloudwatch_requests import CloudWatchRequest

REQUEST_MAX_BYTES = 1_048_576
"""1 MB, before compression."""
_MAX_BYTES = {"PutMetricData": REQUEST_MAX_BYTES}
METRICS_MAX = 1_000
DIMENSIONS_MAX = 30
VALUES_MAX = 150
NAME_MAX = 255
DIMENSION_VALUE_MAX = 1_024
VALUE_MAX = 2.0**360
OLDEST = timedelta(days=14)
NEWEST = timedelta(hours=2)
_STATISTICS = ("SampleCount", "Sum", "Minimum", "Maximum")
_RESOLUTIONS = (1, 60)

_SHORT_PERIODS = (10, 20, 30)
_DAY_S, _WEEK_S, _HOUR_S = 86_400, 604_800, 3_600
_BAND_OPERATORS = ("LessThanLowerOrGreaterThanUpperThreshold", "LessThanLowerThreshold", "GreaterThanUpperThreshold")
_MISSING_DATA = ("breaching", "notBreaching", "ignore", "missing")
_OF_ONE_METRIC = ("Namespace", "MetricName", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic")
_ACTIONS = ("AlarmActions", "OKActions", "InsufficientDataActions")
_ACTION = re.compile(
    r"arn:aws[a-z-]*:(?:"
    r"automate:[a-z0-9-]+:ec2:(?:stop|terminate|reboot|recover)"
    r"|swf:[a-z0-9-]+:\d{12}:action/actions/AWS_EC2\.InstanceId\.(?:Stop|Terminate|Reboot|Recover)/1\.0"
    r"|autoscaling:[a-z0-9-]+:\d{12}:scalingPolicy:.+"
    r"|lambda:[a-z0-9-]+:\d{12}:function:.+"
    r"|sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]+"
    r"|ssm:[a-z0-9-]+:\d{12}:opsitem:[1-4](?:#CATEGORY=\w+)?"
    r"|ssm-incidents::\d{12}:response-?plan/.+"
    r"|aiops:[a-z0-9-]+:\d{12}:investigation-group/.+"
    r")"
)
_QUERY_ID = re.compile("^[a-z][a-zA-Z0-9_]*$")
_NUMBER = r"\d+(?:\.\d+)?"
_BOUND = rf"(?:-?{_NUMBER})?"
_EXTENDED_STATISTIC = re.compile(
    rf"(?:p|tm|tc|ts|wm){_NUMBER}|IQM|PR\({_BOUND}:{_BOUND}\)|(?:TC|TM|TS|WM)\({_BOUND}%?:{_BOUND}%?\)"
)


def check(request: CloudWatchRequest, now: datetime | None = None) -> None:
    """Reject what CloudWatch would reject.

    :param now: the time that decides which metrics are too old or too new.
    :raises CloudWatchError: has the service's code.
    """
    size_bytes, max_bytes = len(request.content), _MAX_BYTES.get(request.operation, ANY_REQUEST_MAX_BYTES)
    if size_bytes > max_bytes:
        text = f"Request size {size_bytes} exceeded {max_bytes} bytes"
        raise CloudWatchError("RequestEntityTooLarge", text, status=413)
    if request.operation == "PutMetricData":
        check_metric_data(request.members, now or datetime.now(UTC))
    elif request.operation == "PutMetricAlarm":
        check_metric_alarm(request.members)
    elif request.operation == "PutDashboard":
        check_dashboard(request.members)


def check_metric_data(members: Mapping[str, Any], now: datetime) -> None:
    """Check a call of PutMetricData.

    :raises CloudWatchError: for the first wrong metric; nothing is stored.
    """
    namespace = members.get("Namespace")
    if not namespace:
        raise _missing("The parameter Namespace is required.")
    if not _is_name(namespace) or namespace.startswith((":", "AWS/")):
        raise _invalid(f"The value {namespace[:NAME_MAX]} for parameter Namespace is invalid.")
    groups = [("MetricData", members.get("MetricData", []))]
    for number, entity in enumerate(members.get("EntityMetricData", []), start=1):
        groups.append((f"EntityMetricData.member.{number}.MetricData", entity.get("MetricData", [])))
    if not any(metrics for _, metrics in groups):
        raise _missing("The parameter MetricData is required.")
    if sum(len(metrics) for _, metrics in groups) > METRICS_MAX:
        raise _invalid(f"The collection MetricData must not have a size greater than {METRICS_MAX}.")
    standard_unit: Any = service_model().shape_for("StandardUnit")
    for name, metrics in groups:
        for number, metric in enumerate(metrics, start=1):
            _check_metric(metric, f"{name}.member.{number}", standard_unit.enum, now)


def _check_metric(metric: Mapping[str, Any], at: str, units: Sequence[str], now: datetime) -> None:
    _check_text(metric.get("MetricName"), f"{at}.MetricName", NAME_MAX)
    dimensions = metric.get("Dimensions", [])
    if len(dimensions) > DIMENSIONS_MAX:
        raise _invalid(f"The collection {at}.Dimensions must not have a size greater than {DIMENSIONS_MAX}.")
    for number, dimension in enumerate(dimensions, start=1):
        name = dimension.get("Name")
        _check_text(name, f"{at}.Dimensions.member.{number}.Name", NAME_MAX)
        if name.startswith(":"):
            raise _invalid(f"The value {name} for parameter {at}.Dimensions.member.{number}.Name is invalid.")
        _check_text(dimension.get("Value"), f"{at}.Dimensions.member.{number}.Value", DIMENSION_VALUE_MAX)
    unit = metric.get("Unit")
    if unit is not None and unit not in units:
        raise _invalid(f"The parameter {at}.Unit must be a value in the set [ {', '.join(units)} ].")
    if metric.get("StorageResolution", 60) not in _RESOLUTIONS:
        raise _invalid(f"The value {metric['StorageResolution']} for parameter {at}.StorageResolution is invalid.")
    _check_timestamp(metric.get("Timestamp"), f"{at}.Timestamp", now)
    _check_values(metric, at)


def _check_text(text: str | None, at: str, longest: int) -> None:
    if text is None:
        raise _missing(f"The parameter {at} is required.")
    if len(text) > longest:
        raise _invalid(f"The parameter {at} must be shorter than {longest + 1} characters.")
    if not text.isascii():
        raise _invalid(f"The value for parameter {at} contains non-ASCII characters.")
    if not _is_name(text):
        raise _invalid(f"The value for parameter {at} contains control characters, or nothing but white space.")


def _is_name(text: str) -> bool:
    return text.isascii() and text.isprintable() and bool(text.strip()) and len(text) <= DIMENSION_VALUE_MAX


def _check_timestamp(moment: datetime | None, at: str, now: datetime) -> None:
    if moment is None:
        return
    if moment < now - OLDEST:
        raise _invalid(f"The parameter {at} must specify a time no more than two weeks in the past.")
    if moment > now + NEWEST:
        raise _invalid(f"The parameter {at} must specify a time no more than two hours in the future.")


def _check_values(metric: Mapping[str, Any], at: str) -> None:
    given = [name for name in ("Value", "Values", "StatisticValues") if name in metric]
    if not given:
        raise _missing(f"One of the parameters {at}.Value, {at}.Values and {at}.StatisticValues is required.")
    if len(given) > 1:
        first, second = (f"{at}.{name}" for name in given[:2])
        text = f"The parameters {first} and {second} are mutually exclusive and you have specified both."
        raise CloudWatchError("InvalidParameterCombination", text)
    if given == ["Value"]:
        _check_number(metric["Value"], f"{at}.Value")
    elif given == ["StatisticValues"]:
        statistics = metric["StatisticValues"]
        for name in _STATISTICS:
            if name not in statistics:
                raise _missing(f"The parameter {at}.StatisticValues.{name} is required.")
            _check_number(statistics[name], f"{at}.StatisticValues.{name}")
        if statistics["Minimum"] > statistics["Maximum"]:
            text = f"The parameter {at}.StatisticValues.Maximum must be greater than or equal to the Minimum."
            raise _invalid(text)
        if statistics["SampleCount"] < 0:
            raise _invalid(f"The parameter {at}.StatisticValues.SampleCount must not be negative.")
    else:
        _check_series(metric["Values"], metric.get("Counts"), at)
    if "Counts" in metric and "Values" not in metric:
        text = f"The parameter {at}.Counts must be specified together with {at}.Values."
        raise CloudWatchError("InvalidParameterCombination", text)


def _check_series(values: Sequence[float], counts: Sequence[float] | None, at: str) -> None:
    if not values:
        raise _missing(f"The parameter {at}.Values is required.")
    if len(values) > VALUES_MAX:
        raise _invalid(f"The collection {at}.Values must not have a size greater than {VALUES_MAX}.")
    if counts is not None and len(counts) != len(values):
        raise _invalid(f"The parameters {at}.Values and {at}.Counts must be of the same size.")
    for number, value in enumerate(values, start=1):
        _check_number(value, f"{at}.Values.member.{number}")
    for number, count in enumerate(counts or [], start=1):
        _check_number(count, f"{at}.Counts.member.{number}")
        if count < 0:
            raise _invalid(f"The value {count:g} for parameter {at}.Counts.member.{number} is invalid.")


def _check_number(value: float, at: str) -> None:
    if not math.isfinite(value) or abs(value) > VALUE_MAX:
        raise _invalid(f"The value {value} for parameter {at} is invalid.")


def check_metric_alarm(members: Mapping[str, Any]) -> None:
    """Check a call of PutMetricAlarm.

    :raises CloudWatchError: ValidationError, for what the model or its documentation forbids.
    """
    shape = service_model().operation_model("PutMetricAlarm").input_shape
    assert shape is not None
    try:
        validate(shape, members, {})
    except AwsError as error:
        raise CloudWatchError("ValidationError", error.message) from error
    if any(not character.isprintable() for character in members["AlarmName"] if character.isascii()):
        raise _alarm_fault("AlarmName can't contain control characters")
    for actions in _ACTIONS:
        for action in members.get(actions, []):
            if not _ACTION.fullmatch(action):
                raise _alarm_fault(f"Invalid arn syntax: {action}")
    if "EvaluationCriteria" in members:
        return  # PromQL: it contains everything
    if "Metrics" in members:
        _check_queries(members)
    else:
        _check_one_metric(members)
    _check_threshold(members)
    periods, points = members.get("EvaluationPeriods"), members.get("DatapointsToAlarm")
    if periods is None:
        raise _alarm_fault("The parameter EvaluationPeriods is required")
    if points is not None and points > periods:
        raise _alarm_fault("DatapointsToAlarm must be less than or equal to EvaluationPeriods")
    for period in _periods(members):
        longest = _DAY_S if period < _HOUR_S else _WEEK_S
        if period * periods > longest:
            raise _alarm_fault(f"Metrics cannot be checked across more than {longest} seconds")
    if members.get("TreatMissingData", "missing") not in _MISSING_DATA:
        raise _alarm_fault(f"TreatMissingData must be one of {', '.join(_MISSING_DATA)}")


def _check_one_metric(members: Mapping[str, Any]) -> None:
    if "MetricName" not in members:
        raise _alarm_fault("Exactly one of MetricName, Metrics and EvaluationCriteria must be specified")
    if not members["MetricName"].isascii():
        raise _alarm_fault("MetricName must not contain Non-ASCII characters")
    for name in ("Namespace", "Period"):
        if name not in members:
            raise _alarm_fault(f"The parameter {name} is required for an alarm of a metric")
    if ("Statistic" in members) == ("ExtendedStatistic" in members):
        raise _alarm_fault("Exactly one of Statistic and ExtendedStatistic must be specified")
    extended = members.get("ExtendedStatistic")
    if extended is not None and not _EXTENDED_STATISTIC.fullmatch(extended):
        raise _alarm_fault(f"The value {extended} for parameter ExtendedStatistic is not supported.")
    _check_period(members["Period"])


def _check_queries(members: Mapping[str, Any]) -> None:
    both = [name for name in _OF_ONE_METRIC if name in members]
    if both:
        raise _alarm_fault(f"{', '.join(both)} must not be specified together with Metrics")
    queries = members["Metrics"]
    returned = [query for query in queries if query.get("ReturnData", True)]
    if "ThresholdMetricId" not in members and len(returned) != 1:
        raise _alarm_fault("Exactly one element of the metrics list should return data.")
    ids = [query["Id"] for query in queries]
    if len(set(ids)) < len(ids):
        raise _alarm_fault("Metrics: each Id must be unique")
    for query in queries:
        if not _QUERY_ID.fullmatch(query["Id"]):
            text = f"The value {query['Id']} for parameter Id is not matching the expected pattern {_QUERY_ID.pattern}."
            raise _alarm_fault(text)
        if ("MetricStat" in query) == ("Expression" in query):
            raise _alarm_fault(f"Metrics: {query['Id']} must have either Expression or MetricStat")
        if "MetricStat" in query:
            _check_period(query["MetricStat"]["Period"])


def _check_threshold(members: Mapping[str, Any]) -> None:
    operator = members.get("ComparisonOperator")
    if operator is None:
        raise _alarm_fault("The parameter ComparisonOperator is required")
    by_band = "ThresholdMetricId" in members
    if by_band == ("Threshold" in members):
        raise _alarm_fault("Exactly one of Threshold and ThresholdMetricId must be specified")
    if by_band != (operator in _BAND_OPERATORS):
        needed = "is" if operator in _BAND_OPERATORS else "is not"
        raise _alarm_fault(f"ComparisonOperator {operator} {needed} for alarms of an anomaly detection band")
    if not by_band and not math.isfinite(members["Threshold"]):
        raise _alarm_fault("Threshold must be a finite number")


def _check_period(period: int) -> None:
    if period not in _SHORT_PERIODS and (period < 60 or period % 60):
        raise _alarm_fault("Period must be 10, 20, 30 or a multiple of 60")


def _periods(members: Mapping[str, Any]) -> list[int]:
    if "Metrics" not in members:
        return [members["Period"]]
    return [
        query["MetricStat"]["Period"] if "MetricStat" in query else query["Period"]
        for query in members["Metrics"]
        if "MetricStat" in query or "Period" in query
    ]


def _invalid(text: str) -> CloudWatchError:
    return CloudWatchError("InvalidParameterValue", text)


def _missing(text: str) -> CloudWatchError:
    return CloudWatchError("MissingParameter", text)


def _alarm_fault(text: str) -> CloudWatchError:
    return CloudWatchError("ValidationError", text)
