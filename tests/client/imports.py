# SPDX-License-Identifier: Apache-2.0
"""What the tests of imports share: importing without waiting, and reading what is stored."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.stored.documents import read_document
from airflow_mwaa_provider.client.stored.kinds import StoredVariables
from airflow_mwaa_provider.client.transactional_import import import_stored
from tests.client.world import TRANSPORTS, FakeTime

if TYPE_CHECKING:
    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from tests.client.world import World

TARGETS = {"rest_api": "invoke_rest_api", "web_session": "rest", "cli": "cli"}
REST = [transport for transport in TRANSPORTS if transport != "cli"]
WAYS = [(env_name, transport) for env_name in ("env3", "env2") for transport in TRANSPORTS]
SECRET = "hunter2 of the tests"


def variables(environment: MwaaEnvironment, document: dict[str, Any], **how: Any) -> dict[str, Any]:
    """Import variables without waiting."""
    kind, time = StoredVariables(environment), FakeTime()
    wanted = kind.parse(read_document(document, "variables"))
    return import_stored(kind, wanted, sleep=time.sleep, clock=time.clock, **how).as_dict()


def state(world: World, env_name: str, name: str = "variables") -> dict[str, Any]:
    """Return the exact stored values; v1 cannot reset a description to null, and makes it empty."""
    rows = copy.deepcopy(world.airflow(env_name).objects[name])
    for row in rows.values():
        row["description"] = row.get("description") or ""
    return rows


def put(world: World, env_name: str, **values: str) -> None:
    for key, value in values.items():
        row = {"key": key, "value": value, "description": None}
        world.airflow(env_name).objects["variables"][key] = row


def values(world: World, env_name: str) -> dict[str, Any]:
    return {key: row["value"] for key, row in world.airflow(env_name).objects["variables"].items()}
