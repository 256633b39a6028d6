# SPDX-License-Identifier: Apache-2.0
"""A worker's numbers are those of psutil and of its own cgroup, v1 or v2; missing ones are named."""

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
    "a/memory.current": "3200000000\n",
    "a/memory.stat": "inactive_file 1200000000\n",
    "a/memory.events": "oom_kill 2\n",
    "a/b/memory.current": "3000000000\n",
    "a/b/memory.max": "8000000000\n",
    "a/b/memory.stat": "anon 1\nfile 2\ninactive_file 1000000000\n",
    "a/b/memory.events": "low 0\noom 1\noom_kill 1\n",
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
         | {"memory.max": "4000000000\n", "memory.events": "oom_kill 2\n"}, "0::/ecs/task/123\n"),
        ({name.replace("/a/", "/"): text for name, text in V1.items()}, "5:memory:/ecs/1\n4:cpu,cpuacct:/ecs/1\n"),
        ({name.replace("cpu/", "cpu,cpuacct/").replace("cpuacct/a/cpua", "cpu,cpuacct/a/cpua"): text
          for name, text in V1.items()}, "5:memory:/a\n4:cpu,cpuacct:/a\n3:pids:/a\n"),
    ],
    ids=["v2", "v1", "v2 in a container", "v1 in a container", "v1 with one folder for two controllers"],
)  # fmt: skip
def test_a_containers_numbers_are_those_of_its_cgroup(tmp_path: Path, files: dict[str, str], own: str) -> None:
    measured = measure_worker(str(tmp_path), cgroups=_tree(tmp_path, files), own=_own(tmp_path, own))
    found = {name: number for name, number in measured.numbers.items() if name.startswith("container_")}
    assert found == OF_THE_CONTAINER
    assert measured.missing == {"container_pids_limit": "no limit is set"}


@pytest.mark.parametrize(
    "text", ["", "max\n", "9223372036854771712\n", "garbage\n"], ids=["empty", "max", "v1's none", "garbage"]
)
def test_no_limit_is_no_number(tmp_path: Path, text: str) -> None:
    files = {**V1, "memory/a/memory.limit_in_bytes": text, "memory/a/memory.stat": "cache 1\n"}
    own = _own(tmp_path, "5:memory:/a\n4:cpu,cpuacct:/a\n3:pids:/a\n")
    measured = measure_worker(str(tmp_path), cgroups=_tree(tmp_path, files), own=own)
    missing = {"container_memory_limit", "container_memory_percent", "container_pids_limit"}
    assert measured.missing == dict.fromkeys(missing, "no limit is set")
    assert not missing & set(measured.numbers)
    assert measured.numbers["container_memory_used"] == 3e9


def test_without_a_cgroup_the_rest_is_measured_and_the_lack_is_named(tmp_path: Path) -> None:
    measured = measure_worker(str(tmp_path), cgroups=tmp_path / "none", own=tmp_path / "none")
    assert list(measured.missing) == ["container"]
    assert {"virtual_memory_total", "disk_free", "load_average_1"} <= set(measured.numbers)


def test_without_psutil_the_rest_is_measured_and_the_lack_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    measured = measure_worker(str(tmp_path))
    assert "psutil" in measured.missing["host's memory"]
    assert "psutil" in measured.missing["host's CPU"]
    assert "disk_free" in measured.numbers
    assert not any(name.startswith("virtual_memory") for name in measured.numbers)


@pytest.mark.parametrize("error", [KeyError("MemTotal"), TypeError("nothing"), ImportError("gone"), RuntimeError()])
def test_whatever_psutil_raises_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    measured = measure_worker(str(tmp_path))
    assert type(error).__name__ in measured.missing["host's memory"]
    assert {"cpu_times_percent_idle", "disk_free"} <= set(measured.numbers)


NESTED = {
    "cgroup.controllers": "cpu memory pids\n",
    "memory.max": "5000\n",
    "memory.current": "2000\n",
    "a/memory.max": "1000\n",
    "a/memory.current": "990\n",
    "a/memory.stat": "inactive_file 0\n",
    "a/memory.events": "oom_kill 7\n",
    "a/cpu.max": "200000 100000\n",
    "a/cpu.stat": "usage_usec 9000000\nthrottled_usec 4000000\n",
    "a/pids.max": "77\n",
    "a/pids.current": "70\n",
    "a/b/memory.max": "800\n",
    "a/b/memory.current": "100\n",
    "a/b/memory.events": "oom_kill 0\n",
    "a/b/cpu.max": "max 100000\n",
    "a/b/cpu.stat": "usage_usec 1000000\nthrottled_usec 0\n",
    "a/b/pids.max": "max\n",
    "a/b/pids.current": "3\n",
}


def test_of_nested_cgroups_the_one_with_the_least_room_counts(tmp_path: Path) -> None:
    measured = measure_worker(str(tmp_path), cgroups=_tree(tmp_path, NESTED), own=_own(tmp_path, "0::/a/b\n"))
    assert {name: number for name, number in measured.numbers.items() if name.startswith("container_")} == {
        "container_memory_used": 990, "container_memory_limit": 1000, "container_memory_percent": 99.0,
        "container_memory_kills": 7, "container_cpu_used": 9.0, "container_cpu_throttled": 4.0,
        "container_cpu_limit": 2.0, "container_pids": 70, "container_pids_limit": 77,
    }  # fmt: skip
    assert not measured.missing


@pytest.mark.parametrize(
    ("files", "numbers", "missing"),
    [
        ({"memory.max": "0\n"}, {"container_memory_limit": 0.0}, {"container_memory_percent": "the whole is 0"}),
        ({"memory.stat": "inactive_file 9000\n"}, {"container_memory_used": 0.0, "container_memory_percent": 0.0}, {}),
        ({"cpu.max": "100000 0\n"}, {}, {"container_cpu_limit": "no limit is set"}),
        ({"cpu.max": "abc 100000\n"}, {}, {"container_cpu_limit": "no limit is set"}),
        ({"memory.current": "\x00\x01"}, {"container_memory_limit": 2000.0},
         {"container_memory_used": "its cgroup does not say", "container_memory_percent": "its cgroup does not say"}),
        ({"pids.current": "\u00b2\n"}, {}, {"container_pids": "its cgroup does not say"}),
    ],
)  # fmt: skip
def test_odd_cgroups_leave_out_their_own_numbers_only(
    tmp_path: Path, files: dict[str, str], numbers: dict[str, float], missing: dict[str, str]
) -> None:
    whole = {
        "cgroup.controllers": "cpu memory pids\n", "memory.current": "1000\n", "memory.max": "2000\n",
        "memory.stat": "inactive_file 100\n", "memory.events": "oom_kill 3\n", "cpu.max": "150000 100000\n",
        "cpu.stat": "usage_usec 5000000\nthrottled_usec 1000000\n", "pids.current": "5\n", "pids.max": "9\n",
    }  # fmt: skip
    tree = _tree(tmp_path, {**whole, **files})
    measured = measure_worker(str(tmp_path), cgroups=tree, own=_own(tmp_path, "0::/../..\n"))
    assert measured.missing == missing
    assert {name: measured.numbers.get(name) for name in numbers} == numbers
    of_the_container = {name for name in WORKER_METRICS if name.startswith("container_")}
    assert of_the_container <= set(measured.numbers) | set(missing)


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
