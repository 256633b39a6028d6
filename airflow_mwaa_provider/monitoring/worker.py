# SPDX-License-Identifier: Apache-2.0
"""Measure a worker's memory, CPU, disk and processes: its host's with psutil, its container's from cgroups.

A container's limits are not its host's: on MWAA a worker sees the memory of the underlying machine, but is killed at
its container's limit.

Source: the kernel's documentation of cgroup v1 and v2; psutil's.
"""

from __future__ import annotations

import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow_mwaa_provider.monitoring.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TypeAlias

    Found: TypeAlias = Iterable[tuple[str, float | str]]
    """Metrics by name, each with its number or the reason why there is none."""

__all__ = ["WORKER_METRICS", "Measured", "measure_worker"]

WORKER_METRICS: dict[str, tuple[str, str, str]] = {
    "virtual_memory_total": ("virtual_memory", "Bytes", "memory of the host"),
    "virtual_memory_available": ("virtual_memory", "Bytes", "memory available without swapping"),
    "virtual_memory_used": ("virtual_memory", "Bytes", "memory in use"),
    "virtual_memory_free": ("virtual_memory", "Bytes", "memory that is not used at all"),
    "virtual_memory_active": ("virtual_memory", "Bytes", "memory that was used recently"),
    "virtual_memory_inactive": ("virtual_memory", "Bytes", "memory that was not used recently"),
    "virtual_memory_percent": ("virtual_memory", "Percent", "share of memory that is not available"),
    "cpu_times_percent_user": ("cpu_times_percent", "Percent", "CPU time in programs, on all processors of the host"),
    "cpu_times_percent_system": ("cpu_times_percent", "Percent", "CPU time in the kernel"),
    "cpu_times_percent_idle": ("cpu_times_percent", "Percent", "idle CPU time"),
    "container_memory_used": (
        "container_memory",
        "Bytes",
        "memory of the container, without caches that can be dropped",
    ),
    "container_memory_limit": ("container_memory", "Bytes", "the limit at which its processes are killed"),
    "container_memory_percent": ("container_memory", "Percent", "share of the limit in use"),
    "container_memory_kills": (
        "container_memory",
        "Count",
        "processes killed at the limit since the container started",
    ),
    "container_cpu_used": ("container_cpu", "Seconds", "CPU time since the container started"),
    "container_cpu_throttled": ("container_cpu", "Seconds", "time that it was throttled since the container started"),
    "container_cpu_limit": ("container_cpu", "Count", "processors that it may use"),
    "container_pids": ("container_pids", "Count", "processes and threads"),
    "container_pids_limit": ("container_pids", "Count", "how many processes and threads it may have"),
    "disk_total": ("disk", "Bytes", "size of the file system that tasks write to"),
    "disk_used": ("disk", "Bytes", "space in use"),
    "disk_free": ("disk", "Bytes", "space that can be written"),
    "disk_percent": ("disk", "Percent", "share of the usable space in use"),
    "open_files": ("processes", "Count", "open files of all visible processes of the worker"),
    "processes": ("processes", "Count", "processes of the worker"),
    "load_average_1": ("load", "None", "processes running or waiting to run, mean of one minute"),
    "load_average_5": ("load", "None", "mean of five minutes"),
    "load_average_15": ("load", "None", "mean of fifteen minutes"),
}
"""The category, unit and meaning of each metric."""

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60
"""In cgroup v1, a number near the largest possible means "no limit"."""
_UNSAID, _NO_LIMIT = "its cgroup does not say", "no limit is set"


@dataclass(frozen=True)
class Measured:
    """What was measured.

    :param numbers: by the metric's name.
    :param missing: why a number is missing, by the metric's name or by what was not measured at all.
    """

    numbers: Mapping[str, float]
    missing: Mapping[str, str]

    def metrics(self, env_name: str | None, host: str | None = None) -> list[Metric]:
        """Return the numbers as metrics with the dimensions Environment, Category and Host.

        :param env_name: the name of the environment; without it the dimension is left out.
        :param host: by default the worker's address.
        """
        host = host or _address()
        common = {**({"Environment": env_name} if env_name else {}), "Host": host}
        return [
            Metric(name, number, WORKER_METRICS[name][1], {**common, "Category": WORKER_METRICS[name][0]})
            for name, number in self.numbers.items()
        ]


