# SPDX-License-Identifier: Apache-2.0
"""Which variables of the user's shell the processes of a local MWAA inherit."""

from __future__ import annotations

import os

_SCRUBBED_PREFIXES = ("AIRFLOW__", "AIRFLOW_", "AWS_", "MWAA_", "_AIRFLOW", "GUNICORN_", "FLASK_", "BOTO_", "CELERY_")
_SCRUBBED = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PGPASSWORD",
    "WEB_CONCURRENCY",
    "VIRTUAL_ENV",
    # Every parse of a DAG file and every task is a new process, which would compile what it imports.
    "PYTHONDONTWRITEBYTECODE",
)


def clean_python_environment(environment: dict[str, str]) -> dict[str, str]:
    """Remove the variables that would make an interpreter import the caller's modules instead of its own."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")
    return {name: value for name, value in environment.items() if name not in unwanted}


def inherited() -> dict[str, str]:
    """Return what Airflow processes inherit from the user's shell."""
    return {
        name: value
        for name, value in clean_python_environment(dict(os.environ)).items()
        if not name.startswith(_SCRUBBED_PREFIXES) and name not in _SCRUBBED
    }
