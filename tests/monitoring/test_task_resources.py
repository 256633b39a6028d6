# SPDX-License-Identifier: Apache-2.0
"""The measured use of a task is correct, with real processes; a killed task leaves its last sample."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.monitoring import process_tree
from airflow_mwaa_provider.monitoring.process_tree import ProcessTree, bytes_left, is_alive, start_ticks
from airflow_mwaa_provider.monitoring.task_resources import TaskTry, TaskWatch, killed_line
from airflow_mwaa_provider.monitoring.task_results import TaskFile, TaskResults

pytestmark = pytest.mark.once

MB = 1_000_000
TAKES = """
import os, sys, time
def take(size):
    memory = bytearray(size)
    for position in range(0, size, 4096):
        memory[position] = 1
    return memory
"""
# A child that shares its parent's memory, and another that allocates its own.
FORKS = (
    TAKES
    + """
held = take(300_000_000)
with open(temporary + "/left", "wb") as file:
    file.write(b"x" * 50_000_000)
for own in (0, 100_000_000):
    pid = os.fork()
    if not pid:
        more = take(own)
        time.sleep(1.2)
        os._exit(0)
    os.waitpid(pid, 0)
"""
)
SLEEPS = (
    TAKES
    + """
def work():
    held = take(200_000_000)
    print("taken", flush=True)
    time.sleep(60)
work()
"""
)

WAITS = """from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries
from airflow_mwaa_provider.exceptions import MwaaError
def fails():
    raise MwaaError("no", transient=True)
def train():
    call_with_retries(fails, RetryPolicy(deadline_s=60))
train()
"""


def _start(folder: Path | str, temporary: Path, code: str) -> subprocess.Popen[str]:
    program = Path(__file__).with_name("measured_task.py")
    return subprocess.Popen(
        [sys.executable, program, str(folder), str(temporary), code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _run(folder: Path | str, temporary: Path, code: str) -> tuple[dict[str, Any], str]:
    output, errors = _start(folder, temporary, code).communicate(timeout=60)
    return json.loads(output), errors


def _private(tmp_path: Path, name: str = "results") -> Path:
    path = tmp_path / name
    path.mkdir(mode=0o700)
    return path


def _kill_when_sampled(folder: Path, temporary: Path, least_mb: int, code: str) -> subprocess.Popen[str]:
    """Kill a task with -9 after a sample shows that it has allocated its memory."""
    process = _start(folder, temporary, code)
    for _ in range(600):
        samples = [json.loads(each.read_text()) for each in folder.glob("running-*")]
        if samples and (samples[0]["memory_bytes"] or 0) > least_mb * MB and samples[0]["doing"]:
            break
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    return process


def test_peak_cpu_and_files_left_of_a_task_that_forks(tmp_path: Path) -> None:
    temporary = _private(tmp_path, "temporary")
    idle, _ = _run("", _private(tmp_path, "none"), "")
    result, errors = _run(_private(tmp_path), temporary, FORKS)
    assert result["peak_bytes"] - idle["peak_bytes"] == pytest.approx(400 * MB, rel=0.1)
    assert result["left_bytes"] == pytest.approx(50 * MB, rel=0.1)
    assert result["wall_s"] >= 2.4
    assert 0 < result["cpu_s"] < result["wall_s"]
    assert not result["missing"]
    *grown, line = [line for line in errors.splitlines() if line.startswith("Task resources: ")]
    assert "ended success, peak memory 4" in line
    assert "files left 5" in line
    assert grown
    assert grown[0].startswith("Task resources: memory 3")


def test_memory_that_is_shared_counts_once(tmp_path: Path) -> None:
    idle, _ = _run("", tmp_path, "")
    result, _ = _run("", tmp_path, TAKES + "held = take(300_000_000)\nif os.fork():\n    os.wait()\n"
                     "else:\n    time.sleep(1)\n    os._exit(0)")  # fmt: skip
    assert result["peak_bytes"] - idle["peak_bytes"] == pytest.approx(300 * MB, rel=0.1)


def test_a_peak_between_two_samples_is_seen(tmp_path: Path) -> None:
    idle, _ = _run("", tmp_path, "")
    own, _ = _run("", tmp_path, "bytearray(b'x') * 100_000_000")
    child = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'bytearray(b\"x\") * 100_000_000'])"
    of_child, _ = _run("", tmp_path, child)
    assert own["peak_bytes"] - idle["peak_bytes"] == pytest.approx(100 * MB, rel=0.1)
    assert of_child["peak_bytes"] >= 100 * MB


def test_cpu_of_children_that_still_run_counts(tmp_path: Path) -> None:
    code = """
