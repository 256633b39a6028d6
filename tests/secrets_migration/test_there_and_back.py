# SPDX-License-Identifier: Apache-2.0
"""Tasks read exactly what was moved, and a restore returns the original, with any characters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.client.aws.secrets_manager import SecretsManager
from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.client.secrets_migration.items import Kind
from airflow_mwaa_provider.client.secrets_migration.migration import Step
from airflow_mwaa_provider.client.secrets_migration.restoring import restore
from airflow_mwaa_provider.client.stored.connection_uris import differing_fields
from tests.client.world import World
from tests.secrets.conftest import SecretsService, make
from tests.secrets_migration.conftest import ALL, NAMES, Metadata
from tests.secrets_migration.generated import Generator


def without_airflow(found: Any, conn_id: str) -> Connection:
    names = ("conn_type", "host", "login", "password", "schema", "port", "extra")
    return Connection(conn_id=conn_id, **{name: getattr(found, name) for name in names})


@pytest.mark.parametrize(("form", "count", "env_name"), [("json", 250, "env3"), ("uri", 60, "env2")])
def test_500_are_moved_read_by_the_backend_and_brought_back(
    metadata: Metadata,
    service: SecretsService,
    world: World,
    folder: Path,
    move: Callable[..., Any],
    form: str,
    count: int,
    env_name: str,
) -> None:
    draw = Generator(form)
    connections, variables = draw.connections(count), draw.variables(count)
    metadata.fill(connections, variables)

    moved = move(metadata.source(), form=form)
    assert moved.keys(Kind.CONNECTION, Step.CREATED) == sorted(item.conn_id for item in connections)
    assert moved.keys(Kind.VARIABLE, Step.CREATED) == sorted(variables)

    backend = make(folder)
    for item in connections:
        assert differing_fields(item, without_airflow(backend.get_connection(item.conn_id), item.conn_id)) == []
    for key, (value, _) in variables.items():
        assert backend.get_variable(key) == value

    again = move(metadata.source(), form=form)
    assert again.counts() == f"{2 * count} same"

    environment = world.environment(env_name, "web_session")
    restored = restore(environment, ALL, SecretsManager(service.client()), NAMES)
    assert len(restored["connections"]["created"]) == len(restored["variables"]["created"]) == count
    stored = world.airflow(env_name).objects
    for item in connections:
        row = stored["connections"][item.conn_id]
        fields = ("conn_type", "host", "login", "password", "schema", "port", "extra", "description")
        back = Connection(conn_id=item.conn_id, **{name: row.get(name) for name in fields})
        assert differing_fields(item, back) == []
        assert (back.description or "") == (item.description or "")
    for key, (value, description) in variables.items():
        row = stored["variables"][key]
        assert (row["value"], row.get("description") or "") == (value, description or "")
