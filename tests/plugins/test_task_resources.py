# SPDX-License-Identifier: Apache-2.0
"""The plugin task_resources as Airflow calls it: off until it is enabled, and no task fails because of it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from airflow.listeners.listener import ListenerManager, get_listener_manager
from airflow.utils.state import TaskInstanceState

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.monitoring import task_resources
from airflow_mwaa_provider.monitoring.task_results import TaskResults
from airflow_mwaa_provider.plugins.task_resources import TaskResourcesListener, TaskResourcesPlugin

NAMESPACE = "MWAA-Tasks"
OPTION = "AIRFLOW__MWAA_PROVIDER__TASK_RESOURCES_NAMESPACE"
MOST = "AIRFLOW__MWAA_PROVIDER__TASK_RESOURCES_MAX_TASKS"
SHOW = """
import logging, sys
logging.basicConfig(level=logging.ERROR, format="%(message)s")
from airflow_mwaa_provider.plugins.task_resources import TaskResourcesPlugin
found = TaskResourcesPlugin.listeners
print([(each.namespace, each.most_tasks) for each in found])
print(sorted(name for name in sys.modules if name.startswith("airflow_mwaa_provider.monitoring.")))
"""


class Instance:
    """What a listener is given."""

    dag_id, task_id, run_id, map_index, try_number = "dag", "task", "run", -1, 1

    def __init__(self, state: TaskInstanceState = TaskInstanceState.RUNNING) -> None:
        self.state = state


class Airflow:
    """Calls listeners as this Airflow does."""

    def __init__(self, manager: ListenerManager) -> None:
        self._hook = manager.hook
        self._session: dict[str, Any] = {} if AIRFLOW_V_3 else {"session": None}

    def begin(self, instance: Instance) -> None:
        self._hook.on_task_instance_running(previous_state=None, task_instance=instance, **self._session)

    def end(self, how: str, instance: Instance) -> None:
        more = {"error": None} if how == "failed" else {}
        hook = getattr(self._hook, f"on_task_instance_{how}")
        hook(previous_state=None, task_instance=instance, **more, **self._session)

    def stop(self) -> None:
        self._hook.before_stopping(component=object())


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """How the publisher was started."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(TaskResults, "publish_soon", lambda _, *given: calls.append(given))
    return calls


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an environment that no other test uses."""
    monkeypatch.setenv("AIRFLOW_ENV_NAME", f"test-{uuid.uuid4().hex}")
    path = Path(TaskResults.of_environment(NAMESPACE).folder)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def airflow(folder: Path, published: list[tuple[Any, ...]]) -> Iterator[Airflow]:
    manager, listener = get_listener_manager(), TaskResourcesListener(NAMESPACE, 200)
    manager.add_listener(listener)
    yield Airflow(manager)
    manager.pm.unregister(listener)


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "esources" in record.message or "killed" in record.message]


def _show(**variables: str) -> tuple[str, str, str]:
    ran = subprocess.run(
        [sys.executable, "-c", SHOW], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    *_, listeners, modules = ran.stdout.splitlines()
    return listeners, modules, ran.stderr + ran.stdout


def test_it_is_found_and_off() -> None:
    (found,) = metadata.entry_points(group="airflow.plugins", name="mwaa_task_resources")
    assert found.load() is TaskResourcesPlugin
    assert _show()[:2] == ("[]", "[]")


def test_an_option_turns_it_on() -> None:
    assert _show(**{OPTION: NAMESPACE})[0] == f"[('{NAMESPACE}', 200)]"
    assert _show(**{OPTION: NAMESPACE, MOST: "7"})[0] == f"[('{NAMESPACE}', 7)]"


@pytest.mark.parametrize(
    ("variables", "why"),
    [({OPTION: "AWS/Tasks"}, "AWS/")]
    + [({OPTION: NAMESPACE, MOST: most}, "whole number") for most in ("many", "\N{SUPERSCRIPT TWO}", "9" * 5000)],
)
def test_a_wrong_option_leaves_it_off_and_says_why(variables: dict[str, str], why: str) -> None:
    listeners, _, output = _show(**variables)
    assert listeners == "[]"
    (line,) = [line for line in output.splitlines() if "Task resources stay off" in line]
    assert why in line


@pytest.mark.parametrize(
    ("how", "state", "expected"),
    [
        ("success", TaskInstanceState.SUCCESS, "success"),
        ("failed", TaskInstanceState.FAILED, "failed"),
        ("failed", TaskInstanceState.UP_FOR_RETRY, "up_for_retry"),
        (None, TaskInstanceState.SKIPPED, "skipped"),
        (None, TaskInstanceState.DEFERRED, "deferred"),
        (None, TaskInstanceState.RUNNING, "ended"),
        ("skipped", TaskInstanceState.SKIPPED, "skipped"),  # some versions of Airflow have no such hook
    ],
)  # fmt: skip
def test_each_way_to_end_is_one_line_and_one_result(
    airflow: Airflow,
    folder: Path,
    published: list[tuple[Any, ...]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    how: str | None,
    state: TaskInstanceState,
    expected: str,
) -> None:
    caplog.set_level(logging.INFO)
    instance = Instance()
    airflow.begin(instance)
    assert [path.name.partition("-")[0] for path in folder.iterdir()] == ["running"]
    assert len(published) == 1  # before the task can change what a process starts with
    monkeypatch.setenv("AWS_PROFILE", "of-the-task")
    instance.state = state
    if how:
        airflow.end(how, instance)
    airflow.stop()
    airflow.stop()
    (line,) = _lines(caplog)
    assert line.startswith(f"Task resources: ended {expected}, peak memory ")
    (done,) = folder.iterdir()
    result = json.loads(done.read_text())
    assert (result["dag_id"], result["task_id"], result["state"]) == ("dag", "task", expected)
    assert result["env_name"] == os.environ["AIRFLOW_ENV_NAME"]
    for namespace, most, variables in published:
        assert (namespace, most) == (NAMESPACE, 200)
        assert "AWS_PROFILE" not in variables


def test_the_end_of_a_task_that_did_not_begin_here_is_passed_over(
    airflow: Airflow, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    airflow.end("failed", Instance(TaskInstanceState.FAILED))  # a scheduler, of a task whose process is gone
    assert _lines(caplog) == []
    assert list(folder.iterdir()) == []


def test_a_task_that_begins_ends_the_one_before(airflow: Airflow, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, second = Instance(), Instance()
    airflow.begin(first)
    first.state = TaskInstanceState.SKIPPED
    airflow.begin(second)
    airflow.end("success", second)
    assert [line.split()[3] for line in _lines(caplog)] == ["skipped,", "success,"]


@pytest.mark.parametrize("when", ["begins", "stops"])
def test_who_comes_next_tells_of_a_killed_task(
    airflow: Airflow, folder: Path, published: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture, when: str
) -> None:
    killed = """