import subprocess, sys, time
burns = "import time\\nwhile time.process_time() < 0.6: pass\\nprint(flush=True)\\ntime.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", burns], stdout=subprocess.PIPE)
child.stdout.readline()
"""
    result, _ = _run("", tmp_path, code + "import atexit; atexit.register(child.kill)")
    assert result["cpu_s"] >= 0.5
    assert result["processes"] == 2


def test_a_task_that_leaves_nothing_is_not_blamed_for_the_files_of_another(tmp_path: Path) -> None:
    temporary = _private(tmp_path, "temporary")
    waits = "import os, time\nprint('on', flush=True)\nwhile not os.path.exists(temporary + '/go'): time.sleep(0.02)"
    process = _start("", temporary, waits)
    assert process.stdout is not None
    process.stdout.readline()
    (temporary / "another's").write_bytes(b"x" * 50 * MB)
    (temporary / "go").touch()
    output, _ = process.communicate(timeout=60)
    assert json.loads(output.splitlines()[-1])["left_bytes"] < MB


def test_a_task_killed_with_9_leaves_its_last_sample_to_one_reader(tmp_path: Path) -> None:
    folder = _private(tmp_path)
    process = _kill_when_sampled(folder, tmp_path, 200, SLEEPS)
    assert process.returncode == -signal.SIGKILL
    results = TaskResults(str(folder))
    (sample,) = results.killed()
    assert results.killed() == []
    assert results.has_results()
    assert sample["peak_bytes"] == pytest.approx(200 * MB, rel=0.25)
    line = killed_line(sample)
    assert "DAG dag, task task, run run, try 1" in line
    assert "memory 2" in line
    assert "in work (<string>" in line or "in take (<string>" in line or "in main (" in line


def test_a_killed_task_is_left_to_its_parent_for_a_minute(tmp_path: Path) -> None:
    folder = _private(tmp_path)
    _kill_when_sampled(folder, tmp_path, 0, SLEEPS)
    asks = "import sys; from airflow_mwaa_provider.monitoring.task_results import TaskResults as Results; "
    asks += "print(len(Results(sys.argv[1]).killed(leave_to_parents=True)))"

    def told_by_another() -> str:
        return subprocess.run(
            [sys.executable, "-c", asks, folder], stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    assert told_by_another() == "0\n"
    results = TaskResults(str(folder))
    (sample,) = results.killed(leave_to_parents=True)
    file = TaskFile(results)
    file.write({**sample, "taken_s": time.time() - 120})
    Path(file.path).rename(folder / "running-999999999-1")  # its process has ended
    assert told_by_another() == "1\n"


def test_a_task_killed_before_its_code_was_at_no_line(tmp_path: Path) -> None:
    results = TaskResults(str(_private(tmp_path)))
    watch = TaskWatch(TaskTry("dag", "task", "run"), results, temporary_folders=[str(tmp_path)])
    (path,) = Path(results.folder).glob("running-*")
    sample = json.loads(path.read_text())
    watch.end("success")
    assert sample["doing"] is None
    assert ", in " not in killed_line(sample)


def test_a_task_that_waits_in_this_package_is_at_its_own_line(tmp_path: Path) -> None:
    dag = tmp_path / "dag.py"
    code = f"exec(compile({WAITS!r}, {str(dag)!r}, 'exec'), {{'__name__': 'dag'}})"
    process = _kill_when_sampled(_private(tmp_path), tmp_path, 0, code)
    (sample,) = TaskResults(str(tmp_path / "results")).killed()
    assert process.returncode == -signal.SIGKILL
    assert sample["doing"] == f"train ({dag}:6)"


def test_a_task_that_still_runs_is_not_taken_for_a_killed_one(tmp_path: Path) -> None:
    results = TaskResults(str(_private(tmp_path)))
    watch = TaskWatch(TaskTry("dag", "task", "run"), results, temporary_folders=[str(tmp_path)])
    assert results.killed() == []
    assert watch.end("success") is not None
    assert results.killed() == []
    assert watch.end("failed") is None


def test_containers_that_share_a_folder_keep_theirs_apart(tmp_path: Path) -> None:
    for name in ("one", "other", "another"):
        (tmp_path / name / "self" / "ns").mkdir(parents=True)
        for kind in ("pid", "mnt"):
            (tmp_path / name / "self" / "ns" / kind).touch()  # its inode distinguishes namespaces
    (tmp_path / "another" / "self" / "ns" / "pid").unlink()
    (tmp_path / "another" / "self" / "ns" / "pid").hardlink_to(tmp_path / "one" / "self" / "ns" / "pid")
    one, same, other, another, unknown = (
        TaskResults.of_environment("Test", str(tmp_path), str(tmp_path / name)).folder
        for name in ("one", "one", "other", "another", "none")
    )
    assert one == same
    assert len({one, other, another, unknown}) == 4


def test_a_process_that_was_not_waited_for_or_whose_id_is_used_again_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ticks = start_ticks(process.pid)
    assert is_alive(process.pid, ticks)
    assert not is_alive(process.pid, ticks + 1)
    assert is_alive(process.pid, ticks, "/nowhere")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(process.pid, ticks)
    process.communicate()
    assert not is_alive(process.pid, ticks)


def test_without_proc_the_rest_is_measured_and_the_lack_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    results = TaskResults(str(_private(tmp_path)))
    task = TaskTry("dag", "task", "run")
    result = TaskWatch(task, results, temporary_folders=[str(tmp_path)], proc=str(tmp_path)).end("failed")
    assert result is not None
    assert result["peak_bytes"] is None
    assert result["cpu_s"] is not None
    assert "memory" in result["missing"]
    (line,) = [record.message for record in caplog.records if record.message.startswith("Task resources: ")]
    assert "peak memory not known" in line
    assert "no memory: FileNotFoundError" in line


def test_a_kernel_without_lists_of_children_and_proportional_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = process_tree._read

    def without(path: str) -> bytes:
        if path.endswith("smaps_rollup"):
            raise FileNotFoundError(path)
        return read(path)

    monkeypatch.setattr(process_tree, "_read", without)
    monkeypatch.setattr(os.path, "exists", lambda path: not path.endswith("/children"))
    tree = ProcessTree()
    process = subprocess.Popen([sys.executable, "-c", "x = bytearray(b'x' * 50_000_000); print(); input()"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    process.stdout.readline()  # type: ignore[union-attr]
    usage = tree.measure()
    process.kill()
    process.communicate()
    assert usage.processes == tree.at_start.processes + 1
    assert usage.memory_bytes - tree.at_start.memory_bytes >= 50 * MB  # type: ignore[operator]


@pytest.mark.parametrize("samples", [0, 1])
def test_a_full_disk_fails_no_task_and_kills_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, samples: int
) -> None:
    caplog.set_level(logging.INFO)
    results = TaskResults(str(_private(tmp_path)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if not samples:
        monkeypatch.setattr(os, "pwrite", full)
    watch = TaskWatch(TaskTry("dag", "task", "run"), results, temporary_folders=[str(tmp_path)])
    assert len([path for path in Path(results.folder).iterdir() if path.stat().st_size]) == samples
    monkeypatch.setattr(os, "pwrite", full)
    result = watch.end("success")
    assert result is not None
    assert "No space left" in result["missing"]["published metrics"]
    assert "no published metrics: OSError: [Errno 28] No space left on device" in caplog.text
    assert list(Path(results.folder).iterdir()) == []


def test_a_task_that_no_longer_reaches_the_folder_leaves_its_result_to_the_publisher(tmp_path: Path) -> None:
    folder = _private(tmp_path)
    moves = "import os; os.rename(os.path.dirname(temporary) + '/results', os.path.dirname(temporary) + '/moved')"
    result, _ = _run(folder, _private(tmp_path, "temporary"), moves)  # as after chroot() or setuid()
    assert not result["missing"]
    (tmp_path / "moved").rename(folder)
    results = TaskResults(str(folder))
    assert not results.has_results()
    results.take_ended()
    (done,) = folder.iterdir()
    assert done.name.startswith("done-")
    assert json.loads(done.read_text())["state"] == "success"
    assert results.killed() == []


def test_a_folder_that_was_removed_is_named(tmp_path: Path) -> None:
    removes = "import os, shutil; shutil.rmtree(os.path.dirname(temporary) + '/results')"
    result, _ = _run(_private(tmp_path), _private(tmp_path, "temporary"), removes)
    assert "No such file" in result["missing"]["published metrics"]


def test_a_task_that_closes_all_files_and_opens_others_finds_nothing_in_them(tmp_path: Path) -> None:
    folder, temporary = _private(tmp_path), _private(tmp_path, "temporary")
    code = "import os; os.closerange(3, 1000); os.held = [open(f'{temporary}/{each}', 'w') for each in range(50)]"
    result, _ = _run(folder, temporary, code)
    assert not result["missing"]
    assert {path.stat().st_size for path in temporary.iterdir()} == {0}
    (done,) = folder.iterdir()
    assert json.loads(done.read_text())["state"] == "success"


def test_too_many_files_are_said_to_be_more(tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(b"x" * MB)
    time.sleep(0.05)
    began_s = time.time()
    for number in range(50):
        (tmp_path / str(number)).write_bytes(b"x" * 4096)
    (tmp_path / "link").symlink_to("/")
    (tmp_path / "skipped").mkdir()
    (tmp_path / "skipped" / "file").write_bytes(b"x" * MB)
    skip = [str(tmp_path / "skipped")]
    everything = bytes_left([str(tmp_path)], began_s, skip=skip, most_s=60)
    assert everything.complete
    assert everything.size_bytes == pytest.approx(50 * 4096, rel=0.1)
    some = bytes_left([str(tmp_path)], began_s, skip=skip, most_entries=10, most_s=60)
    assert not some.complete
    assert some.size_bytes < everything.size_bytes
    assert not bytes_left([str(tmp_path)], began_s, clock=iter(range(1000)).__next__).complete


@pytest.mark.parametrize("mode", [0o755, None], ids=["open to others", "a link"])
def test_a_folder_that_others_could_read_is_refused(tmp_path: Path, mode: int | None) -> None:
    path = tmp_path / "folder"
    if mode is None:
        path.symlink_to(_private(tmp_path, "elsewhere"))
    else:
        path.mkdir()
        path.chmod(mode)
    with pytest.raises(OSError, match="only this user"):
        TaskResults(str(path))
