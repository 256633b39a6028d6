# SPDX-License-Identifier: Apache-2.0
"""A real SSH server on loopback: it admits users by their public keys, runs their commands, and keeps what they did."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.errors import LocalMwaaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import asyncssh

__all__ = ["Command", "SshServer", "ssh_server"]

_LOOPBACK = "127.0.0.1"
_COMMAND_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Command:
    """A command that was run for a user.

    :param fingerprint: of the key that the user has logged in with, as ``ssh-keygen -l`` prints it.
    """

    user: str
    fingerprint: str
    command: str
    exit_status: int
    stdout: str


@dataclass
class SshServer:
    """What a running server is, and what it was asked.

    :param users: the keys of each user that may log in, as lines of ``authorized_keys``. They can be changed while it
        runs.
    :param answers: what commands print; those without an answer are run in a shell.
    :param host_key: the public key of the server, as a connection's ``host_key`` has it.
    :param commands: what was run.
    :param rejected: users and fingerprints of keys that were offered and not admitted.
    """

    users: Mapping[str, str]
    answers: Mapping[str, str]
    host_key: str
    host: str = _LOOPBACK
    port: int = 0
    commands: list[Command] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def ssh_server(
    users: Mapping[str, str], *, answers: Mapping[str, str] | None = None, host_key_type: str = "ssh-ed25519"
) -> Iterator[SshServer]:
    """Run a server on a free port of loopback until the context ends.

    It offers public-key authentication only. Commands run with the rights of this process, in an empty folder and an
    empty environment, for those alone who have one of the keys.

    :param users: see :class:`SshServer`.
    :param answers: see :class:`SshServer`.
    :param host_key_type: ``"ssh-ed25519"``, ``"ssh-rsa"``, ``"ecdsa-sha2-nistp256"`` …
    """
    import asyncssh

    key = asyncssh.generate_private_key(host_key_type)
    public = key.export_public_key("openssh").decode("ascii")
    server = SshServer(users, dict(answers or {}), " ".join(public.split()[:2]))
    started = threading.Event()
    failure: list[BaseException] = []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve(folder: str) -> None:
        ending = asyncio.Event()
        connections: set[asyncssh.SSHServerConnection] = set()
        async with asyncssh.listen(
            _LOOPBACK,
            0,
            server_host_keys=[key],
            server_factory=lambda: _login(server, connections),
            process_factory=lambda process: _run(server, process, folder),
            login_timeout=20,
        ) as acceptor:
            server.port = acceptor.get_port()
            threading.current_thread().name = f"ssh-server-{server.port}"
            stop.append((asyncio.get_running_loop(), ending))
            started.set()
            await ending.wait()
            for connection in [*connections]:  # the end of the server waits for them
                connection.abort()

    def run() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="ssh-server.") as folder:
                asyncio.run(serve(folder))
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
            failure.append(error)
        finally:
            started.set()

    log = logging.getLogger("asyncssh")
    level = log.level
    log.setLevel(logging.WARNING)  # of each connection it would log ten lines, among those of whoever uses this server
    thread = threading.Thread(target=run, name="ssh-server", daemon=True)
    thread.start()
    started.wait()
    if failure:
        raise LocalMwaaError(f"the SSH server did not start: {failure[0]}") from failure[0]
    try:
        yield server
    finally:
        loop, ending = stop[0]
        loop.call_soon_threadsafe(ending.set)
        thread.join(timeout=_COMMAND_TIMEOUT_S + 5)
        log.setLevel(level)


def _login(server: SshServer, connections: set[asyncssh.SSHServerConnection]) -> Any:
    import asyncssh

    class Login(asyncssh.SSHServer):
        """Admits a connection's user by a public key, and by nothing else."""

        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self._connection = conn
            connections.add(conn)

        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's signature
            connections.discard(self._connection)

        def public_key_auth_supported(self) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return False

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            admitted = _keys(server.users.get(username, ""))
            print_of_key = key.get_fingerprint()
            if print_of_key not in admitted:
                server.rejected.append((username, print_of_key))
                return False
            self._connection.set_extra_info(fingerprint=print_of_key)
            return True

    return Login()


def _keys(lines: str) -> set[str]:
    """Return the fingerprints of the keys of an ``authorized_keys``."""
    import asyncssh

    return {asyncssh.import_public_key(line).get_fingerprint() for line in lines.splitlines() if line.strip()}


async def _run(server: SshServer, process: Any, folder: str) -> None:
    command = process.command
    if command is None:  # a shell for a person
        process.stderr.write("only commands are run here\n")
        process.exit(1)
        return
    if command in server.answers:
        stdout, stderr, status = server.answers[command], "", 0
    else:
        stdout, stderr, status = await asyncio.to_thread(_shell, command, folder, dict(process.env))
    process.stdout.write(stdout)
    process.stderr.write(stderr)
    connection = process.get_extra_info("connection")
    server.commands.append(
        Command(process.get_extra_info("username"), connection.get_extra_info("fingerprint"), command, status, stdout)
    )
    process.exit(status)


def _shell(command: str, folder: str, environment: Mapping[str, str]) -> tuple[str, str, int]:
    variables = {**environment, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder}
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_COMMAND_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return "", f"the command did not end within {_COMMAND_TIMEOUT_S:g} s\n", 124
    return done.stdout, done.stderr, done.returncode
