# SPDX-License-Identifier: Apache-2.0
"""Shared libraries that a process loads ahead of what needs them."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path

from airflow_mwaa_provider.plugins.options import SECTION, say_once

__all__ = ["preload"]

_OPTION = f"{SECTION}.preload_libraries"


def preload(paths: str) -> None:
    """Load libraries, so that others which are loaded later find them by their names.

    One that cannot be loaded is told in a line, and keeps none of the others from being loaded.

    :param paths: full paths, separated by commas; what others need comes first.
    """
    for path in filter(None, map(str.strip, paths.split(","))):
        problem = _problem(path)
        if problem:
            say_once(logging.ERROR, f"{_OPTION}: {path}: {problem}")


def _problem(path: str) -> str:
    """Load a library; return why that was not possible, and what to do."""
    if not Path(path).is_absolute():
        return "not a full path. Write it from / on, such as /usr/local/airflow/plugins/libaio.so.1."
    try:
        is_there = Path(path).is_file()
    except (OSError, ValueError) as error:  # the name is too long, a folder may not be entered, a NUL
        return f"not loaded ({error}). Correct the path."
    if not is_there:
        return "there is no such file. Correct the path, or put the file into plugins.zip."
    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return f"not loaded ({error}). Name what it needs before it, and check that it is for this processor."
    return ""
