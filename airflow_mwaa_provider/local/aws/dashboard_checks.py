# SPDX-License-Identifier: Apache-2.0
"""Find what CloudWatch rejects in a dashboard's body: where and why, in the words of its validation messages.

Source: AWS's page "Dashboard Body Structure and Syntax", and the dashboards' quotas (2026). Messages that users have
quoted in public are the service's own, and the others are modeled on them. Properties that the page does not name are
accepted, because the service adds some from time to time.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.aws.cloudwatch_requests import CloudWatchError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

WIDGETS_MAX = 500
LINES_MAX = 500
"""The limit for metrics of one widget."""
LINES_OF_DASHBOARD_MAX = 2_500
COLUMNS = 24
HEIGHT_MAX = 1_000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_START = re.compile(r"-PT\d+[MH]|-P\d+[DWM]|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)")
_COLOR = re.compile(r"#(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})")
_SHORT_PERIODS = (1, 5, 10, 20, 30)
_VIEWS = ("timeSeries", "singleValue", "gauge", "bar", "pie", "table")
# What a widget of each type must have; metric widgets have separate rules.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "alarm": ("alarms",),
    "chart": (),
    "custom": ("endpoint",),
    "explorer": ("metrics", "labels"),
    "log": ("query", "region"),
    "metric": (),
    "text": ("markdown",),
}
_GRID = {"x": (0, COLUMNS - 1), "y": (0, None), "width": (1, COLUMNS), "height": (1, HEIGHT_MAX)}

_Fault = tuple[str, str]


def check_dashboard(members: Mapping[str, Any]) -> None:
    """Check a call of PutDashboard.

    :raises CloudWatchError: InvalidParameterInput (boto3's DashboardInvalidInputError) with all problems of the body,
        or the code for a problem of the name.
    """
    for name in ("DashboardName", "DashboardBody"):
        if not members.get(name):
            raise CloudWatchError("MissingParameter", f"The parameter {name} is required.")
    if not _NAME.fullmatch(members["DashboardName"]):
        text = "The value for parameter DashboardName is invalid: up to 255 of A-Z, a-z, 0-9, - and _ are allowed."
        raise CloudWatchError("InvalidParameterValue", text)
    try:
        body = json.loads(members["DashboardBody"])
    except ValueError:
        body = None
    if not isinstance(body, dict):
        message = "The field DashboardBody must be a valid JSON object"
        raise CloudWatchError("InvalidParameterInput", message, messages=[{"DataPath": "", "Message": message}])
    faults = [{"dataPath": path, "message": message} for path, message in _body_faults(body)]
    if faults:
        listed = json.dumps(faults, indent=2)
        text = f"The dashboard body is invalid, there are {len(faults)} validation errors:\n{listed}"
        messages = [{"DataPath": fault["dataPath"], "Message": fault["message"]} for fault in faults]
        raise CloudWatchError("InvalidParameterInput", text, messages=messages)


def _body_faults(body: Mapping[str, Any]) -> Iterator[_Fault]:
    if "end" in body and "start" not in body:
        yield "", "Should have property start when property end is present"
    if "start" in body and not _matches(_START, body["start"]):
        yield "/start", "Should match a relative time or an ISO 8601 time"
    yield from _choice(body, "periodOverride", ("auto", "inherit"), "")
    if "widgets" not in body:
        yield "", "Should have required property 'widgets'"
        return
    widgets = body["widgets"]
    if not isinstance(widgets, list):
        yield "/widgets", "Should be array"
        return
    if len(widgets) > WIDGETS_MAX:
        yield "/widgets", f"Should NOT have more than {WIDGETS_MAX} items"
    for number, widget in enumerate(widgets):
        yield from _widget_faults(widget, f"/widgets/{number}")
    lines = sum(len(_lines(widget)) for widget in widgets)
    if lines > LINES_OF_DASHBOARD_MAX:
        yield "/widgets", f"Should NOT have more than {LINES_OF_DASHBOARD_MAX} metrics"


def _lines(widget: Any) -> list[Any]:
    properties = widget.get("properties") if isinstance(widget, dict) else None
    lines = properties.get("metrics") if isinstance(properties, dict) else None
    return lines if isinstance(lines, list) else []


def _widget_faults(widget: Any, path: str) -> Iterator[_Fault]:
    if not isinstance(widget, dict):
        yield path, "Should be object"
        return
    for name in ("type", "properties"):
        if name not in widget:
            yield path, f"Should have required property '{name}'"
    yield from _choice(widget, "type", tuple(_REQUIRED), path)
    for name, (least, most) in _GRID.items():
        if name in widget:
            yield from _number_faults(widget[name], least, most, f"{path}/{name}")
    if ("x" in widget) != ("y" in widget):
        given, other = ("x", "y") if "x" in widget else ("y", "x")
        yield path, f"Should have property {other} when property {given} is present"
    properties = widget.get("properties")
    if properties is not None and not isinstance(properties, dict):
        yield f"{path}/properties", "Should be object"
    elif properties is not None and widget.get("type") in _REQUIRED:
        yield from _property_faults(widget["type"], properties, f"{path}/properties")


def _number_faults(value: Any, least: int, most: int | None, path: str) -> Iterator[_Fault]:
    # 12.0 is an integer in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        yield path, "Should be integer"
    elif value < least:
        yield path, f"Should be >= {least}"
    elif most is not None and value > most:
        yield path, f"Should be <= {most}"


def _property_faults(kind: str, properties: Mapping[str, Any], path: str) -> Iterator[_Fault]:
    for name in _REQUIRED[kind]:
        if name not in properties:
            yield path, f"Should have required property '{name}'"
    if kind == "text" and not isinstance(properties.get("markdown", ""), str):
        yield f"{path}/markdown", "Should be string"
    if kind == "alarm" and properties.get("alarms") == []:
        yield f"{path}/alarms", "Should NOT have less than 1 items"
    if kind == "metric":
        yield from _metric_widget_faults(properties, path)


def _metric_widget_faults(properties: Mapping[str, Any], path: str) -> Iterator[_Fault]:
    annotations = properties.get("annotations")
    shows_alarm = isinstance(annotations, dict) and bool(annotations.get("alarms"))
    if "metrics" not in properties and not shows_alarm:
        yield path, "Should have required property 'metrics'"
    if not properties.get("region") or not ("metrics" in properties or shows_alarm):
        yield path, "The metric widget should have specified a region and a data source or an alarm annotation"
    yield from _choice(properties, "view", _VIEWS, path)
    yield from _period_faults(properties, path)
    if "title" in properties and not isinstance(properties["title"], str):
        yield f"{path}/title", "Should be string"
    if properties.get("view") == "gauge":
        left = (properties.get("yAxis") or {}).get("left") or {}
        if "min" not in left or "max" not in left:
            yield path, "A gauge widget should have specified min and max of yAxis.left"
    for side, axis in _dictionary(properties.get("yAxis")).items():
        low, high = (_dictionary(axis).get(end) for end in ("min", "max"))
        if isinstance(low, int | float) and isinstance(high, int | float) and low >= high:
            yield f"{path}/yAxis/{side}", "Should have a min that is less than its max"
    lines = properties.get("metrics", [])
    if not isinstance(lines, list):
        yield f"{path}/metrics", "Should be array"
        return
    if len(lines) > LINES_MAX:
        yield f"{path}/metrics", f"Should NOT have more than {LINES_MAX} items"
    for number, line in enumerate(lines):
        yield from _line_faults(line, f"{path}/metrics/{number}", has_one_before=number > 0)
    horizontal = _dictionary(annotations).get("horizontal")
    for number, line in enumerate(horizontal if isinstance(horizontal, list) else []):
        yield from _color_faults(_dictionary(line), f"{path}/annotations/horizontal/{number}")


def _line_faults(line: Any, path: str, *, has_one_before: bool) -> Iterator[_Fault]:
    """Check a metric, ``[namespace, name, dimension, value, …, {rendering}]``, or an expression, ``[{…}]``."""
    if not isinstance(line, list) or not line:
        yield path, "Should be array"
        return
    rendering = line[-1] if isinstance(line[-1], dict) else {}
    words = line[:-1] if isinstance(line[-1], dict) else line
    if not all(isinstance(word, str) for word in words):
        yield path, "Should be string"
    elif not words:
        if "expression" not in rendering:
            yield path, "Should have required property 'expression'"
    elif "..." in words:
        if not has_one_before:
            yield path, "Should name its namespace and metric: there is none before it"
    elif len(words) < 2 or len(words) % 2:
        yield path, "Should NOT have fewer than 2 items, and a value for each dimension"
    yield from _color_faults(rendering, f"{path}/{len(line) - 1}")
    yield from _period_faults(rendering, f"{path}/{len(line) - 1}")


def _color_faults(rendering: Mapping[str, Any], path: str) -> Iterator[_Fault]:
    if "color" in rendering and not _matches(_COLOR, rendering["color"]):
        yield f"{path}/color", 'Should match pattern "^#([A-Fa-f0-9]{6}|[A-Fa-f0-9]{3})$"'


def _period_faults(properties: Mapping[str, Any], path: str) -> Iterator[_Fault]:
    period = properties.get("period", 60)
    if not isinstance(period, int) or isinstance(period, bool):
        yield f"{path}/period", "Should be integer"
    elif period not in _SHORT_PERIODS and (period < 60 or period % 60):
        yield f"{path}/period", "Should be 1, 5, 10, 20, 30 or a multiple of 60"


def _choice(of: Mapping[str, Any], name: str, allowed: Collection[str], path: str) -> Iterator[_Fault]:
    if name in of and of[name] not in allowed:
        yield f"{path}/{name}", f"Should be equal to one of the allowed values: {', '.join(allowed)}"


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _dictionary(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
