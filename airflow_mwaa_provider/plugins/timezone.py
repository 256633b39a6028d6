# SPDX-License-Identifier: Apache-2.0
"""Local time, as tasks see it, and on Airflow 2 the timestamps of logs.

Off until ``mwaa_provider.task_timezone`` or ``mwaa_provider.log_timezone`` names a time zone. What Airflow schedules
and stores remains UTC, and so do the logs of Airflow 3.

Every process of Airflow imports this module, so it imports what it needs only where it is used.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.plugins.options import SECTION, is_scheduler, never_fails, option, say_once

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ["TimezonePlugin"]

_TASKS = f"{SECTION}.task_timezone"
_LOGS = f"{SECTION}.log_timezone"
_NO_ZONES = ("Factory", "localtime", "posixrules")
_OTHER_FILES = ("posix/", "right/")
"""Beside IANA's zones in the system's folder: the container's own zone, and zones with leap seconds."""
_HALF_A_YEAR_S = 182 * 86_400


class TimezonePlugin(AirflowPlugin):
    """Sets the local time of the process that loads it."""

    name = "mwaa_timezone"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:  # noqa: ARG003 - Airflow's signature
        """Apply the options; Airflow calls this once per process, or twice on Airflow 3."""
        with never_fails(_LOGS):
            _apply_to_logs(option("log_timezone"))
        with never_fails(_TASKS):
            _apply_to_tasks(option("task_timezone"))


def _apply_to_tasks(name: str) -> None:
    zone = _zone(_TASKS, name, "Local time is not changed.") if name else None
    if zone is None:
        return
    import pendulum

    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    if not _is_local(zone):
        # Without a file of the zone, the C library uses UTC, although Python may have its own files.
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
        say_once(
            logging.ERROR,
            f"{_TASKS}: this container has no file of the time zone {name!r} in /usr/share/zoneinfo. Install the "
            "system package tzdata in the startup script. Local time is not changed.",
        )
        return
    # pendulum keeps the first zone that it has found, and Airflow 2 uses it for timestamps of logs.
    pendulum.set_local_timezone(pendulum.timezone(name))
    formatters = sys.modules.get("airflow.utils.log.timezone_aware")
    if AIRFLOW_V_3 and formatters is not None:
        from zoneinfo import ZoneInfo

        # As tasks write them; the other processes of Airflow 3.0 use local time.
        _stamp_logs_by(ZoneInfo("UTC"), formatters.TimezoneAware)


def _apply_to_logs(name: str) -> None:
    if not name:
        return
    if AIRFLOW_V_3:
        if is_scheduler():
            say_once(
                logging.WARNING,
                f"{_LOGS}: Airflow 3 writes timestamps of logs in UTC, and no option changes that. Remove this one. "
                f"The UI shows times in the time zone that each user chooses, and {_TASKS} sets the time of tasks.",
            )
        return
    zone = _zone(_LOGS, name, "Timestamps of logs are not changed.")
    if zone is not None:
        from airflow.utils.log.timezone_aware import TimezoneAware

        _stamp_logs_by(zone, TimezoneAware)


def _stamp_logs_by(zone: ZoneInfo, formatter: Any) -> None:
    """Make Airflow's formatter write timestamps in a zone; it supports only the local one."""
    from datetime import datetime

    def format_time(self: Any, record: logging.LogRecord, datefmt: str | None = None) -> str:
        moment = datetime.fromtimestamp(record.created, zone)
        text = moment.strftime(datefmt or self.default_time_format)
        if self.default_msec_format:
            text = self.default_msec_format % (text, record.msecs)
        return f"{text}{moment.strftime(self.default_tz_format)}" if self.default_tz_format else text

    formatter.formatTime = format_time


def _zone(where: str, name: str, otherwise: str) -> ZoneInfo | None:
    """Return a time zone; if no zone has this name, log that and return ``None``."""
    from zoneinfo import ZoneInfo

    try:
        # The zones of available_timezones(), without opening hundreds of files.
        if name in _NO_ZONES or name.startswith(_OTHER_FILES):
            raise KeyError(name)
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # the last one for the name of a folder, such as America
        say_once(logging.ERROR, f"{where}: {name!r} is not a time zone. {_nearest(name)} {otherwise}")
        return None


def _nearest(name: str) -> str:
    """Return what to write instead of a name."""
    import re
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    known = {each.lower(): each for each in available_timezones() - {*_NO_ZONES}}
    wanted = name.lower().replace(" ", "_").rstrip("/")
    if any(each.startswith(f"{wanted}/") for each in known):
        return "Add a city, as in Europe/Berlin."
    iana = "Names are those of IANA, such as Europe/Berlin."
    offset = re.fullmatch(r"(?:utc|gmt)?_*([+-])(\d{1,2})(?::?(\d\d))?", wanted, re.ASCII)
    if offset:
        sign, hours, minutes = offset[1], int(offset[2]), int(offset[3] or 0)
        zone = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"
        if minutes or zone.lower() not in known:
            return f"Write a city with this time. {iana}"
        return f"For UTC{sign}{hours} write a city with this time, or {zone}, with the opposite sign."
    by_city = [each for each in sorted(known) if each.rpartition("/")[2] == wanted.rpartition("/")[2]]
    found = by_city or get_close_matches(wanted, sorted(known), n=1)
    return f"The nearest name is {known[found[0]]}." if found else iana


def _is_local(zone: ZoneInfo) -> bool:
    """Return whether local time equals that of a zone, in winter and in summer."""
    from datetime import datetime, timedelta

    now_s = time.time()
    return all(
        datetime.fromtimestamp(moment_s, zone).utcoffset() == timedelta(seconds=time.localtime(moment_s).tm_gmtoff)
        for moment_s in (now_s, now_s + _HALF_A_YEAR_S)
    )
