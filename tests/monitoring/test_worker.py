# SPDX-License-Identifier: Apache-2.0
"""A worker's numbers are those of psutil and of its own cgroup, whichever version; what is missing is named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from airflow_mwaa_provider.monitoring.worker import WORKER_METRICS, measure_worker

pytestmark = pytest.mark.once

V2 = {
    "cgroup.controllers": "cpu io memory pids\n",
    "memory.max": "max\n",
    "a/memory.max": "4000000000\n",
    "a/b/memory.current": "3000000000\n",
    "a/b/memory.max": "8000000000\n",
    "a/b/memory.stat": "anon 1\nfile 2\ninactive_file 1000000000\n",
    "a/b/memory.events": "low 0\noom 3\noom_kill 2\n",
    "a/b/cpu.stat": "usage_usec 5000000\nnr_throttled 7\nthrottled_usec 250000\n",
    "a/b/cpu.max": "150000 100000\n",
    "a/b/pids.current": "42\n",
    "a/b/pids.max": "max\n",
}
V1 = {
    "memory/a/memory.usage_in_bytes": "3000000000\n",
    "memory/a/memory.stat": "cache 5\ntotal_inactive_file 1000000000\nhierarchical_memory_limit 4000000000\n",
    "memory/a/memory.limit_in_bytes": "8000000000\n",
    "memory/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "cpuacct/a/cpuacct.usage": "5000000000\n",
    "cpu/a/cpu.stat": "nr_periods 9\nthrottled_time 250000000\n",
    "cpu/a/cpu.cfs_quota_us": "150000\n",
    "cpu/a/cpu.cfs_period_us": "100000\n",
    "pids/a/pids.current": "42\n",
    "pids/a/pids.max": "max\n",
}
OF_THE_CONTAINER = {
    "container_memory_used": 2e9,
    "container_memory_limit": 4e9,
    "container_memory_percent": 50.0,
    "container_memory_kills": 2,
    "container_cpu_used": 5.0,
    "container_cpu_throttled": 0.25,
    "container_cpu_limit": 1.5,
    "container_pids": 42,
}


def _tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "cgroup"


def _own(folder: Path, text: str) -> Path:
    path = folder / "own"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("files", "own"),
    [
        (V2, "0::/a/b\n"),
        (V1, "5:memory:/a\n4:cpu,cpuacct:/a\n3:pids:/a\n0::/\n"),
        # As a container sees it: the host's path, and its own group mounted at the top.
        ({name.removeprefix("a/b/"): text for name, text in V2.items() if name != "memory.max"}
         | {"memory.max": "4000000000\n"}, "0::/ecs/task/123\n"),
        ({name.replace("/a/", "/"): text for name, text in V1.items()}, "5:memory:/ecs/1\n4:cpu,cpuacct:/ecs/1\n"),
    ],
    ids=["v2", "v1", "v2 in a container", "v1 in a container"],
)  # fmt: skip
def test_a_containers_numbers_are_those_of_its_cgroup(tmp_path: Path, files: dict[str, str], own: str) -> None:
    measured = measure_worker(str(tmp_path), cgroups=_tree(tmp_path, files), own=_own(tmp_path, own))
    found = {name: number for name, number in measured.numbers.items() if name.startswith("container_")}
    assert found == OF_THE_CONTAINER
    assert not measured.missing


@pytest.mark.parametrize(
    "text", ["", "max\n", "9223372036854771712\n", "garbage\n"], ids=["empty", "max", "v1's none", "garbage"]
)
def test_no_limit_is_no_number(tmp_path: Path, text: str) -> None:
    files = {**V1, "memory/a/memory.limit_in_bytes": text, "memory/a/memory.stat": "cache 1\n", "pids/a/pids.max": text}
    own = _own(tmp_path, "5:memory:/a\n4:cpu,cpuacct:/a\n3:pids:/a\n")
    numbers = measure_worker(str(tmp_path), cgroups=_tree(tmp_path, files), own=own).numbers
    assert "container_memory_limit" not in numbers
    assert "container_memory_percent" not in numbers
    assert numbers["container_memory_used"] == 3e9


def test_without_a_cgroup_the_rest_is_measured_and_the_lack_is_named(tmp_path: Path) -> None:
    measured = measure_worker(str(tmp_path), cgroups=tmp_path / "none", own=tmp_path / "none")
    assert list(measured.missing) == ["container"]
    assert {"virtual_memory_total", "disk_free", "load_average_1"} <= set(measured.numbers)


def test_without_psutil_the_rest_is_measured_and_the_lack_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    measured = measure_worker(str(tmp_path))
    assert "psutil" in measured.missing["host"]
    assert "disk_free" in measured.numbers
    assert not any(name.startswith("virtual_memory") for name in measured.numbers)


def test_a_missing_disk_is_named() -> None:
    assert "nowhere" in measure_worker("/nowhere").missing["disk"]


def test_this_machines_numbers_are_those_of_psutil(tmp_path: Path) -> None:
    numbers = measure_worker(str(tmp_path)).numbers
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(tmp_path))
    assert numbers["virtual_memory_total"] == memory.total
    assert numbers["virtual_memory_used"] == pytest.approx(memory.used, rel=0.2)
    assert numbers["disk_total"] == disk.total
    assert numbers["disk_percent"] == pytest.approx(disk.percent, abs=1.0)
    assert numbers["processes"] == pytest.approx(len(psutil.pids()), rel=0.5)
    assert sum(numbers[f"cpu_times_percent_{each}"] for each in ("user", "system", "idle")) <= 101.0


def test_open_files_are_counted(tmp_path: Path) -> None:
    before = measure_worker(str(tmp_path)).numbers["open_files"]
    held = [os.open(tmp_path, os.O_RDONLY) for _ in range(500)]
    try:
        assert measure_worker(str(tmp_path)).numbers["open_files"] > before + 250  # other processes open and close some
    finally:
        for each in held:
            os.close(each)


def test_every_metric_has_its_dimensions_and_none_is_the_text_none(tmp_path: Path) -> None:
    measured = measure_worker(str(tmp_path), cgroups=_tree(tmp_path, V2), own=_own(tmp_path, "0::/a/b\n"))
    for env_name, expected in (("prod", {"Environment", "Category", "Host"}), (None, {"Category", "Host"})):
        metrics = measured.metrics(env_name, "10.0.0.1")
        assert {frozenset(metric.dimensions) for metric in metrics} == {frozenset(expected)}
        assert all(metric.entries() for metric in metrics)
    assert set(measured.numbers) <= set(WORKER_METRICS)


def test_the_docs_table_is_what_is_measured() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if "| `" in line]
    table = {row[0]: tuple(row[1:]) for row in rows if len(row) == 4}
    assert table == WORKER_METRICS
