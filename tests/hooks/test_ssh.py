# SPDX-License-Identifier: Apache-2.0
"""SSH with a key out of Secrets Manager or S3: a real server admits it, and nothing shows it."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import boto3
import paramiko
import pytest
from airflow.providers.ssh.hooks.ssh import SSHHook as ProviderHook
from airflow.providers.ssh.operators.ssh import SSHOperator as ProviderOperator
from botocore.client import BaseClient

from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError, SecretsError, StorageError
from airflow_mwaa_provider.hooks.ssh import SSHHook
from airflow_mwaa_provider.local.stand_ins.ssh_server import SshServer, ssh_server
from airflow_mwaa_provider.operators.ssh import SSHOperator
from scripts.lib import canary
from tests.hooks.ssh_lab import KINDS, private_text, public_text, secret_lines
from tests.local.conftest import moto_url

__all__ = ["moto_url"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "samples" / "ssh-command.md"
USER = "ec2-user"


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    with ssh_server({USER: "\n".join(map(public_text, KINDS))}, answers={"hostname": "ip-10-0-0-1\n"}) as server:
        yield server


@pytest.fixture(autouse=True)
def _aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's hook tries a connection three times, with seconds between them."""
    monkeypatch.setattr("tenacity.nap.sleep", lambda _: None)
    monkeypatch.setattr("tenacity.nap.time", type("Clock", (), {"sleep": staticmethod(lambda _: None)}))


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a failed connection leaves open in the provider's hook."""
    clients: list[paramiko.SSHClient] = []
    make = paramiko.SSHClient.__init__

    def remember(self: paramiko.SSHClient) -> None:
        make(self)
        clients.append(self)

    monkeypatch.setattr(paramiko.SSHClient, "__init__", remember)
    yield
    for client in clients:
        client.close()


