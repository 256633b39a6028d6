# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets migrate`` and ``restore``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from airflow_mwaa_provider.client.models import Connection
from scripts.lib import canary
from tests.cli.terminal import Terminal
from tests.client.world import REGION, World
from tests.secrets.conftest import FERNET_KEY, SecretsService, error
from tests.secrets_migration.conftest import Metadata

CANARY = canary.value()
GIVEN_IN_CLEAR = "canary-0c77a2"
"""A value in a file of the tests; that of the whole run may be in none."""
CONNECTIONS = {"db": f"postgres://u:{CANARY}@h/s"}


@pytest.fixture
def terminal(world: World, service: SecretsService) -> Terminal:
    """A terminal with endpoints of Secrets Manager and MWAA."""
    terminal = Terminal(world)
    terminal.variables |= {"AWS_ENDPOINT_URL_SECRETS_MANAGER": service.url}
    client = secrets_manager(service)
    for secret in client.list_secrets(MaxResults=100, IncludePlannedDeletion=True)["SecretList"]:
        client.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)
    return terminal


def secrets_manager(service: SecretsService) -> Any:
    """Return a client for the terminal's region."""
    return boto3.client("secretsmanager", endpoint_url=service.url, region_name=REGION)


def text_of(terminal: Terminal, *arguments: str, stdin: str | None = None) -> list[str]:
    result = terminal.run("secrets", *arguments, stdin=stdin)
    for value in (CANARY, GIVEN_IN_CLEAR):
        assert value not in result.stdout + result.stderr
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_from_files_there_and_back(terminal: Terminal, world: World, service: SecretsService, tmp_path: Path) -> None:
    file = tmp_path / "variables.json"
    file.write_text(json.dumps({"a": GIVEN_IN_CLEAR, "b": {"value": "1", "description": "of b"}, "c ": "x"}))
    given = ["--connections-file", "-", "--variables-file", str(file), "--leave-out-refused"]
    planned = text_of(terminal, "migrate", *given, "--dry-run", stdin=json.dumps(CONNECTIONS))
    assert planned[:3] == [
        "would be created connection db",
        "would be created variable a",
        "would be created variable b",
    ]
    assert planned[3].startswith("refused variable c : Secrets Manager accepts only letters")
    assert planned[4] == f"- and {file}: 3 created, 1 refused; nothing was written"
    assert service.calls["CreateSecret"] == 0
    moved = text_of(terminal, "migrate", *given, "--tag", "team=sales", stdin=json.dumps(CONNECTIONS))
    assert moved[-1] == f"- and {file}: 3 created, 1 refused"
    assert terminal.json("secrets", "migrate", *given, stdin=json.dumps(CONNECTIONS))["connections"]["same"] == ["db"]

    back = text_of(terminal, "restore", "env3", "--dry-run")
    assert back[-1] == "Environment 'env3': 3 created; nothing was written"
    done = terminal.json("secrets", "restore", "env3")
    assert (done["connections"]["created"], done["variables"]["created"]) == (["db"], ["a", "b"])
    stored = world.airflow("env3").objects
    assert stored["connections"]["db"]["password"] == CANARY
    assert stored["variables"]["b"]["description"] == "of b"
    assert "nothing was written" in terminal.error("secrets", "restore", "env3", status=1)


