# SPDX-License-Identifier: Apache-2.0
"""Shared libraries that a process loads before they are needed."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path

from airflow_mwaa_provider.plugins.options import SECTION, say_once

__all__ = ["preload"]

_OPTION = f"{SECTION}.preload_libraries"


def preload(paths: str) -> None:
    """Load libraries, so that libraries that are loaded after them find them by their names.

    If one cannot be loaded, that is logged in a line, and the others are loaded.

    :param paths: full paths, separated by commas, dependencies first.
    """
    for path in filter(None, map(str.strip, paths.split(","))):
        problem = _problem(path)
        if problem:
            say_once(logging.ERROR, f"{_OPTION}: {path}: {problem}")


def _problem(path: str) -> str:
    """Load a library; if that fails, return the reason and what to do."""
    if not Path(path).is_absolute():
        return "not a full path. Begin with /, as in /usr/local/airflow/plugins/libaio.so.1."
    try:
        is_there = Path(path).is_file()
    except (OSError, ValueError) as error:  # the name is too long, a folder is not accessible, a NUL
        return f"not loaded ({error}). Correct the path."
    if not is_there:
        return "no such file. Correct the path, or put the file into plugins.zip."
    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return f"not loaded ({error}). List its dependencies before it, and check that it is for this processor."
    return ""