@pytest.fixture
def shown(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Return what has been logged and printed, whatever Airflow has configured for the log of tasks."""
    logger = logging.getLogger(f"airflow.task.hooks.{SSHHook.__module__}.{SSHHook.__name__}")
    logger.addHandler(caplog.handler)
    level, disabled = logger.level, logger.disabled
    logger.setLevel(logging.DEBUG)
    logger.disabled = False
    yield lambda: caplog.text + "".join(capfd.readouterr())
    logger.removeHandler(caplog.handler)
    logger.setLevel(level)
    logger.disabled = disabled


@pytest.fixture
def define(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define the connection to the server."""

    def make(extra: dict[str, Any] | None = None, *, to: SshServer = server, user: str = USER) -> str:
        fields = {"conn_type": "ssh", "host": to.host, "port": to.port, "login": user, "extra": extra or {}}
        monkeypatch.setenv("AIRFLOW_CONN_SSH_NEW", json.dumps(fields))
        return "ssh_new"

    return make


def put_secret(text: str, **request: Any) -> str:
    name = f"ssh/{uuid.uuid4().hex}"
    client = boto3.client("secretsmanager", **request)
    found: str = client.create_secret(Name=name, SecretString=text)["ARN"]
    client.close()
    return found if request else name


def put_object(text: str) -> str:
    key = f"keys/{uuid.uuid4().hex}.pem"
    client = boto3.client("s3")
    client.put_object(Bucket="bucket", Key=key, Body=text.encode())
    client.close()
    return f"s3://bucket/{key}"


def run(hook: SSHHook, command: str = "hostname") -> bytes:
    with hook.get_conn() as client:
        _, stdout, _ = hook.exec_ssh_client_command(client, command, get_pty=False, environment=None)
    return stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_in_secrets_manager_logs_in(kind: str, server: SshServer, define: Callable[..., str]) -> None:
    name = put_secret(private_text(kind, "pkcs8"))
    extra = {"private_key_from": f"secretsmanager://{name}", "host_key": server.host_key}
    before = len(server.commands)
    assert run(SSHHook(define(extra), aws_conn_id=None)) == b"ip-10-0-0-1\n"
    [done] = server.commands[before:]
    assert (done.user, done.command, done.exit_status) == (USER, "hostname", 0)
    assert done.fingerprint == fingerprint(kind)


def fingerprint(kind: str) -> str:
    return asyncssh.import_public_key(public_text(kind)).get_fingerprint()


def test_a_key_in_s3_in_json_and_in_another_region(server: SshServer, define: Callable[..., str]) -> None:
    in_json = put_secret(json.dumps({"user": USER, "pem": private_text("rsa", "pem")}))
    for reference in (
        put_object(private_text()),
        f"secretsmanager://{in_json}#pem",
        f"secretsmanager://{put_secret(private_text(), region_name='eu-west-1')}",
    ):
        assert run(SSHHook(define({"host_key": server.host_key}), private_key_from=reference, aws_conn_id=None))


@pytest.mark.once
def test_the_page_has_the_version_that_each_image_pins() -> None:
    table = re.search(r"(?m)^\| Airflow \|(.*)\n.*\n\| SSH provider \|(.*)$", PAGE.read_text(encoding="utf-8"))
    assert table
    rows = [[cell.strip() for cell in row.strip(" |").split("|")] for row in table.groups()]
    pins = {
        path.stem: re.findall(r"(?m)^apache-airflow-providers-ssh==(\S+)$", path.read_text(encoding="utf-8"))
        for path in (ROOT / "airflow_mwaa_provider" / "packaging" / "constraints").glob("*.txt")
    }
    assert {version: [pin] for version, pin in zip(*rows, strict=True)} == pins


def test_the_policy_of_the_page_is_what_a_task_calls(
    server: SshServer, define: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    [policy] = [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if "Statement" in block
    ]
    [statement] = policy["Statement"]
    name, address = put_secret(private_text()), put_object(private_text())
    called: list[tuple[str, dict[str, str]]] = []
    call = BaseClient._make_api_call

    def record(self: BaseClient, operation: str, request: dict[str, str]) -> Any:
        called.append((f"{self.meta.service_model.signing_name}:{operation}", request))
        return call(self, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    for reference in (f"secretsmanager://{name}", address):
        assert run(SSHHook(define({"host_key": server.host_key}), private_key_from=reference, aws_conn_id=None))
    (of_secret, request), (of_object, _) = called
    assert of_secret == statement["Action"]
    assert request == {"SecretId": name}
    assert f"allow `{of_object}` on" in page


def test_nothing_shows_the_key_or_its_passphrase(
    server: SshServer, define: Callable[..., str], caplog: pytest.LogCaptureFixture, shown: Callable[[], str]
) -> None:
    text = private_text("rsa", "pkcs8", canary.value())
    name = put_secret(text)
    caplog.set_level(logging.DEBUG)  # boto3's own log of what the line above has sent has the key
    extra = {"private_key_from": f"secretsmanager://{name}", "private_key_passphrase": canary.value()}
    hook = SSHHook(define({**extra, "host_key": server.host_key}), aws_conn_id=None)
    assert run(hook)
    opened = hook.pkey.key.private_bytes(*_openssh())
    found = f"{shown()}{hook!r}{hook._source!r}"
    assert f"Secret '{name}': read the private key ssh-rsa SHA256:" in found
    assert not [line for line in secret_lines(text, opened.decode()) if line in found]
    assert canary.form_in(found.encode()) is None


def _openssh() -> tuple[Any, ...]:
    from cryptography.hazmat.primitives import serialization as forms

    return forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption()


def test_what_prints_the_key_prints_asterisks(server: SshServer, define: Callable[..., str]) -> None:
    from tests.hooks.ssh_masking import redacted

    text = private_text("rsa", "pem")
    name = put_secret(text)
    hook = SSHHook(define({"host_key": server.host_key}), private_key_from=f"secretsmanager://{name}", aws_conn_id=None)
    assert run(hook)
    for line in secret_lines(text):
        assert redacted(f"a {line} b") == "a *** b"
    assert redacted("-----BEGIN RSA PRIVATE KEY-----") == "-----BEGIN RSA PRIVATE KEY-----"


def test_the_key_is_read_when_a_connection_is_opened_and_once(server: SshServer, define: Callable[..., str]) -> None:
    hook = SSHHook(define({"host_key": server.host_key}), private_key_from="secretsmanager://not-yet", aws_conn_id=None)
    assert hook.pkey is None
    with pytest.raises(SecretsError, match=r"^Secret 'not-yet': it does not exist\. Create it, or correct"):
        hook.get_conn()
    client = boto3.client("secretsmanager")
    client.create_secret(Name="not-yet", SecretString=private_text())
    assert run(hook)
    client.delete_secret(SecretId="not-yet", ForceDeleteWithoutRecovery=True)
    client.close()
    assert run(hook), "the second connection needs no second call"


def test_no_key_there(define: Callable[..., str]) -> None:
    define()
    binary = f"ssh/{uuid.uuid4().hex}"
    client = boto3.client("secretsmanager")
    client.create_secret(Name=binary, SecretBinary=private_text().encode())
    doomed = put_secret(private_text())
    client.delete_secret(SecretId=doomed)
    client.close()
    in_json = put_secret(json.dumps({"a": 1}))
    for reference, error, words in [
        ("s3://bucket/no/such.pem", StorageError, "Object 'no/such.pem' in bucket 'bucket': it does not exist"),
        ("s3://no-such-bucket/x.pem", StorageError, "it does not exist (NoSuchBucket)"),
        (put_object("x" * 70_000), StorageError, "larger than 65,536 bytes"),
        (put_object(public_text()), MwaaInputError, "it is a public key"),
        (f"secretsmanager://{binary}", SecretsError, "it has no string. Store the key as one"),
        (f"secretsmanager://{doomed}", SecretsError, "it is scheduled for deletion"),
        (f"secretsmanager://{in_json}#b", SecretsError, ", key 'b': its JSON has no such string"),
        (f"secretsmanager://{in_json}", MwaaInputError, "it is not a private key"),
        (f"secretsmanager://{put_secret(private_text())}#b", SecretsError, "it is not a JSON object. Remove #b"),
    ]:  # fmt: skip
        with pytest.raises(error) as caught:
            SSHHook("ssh_new", private_key_from=reference, aws_conn_id=None).get_conn()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_frame_of_an_error_has_the_key(define: Callable[..., str]) -> None:
    """Airflow 3.0 prints the variables of each frame when ``dag.test()`` fails."""
    text = private_text("rsa", "pem", canary.value())
    in_json = put_secret(json.dumps({"pem": text}))
    define({"private_key_passphrase": "wrong"})
    for reference in (
        f"secretsmanager://{put_secret(text)}", put_object(text), f"secretsmanager://{in_json}#other",
        f"secretsmanager://{put_secret(text)}#other", f"secretsmanager://{in_json}",
    ):  # fmt: skip
        with pytest.raises(MwaaError) as caught:
            SSHHook("ssh_new", private_key_from=reference, aws_conn_id=None).get_conn()
        frames, error = [], caught.tb.tb_next  # after this function's own
        while error is not None:
            frames.append(repr(error.tb_frame.f_locals))
            error = error.tb_next
        assert len(frames) > 1
        assert not [line for line in secret_lines(text) for frame in frames if line in frame]


@pytest.mark.parametrize("reference", [
    "secretsmanager://", "secretsmanager://#x", "s3://bucket", "s3://bucket/folder/", "/usr/local/airflow/dags/key.pem",
    "ssm://name", private_text(), f"secretsmanager://{private_text()}",
])  # fmt: skip
def test_what_is_no_reference_is_refused_and_not_repeated(reference: str, define: Callable[..., str]) -> None:
    with pytest.raises(MwaaInputError, match=r"^private_key_from is not a reference\. Write secrets") as caught:
        SSHHook(define(), private_key_from=reference)
    assert not [line for line in secret_lines(reference) if line in str(caught.value)]


def test_two_keys_are_refused(define: Callable[..., str]) -> None:
    for extra, name in [
        ({"key_file": "/usr/local/airflow/dags/key.pem"}, "key_file"), ({"private_key": private_text()}, "private_key"),
    ]:  # fmt: skip
        with pytest.raises(MwaaInputError, match=f"Connection 'ssh_new': private_key_from and {name} are both given"):
            SSHHook(define({"private_key_from": "s3://bucket/key", **extra}))
        with pytest.raises(MwaaInputError, match=f"Connection 'ssh_new': private_key_from and {name} are both given"):
            SSHHook(define(extra), private_key_from="s3://bucket/key")


def test_a_key_that_the_server_does_not_know(server: SshServer, define: Callable[..., str]) -> None:
    name = put_secret(private_text())
    extra = {"private_key_from": f"secretsmanager://{name}", "host_key": server.host_key, "look_for_keys": "false"}
    hook = SSHHook(define(extra, user="root"), aws_conn_id=None)
    with pytest.raises(paramiko.AuthenticationException) as caught:
        hook.get_conn()
    message = str(caught.value)
    assert message.startswith(
        f"User 'root' at 127.0.0.1:{server.port}: the server rejected the key ssh-ed25519 SHA256:"
    )
    assert f"Secret '{name}' has it." in message
    assert ("root", fingerprint("ed25519")) in server.rejected


def test_another_server_in_its_place_is_not_talked_to(
    server: SshServer, define: Callable[..., str], shown: Callable[[], str]
) -> None:
    name = put_secret(private_text())
    with ssh_server({USER: public_text()}) as other:
        extra = {"private_key_from": f"secretsmanager://{name}", "host_key": server.host_key}
        with pytest.raises(paramiko.BadHostKeyException):
            SSHHook(define(extra, to=other), aws_conn_id=None).get_conn()
        assert other.commands == other.rejected == []
    assert "has another key than the connection's host_key" in shown()


def test_a_key_that_is_not_checked_is_shown_as_the_extra_has_it(
    server: SshServer, define: Callable[..., str], caplog: pytest.LogCaptureFixture, shown: Callable[[], str]
) -> None:
    reference = f"secretsmanager://{put_secret(private_text())}"
    assert run(SSHHook(define({"private_key_from": reference}), aws_conn_id=None))
    line = next(line for line in shown().splitlines() if "was not checked" in line)
    host_key = json.loads("{" + line[line.index('"host_key"') :].rpartition('"')[0] + '"}')["host_key"]
    assert host_key == server.host_key
    caplog.clear()
    assert run(SSHHook(define({"private_key_from": reference, "host_key": host_key}), aws_conn_id=None))
    assert "was not checked" not in shown()


def test_a_server_can_be_required_to_be_known(define: Callable[..., str]) -> None:
    extra = {"private_key_from": f"secretsmanager://{put_secret(private_text())}", "no_host_key_check": "false"}
    with pytest.raises(paramiko.SSHException, match="not found in known_hosts"):
        SSHHook(define(extra), aws_conn_id=None).get_conn()


def test_a_host_key_in_another_form_is_refused(server: SshServer, define: Callable[..., str]) -> None:
    for host_key in (f"127.0.0.1 {server.host_key}", "ssh-dss AAAA"):
        with pytest.raises(MwaaInputError, match=f"host_key begins with '{host_key.split()[0]}', not with a type"):
            SSHHook(define({"host_key": host_key}))


def test_without_a_reference_it_is_the_providers_hook(server: SshServer, define: Callable[..., str]) -> None:
    conn_id = define({"private_key": private_text("rsa", "pem"), "host_key": server.host_key})
    assert run(SSHHook(conn_id)) == b"ip-10-0-0-1\n"
    assert issubclass(SSHHook, ProviderHook)
    assert SSHHook("ssh_new", "10.0.0.1", "me", cmd_timeout=5).remote_host == "10.0.0.1"


def test_a_tunnel_uses_the_key(server: SshServer, define: Callable[..., str]) -> None:
    reference = f"secretsmanager://{put_secret(private_text('rsa'))}"
    hook = SSHHook(define({"private_key_from": reference, "host_key": server.host_key}), aws_conn_id=None)
    with hook.get_tunnel(22) as tunnel:
        assert tunnel.local_bind_port
    assert hook.pkey.get_name() == "ssh-rsa"


# --- operator ---------------------------------------------------------------------------------------------------------


def operator(**keywords: Any) -> SSHOperator:
    return SSHOperator(
        **{"task_id": "t", "ssh_conn_id": "ssh_new", "command": "hostname", "aws_conn_id": None, **keywords}
    )


def test_an_operator_returns_what_the_command_printed(server: SshServer, define: Callable[..., str]) -> None:
    define({"host_key": server.host_key})
    reference = f"secretsmanager://{put_secret(private_text())}"
    task = operator(private_key_from=reference, command="echo {{ params.word }}; echo again >&2")
    task.render_template_fields({"params": {"word": "hello"}})
    assert task.execute({}) == "aGVsbG8K"
    assert server.commands[-1].command == "echo hello; echo again >&2"
    assert isinstance(task, ProviderOperator)


def test_a_template_names_the_key(server: SshServer, define: Callable[..., str]) -> None:
    define({"host_key": server.host_key})
    task = operator(private_key_from="secretsmanager://{{ params.name }}")
    task.render_template_fields({"params": {"name": put_secret(private_text())}})
    assert task.execute({})


def test_a_hook_is_accepted_and_a_second_reference_is_not(server: SshServer, define: Callable[..., str]) -> None:
    reference = f"secretsmanager://{put_secret(private_text())}"
    hook = SSHHook(define({"host_key": server.host_key}), private_key_from=reference, aws_conn_id=None)
    assert operator(ssh_hook=hook, ssh_conn_id=None).execute({})
    with pytest.raises(MwaaInputError, match="private_key_from and ssh_hook are both given"):
        operator(ssh_hook=hook, private_key_from=reference)
    with pytest.raises(Exception, match="Cannot operate without ssh_hook or ssh_conn_id"):
        operator(ssh_conn_id=None).execute({})


def test_a_command_that_fails_fails_the_task(server: SshServer, define: Callable[..., str]) -> None:
    define({"host_key": server.host_key})
    task = operator(private_key_from=f"secretsmanager://{put_secret(private_text())}", command="exit 3")
    with pytest.raises(Exception, match="exit status = 3"):
        task.execute({})
