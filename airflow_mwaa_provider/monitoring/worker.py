# SPDX-License-Identifier: Apache-2.0
"""What a worker has of memory, CPU, disk and processes: of its host as psutil tells, of its container as cgroups do.

A container's limits are not its host's: on MWAA a worker sees the memory of the machine below it, and is killed at the
limit of its container.

Source: the kernel's documentation of cgroup v1 and v2; psutil's.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mwaa_provider.monitoring.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["WORKER_METRICS", "Measured", "measure_worker"]

WORKER_METRICS: dict[str, tuple[str, str, str]] = {
    "virtual_memory_total": ("virtual_memory", "Bytes", "memory of the host"),
    "virtual_memory_available": ("virtual_memory", "Bytes", "what of it can be had without swapping"),
    "virtual_memory_used": ("virtual_memory", "Bytes", "what of it is used"),
    "virtual_memory_free": ("virtual_memory", "Bytes", "what of it is used for nothing at all"),
    "virtual_memory_active": ("virtual_memory", "Bytes", "what of it was used lately"),
    "virtual_memory_inactive": ("virtual_memory", "Bytes", "what of it was not used lately"),
    "virtual_memory_percent": ("virtual_memory", "Percent", "what of it cannot be had"),
    "cpu_times_percent_user": ("cpu_times_percent", "Percent", "CPU time of programs, of all processors of the host"),
    "cpu_times_percent_system": ("cpu_times_percent", "Percent", "CPU time of the kernel"),
    "cpu_times_percent_idle": ("cpu_times_percent", "Percent", "CPU time that nobody wanted"),
    "container_memory_used": ("container_memory", "Bytes", "memory of the container, without what can be dropped"),
    "container_memory_limit": ("container_memory", "Bytes", "the limit at which its processes are killed"),
    "container_memory_percent": ("container_memory", "Percent", "used of the limit"),
    "container_memory_kills": ("container_memory", "Count", "processes killed at the limit since it was started"),
    "container_cpu_used": ("container_cpu", "Seconds", "CPU time since it was started"),
    "container_cpu_throttled": ("container_cpu", "Seconds", "time it was kept from the CPU since it was started"),
    "container_cpu_limit": ("container_cpu", "Count", "processors that it may use"),
    "container_pids": ("container_pids", "Count", "processes and threads"),
    "container_pids_limit": ("container_pids", "Count", "how many there may be"),
    "disk_total": ("disk", "Bytes", "size of the file system that tasks write to"),
    "disk_used": ("disk", "Bytes", "what of it is used"),
    "disk_free": ("disk", "Bytes", "what of it can be written"),
    "disk_percent": ("disk", "Percent", "used of what can be"),
    "open_files": ("processes", "Count", "open files of all processes of the worker that can be seen"),
    "processes": ("processes", "Count", "processes of the worker"),
    "load_average_1": ("load", "None", "processes that run or wait to, mean of a minute"),
    "load_average_5": ("load", "None", "mean of five minutes"),
    "load_average_15": ("load", "None", "mean of fifteen minutes"),
}
"""Category, unit and meaning of each metric."""

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60
"""cgroup v1 says "no limit" by a number near the largest that there is."""


@dataclass(frozen=True)
class Measured:
    """What was measured.

    :param numbers: by the metric's name.
    :param missing: by what there is no number of: why.
    """

    numbers: Mapping[str, float]
    missing: Mapping[str, str]

    def metrics(self, env_name: str | None, host: str | None = None) -> list[Metric]:
        """Return them as metrics with the dimensions Environment, Category and Host.

        :param env_name: name of the environment; without one the dimension is left out.
        :param host: if not given, the worker's address.
        """
        host = host or _address()
        common = {**({"Environment": env_name} if env_name else {}), "Host": host}
        return [
            Metric(name, number, WORKER_METRICS[name][1], {**common, "Category": WORKER_METRICS[name][0]})
            for name, number in self.numbers.items()
        ]


def measure_worker(path: str, *, cgroups: Path = _ROOT, own: Path = _OWN) -> Measured:
    """Measure the worker that this process runs on.

    :param path: a folder on the disk that tasks write to.
    :param cgroups: where cgroups are mounted.
    :param own: the file that tells this process's.
    """
    numbers: dict[str, float] = {}
    missing: dict[str, str] = {}
    for what, measure in (
        ("host", _host),
        ("container", lambda: _container(cgroups, own)),
        ("disk", lambda: _disk(path)),
        ("processes", _processes),
        ("load", _load),
    ):
        try:
            numbers.update(measure())
        except (OSError, ValueError, AttributeError) as error:
            missing[what] = f"{type(error).__name__}: {error}"
    return Measured(numbers, missing)


def _host() -> dict[str, float]:
    if find_spec("psutil") is None:
        raise ValueError("psutil is not installed")
    import psutil

    memory, cpu = psutil.virtual_memory(), psutil.cpu_times_percent(interval=0.1)
    parts = ("total", "available", "used", "free", "active", "inactive", "percent")
    return {
        **{f"virtual_memory_{part}": float(getattr(memory, part)) for part in parts if hasattr(memory, part)},
        **{f"cpu_times_percent_{part}": float(getattr(cpu, part)) for part in ("user", "system", "idle")},
    }


def _disk(path: str) -> dict[str, float]:
    found = os.statvfs(path)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    used = total - found.f_bfree * found.f_frsize
    usable = used + free
    return {
        "disk_total": total, "disk_used": used, "disk_free": free,
        "disk_percent": 100.0 * used / usable if usable else 0.0,
    }  # fmt: skip


def _processes() -> dict[str, float]:
    count, files = 0, 0
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            count += 1
            try:
                files += sum(1 for _ in os.scandir(each / "fd"))
            except OSError:
                continue  # of another user, or gone
    if not count:
        raise ValueError("/proc shows no process")
    return {"processes": count, "open_files": files}


def _load() -> dict[str, float]:
    return dict(zip(("load_average_1", "load_average_5", "load_average_15"), os.getloadavg(), strict=True))


def _container(cgroups: Path, own: Path) -> dict[str, float]:
    found = dict(_cgroup_2(cgroups, own) if (cgroups / "cgroup.controllers").exists() else _cgroup_1(cgroups, own))
    if not found:
        raise ValueError(f"{cgroups} has no cgroup of this process")
    if "container_memory_limit" in found and "container_memory_used" in found:
        found["container_memory_percent"] = 100.0 * found["container_memory_used"] / found["container_memory_limit"]
    return found


def _cgroup_2(cgroups: Path, own: Path) -> Iterator[tuple[str, float]]:
    group = _group(cgroups, _own_path(own, ""))
    usage, stat = _number(group / "memory.current"), _table(group / "memory.stat")
    if usage is not None:
        yield "container_memory_used", usage - stat.get("inactive_file", 0.0)
    limits = [limit for each in _with_parents(group, cgroups) if (limit := _number(each / "memory.max")) is not None]
    if limits:
        yield "container_memory_limit", min(limits)
    kills = _table(group / "memory.events").get("oom_kill")
    if kills is not None:
        yield "container_memory_kills", kills
    cpu = _table(group / "cpu.stat")
    if "usage_usec" in cpu:
        yield "container_cpu_used", cpu["usage_usec"] / 1e6
    if "throttled_usec" in cpu:
        yield "container_cpu_throttled", cpu["throttled_usec"] / 1e6
    quota = (_text(group / "cpu.max") or "").split()
    if len(quota) == 2 and quota[0] != "max":
        yield "container_cpu_limit", float(quota[0]) / float(quota[1])
    yield from _pids(group)


def _cgroup_1(cgroups: Path, own: Path) -> Iterator[tuple[str, float]]:
    memory = _group(cgroups / "memory", _own_path(own, "memory"))
    usage, stat = _number(memory / "memory.usage_in_bytes"), _table(memory / "memory.stat")
    if usage is not None:
        yield "container_memory_used", usage - stat.get("total_inactive_file", 0.0)
    limit = stat.get("hierarchical_memory_limit", _number(memory / "memory.limit_in_bytes"))
    if limit is not None and limit < _UNLIMITED:
        yield "container_memory_limit", limit
    kills = _table(memory / "memory.oom_control").get("oom_kill")
    if kills is not None:
        yield "container_memory_kills", kills
    for name in ("cpuacct", "cpu,cpuacct"):
        used = _number(_group(cgroups / name, _own_path(own, "cpuacct")) / "cpuacct.usage")
        if used is not None:
            yield "container_cpu_used", used / 1e9
            break
    cpu = _group(cgroups / "cpu", _own_path(own, "cpu"))
    throttled = _table(cpu / "cpu.stat").get("throttled_time")
    if throttled is not None:
        yield "container_cpu_throttled", throttled / 1e9
    quota, period = _number(cpu / "cpu.cfs_quota_us"), _number(cpu / "cpu.cfs_period_us")
    if quota is not None and quota > 0 and period:
        yield "container_cpu_limit", quota / period
    yield from _pids(_group(cgroups / "pids", _own_path(own, "pids")))


def _pids(group: Path) -> Iterator[tuple[str, float]]:
    for name, file in (("container_pids", "pids.current"), ("container_pids_limit", "pids.max")):
        number = _number(group / file)
        if number is not None:
            yield name, number


def _own_path(own: Path, controller: str) -> str:
    """Return the path of this process's cgroup: of a controller in v1, of all of them in v2."""
    for line in (_text(own) or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(","):
            return path.strip("/")
    return ""


def _group(mounted: Path, path: str) -> Path:
    """Return the folder of a cgroup. In a container its path is often the host's, and what is mounted is its own."""
    return mounted / path if path and (mounted / path).is_dir() else mounted


def _with_parents(group: Path, cgroups: Path) -> list[Path]:
    """Return a cgroup and those around it: the smallest limit of all counts."""
    return [group, *(each for each in group.parents if each == cgroups or cgroups in each.parents)]


def _table(path: Path) -> dict[str, float]:
    found = {}
    for line in (_text(path) or "").splitlines():
        name, _, number = line.partition(" ")
        if number.strip().isdigit():
            found[name] = float(number)
    return found


def _number(path: Path) -> float | None:
    """Return the number in a file; ``None`` if there is no such file, or it says that there is no limit."""
    text = (_text(path) or "").strip()
    return float(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _address() -> str:
    """Return the worker's own address; its name where that has none."""
    name = socket.gethostname()
    try:
        return socket.gethostbyname(name)
    except OSError:
        return name