import os, sys
from airflow_mwaa_provider.monitoring.task_resources import TaskTry, TaskWatch
from airflow_mwaa_provider.monitoring.task_results import TaskResults
TaskWatch(TaskTry("big", "train", "run"), TaskResults(sys.argv[1]))
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", killed, str(folder)], check=False).returncode == -9
    if when == "begins":
        airflow.begin(Instance())
    else:
        airflow.stop()
    (line,) = _lines(caplog)
    assert "DAG big, task train, run run, try 1. Its last sample" in line
    assert published == [(NAMESPACE, 200, os.environ)]
    airflow.stop()
    airflow.begin(Instance())
    airflow.stop()
    assert sum("DAG big" in line for line in _lines(caplog)) == 1


def test_what_was_not_published_is_told_once(airflow: Airflow, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    TaskResults(str(folder)).fail("AccessDenied: no")
    for _ in range(2):
        airflow.begin(Instance())
        airflow.end("success", Instance())
    told = [line for line in _lines(caplog) if "not published" in line]
    assert told == ["Task resources of this worker are not published: AccessDenied: no"]


def test_a_task_that_no_longer_reaches_the_folder_is_not_said_to_be_missing(
    airflow: Airflow, folder: Path, published: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    airflow.begin(Instance())
    folder.rename(folder.with_name(f"{folder.name}-elsewhere"))  # as after chroot() or setuid()
    airflow.end("success", Instance())
    airflow.stop()
    folder.with_name(f"{folder.name}-elsewhere").rename(folder)
    (line,) = _lines(caplog)
    assert "ended success, peak memory" in line


def test_a_folder_that_cannot_be_used_is_named(
    airflow: Airflow, folder: Path, published: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder.chmod(0o755)
    airflow.begin(Instance())
    airflow.end("success", Instance())
    (line,) = _lines(caplog)
    assert "ended success, peak memory" in line
    assert "no published metrics: OSError: " in line
    assert published == []


def test_an_error_of_the_listener_is_one_line_and_fails_nothing(
    airflow: Airflow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(task_resources, "TaskWatch", broken)
    airflow.begin(Instance())
    airflow.end("success", Instance())
    assert _lines(caplog) == ["Task resources are missing: RuntimeError: broken"]
