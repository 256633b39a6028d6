# SPDX-License-Identifier: Apache-2.0
"""A warm Airflow interpreter: imports Airflow once, then forks for every command and every component.

Run by its path inside the environment's interpreter, which need not have this package: standard library and
Airflow only. It is started with one end of a socket pair, so there is no file that others could connect to::

    python cli_server.py DESCRIPTOR

It writes one byte when it is ready. Each byte that it receives carries three descriptors: a *control* socket, and
the command's stdout and stderr. The control socket first brings the length (8 bytes) and text of a request,
``{"argv": [...]}`` for an Airflow command or ``{"script": PATH}`` for a Python file; ``"variables"`` in it are those
of its environment that differ, null for one that it lacks. The server answers with a line ``{"pid": N}`` when the fork
runs, and with a line ``{"exit_status": N}`` when it has ended. When the caller closes the control socket before that,
the fork and its process group are killed. When the first socket closes, the server kills all of them and ends.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import inspect
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from typing import Any

_LENGTH_BYTES = 8
_REPEATED = "subprocess_logs_to_stdout"
# What the usual commands import only when they run. Names that an Airflow version lacks are skipped.
_WARM_MODULES = (
    "airflow.__main__",
    "airflow.cli.commands.variable_command",
    "airflow.cli.commands.connection_command",
    "airflow.cli.commands.pool_command",
    "airflow.cli.commands.dag_command",
    "airflow.cli.commands.task_command",
    "airflow.cli.commands.db_command",
    "airflow.cli.commands.version_command",
    "airflow.cli.commands.remote_commands.dag_command",
    "airflow.cli.commands.remote_commands.task_command",
    "airflow.api.client",
    "airflow.api.client.local_client",
    "airflow.cli.simple_table",
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.dagbag",
    "airflow.models.dagbag",
    "airflow.models.dagrun",
    "airflow.models.serialized_dag",
    "airflow.models.taskinstance",
    "airflow.models.variable",
    "airflow.providers_manager",
    "airflow.serialization.serialized_objects",
    "airflow.timetables.interval",
    "airflow.utils.cli_action_loggers",
    # Every command that changes something asks first whether the schema is current.
    "airflow.migrations.utils",
    "alembic.autogenerate",
    "alembic.command",
    "alembic.config",
    "alembic.runtime.environment",
    # What the components need, and the tasks that they fork.
    "airflow.dag_processing.manager",
    "airflow.dag_processing.processor",
    "airflow.executors.local_executor",
    "airflow.jobs.job",
    "airflow.jobs.local_task_job_runner",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
    "airflow.operators.python",
    "airflow.providers.amazon.aws.hooks.base_aws",
    "airflow.providers.standard.operators.python",
    "airflow.sdk.api.client",
    "airflow.sdk.definitions.dag",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.task.task_runner.standard_task_runner",
)


class _Command:
    """A command on its way: being read, or running in a child."""

    def __init__(self, control: socket.socket, stdout: int, stderr: int) -> None:
        self.control = control
        self.outputs = (stdout, stderr)
        self.received = bytearray()
        self.pid: int | None = None

    def request(self) -> dict[str, Any] | None:
        """Return the request once all of it is there."""
        if len(self.received) < _LENGTH_BYTES:
            return None
        end = _LENGTH_BYTES + int.from_bytes(self.received[:_LENGTH_BYTES], "big")
        if len(self.received) < end:
            return None
        request: dict[str, Any] = json.loads(self.received[_LENGTH_BYTES:end])
        return request

    def answer(self, content: dict[str, int]) -> None:
        """Send a result to the caller, if it is still listening."""
        with contextlib.suppress(OSError):
            self.control.sendall(json.dumps(content).encode() + b"\n")

    def close_outputs(self) -> None:
        """Close our copies, so that the caller sees the end of the output when the child ends."""
        for descriptor in self.outputs:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class _Server:
    """Receives commands and forks for them; in the child, :meth:`run` returns the request."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._pending: set[_Command] = set()
        self._running: dict[int, _Command] = {}
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)

    def run(self) -> dict[str, Any] | None:
        """Serve until the caller disconnects (return None), or until this is the child for a request."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    if not self._accept():
                        self._kill_all()
                        return None
                elif key.fileobj is self._wake_in:
                    with contextlib.suppress(BlockingIOError):
                        self._wake_in.recv(4096)
                    self._reap()
                else:
                    request = self._read(key.data)
                    if request is not None:
                        return request

    def _accept(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._listener, 1, 3)
        if not data:
            return False
        control = socket.socket(fileno=descriptors[0])
        control.setblocking(False)
        command = _Command(control, *descriptors[1:3])
        self._pending.add(command)
        self._selector.register(control, selectors.EVENT_READ, command)
        return True

    def _read(self, command: _Command) -> dict[str, Any] | None:
        try:
            data = command.control.recv(1 << 20)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            # The caller has given up: the command, if it runs, is killed, and reaped like any other.
            self._selector.unregister(command.control)
            if command.pid is not None:
                _kill(command.pid)
            else:
                self._pending.discard(command)
                command.close_outputs()
                command.control.close()
            return None
        command.received += data
        request = command.request() if command.pid is None else None
        if request is None:
            return None
        self._pending.discard(command)
        command.pid = os.fork()
        if command.pid:
            self._running[command.pid] = command
            command.close_outputs()
            command.answer({"pid": command.pid})
            return None
        self._become_command(command)
        return request

    def _become_command(self, command: _Command) -> None:
        """Leave the server's session, sockets and signal handlers behind."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(command.outputs[0], 1)
        os.dup2(command.outputs[1], 2)
        command.close_outputs()
        self._selector.close()
        for sock in (self._listener, self._wake_in, self._wake_out, command.control):
            sock.close()
        # Otherwise their callers would wait for this command to close them.
        for other in self._pending:
            other.control.close()
            other.close_outputs()
        for other in self._running.values():
            other.control.close()

    def _reap(self) -> None:
        while self._running:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            command = self._running.pop(pid, None)
            if command is None:
                continue
            _kill(pid)  # what the command has left in its group
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(command.control)
            exit_status = os.waitstatus_to_exitcode(status)
            # A shell's way of saying "killed by a signal".
            command.answer({"exit_status": exit_status if exit_status >= 0 else 128 - exit_status})
            command.control.close()

    def _kill_all(self) -> None:
        for pid in self._running:
            _kill(pid)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _warm_up() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()  # type: ignore[no-untyped-call]
    manager.initialize_providers_configuration()
    for name in _WARM_MODULES:
        _import_if_there(name)
    # Newer Airflows read a large YAML file in every process: a quarter of a command's time.
    metrics = _import_if_there("airflow._shared.observability.metrics.stats")
    if hasattr(metrics, "_get_registry"):
        metrics._get_registry()
    parser = importlib.import_module("airflow.cli.cli_parser")
    parser.get_parser()
    # SQLAlchemy puts off half a second of its work to the first query: once for all forks, then.
    importlib.import_module("airflow.models").import_all_models()
    importlib.import_module("sqlalchemy.orm").configure_mappers()
    _keep_output_of_tasks_in_their_logs()
    _forget_connections()


