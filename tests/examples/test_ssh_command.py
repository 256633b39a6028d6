# SPDX-License-Identifier: Apache-2.0
"""The SSH example, run: a real SSH server, a key in Secrets Manager, and nothing of it on a disk."""

from __future__ import annotations

import base64
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.fernet import Fernet

from airflow_mwaa_provider._compat import AIRFLOW_VERSION
from airflow_mwaa_provider.local.stand_ins.ssh_server import SshServer, ssh_server
from scripts.lib import canary
from tests.examples import dag_runs
from tests.hooks.ssh_lab import private_text, public_text, secret_lines
from tests.local.conftest import moto_url

__all__ = ["moto_url"]

OURS = "from airflow_mwaa_provider.operators.ssh import SSHOperator"
STOCK = "from airflow.providers.ssh.operators.ssh import SSHOperator"

PRINTS_MASKS = AIRFLOW_VERSION.startswith("3.0.")
"""``dag.test()`` of these versions prints what Airflow is to mask, a connection's password as well. Tasks do not."""


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    with ssh_server({"ec2-user": public_text()}, answers={"hostname": "ip-10-0-0-1\n"}) as server:
        yield server


@pytest.fixture
def aws(moto_url: str) -> dict[str, str]:
    """Variables of a process that calls moto."""
    return {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }


def left_by_the_run() -> list[str]:
    """Return the files of the last run that have a line of the private key, or a form of its passphrase."""
    lines = [line.encode() for line in secret_lines(private_text())]
    found: list[str] = []
    for path in (path for path in dag_runs.home().rglob("*") if path.is_file() and path.name != "log"):
        content = path.read_bytes()
        found += [path.name for line in lines if line in content or base64.b64encode(line) in content]
        found += [path.name] * (canary.form_in(content) is not None)
    return found


def secret(text: str, moto_url: str, name: str | None = None) -> str:
    name = name or f"ssh/{uuid.uuid4().hex}"
    client = boto3.client(
        "secretsmanager",
        endpoint_url=moto_url,
        region_name="us-west-2",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    client.create_secret(Name=name, SecretString=text)
    client.close()
    return name


def connection(server: SshServer, extra: dict[str, Any]) -> str:
    fields = {"conn_type": "ssh", "host": server.host, "port": server.port, "login": "ec2-user"}
    return json.dumps({**fields, "extra": {"host_key": server.host_key, **extra}})


def test_the_command_runs_on_the_server(server: SshServer, aws: dict[str, str], moto_url: str) -> None:
    name = secret(private_text(passphrase=canary.value()), moto_url)
    extra = {"private_key_from": f"secretsmanager://{name}", "private_key_passphrase": canary.value()}
    before = len(server.commands)
    done = dag_runs.run_dag(
        "ssh_command", "ssh_operator_example", None, {**aws, "AIRFLOW_CONN_SSH_NEW": connection(server, extra)}
    )
    assert (done.state, done.tasks) == ("success", {"ssh_task": "success"}), done.log
    assert base64.b64decode(done.returned["ssh_task"]) == b"ip-10-0-0-1\n"
    [command] = server.commands[before:]
    assert (command.user, command.command) == ("ec2-user", "hostname")
    assert f"Secret '{name}': read the private key ssh-ed25519 SHA256:" in done.log
    assert "was not checked" not in done.log
    assert left_by_the_run() == []
    if not PRINTS_MASKS:
        assert canary.form_in(done.log.encode()) is None


@dag_runs.full
def test_a_secret_that_does_not_exist_fails_the_task(server: SshServer, aws: dict[str, str]) -> None:
    before = len(server.commands)
    failed = dag_runs.run_dag(
        "ssh_command",
        "ssh_operator_example",
        None,
        {**aws, "AIRFLOW_CONN_SSH_NEW": connection(server, {"private_key_from": "secretsmanager://no/such"})},
    )
    assert (failed.state, failed.tasks) == ("failed", {"ssh_task": "failed"})
    assert "Secret 'no/such': it does not exist. Create it" in failed.log
    assert len(server.commands) == before


@dag_runs.full
def test_the_providers_operator_with_a_connection_in_secrets_manager(
    server: SshServer,
    aws: dict[str, str],
    moto_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plain way, which needs neither our operator nor our hook: the whole connection is a secret."""
    prefix = uuid.uuid4().hex
    extra = {"private_key": private_text(passphrase=canary.value()), "private_key_passphrase": canary.value()}
    secret(connection(server, extra), moto_url, f"{prefix}/ssh_new")
    text = (dag_runs.EXAMPLES / "ssh_command.py").read_text(encoding="utf-8")
    (tmp_path / "ssh_command.py").write_text(text.replace(OURS, STOCK), encoding="utf-8")
    assert STOCK in (tmp_path / "ssh_command.py").read_text(encoding="utf-8")
    monkeypatch.setattr(dag_runs, "EXAMPLES", tmp_path)
    cache = tmp_path / "cache"
    before = len(server.commands)
    done = dag_runs.run_dag(
        "ssh_command",
        "ssh_operator_example",
        None,
        {
            **aws,
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),  # without it nothing is cached on disk
            "AIRFLOW__SECRETS__BACKEND": "airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_prefix": prefix, "cache_dir": str(cache)}),
        },
    )
    assert (done.state, len(server.commands)) == ("success", before + 1), done.log
    assert [*cache.rglob("*")]
    shutil.rmtree(cache)  # searches it
    assert left_by_the_run() == []
    if not PRINTS_MASKS:
        assert not [line for line in secret_lines(extra["private_key"]) if line in done.log]
