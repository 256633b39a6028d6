# SPDX-License-Identifier: Apache-2.0
"""Where each log of an environment is sent in CloudWatch Logs: MWAA's groups and streams.

A group is ``airflow-ENVIRONMENT-KIND``. A task's stream is named as by the amazon provider, after its log's path with
underscores for colons; all others as in MWAA's images, with the component, the host and the time when it began.

Source: MWAA's guide, "Viewing Airflow logs in Amazon CloudWatch"; the published images up to 3.0.6. How the images name
the logs of single DAG files on Airflow 3 is taken from their settings, and unproven.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.airflow.log_lines import LogLines
from airflow_mwaa_provider.local.airflow.startup_script import Component
from airflow_mwaa_provider.local.machine.log_shipping import LOG_SUFFIX, Tail, log_files
from airflow_mwaa_provider.local.runtime import LogKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_mwaa_provider.local.machine.state import EnvironmentFolder

PREPARATION = "preparation"
"""The name of what precedes the components: startup script and requirements."""
_TRIGGER = re.compile(r"\.trigger\.\d+\.log\Z")
# Here tasks are run by children of the scheduler, on MWAA by workers.
_OF_WORKERS = re.compile(
    r"^\[[^\]]*\] \{(?:local_executor|task_command|standard_task_runner)\.py:"
    r"|\[(?:airflow\.executors\.local_executor\.LocalExecutor|airflow\.(?:task|sdk)\b[^\]]*|supervisor|task)\]"
)
_GROUP_OF_COMPONENT = {
    Component.SCHEDULER: LogKind.SCHEDULER,
    Component.WORKER: LogKind.WORKER,
    Component.WEBSERVER: LogKind.WEB_SERVER,
}


@dataclass(frozen=True)
class AirflowLogs:
    """The logs of one environment (a :class:`~airflow_mwaa_provider.local.machine.log_shipping.LogSource`).

    :param began: when each component, and what preceded them, began, in seconds since 1970.
    :param levels: the lowest level of each enabled kind of log, as a :mod:`logging` level.
    """

    env_name: str
    folder: EnvironmentFolder
    is_airflow_3: bool
    began: Mapping[str, float]
    levels: Mapping[LogKind, int]

    @property
    def groups(self) -> list[str]:
        """The groups of enabled logs."""
        return [self._group(kind) for kind in self.levels]

    def tails(self) -> Iterator[Tail]:
        """Return the logs that exist now; those that are disabled are to be skipped."""
        for path, status in log_files(self.folder.components):
            name = os.path.basename(path).removesuffix(LOG_SUFFIX)  # noqa: PTH119 - many, and each second
            for kind, stream, lines in self._of_component(name):
                yield Tail(path, status, self._group(kind), stream, lines if kind in self.levels else None)
        logs = f"{self.folder.airflow_home}{os.sep}logs{os.sep}"
        readers = {kind: LogLines(least, joined=True) for kind, least in self.levels.items()}
        for path, status in log_files(logs):
            kind, stream = self._of_airflow(path[len(logs) :])
            yield Tail(path, status, self._group(kind), stream, readers.get(kind))

    def _group(self, kind: LogKind) -> str:
        return f"airflow-{self.env_name}-{kind}"

    def _of_component(self, name: str) -> Iterator[tuple[LogKind, str, LogLines]]:
        """Return where the output of a process is sent: nowhere, or to one or more groups."""
        if name == "requirements_install":
            for kind in (LogKind.SCHEDULER, LogKind.WORKER, LogKind.WEB_SERVER):
                yield from self._of_preparation(kind, name)
        elif name.startswith("startup_script."):
            kind = _GROUP_OF_COMPONENT[Component(name.partition(".")[2])]
            yield from self._of_preparation(kind, "startup_script_execution")
        elif name == "scheduler":
            yield from self._of_process(LogKind.SCHEDULER, name, name, without=_OF_WORKERS)
            yield from self._of_process(LogKind.WORKER, name, "worker", only=_OF_WORKERS)
        elif name == "triggerer":
            yield from self._of_process(LogKind.SCHEDULER, name, name)
        elif name in ("webserver", "api-server"):
            yield from self._of_process(LogKind.WEB_SERVER, name, "webserver")
        elif name == "dag-processor":
            kind = LogKind.DAG_PROCESSING
            yield kind, "dag-processor-manager.log", LogLines(self._least(kind))

    def _of_preparation(self, kind: LogKind, prefix: str) -> Iterator[tuple[LogKind, str, LogLines]]:
        if PREPARATION in self.began:
            # Regardless of the group's level: MWAA always publishes these.
            yield kind, self._stream(prefix, PREPARATION), LogLines(0, prefixed=True)

    def _of_process(
        self,
        kind: LogKind,
        process: str,
        prefix: str,
        *,
        only: re.Pattern[str] | None = None,
        without: re.Pattern[str] | None = None,
    ) -> Iterator[tuple[LogKind, str, LogLines]]:
        if process in self.began:
            yield kind, self._stream(prefix, process), LogLines(self._least(kind), only=only, without=without)

    def _least(self, kind: LogKind) -> int:
        return self.levels.get(kind, logging.CRITICAL)

    def _stream(self, prefix: str, process: str) -> str:
        return f"{prefix}_{socket.gethostname()}_{self.began[process]:.6f}.log".replace(":", "_").replace("*", "_")

    def _of_airflow(self, path: str) -> tuple[LogKind, str]:
        """Return the kind and the stream of a log that Airflow itself writes, from its path below the log folder."""
        top, name = path.partition(os.sep)[0], os.path.basename(path)  # noqa: PTH119
        if top == "dag_processor_manager":
            return LogKind.DAG_PROCESSING, name
        if top == "scheduler":
            return LogKind.DAG_PROCESSING, f"scheduler_{name}"
        if top == "dag_processor":
            return LogKind.DAG_PROCESSING, f"scheduler_dag_processor_{name}"
        if not self.is_airflow_3:
            # A deferred task's trigger continues in the task's own stream; since Airflow 3, in a separate one.
            path = _TRIGGER.sub("", path)
        return LogKind.TASK, path.replace(":", "_").replace("*", "_")
