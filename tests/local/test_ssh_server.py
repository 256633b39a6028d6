# SPDX-License-Identifier: Apache-2.0
"""The SSH server that stands for another machine: a real client talks to it, and a wrong one is refused."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator

import paramiko
import pytest

from airflow_mwaa_provider.local.stand_ins.ssh_server import SshServer, ssh_server
from tests.hooks.ssh_lab import private_text, public_text


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    users = {"ec2-user": f"{public_text()}\n{public_text('rsa')}", "root": ""}
    with ssh_server(users, answers={"hostname": "ip-10-0-0-1\n"}) as server:
        yield server


def ran(server: SshServer, command: str, kind: str = "ed25519", user: str = "ec2-user") -> tuple[str, str, int]:
    """Run a command as paramiko's own client does, which knows the server's key."""
    classes: dict[str, type[paramiko.PKey]] = {"ed25519": paramiko.Ed25519Key, "rsa": paramiko.RSAKey}
    key = classes[kind].from_private_key(io.StringIO(private_text(kind)))
    client = paramiko.SSHClient()
    try:
        name, data = server.host_key.split()
        known = paramiko.Ed25519Key(data=base64.b64decode(data))
        client.get_host_keys().add(f"[{server.host}]:{server.port}", name, known)
        client.connect(server.host, server.port, user, pkey=key, allow_agent=False, look_for_keys=False, timeout=10)
        _, stdout, stderr = client.exec_command(command, timeout=20)
        return stdout.read().decode(), stderr.read().decode(), stdout.channel.recv_exit_status()
    finally:
        client.close()


def test_commands_run_and_are_kept(server: SshServer) -> None:
    before = len(server.commands)
    assert ran(server, "echo out; echo err >&2; exit 3") == ("out\n", "err\n", 3)
    assert ran(server, "hostname", "rsa") == ("ip-10-0-0-1\n", "", 0)
    first, second = server.commands[before:]
    assert (first.user, first.command, first.exit_status, first.stdout) == (
        "ec2-user", "echo out; echo err >&2; exit 3", 3, "out\n",
    )  # fmt: skip
    assert first.fingerprint.startswith("SHA256:")
    assert first.fingerprint != second.fingerprint


def test_a_command_has_nothing_of_this_process(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of this process")
    stdout, _, _ = ran(server, "env; ls -a")
    assert "of this process" not in stdout
    assert stdout.endswith(".\n..\n")


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_key_of_another_user_is_refused_and_kept(server: SshServer, user: str) -> None:
    before = len(server.commands)
    with pytest.raises(paramiko.AuthenticationException):
        ran(server, "hostname", user=user)
    assert server.rejected[-1][0] == user
    assert len(server.commands) == before


def test_a_password_is_refused(server: SshServer) -> None:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    with pytest.raises(paramiko.BadAuthenticationType) as caught:
        client.connect(server.host, server.port, "ec2-user", "password", allow_agent=False, look_for_keys=False)
    assert caught.value.allowed_types == ["publickey"]
    client.close()


def test_nothing_is_left_of_it() -> None:
    with ssh_server({"u": public_text()}) as server:
        port = server.port
        assert [thread for thread in threading.enumerate() if thread.name == f"ssh-server-{port}"]
    assert not [thread for thread in threading.enumerate() if thread.name == f"ssh-server-{port}"]
    with pytest.raises(OSError, match=f"port {port}"):
        ran(server, "hostname", user="u")
