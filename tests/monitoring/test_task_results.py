# SPDX-License-Identifier: Apache-2.0
"""Results that tasks leave are published once, whatever happens to the tasks and the publisher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from moto.cloudwatch.models import cloudwatch_backends

from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.monitoring import publishing, task_results
from airflow_mwaa_provider.monitoring.task_results import TaskFile, TaskResults, metrics_of_results
from tests.monitoring.conftest import CloudWatchService

pytestmark = pytest.mark.once

ONCE = RetryPolicy(deadline_s=0.0)
RESULT: dict[str, Any] = {
    "dag_id": "dag", "task_id": "task", "run_id": "run", "map_index": -1, "try_number": 1, "env_name": "prod",
    "state": "success", "wall_s": 2.0, "cpu_s": 1.0, "memory_bytes": 5, "peak_bytes": 300_000_000,
    "left_bytes": 50_000_000,
}  # fmt: skip
LEAVES = """
import json, os, sys, time
from airflow_mwaa_provider.monitoring.task_results import TaskFile, TaskResults
results, result = TaskResults(sys.argv[1]), json.loads(sys.argv[2])
for number in range(50):
    file = TaskFile(results)
    file.write({**result, "state": "running", "taken_s": time.time()})
    results.killed()
    results.take_ended()
    file.write({**result, "task_id": f"task{number % 5}", "taken_s": time.time()})
    file.finish()
"""

# As another thread of the task could at that time.
FORKS = """
import os, signal, subprocess, sys, time
from airflow_mwaa_provider.monitoring.task_results import TaskResults
results, children = TaskResults(sys.argv[1]), []
def fork(*_, **__):
    children.append(os.fork())
    if not children[-1]:
        time.sleep(60)
        os._exit(0)