def measure_worker(path: str, *, cgroups: Path = _ROOT, own: Path = _OWN) -> Measured:
    """Measure the worker that this process runs on; failures are not raised.

    :param path: a folder on the disk that tasks write to.
    :param cgroups: where cgroups are mounted.
    :param own: the file with this process's cgroups.
    """
    numbers: dict[str, float] = {}
    missing: dict[str, str] = {}
    for what, measure in (
        ("host's memory", _host_memory),
        ("host's CPU", _host_cpu),
        ("container", lambda: _container(cgroups, own)),
        ("disk", lambda: _disk(path)),
        ("processes", _processes),
        ("load", _load),
    ):
        try:
            for name, found in measure():
                if isinstance(found, str):
                    missing[name] = found
                else:
                    numbers[name] = float(found)
        except Exception as error:  # noqa: BLE001 - what a kernel or psutil does not have is no reason to have no other
            missing[what] = f"{type(error).__name__}: {error}"
    return Measured(numbers, missing)


def _host_memory() -> Found:
    import psutil

    memory = psutil.virtual_memory()
    for part in ("total", "available", "used", "free", "active", "inactive", "percent"):
        yield f"virtual_memory_{part}", getattr(memory, part, "psutil does not say")


def _host_cpu() -> Found:
    import psutil

    cpu = psutil.cpu_times_percent(interval=0.1)
    for part in ("user", "system", "idle"):
        yield f"cpu_times_percent_{part}", getattr(cpu, part, "psutil does not say")


def _disk(path: str) -> Found:
    found = os.statvfs(path)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    used = total - found.f_bfree * found.f_frsize
    yield "disk_total", total
    yield "disk_used", used
    yield "disk_free", free
    yield "disk_percent", _percent(used, used + free)


def _processes() -> Found:
    count, files = 0, 0
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            count += 1
            try:
                files += sum(1 for _ in os.scandir(each / "fd"))
            except OSError:
                continue  # another user's, or already ended
    if not count:
        raise ValueError("/proc shows no process")
    yield "processes", count
    yield "open_files", files


def _load() -> Found:
    return zip(("load_average_1", "load_average_5", "load_average_15"), os.getloadavg(), strict=True)


class _Level(NamedTuple):
    """One resource of a cgroup.

    :param events: how often, or how long, it was at its limit.
    """

    used: float | None
    limit: float | None
    events: float | None = None


def _container(cgroups: Path, own: Path) -> Found:
    """Measure the cgroup of this process, or the enclosing one with the least room, whose limit is reached first."""
    memory, cpu, pids = (_levels_2 if (cgroups / "cgroup.controllers").exists() else _levels_1)(cgroups, own)
    if all(value is None for levels in (memory, cpu, pids) for level in levels for value in level):
        raise ValueError(f"{cgroups} has no cgroup of this process")
    used, limit, kills = _with_least_room(memory)
    yield "container_memory_used", _or(used, _UNSAID)
    yield "container_memory_limit", _or(limit, _NO_LIMIT)
    yield "container_memory_percent", _percent(used, limit)
    yield "container_memory_kills", _or(kills, _UNSAID)
    used, limit, throttled = min(cpu, key=lambda level: math.inf if level.limit is None else level.limit)
    yield "container_cpu_used", _or(used, _UNSAID)
    yield "container_cpu_throttled", _or(throttled, _UNSAID)
    yield "container_cpu_limit", _or(limit, _NO_LIMIT)
    used, limit, _ = _with_least_room(pids)
    yield "container_pids", _or(used, _UNSAID)
    yield "container_pids_limit", _or(limit, _NO_LIMIT)


def _with_least_room(levels: Sequence[_Level]) -> _Level:
    def room(level: _Level) -> float:
        return math.inf if level.used is None or level.limit is None else level.limit - level.used

    return min(levels, key=room)


def _or(number: float | None, why: str) -> float | str:
    return why if number is None else number


def _percent(used: float | None, whole: float | None) -> float | str:
    if used is None:
        return _UNSAID
    if whole is None:
        return _NO_LIMIT
    return 100.0 * used / whole if whole > 0 else "the whole is 0"


