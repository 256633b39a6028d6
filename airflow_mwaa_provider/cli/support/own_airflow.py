# SPDX-License-Identifier: Apache-2.0
"""The Airflow that is installed beside this package, imported silently for its configuration."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

from airflow_mwaa_provider.cli.support.errors import unended
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BACKEND = "AIRFLOW__SECRETS__BACKEND"


@contextlib.contextmanager
def own_airflow() -> Iterator[None]:
    """Import Airflow, and keep its logs out of the output of the command.

    Airflow 2 creates its secrets backend on import, and fails if that fails. Here only callers that need the backend
    create it.

    :raises MwaaInputError: Airflow cannot be imported.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            _import()
            yield
    finally:
        logging.disable(before)


def _import() -> None:
    backend = os.environ.get(_BACKEND)
    os.environ[_BACKEND] = ""
    try:
        import_module("airflow.configuration")
    except Exception as error:
        raise MwaaInputError(
            f"Airflow cannot be imported here ({type(error).__name__}: {unended(error)}). Correct its configuration."
        ) from error
    finally:
        if backend is None:
            del os.environ[_BACKEND]
        else:
            os.environ[_BACKEND] = backend
