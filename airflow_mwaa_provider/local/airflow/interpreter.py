# SPDX-License-Identifier: Apache-2.0
"""Inspect a Python interpreter: which Airflow it has, and whether an environment can use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine.process_environment import clean_python_environment

if TYPE_CHECKING:
    from collections.abc import Iterable

_INSPECT_TIMEOUT_S = 60.0
_OLDEST = (2, 8, 1)
_OLDEST_PYTHON = (3, 11, 0)
# Reads metadata only: importing Airflow here would cost seconds and write files into AIRFLOW_HOME.
_INSPECT = """
import importlib.metadata as metadata, importlib.util as util, json, sys

def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

print(json.dumps({
    "python": "%d.%d.%d" % sys.version_info[:3],
    "prefix": sys.prefix,
    "airflow": version("apache-airflow-core") or version("apache-airflow"),
    "fab": version("apache-airflow-providers-fab"),
    "botocore": next(iter(getattr(util.find_spec("botocore"), "submodule_search_locations", None) or []), None),
    "modules": [name for name in ("airflow", "psycopg2", "asyncpg", "psycopg", "statsd") if util.find_spec(name)],
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter with an Airflow that can be started."""

    path: Path
    prefix: Path
    python_version: str
    airflow_version: str
    fab_version: str | None
    async_driver: str | None
    """``asyncpg``, ``psycopg_async`` or None: the driver for Airflow 3's asynchronous queries."""
    botocore: Path | None = None
    """The folder of its botocore."""
    has_statsd: bool = True
    """Whether Airflow can send its metrics."""

    @property
    def airflow_release(self) -> tuple[int, int, int]:
        """Return the Airflow version as three numbers."""
        return release_of(self.airflow_version)

    @property
    def is_airflow_3(self) -> bool:
        """Return whether Airflow's commands, API and configuration are those of Airflow 3."""
        return self.airflow_release >= (3, 0, 0)


def release_of(version: str) -> tuple[int, int, int]:
    """Return the first three numbers of a version: ``3.3.2rc1`` is (3, 3, 2)."""
    numbers = []
    for part in version.split(".")[:3]:
        digits = ""
        for character in part:
            if not character.isdigit():
                break
            digits += character
        numbers.append(int(digits or 0))
    return (*numbers, 0, 0, 0)[:3]  # type: ignore[return-value]


def inspect(path: str | Path) -> Interpreter:
    """Inspect an interpreter without importing Airflow.

    :raises LocalMwaaError: it is not an interpreter, it has no Airflow, or it lacks what the local MWAA needs; the
        message names the command that installs it.
    """
    executable = _find_executable(str(path))
    facts = ask(executable, _INSPECT, ("prefix", "python", "modules"))
    airflow = facts["airflow"]
    modules = facts["modules"]
    if not airflow or "airflow" not in modules:
        raise LocalMwaaError(
            f"{executable} has no Airflow: `{executable} -m pip install apache-airflow`, "
            "or choose another with --python",
            misuse=True,
        )
    if release_of(facts["python"]) < _OLDEST_PYTHON:
        raise LocalMwaaError(
            f"{executable} is Python {facts['python']}; 3.11 is the oldest that is supported", misuse=True
        )
    release = release_of(airflow)
    if release < _OLDEST:
        raise LocalMwaaError(f"{executable} has Airflow {airflow}; 2.8.1 is the oldest that is supported", misuse=True)
    missing = []
    if "psycopg2" not in modules:
        missing.append("psycopg2-binary")
    if release >= (3, 0, 0) and not facts["fab"]:
        missing.append("apache-airflow-providers-fab")
    driver = "asyncpg" if "asyncpg" in modules else "psycopg_async" if "psycopg" in modules else None
    if driver is None and (3, 0, 0) <= release < (3, 2, 0):
        missing.append("asyncpg")
    if missing:
        raise LocalMwaaError(
            f"the Airflow {airflow} of {executable} lacks what MWAA's images have: "
            f"`{executable} -m pip install {' '.join(missing)}`",
            misuse=True,
        )
    return Interpreter(
        path=executable,
        prefix=Path(facts["prefix"]),
        python_version=facts["python"],
        airflow_version=airflow,
        fab_version=facts["fab"],
        async_driver=driver,
        botocore=Path(facts["botocore"]) if facts.get("botocore") else None,
        has_statsd="statsd" in modules,
    )


def _find_executable(path: str) -> Path:
    found = shutil.which(os.path.expanduser(path))  # noqa: PTH111 - which() takes names as well as paths
    if found is None:
        raise LocalMwaaError(f"no Python interpreter at {path}: check --python", misuse=True)
    # Not resolved: a virtual environment's python is a link, which leads out of the environment.
    return Path(os.path.abspath(found))  # noqa: PTH100


def ask(executable: Path, program: str, keys: Iterable[str]) -> dict[str, Any]:
    """Run a short program in an interpreter and return the JSON object that it prints.

    :raises LocalMwaaError: there is no such object, or it lacks a key.
    """
    try:
        answer = subprocess.run(
            [executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            timeout=_INSPECT_TIMEOUT_S,
            env=clean_python_environment(dict(os.environ)),
            stdin=subprocess.DEVNULL,
            cwd=executable.anchor,  # -c puts the working folder first, which may contain a folder named "airflow"
        )
        facts = json.loads(answer.stdout)
        return {**facts, **{key: facts[key] for key in keys}}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise LocalMwaaError(
            f"{executable} does not behave like a Python 3 interpreter ({type(error).__name__}): check --python",
            misuse=True,
        ) from error
