# SPDX-License-Identifier: Apache-2.0
"""Tasks of real Airflows look up secrets with one call per secret and time to live, and not per task."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from scripts.lib import canary
from tests.integration.world import SECRETS_CACHE, World

SECRETS = 20
LOOK_UPS = 5
TASKS = 6
CANARY = canary.value()


def calls(world: World) -> int:
    counts = world.admin("GET", "calls")["counts"]
    return sum(by_target.get("aws:secretsmanager", 0) for by_target in counts.values())


def put(world: World, name: str, text: str) -> None:
    client = world.session().client("secretsmanager", endpoint_url=world.variables["AWS_ENDPOINT_URL"])
    try:
        client.create_secret(Name=name, SecretString=text)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=name, SecretString=text)


def read(world: World, env_name: str, confs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    client = world.environment(env_name, "web_session")
    runs = [client.trigger_dag_run("reads_secrets", conf=conf).run_id for conf in confs]
    told = []
    for run_id in runs:
        client.wait_for_dag_run("reads_secrets", run_id, timeout_s=240)
        path = f"/dags/reads_secrets/dagRuns/{run_id}/taskInstances/read/xcomEntries/return_value"
        told.append(json.loads(client.request("GET", path)["value"]))
    return told


def test_tasks_make_a_call_for_each_secret(world: World, env_name: str, capsys: Any) -> None:
    for number in range(SECRETS):
        put(world, f"airflow/variables/{env_name}-{number}", f"{CANARY}-" + "x" * number)
    put(world, f"airflow/connections/{env_name}", f"postgres://u:{CANARY}@secret-host/db")
    chosen = random.Random(env_name)
    confs: list[dict[str, Any]] = []
    for _ in range(TASKS):
        numbers = chosen.sample(range(SECRETS), LOOK_UPS)
        confs.append({"variables": [f"{env_name}-{number}" for number in numbers], "connection": env_name})
    expected = [[len(CANARY) + 1 + int(name.rpartition("-")[2]) for name in conf["variables"]] for conf in confs]

    read(world, env_name, [{**confs[0], "by_stock": True}])
    before = calls(world)
    by_stock = read(world, env_name, [{**confs[1], "by_stock": True}])
    of_stock = calls(world) - before
    before = calls(world)
    first = read(world, env_name, confs)
    of_first = calls(world) - before
    before = calls(world)
    second = read(world, env_name, confs[:2])
    assert calls(world) - before <= 1  # one may have expired
    different = len({name for conf in confs for name in conf["variables"]})
    assert of_stock >= LOOK_UPS
    assert of_first <= different + 5
    for told, lengths in zip(first, expected, strict=True):
        assert told["lengths"] == lengths
        assert (told["host"], told["password"]) == ("secret-host", len(CANARY))
    assert [told["lengths"] for told in second] == expected[:2]
    with capsys.disabled():
        stock, ours = by_stock[0], second[0]
        print(
            f"\n{env_name}: {LOOK_UPS} look-ups of a task: amazon provider {of_stock} calls, "
            f"{stock['cpu_ms']:.0f} ms CPU; ours {ours['cpu_ms']:.1f} ms CPU; "
            f"{TASKS} tasks: {of_first} calls for {different + 1} secrets"
        )
    # The cache is encrypted, and no log of any process contains a value.
    for path in [*Path(SECRETS_CACHE).rglob("*"), *world.folder.rglob("*.log"), *world.folder.rglob("*.log.*")]:
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path
