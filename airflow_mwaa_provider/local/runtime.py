# SPDX-License-Identifier: Apache-2.0
"""The interface between the local MWAA's AWS side and the Airflow behind an environment.

The AWS side (``local/aws``) knows only this file; ``local/airflow/runtime.py`` implements it with real
processes. Everything here is asyncio: one event loop serves all environments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class FileKind(StrEnum):
    """The files of an environment besides its DAGs."""

    PLUGINS = "plugins"
    REQUIREMENTS = "requirements"
    STARTUP_SCRIPT = "startup_script"


class LogKind(StrEnum):
    """The logs of an environment; each has a CloudWatch Logs group, whose name ends with this."""

    DAG_PROCESSING = "DAGProcessing"
    SCHEDULER = "Scheduler"
    TASK = "Task"
    WEB_SERVER = "WebServer"
    WORKER = "Worker"


@dataclass(frozen=True)
class S3File:
    """A file in the environment's bucket."""

    path: str
    """Its key."""
    version: str | None = None
    """The object's version; None for the newest, and in a bucket without versions."""
    sha256: str = ""
    """The hash of its contents, once :meth:`RuntimeFactory.read_files` has read it."""


@dataclass(frozen=True)
class EnvironmentSpec:
    """The specification of an environment, from CreateEnvironment and UpdateEnvironment."""

    name: str
    airflow_version: str
    bucket: str
    dag_s3_path: str
    """The folder of the DAG files in the bucket, without leading or trailing slashes: ``dags``."""
    configuration: Mapping[str, str] = field(default_factory=dict)
    """AirflowConfigurationOptions: ``{"core.default_timezone": "utc"}``."""
    files: Mapping[FileKind, S3File] = field(default_factory=dict)
    execution_role_arn: str = ""
    """The role with which its tasks call AWS; empty for the local MWAA's own."""


@dataclass(frozen=True)
class ApiSession:
    """A login to the environment's Airflow, valid for its UI and its REST API."""

    cookie_name: str
    """``session`` on Airflow 2, ``_token`` on Airflow 3."""
    cookie_value: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers that authenticate a REST call with this login."""


@dataclass(frozen=True)
class CliOutcome:
    """What one Airflow CLI command printed, and how it ended."""

    exit_status: int
    stdout: bytes
    stderr: bytes


class RuntimeStartError(Exception):
    """An Airflow did not start; the message is one line, and ``log_tail`` the end of the log that shows why."""

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


class Runtime(Protocol):
    """A running Airflow: web server, scheduler, DAG processor, triggerer and a warm CLI."""

    spec: EnvironmentSpec

    @property
    def base_url(self) -> str:
        """The URL of the web server, plain HTTP on loopback: ``http://127.0.0.1:PORT``."""

    @property
    def api_prefix(self) -> str:
        """``/api/v1`` on Airflow 2, ``/api/v2`` on Airflow 3."""

    async def start(self, public_url: str) -> None:
        """Start everything and return once the web server and the scheduler are healthy.

        :param public_url: the TLS gateway's URL, which Airflow puts into its own links.
        :raises RuntimeStartError: it did not start; nothing is left running.
        """

    async def drain(self) -> None:
        """Start no more tasks, and return when the running ones have ended, after 12 hours at the latest."""

    async def stop(self) -> None:
        """End all its processes. Do nothing if none is running."""

    async def delete(self) -> None:
        """Stop, and delete its data: another environment of this name begins empty."""

    async def login(self) -> ApiSession:
        """Log in as the environment's administrator; each call is a new login, valid for 12 hours."""

    async def run_cli(self, argv: Sequence[str], timeout_s: float) -> CliOutcome:
        """Run ``airflow ARGV`` in a warm interpreter.

        :raises TimeoutError: the command took too long, and was killed.
        """


class RuntimeFactory(Protocol):
    """Creates the Airflow of each environment for the control plane."""

    def versions(self) -> Sequence[str]:
        """The Airflow versions that can be started here, the default first."""

    def create(self, spec: EnvironmentSpec) -> Runtime:
        """Return a runtime that has not been started.

        It uses the copies of the files that :meth:`read_files` has made.

        :raises ValueError: ``spec.airflow_version`` is not one of :meth:`versions`.
        """

    async def read_files(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """Store copies of the files that a spec names; return the spec with the versions and hashes that were read.

        The environment is not changed, and can still be started with its previous files.

        :raises RuntimeStartError: a file cannot be read, or MWAA would reject it.
        """
