# SPDX-License-Identifier: Apache-2.0
"""An interrupted test run leaves no process and no folder, no matter what ends it and how."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests import leftovers
from tests.scripts.clone import ROOT

# What the tests start: a PostgreSQL, which keeps none of our variables, a moto, and a process in its own session.
RUN = """
import subprocess, sys, time
from pathlib import Path
from tests.metadata.lab import Lab

def test_that_is_ended(tmp_path):
    lab = Lab(tmp_path / "lab")
    lab.start_postgres()
    lab.start_moto()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    Path({report!r}).write_text(f"{tmp_path} {lab.postgres.pid} {other.pid}")
    time.sleep(300)
"""


def started(tmp_path: Path) -> tuple[subprocess.Popen[bytes], Path, list[psutil.Process]]:
    """A starter like scripts/test, and what its pytest has started: its folder and its processes."""
    report = tmp_path / "report"
    (tmp_path / "run_ended.py").write_text(RUN.replace("{report!r}", repr(str(report))), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-c",
        "pyproject.toml",
        tmp_path / "run_ended.py",
    ]
    code = (
        "import os, subprocess, sys; os.environ['AIRFLOW_MWAA_TEST_PARENT'] = str(os.getpid())\n"
        "sys.exit(subprocess.Popen(sys.argv[1:], start_new_session=True).wait())"
    )
    variables = {name: value for name, value in os.environ.items() if name not in {leftovers.FOLDER, "TMPDIR"}}
    starter = subprocess.Popen(
        [sys.executable, "-c", code, *command],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 120
    while not report.exists() or not report.read_text():
        assert time.monotonic() < deadline
        assert starter.poll() is None, "it ended by itself"
        time.sleep(0.1)
    used, *pids = report.read_text().split()
    folder = next(parent for parent in Path(used).parents if parent.name.startswith("airflow-mwaa-test."))
    [pytest_process] = psutil.Process(starter.pid).children()
    started = pytest_process.children(recursive=True)
    assert set(map(int, pids)) <= {process.pid for process in started}
    assert any("moto" in " ".join(process.cmdline()) for process in started)
    return starter, folder, [pytest_process, *started]


@pytest.mark.parametrize(
    ("whom", "which"),
    [("pytest", signal.SIGTERM), ("pytest", signal.SIGKILL), ("starter", signal.SIGKILL)],
)
def test_nothing_is_left(tmp_path: Path, whom: str, which: signal.Signals) -> None:
    starter, folder, processes = started(tmp_path)
    try:
        assert len(processes) > 5
        assert folder.is_dir()
        os.kill(starter.pid if whom == "starter" else processes[0].pid, which)
        starter.wait(60)
        _, alive = psutil.wait_procs(processes, timeout=60)
        assert alive == []
        deadline = time.monotonic() + 60
        while folder.exists():
            assert time.monotonic() < deadline, list(folder.rglob("*"))[:5]
            time.sleep(0.1)
        assert leftovers.left_of(folder) == []
    finally:
        for process in [*processes, *leftovers.left_of(folder)]:
            if process.is_running():
                process.kill()
        starter.kill()
        starter.wait()
