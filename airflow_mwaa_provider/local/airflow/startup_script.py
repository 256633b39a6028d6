# SPDX-License-Identifier: Apache-2.0
"""Run an environment's startup script for each component, and read what it exports.

Source: MWAA's guide, "Using a startup script", and the behaviour of the published images up to 3.3.1: the exit
status does not count, but a script that is killed before its variables were written fails the start.
"""

from __future__ import annotations

import os
import re
import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import logged_command
from airflow_mwaa_provider.local.machine.mwaa_home_program import MWAA_HOME
from airflow_mwaa_provider.local.machine.processes import tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_mwaa_provider.local.machine.logged_command import MaskedLog
    from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome

TIMEOUT_S = 300.0
WRAPPER = Path(__file__).with_name("startup_wrapper.sh")
_HOME_PATH = re.compile(rf"(?<![\w.-]){re.escape(MWAA_HOME)}(?![\w.-])".encode())
_OF_THE_SHELL = frozenset({"_", "HOME", "OLDPWD", "PWD", "SHLVL"})
_RESERVED = frozenset(
    {
        *("AIRFLOW_CONN_AWS_DEFAULT", "AIRFLOW_ENV_ID", "AIRFLOW_ENV_NAME", "AIRFLOW_HOME", "AIRFLOW_VERSION"),
        *("AIRFLOW_TASK_REVISION_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_REGION"),
        *("CUSTOMER_ACCOUNT_ID", "JWT_PUBLIC_KEY", "MWAA_AIRFLOW_COMPONENT", "MWAA_COMMAND", "PYTHONUNBUFFERED"),
        "SQL_ALCHEMY_CONN",
        *(
            f"AIRFLOW__{option}"
            for option in (
                *("API__BASE_URL", "CELERY__BROKER_URL", "CELERY__DEFAULT_QUEUE", "CELERY__RESULT_BACKEND"),
                *("CELERY__WORKER_AUTOSCALE", "CELERY_BROKER_TRANSPORT_OPTIONS__PREDEFINED_QUEUES"),
                *("CELERY_BROKER_TRANSPORT_OPTIONS__REGION", "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"),
                *("CORE__DAG_CONCURRENCY", "CORE__EXECUTOR", "CORE__FERNET_KEY", "CORE__LOAD_EXAMPLES"),
                *("CORE__MAX_ACTIVE_TASKS_PER_DAG", "CORE__PARALLELISM", "CORE__SQL_ALCHEMY_CONN"),
                *("METRICS__METRICS_BLOCK_LIST", "METRICS__STATSD_ALLOW_LIST", "METRICS__STATSD_HOST"),
                *("METRICS__STATSD_ON", "METRICS__STATSD_PORT", "METRICS__STATSD_PREFIX"),
                *("OPERATORS__DEFAULT_QUEUE", "SCHEDULER__ALLOWED_RUN_ID_PATTERN", "SCHEDULER__PARSING_PROCESSES"),
                *("WEBSERVER__BASE_URL", "WEBSERVER__SECRET_KEY"),
            )
        ),
    }
)
"""Variables that MWAA resets, whatever a script exports: the guide's list, and the images'."""


class Component(StrEnum):
    """MWAA's kinds of container, as in MWAA_AIRFLOW_COMPONENT."""

    WEBSERVER = "webserver"
    SCHEDULER = "scheduler"
    WORKER = "worker"


def map_paths(script: bytes, home: Path) -> bytes:
    """Replace MWAA's AIRFLOW_HOME in a script with this environment's."""
    return _HOME_PATH.sub(lambda _: os.fsencode(home), script)


async def run(
    script: Path, component: Component, *, variables: Mapping[str, str], home: AirflowHome, log: MaskedLog
) -> dict[str, str]:
    """Run a (mapped) script for a component, and return the variables that it has exported or changed.

    :param script: a file in ``home.folder``.
    :param variables: the component's environment.
    :raises LocalMwaaError: it ended before its variables were written; has the end of its log.
    """
    exports = script.with_name(f"exports.{component}")
    exports.unlink(missing_ok=True)
    # The script is written for a container with this home: what it does in "~" must not affect the user's.
    given = {**variables, "HOME": str(home.path)}
    bash = shutil.which("bash") or "/bin/bash"
    log.begin(f"startup script, as {component}")
    try:
        end = await logged_command.run(
            "the startup script",
            home.command([bash, WRAPPER, home.path / script.relative_to(home.folder), exports]),
            environment=given,
            cwd=home.folder,
            log=log,
            timeout_s=TIMEOUT_S,
        )
        exported = read_exports(exports)
    finally:
        exports.unlink(missing_ok=True)
    if exported is None:
        why = (
            f"did not finish within {TIMEOUT_S / 60:.0f} minutes"
            if end.exit_status is None
            else f"was ended with status {end.exit_status} before its variables were written (`set -e`?)"
        )
        log.write(f"ERROR: the startup script {why}")
        raise LocalMwaaError(f"the startup script {why}, as {component}; its log is {log.path}", tail(log.path))
    status = f" Its exit status {end.exit_status} is ignored, as on MWAA." if end.exit_status else ""
    log.write(f"Finished running startup script. Execution time: {end.seconds:.3f}s.{status}")
    return {name: value for name, value in exported.items() if name not in _OF_THE_SHELL and given.get(name) != value}


def read_exports(path: Path) -> dict[str, str] | None:
    """Return the variables that the wrapper wrote; None if it did not write all of them."""
    try:
        records = path.read_bytes().split(b"\0")
    except FileNotFoundError:
        return None
    if records[-2:] != [b"", b""]:
        return None
    pairs = (os.fsdecode(record).partition("=") for record in records[:-2])
    return {name: value for name, _, value in pairs}


def allowed(exported: Mapping[str, str], protected: Iterable[str], log: MaskedLog) -> dict[str, str]:
    """Remove what a script cannot change, and log that.

    :param protected: names of variables that the local MWAA depends on, and of AirflowConfigurationOptions.
    """
    kept = {}
    refused = []
    names = {*_RESERVED, *protected}
    for name, value in exported.items():
        if name in names or name.startswith("MWAA__"):
            refused.append(name)
        else:
            kept[name] = value
    if refused:
        log.write(f"WARNING: reserved variables keep their values: {', '.join(sorted(refused))}")
    if "PYTHONPATH" in kept:
        log.write("WARNING: MWAA's images since Airflow 2.9 reset PYTHONPATH to their own value, unlike the local MWAA")
    return kept
