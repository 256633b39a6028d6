# SPDX-License-Identifier: Apache-2.0
"""Read the time and level of Airflow's log lines, and turn them into events for CloudWatch Logs.

Airflow 2 writes ``[TIME] {FILE:LINE} LEVEL - TEXT``, Airflow 3 JSON objects for tasks and ``TIME [LEVEL] TEXT`` for
its components, gunicorn ``[TIME] [PID] [LEVEL] TEXT``, and web servers lines with only a time. All other lines
belong to the line before them.

Source: the amazon provider's ``CloudwatchTaskHandler`` (9.0.0) and ``CloudWatchRemoteLogIO`` (9.34.0) for the messages.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.machine.log_shipping import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.local.machine.log_shipping import Position

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_TIME = r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?) ?(?P<zone>Z|[+-]\d\d:?\d\d)?"
_LINE = re.compile(rf"\[?{_TIME}\]?(?: \[\d+\])?(?: \{{[^}}]*\}})? \[?(?P<level>[A-Za-z]+) *\]?")
_ACCESS = re.compile(r"\S+ \S+ \S+ \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] \"")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class LogLines:
    """Reads the lines of one kind of log (a :class:`~airflow_mwaa_provider.local.machine.log_shipping.LineReader`).

    :param least: the lowest level that is sent, as a :mod:`logging` level.
    :param joined: one record, including its traceback, is one event; otherwise each line is.
    :param prefixed: prefix lines with a level, like those of pip on MWAA.
    :param only: the processes whose lines are sent, if several write; None for all.
    :param without: the processes whose lines are not sent.
    """

    least: int
    joined: bool = False
    prefixed: bool = False
    only: re.Pattern[str] | None = None
    without: re.Pattern[str] | None = None

    def __call__(self, lines: Sequence[str], position: Position) -> list[Event]:
        """Return the events of some lines, and update the position with the last one."""
        if self.prefixed:
            return [Event(position.timestamp_ms, f"[INFO] - {line}") for line in lines]
        events: list[Event] = []
        begun = False
        for line in lines:
            told, message = _read(line)
            if told is not None:
                timestamp_ms, level = told
                position.timestamp_ms = timestamp_ms or position.timestamp_ms
                position.level = level
                position.chosen = (self.only is None or bool(self.only.search(line))) and not (
                    self.without and self.without.search(line)
                )
            counts = position.chosen and position.level >= self.least
            if told is None and self.joined and begun and counts:
                last = events[-1]
                events[-1] = Event(last.timestamp_ms, f"{last.message}\n{message}")
            elif counts:
                events.append(Event(position.timestamp_ms, message))
            begun = counts
        return events


def _read(line: str) -> tuple[tuple[int, int] | None, str]:
    """Return a line's time and level, None if it has neither, and its message."""
    structured = _structured(line) if line.startswith("{") else None
    return structured or (_of_text(line), line)


def _structured(line: str) -> tuple[tuple[int, int], str] | None:
    """Read a line of Airflow 3's task logs: the event, without the time that CloudWatch Logs keeps beside it."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or "event" not in event:
        return None
    time = event.pop("timestamp", "")
    level = LEVELS.get(str(event.get("level", "info")).lower(), logging.INFO)
    return (_milliseconds(str(time)), level), json.dumps(event)


def _of_text(line: str) -> tuple[int, int] | None:
    found = _LINE.match(line)
    if found is not None and (level := LEVELS.get(found["level"].lower())) is not None:
        return _milliseconds(found["time"].replace(",", ".") + (found["zone"] or "+00:00")), level
    access = _ACCESS.match(line)
    if access is not None:
        return _access_milliseconds(access["time"]), logging.INFO
    return None


def _milliseconds(text: str) -> int:
    """Return a time in the form of CloudWatch Logs; 0 if the string is not a time."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0


def _access_milliseconds(text: str) -> int:
    date, _, zone = text.partition(" ")
    day, month, rest = date.split("/")
    year, _, clock = rest.partition(":")
    if month not in _MONTHS:
        return 0
    return _milliseconds(f"{year}-{_MONTHS.index(month) + 1:02d}-{day}T{clock}{zone}")
