# SPDX-License-Identifier: Apache-2.0
"""Publish the resources of tasks to CloudWatch: stored in a folder of the container, published by one of its processes.

A call to AWS takes longer than a task may be kept waiting, so a task only writes a file. ``running-PID-TICKS`` has the
last sample of a running task; when the task ends, it has the result, and is renamed to ``done-…``. A file with a sample
whose process has disappeared belongs to a task that was killed: the process that renames it first reports that. One
process per container, in its own session, reads finished results once a minute and publishes them.

Nothing is published twice: a file is renamed to ``sent-…`` before its request, and results in doubt are dropped. What
was certainly not sent is tried again for an hour: the files, or, if they became several requests and one was accepted,
a file with the remaining metrics.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_mwaa_provider.monitoring.process_tree import is_alive, start_ticks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow_mwaa_provider.client.http.retrying import RetryPolicy
    from airflow_mwaa_provider.monitoring.metrics import Metric

__all__ = ["TaskFile", "TaskResults", "main", "metrics_of_results"]

RUNNING = "running"
"""The state of a task in its samples; it remains there if the task is killed."""
KILLED = "killed"
OTHER = "other"
"""DAG and task of all tasks beyond the limit."""
MOST_WAITING = 5000
"""The number of waiting results; more are dropped."""
BATCH_S, IDLE_S = 60.0, 900.0
"""How often results are published, and how long the publisher runs without a task, in seconds."""

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - only a folder in it, 0700 and checked for its owner
_PREFIX = "airflow-mwaa-task-resources"
_KEPT_S = 3600.0
_STARTS_S = 10.0
_LEFT_TO_PARENT_S = 60.0
_DEADLINE_S, _LAST_DEADLINE_S = 20.0, 3.0
_PAGE_BYTES = 4096
_MOST_CHARACTERS = 1024  # in the value of a dimension
_RESULTS_A_REQUEST = 200  # with five metrics each, which makes the thousand that a request may have
# The variables for access to AWS. A task's own process may have more, for example from its code.
_VARIABLES = (
    "HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_PREFIXES = ("AWS_", "PYTHON", "AIRFLOW_MWAA_")  # the last one is how the local MWAA finds its processes


class TaskResults:
    """A container's folder in which tasks store what they have used.

    :param folder: created if missing; only this user may have access to it.
    :raises OSError: the folder cannot be used.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)  # noqa: PTH102
            os.chmod(folder, 0o700)  # noqa: PTH101 - whatever the umask
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise OSError(f"{folder} is not a folder that only this user may enter")

    @classmethod
    def of_environment(cls, namespace: str, shared_memory: str = _SHARED_MEMORY, proc: str = "/proc") -> TaskResults:
        """Return the folder for this Airflow and namespace: in shared memory, otherwise with the temporary files.

        Containers with common shared memory each have their own folder, because process ids of one mean nothing in
        another. So do containers with common process ids but different file systems.
        """
        known = [namespace, os.environ.get("AIRFLOW_ENV_NAME", ""), os.environ.get("AIRFLOW_HOME", "")]
        for kind in ("pid", "mnt"):
            try:
                known.append(str(os.stat(f"{proc}/self/ns/{kind}").st_ino))  # noqa: PTH116
            except OSError:
                known.append("")
        digest = hashlib.sha256("\0".join(known).encode(errors="surrogateescape")).hexdigest()[:12]
        name = f"{_PREFIX}-{os.geteuid()}-{digest}"
        usable = os.path.isdir(shared_memory) and os.access(shared_memory, os.W_OK | os.X_OK)  # noqa: PTH112
        return cls(f"{shared_memory if usable else tempfile.gettempdir()}/{name}")

    def write(self, path: str, result: Mapping[str, Any]) -> None:
        """Write a file atomically: a reader finds the previous contents or the new ones."""
        part = f"{self.folder}/part-{os.getpid()}"
        try:
            with open(part, "w") as file:  # noqa: PTH123
                json.dump(result, file)
            os.replace(part, path)  # noqa: PTH105
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(part)  # noqa: PTH108
            raise

    def killed(self, *, leave_to_parents: bool = False, proc: str = "/proc") -> list[dict[str, Any]]:
        """Return the last samples of tasks whose processes have disappeared, each once, to one caller.

        :param leave_to_parents: for a minute, return a sample only to the parent of the task's process, while that
            runs: in Airflow 2 it supervises the task, and logs to the task's own log.
        """
        found = []
        for name in self._gone(proc):
            if leave_to_parents and self._has_parent(f"{self.folder}/{name}", proc):
                continue
            done = self._done(name)
            try:
                os.rename(f"{self.folder}/{name}", done)  # noqa: PTH104
                sample = _read(done)
            except OSError:  # another one was first
                continue
            if sample and sample["state"] == RUNNING:
                found.append(sample)
        return found

    def take_ended(self, proc: str = "/proc") -> None:
        """Take the results of tasks that could not rename their files, and whose processes have disappeared."""
        for name in self._gone(proc):
            path = f"{self.folder}/{name}"
            found = _read(path)
            if found and found["state"] != RUNNING:
                with contextlib.suppress(OSError):  # another one was first
                    os.rename(path, self._done(name))  # noqa: PTH104

    def publish_soon(self, namespace: str, most_tasks: int, variables: Mapping[str, str]) -> None:
        """Start the container's publisher, unless it is running or another task has just started it.

        It is not a child of this process, and does not keep it alive.

        :param variables: environment variables; those for access to AWS are passed on.
        :raises OSError: it cannot be started.
        """
        with self._lock() as file:
            if file is None or _is_starting(file):
                return
            with contextlib.suppress(OSError):  # in a full folder several may be started; all but one exit
                file.truncate(0)
                file.write(b"starts")
            self._start_publisher(namespace, most_tasks, variables)

    def _start_publisher(self, namespace: str, most_tasks: int, variables: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", __name__, self.folder, namespace, str(most_tasks)]
        passed = {name: each for name, each in variables.items() if name in _VARIABLES or name.startswith(_PREFIXES)}
        # The shell ends at once, which makes it a child of the container's first process.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            env=passed,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
            timeout=5.0,
        )

    def publish(self, client: Any, namespace: str, most_tasks: int, policy: RetryPolicy | None = None) -> int:
        """Publish finished results; return the number of tasks. Only the publisher calls this.

        :param client: a boto3 client for CloudWatch, without retries of its own.
        :param most_tasks: how many tasks have their own metrics per day.
        :param policy: how a request is retried; for 60 seconds by default.
        """
        from airflow_mwaa_provider.exceptions import MetricsNotSent, MwaaError
        from airflow_mwaa_provider.monitoring.metrics import Metric
        from airflow_mwaa_provider.monitoring.publishing import put_metrics

        lost = self._names("sent-")
        if lost:
            self.fail(
                f"it is unknown whether the results of {len(lost)} tasks were published; they are not published again"
            )
            self._unlink(lost)
        # From processes that were killed while writing.
        self._unlink(name for name in self._names("part-") if not is_alive(int(name[5:]), 0))
        published = 0
        names = self._names("done-")
        while names:
            batch, names = names[:_RESULTS_A_REQUEST], names[_RESULTS_A_REQUEST:]
            left = [found for name in batch if (found := _read(f"{self.folder}/{name}"))]
            results = [found for found in left if "metrics" not in found]
            metrics = metrics_of_results(results, self._named(results, most_tasks))
            metrics += [Metric(**each) for found in left for each in found.get("metrics", ())]
            metrics = [metric for metric in metrics if self._is_accepted(metric)]
            # Nothing may fail from here to the request: files with this name are not sent again.
            sent = [f"sent-{name.partition('-')[2]}" for name in batch]
            for name, target in zip(batch, sent, strict=True):
                os.rename(f"{self.folder}/{name}", f"{self.folder}/{target}")  # noqa: PTH104
            try:
                put_metrics(client, namespace, metrics, policy=policy)
            except MwaaError as error:
                self.fail(str(error))
                self._keep(sent, metrics, error.unsent if isinstance(error, MetricsNotSent) else metrics)
                break
            self._unlink(sent)
            published += len(results)
        return published

    def failure(self) -> str | None:
        """Return why results were not published, once, and to one caller."""
        try:
            taken = f"{self.folder}/part-{os.getpid()}"
            os.rename(f"{self.folder}/failure", taken)  # noqa: PTH104
            text = Path(taken).read_text()
            os.unlink(taken)  # noqa: PTH108
        except OSError:
            return None
        return text

    def fail(self, text: str) -> None:
        """Let the next task of the container log why nothing is published, once an hour for each reason."""
        last = Path(self.folder) / "last-failure"
        with contextlib.suppress(OSError):
            if last.read_text() == text and time.time() - last.stat().st_mtime < _KEPT_S:
                return
        with contextlib.suppress(OSError):
            last.write_text(text)
            Path(self.folder, "failure").write_text(text)

    def remove_if_idle(self) -> None:
        """Remove the folder unless a task runs or a result waits, for when Airflow ends but the machine does not."""
        if not self.has_results() and not self._names(f"{RUNNING}-"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def has_publisher(self) -> bool:
        """Whether a process of the container publishes these results."""
        with self._lock() as file:
            return file is None

    def is_in_use(self, proc: str = "/proc") -> bool:
        """Whether a result waits, or a running task will store one."""
        return self.has_results() or any(self._is_alive(name, proc) for name in self._names(f"{RUNNING}-"))

    def has_results(self) -> bool:
        """Whether something waits to be published."""
        return bool(self._names("done-"))

    def _is_accepted(self, metric: Metric) -> bool:
        """Return whether CloudWatch would accept a metric; log one that it would not."""
        from airflow_mwaa_provider.exceptions import MwaaInputError

        try:
            metric.entries()
        except MwaaInputError as error:
            whose = ", ".join(f"{name} {value!r}" for name, value in metric.dimensions.items())
            self.fail(f"{whose} is left out: {error}")
            return False
        return True

    def _keep(self, names: Sequence[str], metrics: Sequence[Metric], unsent: Sequence[Metric]) -> None:
        """Keep the unsent part of these results: a request may have been rejected after another was accepted."""
        if len(unsent) == len(metrics):
            self._give_back(names)
            return
        self._unlink(names)  # first, because it makes room in a full folder
        if unsent:
            self.write(self._done(f"{RUNNING}-rest"), {"metrics": [asdict(metric) for metric in unsent]})

    def _give_back(self, names: Iterable[str]) -> None:
        """Keep what was not sent, unless it is too old."""
        for name in names:
            path = f"{self.folder}/{name}"
            with contextlib.suppress(OSError):
                if time.time() - os.stat(path).st_mtime > _KEPT_S:  # noqa: PTH116
                    os.unlink(path)  # noqa: PTH108
                else:
                    os.rename(path, f"{self.folder}/done-{name.partition('-')[2]}")  # noqa: PTH104

    def _named(self, results: Iterable[Mapping[str, Any]], most: int) -> set[tuple[str, str]]:
        """Return the pairs of DAG and task that have their own metrics today, up to the limit."""
        path, today = f"{self.folder}/names", time.strftime("%Y-%m-%d", time.gmtime())
        known = _read(path) or {}
        before = {(dag_id, task_id) for dag_id, task_id in known.get("names", ()) if known.get("day") == today}
        named = set(before)
        for result in results:
            pair = (result["dag_id"], result["task_id"])
            if pair not in named and len(named) < most:
                named.add(pair)
        if named != before:  # a full folder has no room for another name
            self.write(path, {"day": today, "names": sorted(named)})
        return named

    def _names(self, prefix: str) -> list[str]:
        return sorted(name for name in os.listdir(self.folder) if name.startswith(prefix))  # noqa: PTH208

    def _gone(self, proc: str) -> list[str]:
        return [name for name in self._names(f"{RUNNING}-") if not self._is_alive(name, proc)]

    def _has_parent(self, path: str, proc: str) -> bool:
        """Return whether another process is the parent of a task's process, and has not had time to look."""
        sample = _read(path) or {}
        pid, ticks = sample.get("parent", (0, 0))
        is_recent = time.time() - sample.get("taken_s", 0.0) < _LEFT_TO_PARENT_S
        return is_recent and pid not in (0, os.getpid()) and is_alive(pid, ticks, proc)

    def _is_alive(self, running: str, proc: str) -> bool:
        _, pid, ticks = running.split("-")
        return is_alive(int(pid), int(ticks), proc)

    def _done(self, running: str) -> str:
        name = running.rpartition("/")[2].partition("-")[2]
        return f"{self.folder}/done-{time.time_ns():020d}-{name}"

    def _unlink(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(f"{self.folder}/{name}")  # noqa: PTH108

    @contextlib.contextmanager
    def _lock(self) -> Iterator[BinaryIO | None]:
        """Try to become the publisher; the value is the locked file, or ``None`` if another process is the publisher.

        The lock belongs to the process. A lock by flock would pass to a child that a thread of the task forks
        meanwhile.
        """
        with open(f"{self.folder}/publisher", "ab", buffering=0) as file:  # noqa: PTH123
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield file


class TaskFile:
    """The file of the task that this process runs: its last sample, and finally its result.

    It remains open and is overwritten in place. That needs no room in a full folder, and no rights that a task may have
    given up by ``setuid()`` or ``chroot()``. The contents of a page are overwritten at once, even if the process is
    killed meanwhile.

    :param results: the folder that contains it.
    :param proc: the folder of the kernel's files about processes.
    """

    def __init__(self, results: TaskResults, proc: str = "/proc") -> None:
        pid = os.getpid()
        self.path = f"{results.folder}/{RUNNING}-{pid}-{start_ticks(pid, proc)}"
        self._results = results
        self._descriptor, self._known = -1, (0, 0)
        self._size = _PAGE_BYTES

    def write(self, result: Mapping[str, Any]) -> None:
        """Overwrite the file with a sample or the result.

        :raises OSError: it cannot be written; the file is then useless.
        """
        if not self._is_open():
            self._open()
        text = json.dumps(result).encode()
        self._size = max(self._size, len(text))
        if os.pwrite(self._descriptor, text.ljust(self._size), 0) < self._size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def finish(self) -> None:
        """Pass it to the publisher: at once, or, if this process no longer may, when it has ended.

        :raises OSError: that is impossible, for example because so many wait that no publisher seems to run.
        """
        try:
            waiting = len(self._results._names("done-"))
            if waiting < MOST_WAITING:
                os.rename(self.path, self._results._done(self.path))  # noqa: PTH104
        except OSError:
            if not os.fstat(self._descriptor).st_nlink:  # somebody has removed it
                raise
            waiting = 0
        if waiting >= MOST_WAITING:
            self.drop()
            raise OSError(f"{waiting} results in {self._results.folder} wait to be published")
        self._close()

    def drop(self) -> None:
        """Remove it, so that it is not mistaken for that of a killed task."""
        with contextlib.suppress(OSError):
            if self._is_open():
                os.ftruncate(self._descriptor, 0)
            os.unlink(self.path)  # noqa: PTH108
        self._close()

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._descriptor, 0o600)  # whatever the umask
        found = os.fstat(self._descriptor)
        self._known = found.st_dev, found.st_ino

    def _is_open(self) -> bool:
        """Return whether the descriptor is still this file's: a task may close all descriptors and open others."""
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._known

    def _close(self) -> None:
        if self._is_open():
            os.close(self._descriptor)
        self._descriptor = -1


def _is_starting(file: BinaryIO) -> bool:
    """Return whether a publisher was started that has not acquired the lock; when it does, it empties the file."""
    found = os.fstat(file.fileno())
    return found.st_size > 0 and 0 <= time.time() - found.st_mtime < _STARTS_S


def metrics_of_results(results: Iterable[Mapping[str, Any]], named: set[tuple[str, str]]) -> list[Metric]:
    """Return what tasks have used as metrics, by DAG, task and minute.

    :param named: the pairs of DAG and task that have their own metrics; all others are combined as ``other``.
    """
    from airflow_mwaa_provider.monitoring.metrics import Metric

    units = {"peak_bytes": ("task_peak_memory", "Bytes"), "cpu_s": ("task_cpu", "Seconds"),
             "wall_s": ("task_wall", "Seconds"), "left_bytes": ("task_files_left", "Bytes")}  # fmt: skip
    found: dict[tuple[str, str, int, tuple[tuple[str, str], ...]], list[float]] = defaultdict(list)
    for result in results:
        pair = (result["dag_id"], result["task_id"])
        dag_id, task_id = pair if pair in named else (OTHER, OTHER)
        common = {"Environment": result.get("env_name"), "DAG": dag_id, "Task": task_id}
        dimensions = tuple((name, _accepted(value)) for name, value in common.items() if value and value.strip())
        minute = int(result["taken_s"] // 60 * 60)
        for field, (name, unit) in units.items():
            if result.get(field) is not None:
                found[name, unit, minute, dimensions].append(result[field])
        state = KILLED if result["state"] == RUNNING else result["state"]
        found["task_ended", "Count", minute, (*dimensions, ("State", state))].append(1.0)
    return [
        Metric(name, unit=unit, dimensions=dict(dimensions), timestamp=float(minute), values=values)
        for (name, unit, minute, dimensions), values in found.items()
    ]


def main(arguments: Sequence[str]) -> None:
    """Publish what tasks store in a folder, once a minute, until no task has run for a quarter of an hour.

    A separate process makes each request, so that this one stays small. After SIGTERM, everything is published at once.

    :param arguments: the folder, the namespace, and the number of tasks with their own metrics. With a fourth, the
        seconds for which a request is retried, it publishes once, now.
    """
    folder, namespace, most_tasks = arguments[:3]
    results = TaskResults(folder)
    if arguments[3:]:
        from airflow_mwaa_provider.client.http.retrying import RetryPolicy

        try:
            results.publish(_client(), namespace, int(most_tasks), RetryPolicy(deadline_s=float(arguments[3])))
        except Exception as error:  # noqa: BLE001 - there is no other place where it could be told
            results.fail(f"{type(error).__name__}: {error}")
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for _ in range(10):
        with results._lock() as file:
            is_idle = False
            if file:
                file.truncate(0)
                is_idle = _publish_by_the_minute(results, [*arguments])
        if file is None:
            time.sleep(0.1)  # a task checks whether there is one
        elif not is_idle or not results.is_in_use():  # a task that began meanwhile relies on this one
            return


def _publish_by_the_minute(results: TaskResults, arguments: list[str]) -> bool:
    """Publish until there is nothing to do, and return true; or until asked to end."""
    last_s = time.monotonic()
    while time.monotonic() - last_s < IDLE_S:
        is_told = signal.sigtimedwait({signal.SIGTERM}, BATCH_S) is not None
        if not os.path.isdir(results.folder):  # noqa: PTH112
            return False
        results.take_ended()
        if results.has_results():
            deadline_s = _LAST_DEADLINE_S if is_told else _DEADLINE_S
            subprocess.run([sys.executable, "-m", __spec__.name, *arguments, str(deadline_s)], check=False)
        if is_told:
            results.remove_if_idle()
            return False
        if results.is_in_use():
            last_s = time.monotonic()
    return True


def _client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "cloudwatch", config=Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1})
    )


def _read(path: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return None
    return found


def _accepted(text: str) -> str:
    """Return an id or a name in a form that CloudWatch takes.

    In Airflow it may have letters of any script, end in a line feed, or be ``None``.
    """
    printable = "".join(each if " " <= each <= "~" else "?" for each in text[:_MOST_CHARACTERS])
    return "None." if text == "None" else printable


if __name__ == "__main__":
    os.umask(0o077)  # Airflow's own, or a task's
    main(sys.argv[1:])
