# SPDX-License-Identifier: Apache-2.0
"""A metadata database with connections and variables created by Airflow itself, and moto's Secrets Manager."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from cryptography.fernet import Fernet

from airflow_mwaa_provider.client.aws.secrets_manager import SecretsManager
from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.client.secrets_migration.items import Kind, Patterns
from airflow_mwaa_provider.client.secrets_migration.migration import Outcome, migrate
from airflow_mwaa_provider.client.secrets_migration.options import MigrationOptions, Names
from airflow_mwaa_provider.client.secrets_migration.reading_back import reader
from airflow_mwaa_provider.client.secrets_migration.source import DocumentSource
from airflow_mwaa_provider.metadata.stored_values import StoredValues
from airflow_mwaa_provider.secrets.read_back import ReadBack
from tests.botocore_data import _botocore_data
from tests.client.conftest import _world, world
from tests.client.world import FakeTime
from tests.hooks.conftest import connection
from tests.metadata.conftest import database, lab
from tests.secrets.conftest import (
    FERNET_KEY,
    SecretsService,
    _fresh_process,
    folder,
    running_service,
    service,
)

__all__ = [
    "_botocore_data", "_fresh_process", "_world", "connection", "database", "folder", "lab", "running_service",
    "service", "world",
]  # fmt: skip

NAMES = Names()
ALL = (Patterns(Kind.CONNECTION, ["*"]), Patterns(Kind.VARIABLE, ["*"]))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_ENV_NAME", raising=False)


def documents(connections: dict[str, Any] | None = None, variables: dict[str, Any] | None = None) -> DocumentSource:
    return DocumentSource("The file", {Kind.CONNECTION: connections or {}, Kind.VARIABLE: variables or {}})


def once_each(service: SecretsService) -> Any:
    """Return a client without retries, because its pauses would take time."""
    return boto3.client(
        "secretsmanager",
        endpoint_url=service.url,
        region_name="eu-west-1",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def move(service: SecretsService) -> Callable[..., Outcome]:
    """Migrate, with waits that take no time."""

    def run(source: Any, *, names: Names = NAMES, wanted: Any = ALL, **given: Any) -> Outcome:
        client = once_each(service)
        options_of_secrets = {name: given.pop(name) for name in ("tags", "kms_key_id") if name in given}
        more = {name: given.pop(name) for name in ("dry_run", "stop", "read_back", "progress") if name in given}
        backend = ReadBack(
            client, connections_prefix=names.connections_prefix, variables_prefix=names.variables_prefix, sep=names.sep
        )
        secrets = SecretsManager(client, policy=FakeTime().policy(), **options_of_secrets)
        more.setdefault("read_back", reader(backend, names))
        return migrate(source, wanted, secrets, names, options=MigrationOptions(**given), **more)

    return run


class Metadata:
    """The connections and variables of a metadata database, encrypted as Airflow encrypts them."""

    def __init__(self, lab: Any, name: str) -> None:
        self.lab = lab
        self.name = name
        self._fernet = Fernet(FERNET_KEY.encode())

    def fill(self, connections: list[Connection], variables: dict[str, tuple[str, str | None]]) -> None:
        pg = self.lab.connect(self.name)
        with pg.cursor() as cursor:
            for item in connections:
                cursor.execute(
                    "INSERT INTO connection (conn_id, conn_type, description, host, login, password, schema, port,"
                    " extra, is_encrypted, is_extra_encrypted) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    (
                        item.conn_id, item.conn_type, item.description, item.host, item.login,
                        self._encrypted(item.password), item.schema, item.port, self._encrypted(item.extra),
                        bool(item.password), bool(item.extra),
                    ),
                )  # fmt: skip
            for key, (value, description) in variables.items():
                cursor.execute(
                    "INSERT INTO variable (key, val, description, is_encrypted) VALUES (%s, %s, %s, true)",
                    (key, self._encrypted(value), description),
                )
        pg.close()

    def source(self, fernet_key: str | None = FERNET_KEY) -> DocumentSource:
        stored = StoredValues(self.lab.database(self.name), fernet_key).read()
        return DocumentSource("The database", stored.documents, stored.problems, stored.delete)

    def keys(self) -> list[str]:
        pg = self.lab.connect(self.name)
        with pg.cursor() as cursor:
            cursor.execute("SELECT conn_id FROM connection UNION ALL SELECT key FROM variable ORDER BY 1")
            found = [key for (key,) in cursor.fetchall()]
        pg.close()
        return found

    def _encrypted(self, text: str | None) -> str | None:
        return self._fernet.encrypt(text.encode()).decode() if text else text


@pytest.fixture
def metadata(lab: Any, database: str) -> Metadata:
    os.environ.pop("PGPASSWORD", None)
    return Metadata(lab, database)
