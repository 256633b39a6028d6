# SPDX-License-Identifier: Apache-2.0
"""How the plugins read their options, and log messages once.

Every process of Airflow imports this module, so it imports what it needs only where it is used.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SECTION", "is_scheduler", "is_web_server", "never_fails", "option", "say_once"]

log = logging.getLogger(__name__)

SECTION = "mwaa_provider"
_WEB_SERVERS = ("webserver", "api-server")
_COMMANDS = 3
_said: set[str] = set()


def option(name: str) -> str:
    """Return the value of an option in the section ``mwaa_provider``; empty if it is not set."""
    from airflow.configuration import conf

    return str(conf.get(SECTION, name, fallback="") or "").strip()


def say_once(level: int, line: str) -> None:
    """Log a line once for a process and those forked from it.

    :param level: a level of :mod:`logging`.
    """
    if line not in _said:
        _said.add(line)
        log.log(level, "%s", line)


@contextlib.contextmanager
def never_fails(where: str) -> Iterator[None]:
    """Let Airflow start, whatever fails in the block.

    :param where: the option or section of options with which the line begins.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001
        import traceback

        # Without the error's message, which may contain a value.
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = type(error).__name__
        say_once(logging.ERROR, f"{where}: not applied: {kind} at {place.filename}:{place.lineno}. Report it.")


def is_scheduler() -> bool:
    """Return whether this process is the scheduler, which logs what one line per environment is enough for."""
    return "scheduler" in sys.argv[1:_COMMANDS]


def is_web_server() -> bool:
    """Return whether this process serves the UI and the REST API, and runs no code of DAGs."""
    component = os.environ.get("MWAA_AIRFLOW_COMPONENT")
    return component == "webserver" if component else any(name in sys.argv[1:_COMMANDS] for name in _WEB_SERVERS)
