# SPDX-License-Identifier: Apache-2.0
"""Measure what one task uses, in its own process, by a thread that takes samples.

It never raises into the task: numbers that are not available are named in the line that it logs at the end.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.monitoring.process_tree import ProcessTree, Usage, bytes_left, start_ticks
from airflow_mwaa_provider.monitoring.task_results import RUNNING, TaskFile, TaskResults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

__all__ = ["TaskTry", "TaskWatch", "killed_line"]

log = logging.getLogger(__name__)

TEMPORARY_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - they are only looked at
"""Temporary folders besides the one that Python's ``tempfile`` uses."""

_FIRST_S, _LONGEST_S = 0.2, 2.0
_SHARE = 50
"""The thread rests this many times as long as it took to measure: 2% of one processor at most."""
_GROWN_BYTES, _GROWN_SHARE = 100_000_000, 1.25
_LITTLE_BYTES = 100_000
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120

_logging = threading.Lock()
# A child that is forked while the thread logs would inherit the log's lock, and wait for it forever.
os.register_at_fork(before=_logging.acquire, after_in_parent=_logging.release, after_in_child=_logging.release)


@dataclass(frozen=True)
class TaskTry:
    """One try of a task instance."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1
    try_number: int = 1
    env_name: str | None = None


class TaskWatch:
    """Watches this process and its descendants from now to :meth:`end`.

    :param task: the task that this process runs.
    :param results: where samples and the result are stored; ``None`` stores nothing.
    :param missing: numbers that are known to be unavailable, and why.
    :param temporary_folders: the folders that are searched for files that the task leaves.
    :param proc: the folder of the kernel's files about processes.
    """

    def __init__(
        self,
        task: TaskTry,
        results: TaskResults | None = None,
        *,
        missing: Mapping[str, str] | None = None,
        temporary_folders: Sequence[str] | None = None,
        proc: str = "/proc",
    ) -> None:
        self.task = task
        self._results = results
        self._missing = dict(missing or {})
        self._folders = temporary_folders or (tempfile.gettempdir(), *TEMPORARY_FOLDERS)
        self._began_s, self._began = time.time(), time.monotonic()
        self._pid, self._thread_id = os.getpid(), threading.get_ident()
        self._parent = (os.getppid(), start_ticks(os.getppid(), proc))
        self._tree = ProcessTree(proc)
        self._told_bytes = self._tree.at_start.memory_bytes or 0
        self._file = TaskFile(results, proc) if results else None
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._keep(self._tree.at_start)
        threading.Thread(target=self._look, name="mwaa-task-resources", daemon=True).start()

    def end(self, state: str) -> dict[str, Any] | None:
        """End the watch, log one line, and store the result for publishing. A second call does nothing.

        :param state: how the task ended, in Airflow's terms.
        :return: what was measured; ``None`` the second time, and in a process that the task has forked.
        """
        if self._ended.is_set() or os.getpid() != self._pid:
            return None
        with self._writing:
            self._ended.set()
        usage = self._tree.measure()
        result = self._sample(usage, state)
        result.update(self._left(usage.written_bytes))
        if self._file:
            try:
                self._file.write(result)
                self._file.finish()
            except OSError as error:
                self._missing["published metrics"] = f"{type(error).__name__}: {error}"
                self._file.drop()
        result["missing"] = self._missing | usage.missing
        log.info("%s", _line(result, self._tree.at_start.memory_bytes))
        return result

    def _left(self, written_bytes: int | None) -> dict[str, Any]:
        """Return what the task has left in temporary folders, which all tasks of the container share."""
        if written_bytes is None:  # why, is known
            return {"left_bytes": None}
        if written_bytes < _LITTLE_BYTES:  # searching would take longer than many tasks
            return {"left_bytes": 0}
        left = bytes_left(self._folders, self._began_s, skip=[self._results.folder] if self._results else [])
        return {"left_bytes": min(left.size_bytes, written_bytes), "left_complete": left.complete}

    def _look(self) -> None:
        rest_s = _FIRST_S
        while not self._ended.wait(rest_s):
            began = time.monotonic()
            try:
                usage = self._tree.measure(roughly=True)
                self._keep(usage)
                self._tell_growth(usage)
            except Exception as error:  # noqa: BLE001 - the task goes on
                self._missing["samples"] = f"{type(error).__name__}: {error}"
                return
            now = time.monotonic()
            rest_s = max(min((now - self._began) / 5, _LONGEST_S), _FIRST_S, _SHARE * (now - began))

    def _keep(self, usage: Usage) -> None:
        """Store a sample, which describes the task if it is killed."""
        if self._file is None:
            return
        sample = self._sample(usage, RUNNING)
        with self._writing:
            if self._ended.is_set():
                return
            try:
                self._file.write(sample)
                self._missing.pop("last sample", None)
            except OSError as error:
                self._missing["last sample"] = f"{type(error).__name__}: {error}"

    def _tell_growth(self, usage: Usage) -> None:
        memory = usage.memory_bytes or 0
        if memory < max(self._told_bytes * _GROWN_SHARE, self._told_bytes + _GROWN_BYTES) or self._ended.is_set():
            return
        self._told_bytes = memory
        sample = self._sample(usage, RUNNING)
        with _logging:
            log.info("Task resources: %s", _used(sample))

    def _sample(self, usage: Usage, state: str) -> dict[str, Any]:
        return {
            **asdict(self.task),
            "parent": self._parent,
            "state": state,
            "taken_s": time.time(),
            "wall_s": time.monotonic() - self._began,
            "cpu_s": usage.cpu_s,
            "memory_bytes": usage.memory_bytes,
            "peak_bytes": usage.peak_bytes,
            "processes": usage.processes,
            "doing": _doing(sys._current_frames().get(self._thread_id)) if state == RUNNING else None,
        }


def killed_line(sample: Mapping[str, Any]) -> str:
    """Return the log line for a task that was killed.

    :param sample: its last sample.
    """
    mapped = f", map index {sample['map_index']}" if sample["map_index"] >= 0 else ""
    taken = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(sample["taken_s"]))
    return (
        f"A task's process on this worker was killed, or ended unexpectedly: DAG {sample['dag_id']}, task "
        f"{sample['task_id']}, run {sample['run_id']}{mapped}, try {sample['try_number']}. Its last sample, of "
        f"{taken}: {_used(sample)}"
    )


def _used(sample: Mapping[str, Any]) -> str:
    parts = [
        f"memory {_mb(sample['memory_bytes'])}, peak {_mb(sample['peak_bytes'])}, processes {sample['processes']}",
        "CPU not known" if sample["cpu_s"] is None else f"CPU {sample['cpu_s']:.1f} s",
        f"after {sample['wall_s']:.1f} s",
    ]
    if sample["doing"]:
        parts.append(f"in {sample['doing']}")
    return ", ".join(parts)


def _line(result: Mapping[str, Any], at_start: int | None) -> str:
    left = result.get("left_bytes")
    least = "" if result.get("left_complete", True) else "at least "
    parts = [
        f"ended {result['state']}",
        f"peak memory {_mb(result['peak_bytes'])} ({_mb(at_start)} at the start)",
        "CPU not known" if result["cpu_s"] is None else f"CPU {result['cpu_s']:.2f} s",
        f"wall {result['wall_s']:.2f} s",
        "files left not known" if left is None else f"files left {least}{_mb(left)}",
    ]
    why = "; ".join(f"no {what}: {reason}" for what, reason in result["missing"].items())
    return f"Task resources: {', '.join(parts)}{'. ' + why if why else ''}"


def _mb(number: float | None) -> str:
    return "not known" if number is None else f"{number / 1e6:.1f} MB"


def _doing(frame: FrameType | None) -> str | None:
    """Return the innermost line of code that does not belong to a library: function, file and line.

    If there is none, return the innermost line of all; ``None`` before or after the task's own code.
    """
    shown = frame
    while frame is not None:
        file = frame.f_code.co_filename
        if file == __file__:
            return None
        if not _is_library(file) and frame.f_globals.get("__name__") != "__main__":
            shown = frame
            break
        frame = frame.f_back
    return f"{shown.f_code.co_name} ({shown.f_code.co_filename}:{shown.f_lineno})" if shown else None


def _is_library(file: str) -> bool:
    return file.startswith((_STANDARD_LIBRARY, _PACKAGE, "<")) or "site-packages" in file or "dist-packages" in file