def _levels_2(cgroups: Path, own: Path) -> tuple[list[_Level], list[_Level], list[_Level]]:
    """Return memory, CPU and processes from cgroups v2: this process's own, then the enclosing ones."""
    groups = _with_parents(_group(cgroups, _own_path(own, "")), cgroups)
    memory, cpu, pids = [], [], []
    for group in groups:
        used = _less(_number(group / "memory.current"), _table(group / "memory.stat").get("inactive_file"))
        kills = _table(group / "memory.events").get("oom_kill")
        memory.append(_Level(used, _number(group / "memory.max"), kills))
        stat = _table(group / "cpu.stat")
        quota, _, period = (_text(group / "cpu.max") or "").partition(" ")
        cpu.append(
            _Level(
                _seconds(stat.get("usage_usec"), 1e6),
                _ratio(_parsed(quota), _parsed(period)),
                _seconds(stat.get("throttled_usec"), 1e6),
            )
        )
        pids.append(_Level(_number(group / "pids.current"), _number(group / "pids.max")))
    return memory, cpu, pids


def _levels_1(cgroups: Path, own: Path) -> tuple[list[_Level], list[_Level], list[_Level]]:
    """Return the same from v1, where each controller has its own cgroups."""
    memory, cpu = [], []
    for group in _groups_1(cgroups, own, "memory"):
        stat = _table(group / "memory.stat")
        used = _less(_number(group / "memory.usage_in_bytes"), stat.get("total_inactive_file"))
        # The first includes the enclosing ones, even if they cannot be seen.
        limits = [stat.get("hierarchical_memory_limit"), _number(group / "memory.limit_in_bytes")]
        limit = min((each for each in limits if each is not None and each < _UNLIMITED), default=None)
        memory.append(_Level(used, limit, _table(group / "memory.oom_control").get("oom_kill")))
    times = [_number(group / "cpuacct.usage") for group in _groups_1(cgroups, own, "cpuacct")]
    for number, group in enumerate(_groups_1(cgroups, own, "cpu")):
        used = times[number] if number < len(times) else None
        quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        throttled = _table(group / "cpu.stat").get("throttled_time")
        cpu.append(_Level(_seconds(used, 1e9), _ratio(quota, period), _seconds(throttled, 1e9)))
    groups = _groups_1(cgroups, own, "pids")
    pids = [_Level(_number(group / "pids.current"), _number(group / "pids.max")) for group in groups]
    return memory, cpu, pids


def _groups_1(cgroups: Path, own: Path, controller: str) -> list[Path]:
    """Return this process's cgroup of a controller, and the enclosing ones. Several may be mounted as one folder."""
    together = (each for each in sorted(cgroups.glob("*,*")) if controller in each.name.split(","))
    mounted = cgroups / controller
    if not mounted.is_dir():
        mounted = next(together, mounted)
    return _with_parents(_group(mounted, _own_path(own, controller)), mounted)


def _less(used: float | None, part: float | None) -> float | None:
    """Return memory without what can be dropped; the kernel counts the two at different times."""
    return None if used is None else max(0.0, used - (part or 0.0))


def _seconds(number: float | None, in_a_second: float) -> float | None:
    return None if number is None else number / in_a_second


def _ratio(quota: float | None, period: float | None) -> float | None:
    """Return a quota as a number of processors; in v1 a negative quota means none."""
    return quota / period if quota is not None and quota > 0 and period else None


def _own_path(own: Path, controller: str) -> str:
    """Return the path of this process's cgroup: for one controller in v1, for all of them in v2."""
    for line in (_text(own) or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(","):
            return path.strip("/")
    return ""


def _group(mounted: Path, path: str) -> Path:
    """Return the folder of a cgroup. In a container the path is often the host's, but its own cgroup is mounted."""
    is_within = path and ".." not in path.split("/")
    return mounted / path if is_within and (mounted / path).is_dir() else mounted


def _with_parents(group: Path, cgroups: Path) -> list[Path]:
    """Return a cgroup and those that enclose it, whose limits also apply to it."""
    return [group, *(each for each in group.parents if each == cgroups or cgroups in each.parents)]


def _table(path: Path) -> dict[str, float]:
    found = {}
    for line in (_text(path) or "").splitlines():
        name, _, number = line.partition(" ")
        if number.strip().isdecimal():
            found[name] = float(number)
    return found


def _number(path: Path) -> float | None:
    """Return the number in a file; ``None`` if the file does not exist, or says that there is no limit."""
    return _parsed(_text(path) or "")


def _parsed(text: str) -> float | None:
    text = text.strip()
    return float(text) if text.removeprefix("-").isdecimal() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _address() -> str:
    """Return the worker's address; its name if it has no address."""
    name = socket.gethostname()
    try:
        return socket.gethostbyname(name)
    except (OSError, UnicodeError):
        return name
