# SPDX-License-Identifier: Apache-2.0
"""Run the example that queries Snowflake, with a secret written by the terminal, Snowflake's hook and connector."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from airflow_mwaa_provider.packaging import image_constraints
from tests.secrets.conftest import CANARY, SecretsService, environment

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
EXAMPLE = ROOT / "example_dags" / "snowflake_connection.py"
PASSWORD = f"p@ss/w%rd:#?&+ {CANARY}"
ROWS = [[0, "ALGERIA", 0], [1, "ARGENTINA", 1], [2, "BRAZIL", 1]]
MASKS = re.compile(r"msg=MaskSecret\(.*")
"""What ``airflow dags test`` of 3.0 prints of its own messages, those with what is to be masked among them."""
LOGIN = {
    "ACCOUNT_NAME": "myorg-myaccount",
    "LOGIN_NAME": "etl",
    "PASSWORD": PASSWORD,
    "databaseName": "SNOWFLAKE_SAMPLE_DATA",
    "roleName": "ANALYST",
    "schemaName": "TPCH_SF1",
    "warehouse": "MY_WAREHOUSE",
}


class Snowflake:
    """A server that accepts one login."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [ROOT / "scripts" / "fakesnow", HERE / "snowflake_server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(LOGIN) + "\n")  # not an argument, which others see
        self._process.stdin.flush()
        self.port = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"it has ended, with status {self._process.wait()}"
        return line.strip()

    def login(self) -> dict[str, str]:
        """Return the data of the next login."""
        return dict(json.loads(self._line()))

    def stop(self) -> None:
        """End it, by the end of its stdin."""
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def snowflake() -> Iterator[Snowflake]:
    server = Snowflake()
    yield server
    server.stop()


@dataclass(frozen=True)
class Airflow:
    """An Airflow with the example as its only DAG."""

    home: Path
    variables: dict[str, str]

    def test_dag(self, snowflake: Snowflake) -> subprocess.CompletedProcess[str]:
        """Run the DAG in a separate process."""
        return subprocess.run(
            [sys.executable, HERE / "run_dag.py", snowflake.port, "snowflake_test"],
            env=self.variables,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def results(self) -> list[Any]:
        """Return the results of the runs, oldest first."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            found = database.execute("SELECT value FROM xcom WHERE key = 'return_value' ORDER BY timestamp").fetchall()
        return [_plain(json.loads(value)) for (value,) in found]

    def told_of(self, text: str) -> list[str]:
        """Return the files of the database and the logs that contain a string."""
        files = (path for path in self.home.rglob("*") if path.is_file())
        return [path.relative_to(self.home).as_posix() for path in files if text.encode() in path.read_bytes()]


def _plain(value: Any) -> Any:
    """Return a tuple that Airflow stored as the list that JSON uses for it."""
    if isinstance(value, dict) and "__data__" in value:
        value = value["__data__"]
    return [_plain(each) for each in value] if isinstance(value, list) else value


@pytest.fixture
def airflow(service: SecretsService, tmp_path: Path) -> Airflow:
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    shutil.copy(EXAMPLE, home / "dags")
    own = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__SECRETS__BACKEND": "airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"cache_dir": str(home / "cache")}),
    }
    return Airflow(home, {**os.environ, **environment(service), **own})


def uri() -> str:
    """Return the URI of the connection, as the command of the docs prints it."""
    [command] = [line for line in documented("sh").splitlines() if line.startswith("airflow-mwaa secrets uri")]
    command = command.replace("--ask-password", "--password-file -").partition(">")[0]
    done = subprocess.run(
        [sys.executable, "-m", "airflow_mwaa_provider.cli.main", *command.split()[1:]],
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def documented(language: str) -> str:
    """Return the section's code blocks in a language, with continued lines joined."""
    page = (ROOT / "docs" / "secrets.md").read_text(encoding="utf-8")
    section = page.partition("\n## Snowflake")[2].partition("\n## ")[0]
    return "\n".join(re.findall(rf"(?ms)^```{language}\n(.*?)^```", section)).replace(" \\\n", " ")


def test_two_runs_query_snowflake_and_ask_for_the_secret_once(
    service: SecretsService, snowflake: Snowflake, airflow: Airflow
) -> None:
    service.put("airflow/connections/snowflake_conn", uri())
    service.calls.clear()
    for _ in range(2):
        done = airflow.test_dag(snowflake)
        assert done.returncode == 0, done.stdout + done.stderr
        assert CANARY not in MASKS.sub("", done.stdout + done.stderr)
        assert snowflake.login() == LOGIN
    assert airflow.results() == [ROWS, ROWS]
    assert service.calls == {"GetSecretValue": 1}
    assert airflow.told_of("BRAZIL") == ["airflow.db"]
    assert airflow.told_of(CANARY) == []


def test_the_documented_requirement_is_one_that_each_image_has_a_version_of() -> None:
    lines = documented("text").splitlines()
    assert lines[0].startswith('--constraint "https://raw.githubusercontent.com/apache/airflow/constraints-')
    requirements = [Requirement(line) for line in lines[1:]]
    assert [requirement.name for requirement in requirements] == [
        "airflow-mwaa-provider",
        "apache-airflow-providers-snowflake",
    ]
    for version in image_constraints.versions():
        with image_constraints.path_of(version) as path:
            [pin] = re.findall(rf"(?m)^{requirements[1].name}==(\S+)$", path.read_text(encoding="utf-8"))
        assert requirements[1].specifier.contains(pin), version
