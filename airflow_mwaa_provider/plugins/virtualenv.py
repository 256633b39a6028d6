# SPDX-License-Identifier: Apache-2.0
"""The user guide's patch for tasks in virtual environments, which no supported Airflow needs.

The guide's plugin makes ``PythonVirtualenvOperator`` find a ``virtualenv`` that is not on ``PATH``. Airflow 2.8.1 and
later run it as a module of their own interpreter, or use ``uv`` or ``venv``. With ``mwaa_provider.patch_virtualenv``,
the scheduler logs this once.

Every process of Airflow imports this module, so it imports what it needs only where it is used.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_mwaa_provider._compat import AIRFLOW_V_3, AIRFLOW_VERSION
from airflow_mwaa_provider.plugins.options import SECTION, is_scheduler, never_fails, option, say_once

__all__ = ["VirtualenvPlugin"]

_OPTION = f"{SECTION}.patch_virtualenv"
# As Airflow reads its own options.
_YES, _NO = ("true", "t", "1"), ("", "false", "f", "0")


class VirtualenvPlugin(AirflowPlugin):
    """Logs whether tasks in virtual environments need a patch."""

    name = "mwaa_virtualenv"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:  # noqa: ARG003 - Airflow's signature
        """Apply the option."""
        with never_fails(_OPTION):
            if is_scheduler():
                _answer(option("patch_virtualenv").lower())


def _answer(wanted: str) -> None:
    if wanted in _NO:
        return
    if wanted not in _YES:
        say_once(logging.ERROR, f"{_OPTION}: {wanted!r} is neither True nor False. Remove it: nothing needs it.")
        return
    from importlib.util import find_spec

    if not AIRFLOW_V_3 and find_spec("virtualenv") is None:
        say_once(
            logging.WARNING,
            f"{_OPTION}: PythonVirtualenvOperator of Airflow {AIRFLOW_VERSION} needs no patch, but the package "
            "virtualenv, which is not installed. Add virtualenv to requirements.txt, and remove this option.",
        )
        return
    way = "uv or python -m venv" if AIRFLOW_V_3 else "python -m virtualenv"
    say_once(
        logging.WARNING,
        f"{_OPTION}: not needed. PythonVirtualenvOperator of Airflow {AIRFLOW_VERSION} creates its environments with "
        f"{way}, and nothing was patched. Remove this option.",
    )