def test_boto3_repeats_no_call(terminal: Terminal, service: SecretsService) -> None:
    failing = {"CreateSecret": 1, "ListSecrets": 1}

    def fault(action: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if not failing.get(action):
            return None
        failing[action] -= 1
        return error("InternalServiceError", status=500)

    service.fault = fault
    text_of(terminal, "migrate", "--connections-file", "-", stdin=json.dumps(CONNECTIONS))
    text_of(terminal, "restore", "env3")
    assert failing == {"CreateSecret": 0, "ListSecrets": 0}
    assert not +service.repeated_by_boto3


def test_from_an_environment(terminal: Terminal, world: World, service: SecretsService) -> None:
    environment = world.environment("env3", "web_session")
    environment.variables.set("sales_1", CANARY, is_new=True)
    environment.connections.set(Connection("db", "postgres", password=CANARY), is_new=True)
    world.airflow("env3").shows_like_airflow_3 = True
    line = terminal.error("secrets", "migrate", "env3", status=2)
    assert line.startswith(
        "1 cannot be moved, so nothing was written: connection 'db': the REST API masks its password;"
    )
    assert "leave them out with --leave-out-refused" in line
    assert text_of(terminal, "migrate", "env3", "--variables", "sales_*", "--delete-source") == [
        "created variable sales_1",
        "Environment 'env3': 1 created",
    ]
    assert world.airflow("env3").objects["variables"] == {}


def test_from_a_database_in_a_process_of_its_own(
    terminal: Terminal, service: SecretsService, metadata: Metadata, tmp_path: Path
) -> None:
    """What it is started with, prints and leaves on the disk has no value; two of its kind make one set of secrets."""
    metadata.fill([Connection("db", "postgres", "h", "u", CANARY)], {"v": (CANARY, None)})
    key = tmp_path / "key"
    key.write_text(f"{FERNET_KEY}\n")
    postgres = metadata.lab.postgres
    terminal.variables |= {"PGPASSWORD": postgres.password, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    url = f"postgresql://airflow_user@127.0.0.1:{postgres.port}/{metadata.name}"
    arguments = ["secrets", "migrate", "--from-database", url, "--fernet-key-file", str(key), "--output", "json"]
    process = terminal.start(*arguments)
    with process:
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        output, problems = process.communicate(timeout=200)
    assert process.returncode == 0, problems
    done = json.loads(output)
    assert (done["connections"]["created"], done["variables"]["created"]) == (["db"], ["v"])
    for place in (command, output, problems):
        assert CANARY.encode() not in place
        assert FERNET_KEY.encode() not in place
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    assert secrets_manager(service).get_secret_value(SecretId="airflow/variables/v")["SecretString"] == CANARY


def test_a_killed_run_goes_on(terminal: Terminal, service: SecretsService, tmp_path: Path) -> None:
    file = tmp_path / "variables.json"
    file.write_text(json.dumps({f"v{number:03}": str(number) for number in range(90)}))
    arguments = ["secrets", "migrate", "--variables-file", str(file), "--output", "json"]
    process = terminal.start(*arguments)

    def kill(action: str, request: dict[str, Any]) -> None:
        if action == "CreateSecret" and service.calls["CreateSecret"] == 50:
            process.kill()

    service.fault = kill  # type: ignore[assignment]
    process.communicate(timeout=200)
    service.fault = None
    assert process.returncode < 0
    done = terminal.json(*arguments)
    assert 46 <= len(done["variables"]["same"]) <= 54
    assert len(done["variables"]["same"]) + len(done["variables"]["created"]) == 90


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Give one source: ENV, --from-database, or --connections-file and --variables-file."),
        (["env3", "--variables-file", "x"], "Give one source"),
        (["--variables-file", "-", "--connections-file", "-"], "Only one of --connections-file and --variables-file"),
        (["env3", "--fernet-key-file", "x"], "--fernet-key-file requires --from-database"),
    ],
)
def test_misuse(terminal: Terminal, arguments: list[str], says: str) -> None:
    assert says in terminal.run("secrets", "migrate", *arguments, status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["env3", "--tag", "=x"], "--tag '=x' has no key. Write --tag KEY=VALUE."),
        (["env3", "--variables-prefix", "a b"], "variables_prefix='a b': Secrets Manager accepts only letters"),
        (["--variables-file", "/nowhere"], "File '/nowhere' cannot be read"),
        (["--from-database", "mysql://x", "--fernet-key-file", "/nowhere"], "File '/nowhere' cannot be read"),
        (["--from-database", "mysql://x"], "Metadata of a mysql database cannot be read"),
        (["--variables-file", "-", "--delete-source"], "nothing can be deleted from it. Leave out --delete-source."),
    ],
)
def test_bad_input_is_one_line(terminal: Terminal, arguments: list[str], says: str) -> None:
    assert says in terminal.error("secrets", "migrate", *arguments, status=2, stdin="{}")


def test_restore_refuses_what_it_cannot_take(terminal: Terminal, world: World, service: SecretsService) -> None:
    good = {"engine": "postgresql", "username": "u", "server": "h", "port": "5"}
    for name, text in (("bad", f"nonsense {CANARY}"), ("good", json.dumps(good))):
        secrets_manager(service).create_secret(Name=f"airflow/connections/{name}", SecretString=text)
    line = terminal.error("secrets", "restore", "env3", status=2)
    assert line.startswith(
        "1 cannot be restored from Secrets Manager, so nothing was written: 'bad': its secret: a URI of a connection"
    )
    assert CANARY not in line
    terminal.run("secrets", "restore", "env3", "--leave-out-refused")
    row = world.airflow("env3").objects["connections"]["good"]
    assert (row["conn_type"], row["login"], row["host"], row["port"]) == ("postgres", "u", "h", 5)


def test_help_needs_no_airflow_and_no_boto3() -> None:
    code = (
        "import sys; from airflow_mwaa_provider.cli.main import main; main(['secrets', 'migrate', '--help'], "
        "standalone_mode=False); print([name for name in ('airflow', 'boto3') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"
    assert "airflow connections export -" in shown
