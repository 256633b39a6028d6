# SPDX-License-Identifier: Apache-2.0
"""Measure what a process and its descendants use, from Linux's ``/proc``, and what was left in temporary folders.

psutil is not used: importing it costs more than everything that is measured here, and it does not report the memory
that forked processes share.

Source: the kernel's Documentation/filesystems/proc.rst and proc_pid_stat(5).
"""

from __future__ import annotations

import heapq
import os
import resource
import stat
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Left", "ProcessTree", "Usage", "bytes_left", "is_alive", "start_ticks"]

Measured = TypeVar("Measured")

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_KIB = 1024
_GONE = (OSError, ValueError, IndexError)  # the process ended meanwhile
_LITTLE_BYTES = 4_000_000


@dataclass
class Usage:
    """What a process and its descendants use; an unavailable number is ``None``, and ``missing`` gives the reason.

    :param memory_bytes: proportional set size: memory that processes share counts once, divided among them.
    :param peak_bytes: the largest known value, including between two measurements.
    :param cpu_s: user and kernel CPU time since the beginning, including processes that have ended.
    :param written_bytes: bytes written to files, pipes and sockets since the beginning.
    :param processes: the number of processes.
    """

    memory_bytes: int | None = None
    peak_bytes: int | None = None
    cpu_s: float | None = None
    written_bytes: int | None = None
    processes: int = 1
    missing: dict[str, str] = field(default_factory=dict)


class ProcessTree:
    """Measures this process and its descendants, from its creation on.

    A process that has left the tree, because its parent ended first, is not seen.

    :param proc: the folder of the kernel's files about processes.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._pid = os.getpid()
        self._peak_bytes = 0
        self._hwm_bytes = self._most_resident()
        self._child_bytes = _largest_child()
        self._known = (0, 0)
        self._cpu_s, self._written_bytes = 0.0, 0
        self.at_start = self.measure()
        self._cpu_s = self.at_start.cpu_s or 0.0
        self._written_bytes = self.at_start.written_bytes or 0
        self.at_start.cpu_s, self.at_start.written_bytes = 0.0, 0

    def measure(self, *, roughly: bool = False) -> Usage:
        """Measure now.

        :param roughly: reuse the last memory value if little seems to have changed: measuring takes about a millisecond
            for each 30 MB. Memory that a process no longer shares is seen with a delay.
        """
        usage = Usage()
        pids = [self._pid, *(_try(usage, "processes", lambda: list(self._descendants())) or ())]
        usage.processes = len(pids)
        usage.memory_bytes = _try(usage, "memory", lambda: self._memory(pids, roughly))
        usage.peak_bytes = self._peak_bytes or None
        usage.cpu_s = _try(usage, "CPU", lambda: self._cpu(pids[1:]) - self._cpu_s)
        usage.written_bytes = _try(usage, "written bytes", lambda: self._written(pids) - self._written_bytes)
        return usage

    def _memory(self, pids: list[int], roughly: bool) -> int:
        resident, own = self._known
        changed = self._resident(self._pid) - resident
        if roughly and len(pids) == 1 and abs(changed) < _LITTLE_BYTES:
            resident, own = resident + changed, own + changed
        else:
            resident, own = self._known = self._proportional(self._pid)
        total = own
        for pid in pids[1:]:
            try:
                total += self._proportional(pid)[1]
            except _GONE:
                continue
        self._peak_bytes = max(self._peak_bytes, total)
        # Of what was between two measurements the kernel knows the most of this process, and of its largest child that
        # has ended. They count when they grew since the beginning: parsing a DAG file takes memory too.
        most = self._most_resident()
        if most > self._hwm_bytes:
            self._peak_bytes = max(self._peak_bytes, most - (resident - own))
        child = _largest_child()
        # A child begins with its parent's memory.
        if child > max(self._child_bytes, most):
            self._peak_bytes = max(self._peak_bytes, child)
        return total

    def _proportional(self, pid: int) -> tuple[int, int]:
        """Return resident and proportional bytes; the former for both if the kernel does not report the latter."""
        try:
            numbers = _kib(self._read(pid, "smaps_rollup"))
            return numbers["Rss"], numbers["Pss"]
        except (OSError, KeyError):  # a kernel before 4.14, or a process of another user
            resident = self._resident(pid)
            return resident, resident

    def _resident(self, pid: int) -> int:
        return int(self._read(pid, "statm").split()[1]) * _PAGE_BYTES

    def _most_resident(self) -> int:
        try:
            return _kib(self._read(self._pid, "status")).get("VmHWM", 0)
        except OSError:
            return 0

    def _cpu(self, children: list[int]) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = resource.getrusage(resource.RUSAGE_SELF)
        seconds = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
        for pid in children:
            try:
                seconds += sum(int(each) for each in _stat(self._proc, pid)[11:15]) / _TICKS
            except _GONE:
                continue
        return seconds

    def _written(self, pids: list[int]) -> int:
        written = 0
        for pid in pids:
            try:
                numbers = dict(line.split(": ") for line in self._read(pid, "io").decode().splitlines())
            except _GONE:
                if pid == self._pid:
                    raise
                continue
            # Memory that is mapped to a file is only in the second.
            written += max(int(numbers["wchar"]), int(numbers["write_bytes"]))
        return written

    def _descendants(self) -> Iterator[int]:
        waiting = [self._pid]
        if not os.path.exists(f"{self._proc}/{self._pid}/task/{self._pid}/children"):  # noqa: PTH110 - called often
            children = self._children_by_parent()
            while waiting:
                found = children.get(waiting.pop(), [])
                yield from found
                waiting += found
            return
        while waiting:
            pid = waiting.pop()
            try:
                threads = os.listdir(f"{self._proc}/{pid}/task")  # noqa: PTH208
                for thread in threads:
                    found = [int(each) for each in self._read(pid, f"task/{thread}/children").split()]
                    yield from found
                    waiting += found
            except OSError:
                continue

    def _children_by_parent(self) -> dict[int, list[int]]:
        """Return all processes by their parents, for kernels without lists of children."""
        children: dict[int, list[int]] = defaultdict(list)
        for name in os.listdir(self._proc):  # noqa: PTH208
            if name.isdigit():
                try:
                    children[int(_stat(self._proc, int(name))[1])].append(int(name))
                except OSError:
                    continue
        return children

    def _read(self, pid: int, name: str) -> bytes:
        return _read(f"{self._proc}/{pid}/{name}")


def start_ticks(pid: int, proc: str = "/proc") -> int:
    """Return when a process began, in ticks since the machine's start; 0 if that cannot be read.

    Together with the process id it identifies one process forever, since ids are reused.
    """
    try:
        return int(_stat(proc, pid)[19])
    except (OSError, ValueError, IndexError):
        return 0


def is_alive(pid: int, began_ticks: int, proc: str = "/proc") -> bool:
    """Whether a process still runs; one that has ended and was not waited for does not.

    :param began_ticks: the result of :func:`start_ticks` for it.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's process, whether or not the id was reused
    try:
        fields = _stat(proc, pid)
        return fields[0] not in ("Z", "X") and began_ticks in (0, int(fields[19]))
    except (OSError, ValueError, IndexError):
        return True