def _import_if_there(name: str) -> Any:
    """Import a module, if this Airflow has it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(error.name or "?"):
            raise
    return None


def _keep_output_of_tasks_in_their_logs() -> None:
    """Let no scheduler repeat what tasks print, as MWAA's workers don't.

    From Airflow 3.2 on, the LocalExecutor does: on its own stdout, where no secret is masked.
    """
    supervisor: Any = _import_if_there("airflow.sdk.execution_time.supervisor")
    for name in ("supervise_task", "supervise"):  # the latter before 3.3
        supervise = getattr(supervisor, name, None)
        if supervise is not None and _REPEATED in inspect.signature(supervise).parameters:
            setattr(supervisor, name, _without_repeating(supervise))


def _without_repeating(supervise: Any) -> Any:
    @functools.wraps(supervise)
    def supervised(*args: Any, **options: Any) -> Any:
        return supervise(*args, **{**options, _REPEATED: False})

    return supervised


def _forget_connections() -> None:
    """Leave no database connection that parent and child would share."""
    settings = importlib.import_module("airflow.settings")
    engine = getattr(settings, "engine", None)
    if engine is not None:
        engine.dispose(close=False)


def _change_variables(changes: dict[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def main() -> None:
    """Serve; in a forked child, run one command as ``airflow`` would."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(listener.fileno(), False)
    _warm_up()
    # Freeze existing objects, so that the collector does not copy shared pages by changing them.
    gc.collect()
    gc.freeze()
    listener.send(b"r")  # ready
    request = _Server(listener).run()
    if request is None:
        return
    _forget_connections()
    _change_variables(request.get("variables", {}))
    if "script" in request:
        runpy.run_path(request["script"], run_name="__main__")
        return
    sys.argv = ["airflow", *request["argv"]]
    # For people who look at their processes; only the command's name, since arguments may be secrets.
    importlib.import_module("setproctitle").setproctitle(" ".join(sys.argv[:2]))
    importlib.import_module("airflow.__main__").main()


if __name__ == "__main__":
    main()
