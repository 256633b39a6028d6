# SPDX-License-Identifier: Apache-2.0
"""The only file that asks which Airflow it runs in. Everything version-dependent is imported from here.

Import-light on purpose: DAG files are parsed through it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from airflow import __version__ as AIRFLOW_VERSION  # noqa: N812 - a constant here

_VERSION = tuple(int(part) for part in AIRFLOW_VERSION.split(".")[:2])
AIRFLOW_V_3 = _VERSION >= (3, 0)
AIRFLOW_V_3_1 = _VERSION >= (3, 1)
AIRFLOW_V_3_2 = _VERSION >= (3, 2)

if TYPE_CHECKING or AIRFLOW_V_3:
    from airflow.sdk import BaseOperator, BaseOperatorLink
else:
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.baseoperatorlink import BaseOperatorLink

if TYPE_CHECKING or AIRFLOW_V_3_1:
    from airflow.sdk import BaseHook
else:
    from airflow.hooks.base import BaseHook

if TYPE_CHECKING:
    from typing import Any

    from airflow.sdk import Context as Context

__all__ = [
    "AIRFLOW_VERSION",
    "AIRFLOW_V_3",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "connection_not_found",
    "failure_without_retry",
    "read_xcom",
    "skip_exception",
]

# Where these moved to, newer Airflows warn about the old place.
_EXCEPTIONS = "airflow.sdk.exceptions" if AIRFLOW_V_3_2 else "airflow.exceptions"


def read_xcom(ti_key: Any, key: str) -> Any:
    """Read an XCom of a task instance where an operator link is made: web server on 2, worker on 3."""
    module = "airflow.sdk.execution_time.xcom" if AIRFLOW_V_3 else "airflow.models.xcom"
    return import_module(module).XCom.get_value(ti_key=ti_key, key=key)


def skip_exception(message: str) -> Exception:
    """Make the exception that marks a task as skipped."""
    made: Exception = import_module(_EXCEPTIONS).AirflowSkipException(message)
    return made


def failure_without_retry(message: str) -> Exception:
    """Make the exception that fails a task for good, whatever its retries."""
    made: Exception = import_module(_EXCEPTIONS).AirflowFailException(message)
    return made


def connection_not_found() -> type[Exception]:
    """Give the exception that says that a connection isn't there."""
    found: type[Exception] = import_module(_EXCEPTIONS).AirflowNotFoundException
    return found