@dataclass(frozen=True)
class Left:
    """Bytes of files; ``complete`` is false if there were too many to examine."""

    size_bytes: int
    complete: bool


def bytes_left(
    folders: Iterable[str],
    since_s: float,
    *,
    skip: Iterable[str] = (),
    most_entries: int = 5000,
    most_s: float = 0.02,
    clock: Callable[[], float] = time.monotonic,
) -> Left:
    """Return the disk space of this user's files in folders that were created or changed since a given time.

    Folders that changed last are examined first. Links are not followed.

    :param since_s: seconds since 1970.
    :param skip: folders to leave out.
    :param most_entries: how many files and folders are examined.
    :param most_s: how long that may take, in seconds.
    """
    uid, end_s = os.geteuid(), clock() + most_s
    # Files are dated by the kernel's tick, which may be up to 10 ms late.
    since_ns = int((since_s - 0.01) * 1e9)
    waiting: list[tuple[float, str]] = []
    seen, size_bytes, entries = set(), 0, 0
    for folder in folders:
        real = os.path.realpath(folder)
        if real not in seen and os.path.isdir(real):  # noqa: PTH112
            seen.add(real)
            waiting.append((-float("inf"), real))
    skipped = {os.path.realpath(folder) for folder in skip}
    while waiting:
        _, folder = heapq.heappop(waiting)
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if entries >= most_entries or clock() > end_s:
                        return Left(size_bytes, complete=False)
                    entries += 1
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        if entry.path not in skipped and entry.path not in seen:
                            heapq.heappush(waiting, (-status.st_mtime, entry.path))
                    elif status.st_uid == uid and status.st_ctime_ns >= since_ns:
                        size_bytes += status.st_blocks * 512
        except OSError:
            continue  # another user's, or gone
    return Left(size_bytes, complete=True)


def _try(usage: Usage, what: str, measure: Callable[[], Measured]) -> Measured | None:
    try:
        return measure()
    except (OSError, ValueError, KeyError, IndexError) as error:
        usage.missing[what] = f"{type(error).__name__}: {error}"
        return None


def _largest_child() -> int:
    """Return the largest memory of a child that has ended and was waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _KIB


def _stat(proc: str, pid: int) -> list[str]:
    """Return the fields of ``stat`` after the command's name, which may contain spaces and brackets."""
    return _read(f"{proc}/{pid}/stat").rpartition(b")")[2].decode().split()


def _kib(text: bytes) -> dict[str, int]:
    """Return the numbers of a file whose lines are ``Name:  12 kB``, in bytes."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b":")
        if rest.endswith(b" kB"):
            found[name.decode()] = int(rest[:-3]) * _KIB
    return found


def _read(path: str) -> bytes:
    """Read a small file. ``open()`` makes three more system calls, and lets other threads run each time."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(file, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(file)
