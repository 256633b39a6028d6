# SPDX-License-Identifier: Apache-2.0
"""A test run leaves nothing behind, whether it ends normally, by SIGTERM, or by ``kill -9`` halfway.

A run writes everything to one folder, and all processes that it starts inherit that folder's name. A watcher in its own
session waits for pytest to end, ends the remaining processes, and removes the folder. It also ends a pytest if
``scripts/test``, which started it, has ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

FOLDER = "AIRFLOW_MWAA_TEST_RUN"
"""Variable with the folder of a run; all of its processes have it, including workers of pytest-xdist."""
PARENT = "AIRFLOW_MWAA_TEST_PARENT"
"""Variable with the ID of the process that started pytest; pytest must end with it."""
_PREFIX = "airflow-mwaa-test."
_OF_ANY_SHELL = {"OLDPWD", "PWD"}
"""Variables of the shell of a user who looks at the folder of a run."""
_POLL_S = 0.2
_GRACE_S = 1.5


def begin() -> Path:
    """Create this run's folder for all temporary files, and its watcher; a worker uses those of its controller."""
    given = os.environ.get(FOLDER)
    if given and "PYTEST_XDIST_WORKER" in os.environ:
        return Path(given)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()  # as PostgreSQL shows it
    folder.chmod(0o711)  # the embedded PostgreSQL runs as another user if this runs as root
    os.environ[FOLDER] = os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    # Without these variables, so that the watcher does not find itself.
    variables = {name: value for name, value in os.environ.items() if name not in {FOLDER, "TMPDIR"}}
    parent = os.environ.pop(PARENT, "")
    subprocess.Popen(
        [sys.executable, __file__, str(folder), str(os.getpid()), parent],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    return folder


def left_of(folder: Path) -> list[psutil.Process]:
    """Find the processes of a run and all that they started.

    Some inherit few variables, but each of these has one that names something in the folder. PostgreSQL has none, and
    is identified by its data folder.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            named = [value for name, value in process.environ().items() if name not in _OF_ANY_SHELL]
            named += process.cmdline() if process.name() == "postgres" else []
            if any(value == str(folder) or value.startswith(f"{folder}/") for value in named):
                found[process.pid] = process
                found.update({child.pid: child for child in process.children(recursive=True)})
    return [process for process in found.values() if _lives(process)]


def _lives(process: psutil.Process | None) -> bool:
    with contextlib.suppress(psutil.Error):
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _process(pid: str) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error, ValueError):
        return psutil.Process(int(pid))
    return None


def watch(folder: Path, pytest_pid: str, parent_pid: str) -> None:
    """Wait for the end of a run, and remove everything that is left."""
    pytest, parent = _process(pytest_pid), _process(parent_pid)
    while _lives(pytest) and (not parent_pid or _lives(parent)):
        time.sleep(_POLL_S)
    if _lives(pytest):
        with contextlib.suppress(psutil.Error):
            pytest.kill()
    # A process may start another between being found and being killed.
    while processes := left_of(folder):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=_GRACE_S)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
