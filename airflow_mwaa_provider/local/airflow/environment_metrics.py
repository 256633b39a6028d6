# SPDX-License-Identifier: Apache-2.0
"""The metrics of one environment: Airflow's own, and those of its processes, queue and database.

On MWAA, the latter come from containers, queues and database servers. Here all components are processes of this
machine, so percentages refer to its processors and memory; the queue is that of the executor, in the metadata database.

Source: MWAA's user guide, "Container, queue, and database metrics for Amazon MWAA"; values of ``Cluster`` and
``DatabaseRole`` are those that environments publish.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from airflow_mwaa_provider.local.airflow import statsd_names
from airflow_mwaa_provider.local.machine.metric_publishing import Datum

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_mwaa_provider.local.airflow.metadata_databases import MetadataDatabases
    from airflow_mwaa_provider.local.machine.statsd import StatsdListener

NAMESPACE = "AWS/MWAA"
SCHEDULER, WORKER, WEB_SERVER = "Scheduler", "BaseWorker", "WebServer"
_WEB_SERVERS = ("webserver", "api-server")
# How Airflow titles the processes that run tasks: children of the scheduler here, workers' on MWAA.
_TASK_TITLES = ("airflow worker", "airflow task", "LocalExecutor")


@dataclass(frozen=True)
class ProcessUse:
    """What the processes of a component use: CPU seconds since they began, and bytes of memory."""

    cpu_s: float = 0.0
    memory_bytes: int = 0


class EnvironmentMetrics:
    """Measures one environment (a :class:`~airflow_mwaa_provider.local.machine.metric_publishing.MetricSource`).

    :param statsd: collects Airflow's own metrics; without it there are none.
    :param prefix: Airflow's option ``metrics.statsd_prefix``.
    """

    pids: Mapping[str, int]
    """The process ids of running components, by name."""

    def __init__(
        self,
        env_name: str,
        databases: MetadataDatabases,
        statsd: StatsdListener | None,
        prefix: str,
        *,
        is_airflow_3: bool,
    ) -> None:
        self._env_name = env_name
        self._is_airflow_3 = is_airflow_3
        self._databases = databases
        self._statsd = statsd
        self._prefix = prefix
        self.pids = {}
        self._last: tuple[float, Mapping[str, ProcessUse]] | None = None

    async def measure(self) -> Sequence[Datum]:
        """Return the metrics since the last call."""
        found = []
        if self._statsd is not None:
            found = statsd_names.translate(
                self._statsd.totals.take(), self._env_name, self._prefix, is_airflow_3=self._is_airflow_3
            )
        pids = dict(self.pids)
        if not pids:
            return found
        return [*found, *await asyncio.to_thread(self._of_processes, pids), *await self._of_database()]

    def _of_processes(self, pids: Mapping[str, int]) -> list[Datum]:
        now, used = time.monotonic(), use_by_cluster(pids)
        last, self._last = self._last, (now, used)
        capacity = psutil.virtual_memory().total
        data = []
        for cluster, use in used.items():
            dimensions = {"Cluster": cluster}
            data.append(self._datum("MemoryUtilization", "Percent", 100 * use.memory_bytes / capacity, **dimensions))
            if last is not None and cluster in last[1]:
                # A component that was restarted begins at zero.
                cpu_s = max(0.0, use.cpu_s - last[1][cluster].cpu_s)
                share = cpu_s / max(now - last[0], 0.001) / (os.cpu_count() or 1)
                data.append(self._datum("CPUUtilization", "Percent", min(100.0, 100 * share), **dimensions))
        return data

    async def _of_database(self) -> list[Datum]:
        state = await self._databases.measure(self._env_name)
        return [
            self._datum("QueuedTasks", "Count", state.queued),
            self._datum("RunningTasks", "Count", state.running),
            self._datum("ApproximateAgeOfOldestTask", "Seconds", state.oldest_queued_s),
            self._datum("DatabaseConnections", "Count", state.connections, DatabaseRole="WRITER"),
        ]

    def _datum(self, name: str, unit: str, value: float, **dimensions: str) -> Datum:
        return Datum(NAMESPACE, name, unit, (*dimensions.items(), ("Environment", self._env_name)), float(value))


def use_by_cluster(pids: Mapping[str, int]) -> dict[str, ProcessUse]:
    """Return what each component's processes use, under MWAA's name for its containers.

    The kernel adds the times of processes that have ended to those of their parents.
    """
    children: dict[int, list[psutil.Process]] = {}
    by_pid: dict[int, psutil.Process] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process)
        by_pid[process.pid] = process
    members: dict[str, list[psutil.Process]] = {SCHEDULER: [], WORKER: [], WEB_SERVER: []}
    for component, pid in pids.items():
        root = by_pid.get(pid)
        if root is None:
            continue
        own = WEB_SERVER if component in _WEB_SERVERS else SCHEDULER
        members[own].append(root)
        for child in children.get(pid, ()):
            cluster = WORKER if component == "scheduler" and _runs_tasks(child) else own
            members[cluster] += _tree(child, children)
    return {cluster: _use(processes) for cluster, processes in members.items()}


def _tree(process: psutil.Process, children: Mapping[int, Sequence[psutil.Process]]) -> list[psutil.Process]:
    found = [process]
    for child in children.get(process.pid, ()):
        found += _tree(child, children)
    return found


def _runs_tasks(process: psutil.Process) -> bool:
    try:
        title = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return any(part in title for part in _TASK_TITLES)


def _use(processes: Iterable[psutil.Process]) -> ProcessUse:
    cpu_s, memory_bytes = 0.0, 0
    for process in processes:
        try:
            with process.oneshot():
                cpu_s += sum(process.cpu_times()[:4])
                memory_bytes += _memory_bytes(process)
        except psutil.Error:
            continue  # it has just ended
    return ProcessUse(cpu_s, memory_bytes)


def _memory_bytes(process: psutil.Process) -> int:
    """Return a process's own memory and its share of the memory of forks; all of it if shares are unknown."""
    try:
        return int(getattr(process.memory_full_info(), "pss", 0)) or process.memory_info().rss
    except psutil.AccessDenied:
        return process.memory_info().rss
