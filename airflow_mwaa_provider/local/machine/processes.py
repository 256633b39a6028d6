# SPDX-License-Identifier: Apache-2.0
"""Processes of the local MWAA: start them, read their logs, and find and end every one of them.

Airflow starts processes that leave their parent's process group and rename themselves, and that outlive a killed
parent. So every process gets an environment variable with the state folder's path, which its descendants inherit. It
identifies them even if the process that started them has ended.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import secrets
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import psutil

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine.state import describe_os_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

MARKER = "AIRFLOW_MWAA_LOCAL"
ENVIRONMENT_MARKER = "AIRFLOW_MWAA_LOCAL_ENVIRONMENT"
LOG_TAIL_LINES = 15
_POLL_S = 0.05
# Below the range that systems use for outgoing connections, so that a free port is not taken by an HTTP request before
# the server can use it.
_PORTS = range(20000, 32000)


def marked(folder: Path, environment: str | None = None) -> dict[str, str]:
    """Return the variables that mark a process as belonging to a local MWAA."""
    variables = {
        MARKER: str(folder),
        # Otherwise a process that renames itself overwrites the memory from which others read its variables.
        "SPT_NOENV": "1",
    }
    if environment is not None:
        variables[ENVIRONMENT_MARKER] = environment
    return variables


class PortAllocator:
    """Allocates free ports of the loopback interface, each only once."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take(self, preferred: int | None = None) -> int:
        """Return a free port, the preferred one if it is still free."""
        for _ in range(1000):
            port = preferred or secrets.choice(_PORTS)  # processes that seed `random` alike must not meet
            preferred = None
            if port not in self._given and port_is_free(port):
                self._given.add(port)
                return port
        raise LocalMwaaError(f"no free port between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1")


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections in TIME_WAIT of the last run don't count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """Return the last lines of a log; empty when there is none."""
    block = 64 * 1024
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - block))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


class ProcessGroup(abc.ABC):
    """A process in its own session, so that its whole group can be ended; its output is in a log."""

    def __init__(self, name: str, pid: int, log_path: Path) -> None:
        self.name = name
        self.pid = pid
        """The process id, which is also the id of its group and session."""
        self.log_path = log_path

    @property
    @abc.abstractmethod
    def exit_status(self) -> int | None:
        """Its exit status; None while it runs."""

    @abc.abstractmethod
    async def wait(self) -> int:
        """Wait until it ends and return its exit status."""

    @property
    def is_running(self) -> bool:
        """Return whether the process itself is alive (its descendants may outlive it)."""
        return self.exit_status is None

    def log_tail(self) -> str:
        """Return the end of its log."""
        return tail(self.log_path)

    async def stop(self, grace_s: float = 5.0, first: signal.Signals = signal.SIGTERM) -> None:
        """Ask the group to end, and kill it after a grace period."""
        self._signal(first)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wait(), grace_s)
        self._signal(signal.SIGKILL)
        await self.wait()

    def _signal(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, which)


class ManagedProcess(ProcessGroup):
    """A child of this process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_path: Path) -> None:
        super().__init__(name, process.pid, log_path)
        self._process = process

    @classmethod
    async def start(
        cls,
        name: str,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        log_path: Path,
        cwd: Path,
        user: str | None = None,
        group: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> ManagedProcess:
        """Start a process whose output goes to a log file.

        :raises LocalMwaaError: it can't be started.
        """
        as_user: dict[str, Any] = {} if user is None else {"user": user, "group": group, "extra_groups": []}
        try:
            with open_log(log_path) as log:
                process = await asyncio.create_subprocess_exec(
                    *map(str, argv),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(environment),
                    cwd=cwd,
                    start_new_session=True,
                    pass_fds=pass_fds,
                    **as_user,
                )
        except OSError as error:
            raise LocalMwaaError(f"can't start {name}: {describe_os_error(error)}") from error
        return cls(name, process, log_path)

    @property
    def exit_status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until it ends and return its exit status."""
        return await self._process.wait()


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[int]:
    """Open a log for appending: the output of an earlier run may explain this one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def find(folder: Path, environment: str | None = None) -> list[psutil.Process]:
    """Return every living process of the local MWAA in a folder, or of one of its environments.

    This process and its ancestors are never included.
    """
    wanted = {MARKER: str(folder)}
    if environment is not None:
        wanted[ENVIRONMENT_MARKER] = environment
    spared = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if process.pid in found or process.pid in spared or not _has_variables(process, wanted):
            continue
        found[process.pid] = process
        # Also descendants: PostgreSQL's servers overwrite their inherited variables when they rename themselves.
        with contextlib.suppress(psutil.Error):
            found.update({child.pid: child for child in process.children(recursive=True) if child.pid not in spared})
    return [process for process in found.values() if _lives(process)]


def end_all(folder: Path, environment: str | None = None, grace_s: float = 5.0) -> int:
    """End every process of the local MWAA in a folder; return how many were ended.

    :raises LocalMwaaError: some can't be ended.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + grace_s
    processes = find(folder, environment)
    _send(processes, signal.SIGTERM)
    while processes and time.monotonic() < deadline:
        ended.update(process.pid for process in processes)
        time.sleep(_POLL_S)
        processes = [process for process in processes if _lives(process)]
    # A process may start another between being seen and being killed: look again until none is left.
    for _ in range(20):
        processes = find(folder, environment)
        if not processes:
            return len(ended)
        ended.update(process.pid for process in processes)
        _send(processes, signal.SIGKILL)
        psutil.wait_procs(processes, timeout=1.0)
    left = ", ".join(str(process.pid) for process in processes)
    raise LocalMwaaError(f"these processes of {folder} can't be ended: {left}")


def lives(pid: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        return _lives(psutil.Process(pid))
    except psutil.Error:
        return False


def _send(processes: Iterable[psutil.Process], which: signal.Signals) -> None:
    for process in processes:
        # psutil checks that the id was not reused by another process in the meantime.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(which)


def _has_variables(process: psutil.Process, wanted: Mapping[str, str]) -> bool:
    try:
        variables = process.environ()
    except (psutil.Error, OSError):
        return False
    return all(variables.get(name) == value for name, value in wanted.items())


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