subprocess.run = fork
results.publish_soon("Test", 200, {})
print(results.has_publisher(), flush=True)
os.kill(children[0], signal.SIGKILL)
"""

SHORT_IDLE = """
import sys
from airflow_mwaa_provider.monitoring import task_results
task_results.BATCH_S = task_results.IDLE_S = 0.02
task_results.main(sys.argv[1:])
"""


@pytest.fixture
def results(tmp_path: Path) -> TaskResults:
    return TaskResults(str(tmp_path / "results"))


@pytest.fixture
def namespace() -> str:
    return f"Test/{uuid.uuid4().hex[:12]}"


def _leave(results: TaskResults, number: int = 1, **fields: Any) -> None:
    for _ in range(number):
        file = TaskFile(results)
        file.write({**RESULT, "taken_s": time.time(), **fields})
        file.finish()


def _points(namespace: str) -> dict[tuple[str, ...], float]:
    """Return the sums in CloudWatch by metric name and dimension values."""
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for backend in cloudwatch_backends["123456789012"].values():
        for point in backend.metric_data:  # moto's answers take a minute for a thousand points
            if point.namespace == namespace:
                found[point.name, *(each.value for each in point.dimensions)] += point.value
    return dict(found)


def test_each_result_of_20_processes_is_published_once(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str
) -> None:
    leaving = [subprocess.Popen([sys.executable, "-c", LEAVES, results.folder, json.dumps(RESULT)]) for _ in range(20)]
    published = 0
    while any(each.poll() is None for each in leaving):
        published += results.publish(cloudwatch.client(), namespace, 200)
        time.sleep(0.1)
    assert [each.returncode for each in leaving] == [0] * 20
    published += results.publish(cloudwatch.client(), namespace, 200)
    assert published == 1000
    points = _points(namespace)
    ended = {key: number for key, number in points.items() if key[0] == "task_ended"}
    assert ended == {("task_ended", "prod", "dag", f"task{each}", "success"): 200.0 for each in range(5)}
    assert points["task_wall", "prod", "dag", "task0"] == 400.0
    assert not results.has_results()


def test_what_was_left_becomes_metrics_with_units(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str
) -> None:
    _leave(results)
    _leave(results, state="running", left_bytes=None)
    _leave(results, dag_id="süß", task_id="None", env_name=None, peak_bytes=None)
    assert results.publish(cloudwatch.client(), namespace, 200) == 3
    assert len(cloudwatch.sent) == 1
    assert _points(namespace) == {
        ("task_peak_memory", "prod", "dag", "task"): 600_000_000.0,
        ("task_cpu", "prod", "dag", "task"): 2.0,
        ("task_wall", "prod", "dag", "task"): 4.0,
        ("task_files_left", "prod", "dag", "task"): 50_000_000.0,
        ("task_ended", "prod", "dag", "task", "success"): 1.0,
        ("task_ended", "prod", "dag", "task", "killed"): 1.0,
        ("task_cpu", "s??", "None."): 1.0,
        ("task_wall", "s??", "None."): 2.0,
        ("task_files_left", "s??", "None."): 50_000_000.0,
        ("task_ended", "s??", "None.", "success"): 1.0,
    }
    units = {metric.name: metric.unit for metric in metrics_of_results([{**RESULT, "taken_s": 0.0}], set())}
    assert units == {"task_peak_memory": "Bytes", "task_cpu": "Seconds", "task_wall": "Seconds",
                     "task_files_left": "Bytes", "task_ended": "Count"}  # fmt: skip


def test_an_odd_id_or_an_odd_time_takes_no_other_result_with_it(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str
) -> None:
    _leave(results, 2)
    _leave(results, dag_id="orders\n", env_name="prod\n")
    _leave(results, dag_id="\x00\x7f", env_name=" \t")
    _leave(results, dag_id="long", env_name="e" * 1100)
    _leave(results, task_id="early", taken_s=time.time() + 3 * 3600)  # before the clock was set back
    results.publish(cloudwatch.client(), namespace, 200)
    ended = {key[1:]: number for key, number in _points(namespace).items() if key[0] == "task_ended"}
    assert ended == {
        ("prod", "dag", "task", "success"): 2.0,
        ("prod?", "orders?", "task", "success"): 1.0,
        ("??", "task", "success"): 1.0,
        ("e" * 1024, "long", "task", "success"): 1.0,
    }
    assert not results.has_results()
    (line,) = (results.failure() or "").splitlines()
    assert line.startswith("Environment 'prod', DAG 'dag', Task 'early', State 'success' is left out: Metric ")
    assert "two hours ahead" in line


def test_the_number_of_names_is_bounded_and_the_rest_is_summed_up(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str
) -> None:
    for number in range(7):
        _leave(results, task_id=f"task{number}")
        results.publish(cloudwatch.client(), namespace, 3)
    _leave(results, task_id="task0")
    results.publish(cloudwatch.client(), namespace, 3)
    ended = {key[2:4]: number for key, number in _points(namespace).items() if key[0] == "task_ended"}
    assert ended == {("dag", "task0"): 2.0, ("dag", "task1"): 1.0, ("dag", "task2"): 1.0, ("other", "other"): 4.0}


def test_what_was_refused_is_kept_and_told_once(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str
) -> None:
    _leave(results, 3)
    for code in ("AccessDenied", "AccessDenied", "Throttling"):
        cloudwatch.fault = lambda _, code=code: (403 if code == "AccessDenied" else 400, code, False)
        assert results.publish(cloudwatch.client(), namespace, 200, ONCE) == 0
        if code == "AccessDenied":
            failure = results.failure() or ""
    assert failure == ""
    told = results.failure() or ""
    assert "PutMetricData" in told or "cloudwatch" in told.lower()
    assert results.failure() is None
    cloudwatch.fault = None
    assert results.publish(cloudwatch.client(), namespace, 200) == 3
    assert _points(namespace)["task_ended", "prod", "dag", "task", "success"] == 3.0


def test_no_permission_is_named(cloudwatch: CloudWatchService, results: TaskResults, namespace: str) -> None:
    _leave(results)
    cloudwatch.fault = lambda _: (403, "AccessDenied", False)
    results.publish(cloudwatch.client(), namespace, 200, ONCE)
    assert "cloudwatch:PutMetricData" in (results.failure() or "")


def test_what_was_refused_for_an_hour_is_dropped(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str
) -> None:
    _leave(results, 2)
    old = sorted(Path(results.folder).glob("done-*"))[0]
    os.utime(old, (time.time() - 3700,) * 2)
    cloudwatch.fault = lambda _: (403, "AccessDenied", False)
    results.publish(cloudwatch.client(), namespace, 200, ONCE)
    cloudwatch.fault = None
    assert results.publish(cloudwatch.client(), namespace, 200) == 1


@pytest.mark.parametrize(
    ("fault", "lacking"), [((400, "Throttling", False), 0), ((None, "", False), 1)], ids=["refused", "in doubt"]
)
def test_of_several_requests_only_what_was_not_sent_is_kept(
    cloudwatch: CloudWatchService,
    results: TaskResults,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    fault: tuple[int | None, str, bool],
    lacking: int,
) -> None:
    monkeypatch.setattr(publishing, "MAX_REQUEST_METRICS", 7)  # a task's five in two requests
    for number in range(4):
        _leave(results, task_id=f"task{number}")
    cloudwatch.fault = lambda number: fault if number == 2 else None
    assert results.publish(cloudwatch.client(), namespace, 200, ONCE) == 0
    assert len(_points(namespace)) == 7
    assert len(list(Path(results.folder).glob("done-*"))) == 1
    _leave(results, task_id="later")
    assert results.publish(cloudwatch.client(), namespace, 200, ONCE) == 1
    points = _points(namespace)
    assert len(points) == 25 - 7 * lacking
    assert {points[key] for key in points if key[0] == "task_ended"} == {1.0}
    assert not results.has_results()


def test_a_full_folder_loses_nothing_that_waits(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    _leave(results)
    assert results.publish(cloudwatch.client(), namespace, 200) == 1
    _leave(results, 2)
    with monkeypatch.context() as patched:
        patched.setattr(json, "dump", full)
        assert results.publish(cloudwatch.client(), namespace, 200) == 2  # its name is known
    _leave(results, 3, task_id="new")
    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(json, "dump", full)
            with pytest.raises(OSError, match="No space left"):
                results.publish(cloudwatch.client(), namespace, 200)
    assert results.publish(cloudwatch.client(), namespace, 200) == 3
    ended = {key[3]: number for key, number in _points(namespace).items() if key[0] == "task_ended"}
    assert ended == {"task": 3.0, "new": 3.0}
    assert results.failure() is None


def test_what_may_have_been_taken_is_not_published_again(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str
) -> None:
    _leave(results)
    cloudwatch.fault = lambda number: (None, "", True) if number == 1 else None
    results.publish(cloudwatch.client(), namespace, 200, ONCE)
    _leave(results)
    results.publish(cloudwatch.client(), namespace, 200, ONCE)
    assert _points(namespace)["task_ended", "prod", "dag", "task", "success"] == 2.0


def test_what_a_killed_publisher_was_sending_is_not_published_again(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str
) -> None:
    _leave(results, 2)
    (one, _) = sorted(Path(results.folder).glob("done-*"))
    one.rename(one.with_name(one.name.replace("done-", "sent-")))
    (Path(results.folder) / "part-999999999").touch()
    assert results.publish(cloudwatch.client(), namespace, 200) == 1
    assert "it is unknown whether the results of 1 tasks" in (results.failure() or "")
    assert {path.name for path in Path(results.folder).iterdir()} == {"names", "last-failure"}


def test_results_that_nobody_publishes_are_bounded(results: TaskResults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_results, "MOST_WAITING", 3)
    _leave(results, 3)
    with pytest.raises(OSError, match=r"3 results in .* wait to be published"):
        _leave(results)
    assert Counter(path.name.partition("-")[0] for path in Path(results.folder).iterdir()) == {"done": 3}


def test_one_process_publishes_and_is_nobodys_child(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    monkeypatch.setenv("SECRET_OF_A_TASK", "hidden")
    _leave(results, 2)
    started, run = [], subprocess.run

    def counted(*given: Any, **more: Any) -> Any:
        started.append(given)
        return run(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", counted)
        for _ in range(3):
            results.publish_soon(namespace, 200, os.environ)
    assert len(started) == 1
    found: list[psutil.Process] = []
    for _ in range(200):
        found = [each for each in psutil.process_iter(["cmdline"]) if results.folder in (each.info["cmdline"] or ())]
        if len(found) == 1 and results.has_publisher():
            break
        time.sleep(0.05)
    (publisher,) = found
    assert publisher.pid not in {each.pid for each in psutil.Process().children(recursive=True)}
    assert "SECRET_OF_A_TASK" not in publisher.environ()
    assert "Umask:\t0077" in Path(f"/proc/{publisher.pid}/status").read_text()
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a second one was started"))
        results.publish_soon(namespace, 200, os.environ)
    publisher.send_signal(signal.SIGTERM)
    psutil.wait_procs([publisher], timeout=60)
    assert not Path(results.folder).exists()
    assert _points(namespace)["task_ended", "prod", "dag", "task", "success"] == 2.0


def test_a_publisher_that_never_came_up_is_started_again(
    results: TaskResults, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(subprocess, "run", lambda *given, **_: started.append(given))
    results.publish_soon(namespace, 200, os.environ)
    os.utime(Path(results.folder) / "publisher", (time.time() - 60,) * 2)
    for _ in range(2):
        results.publish_soon(namespace, 200, os.environ)
    assert len(started) == 2


def test_a_child_that_is_forked_while_a_task_looks_for_the_publisher_is_not_taken_for_it(results: TaskResults) -> None:
    ran = subprocess.run([sys.executable, "-c", FORKS, results.folder], stdout=subprocess.PIPE, text=True, check=True)
    assert ran.stdout == "False\n"


def test_the_publisher_stays_while_a_task_runs(
    cloudwatch: CloudWatchService, results: TaskResults, namespace: str
) -> None:
    file = TaskFile(results)
    file.write({**RESULT, "taken_s": time.time()})
    publisher = subprocess.Popen([sys.executable, "-c", SHORT_IDLE, results.folder, namespace, "200"])
    try:
        while not results.has_publisher():
            assert publisher.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)  # many times as long as it stays without a task
        assert publisher.poll() is None
        file.finish()
        assert publisher.wait(timeout=60) == 0
    finally:
        publisher.kill()
        publisher.wait()
    assert _points(namespace)["task_ended", "prod", "dag", "task", "success"] == 1.0


def test_a_folder_is_kept_while_a_task_runs_or_a_result_waits(results: TaskResults) -> None:
    file = TaskFile(results)
    file.write(RESULT)
    results.remove_if_idle()
    file.finish()
    results.remove_if_idle()
    assert results.has_results()


def test_a_publisher_without_credentials_says_so(
    results: TaskResults, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave(results)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    task_results.main([results.folder, namespace, "200", "1"])
    assert "region" in (results.failure() or "")
    assert results.has_results()
