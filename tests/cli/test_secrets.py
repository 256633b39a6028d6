# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets explain --env-name``: the configuration of an environment, read from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest

from tests.cli.terminal import Terminal
from tests.client.failure import HUSH
from tests.client.world import KEY, REGION, SECRET, World
from tests.secrets.mistakes import MISTAKES

STOCK = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
NAME = "explained/connections/warehouse"


@pytest.fixture
def options(world: World, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The configuration options of both environments, and Secrets Manager with one secret."""
    monkeypatch.setattr(world.mwaa, "_moto_url", moto_url)
    given: dict[str, str] = {}
    for env_name in ("env2", "env3"):
        environment = world.mwaa.environments.get(env_name)
        monkeypatch.setattr(environment, "spec", replace(environment.spec, configuration=given))
    client = boto3.client(
        "secretsmanager",
        endpoint_url=moto_url,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    client.create_secret(Name=NAME, SecretString=f"postgres://me:{HUSH}@h:5432/s?a={HUSH}")
    yield given
    client.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)


def explained(terminal: Terminal, *arguments: str, status: int = 0) -> dict[str, Any]:
    document = terminal.json("secrets", "explain", *arguments, "--connection", status=status)
    [explanation] = document.pop("explanations")
    return {**document, **explanation}


@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_the_options_of_the_environment_count(
    terminal: Terminal, world: World, options: dict[str, str], env_name: str
) -> None:
    options["secrets.backend"] = STOCK
    options["secrets.backend_kwargs"] = json.dumps({"connections_prefix": "explained/connections"})
    stored = world.airflow(env_name).objects["connections"]
    stored["warehouse"] = {"connection_id": "warehouse", "conn_type": "http", "host": "other", "password": HUSH}
    found = explained(terminal, "warehouse", "--env-name", env_name)
    first, second, *_, last = found["sources"]
    assert (first["names"], first["outcome"], first["region"]) == ([NAME], "found", REGION)
    assert (second["names"], second["outcome"]) == (["AIRFLOW_CONN_WAREHOUSE"], "not asked")
    assert (last["source"], last["outcome"]) == ("metadata database", "found")
    assert len(found["sources"]) == (4 if env_name == "env3" else 3)
    assert found["result"]["login"] == "me"
    assert found["result"]["extra_keys"] == ["a"]
    assert found["execution_role"] in found["notes"][0]
    text = terminal.run("secrets", "explain", "warehouse", "--env-name", env_name).stdout
    assert HUSH not in text
    assert "AWS was asked with your own credentials" in text


def test_what_mwaa_presets_counts_unless_it_is_replaced(terminal: Terminal, options: dict[str, str]) -> None:
    options["secrets.backend"] = STOCK
    found = explained(terminal, "aws_default", "--env-name", "env2", status=1)
    assert found["sources"][0]["outcome"] == "not looked up"
    assert "connections_lookup_pattern '^(?!aws_default$).*$' excludes it" in found["sources"][0]["detail"]
    options["secrets.backend_kwargs"] = "{}"
    assert explained(terminal, "aws_default", "--env-name", "env2", status=1)["sources"][0]["outcome"] == "not there"


def test_a_backend_of_the_workers_has_their_keywords(terminal: Terminal, options: dict[str, str]) -> None:
    options["secrets.backend"] = options["workers.secrets_backend"] = STOCK
    options["secrets.backend_kwargs"] = json.dumps({"connections_prefix": "explained/connections"})
    found = explained(terminal, "warehouse", "--env-name", "env3")
    assert [source["outcome"] for source in found["sources"]][:3] == ["not there", "not asked", "found"]
    assert found["result"]["source"] == 3
    [problem] = found["problems"]
    assert problem.startswith(
        "Tasks use the backend in workers.secrets_backend_kwargs, all other processes the one in "
    )
    options["workers.secrets_backend_kwarg__connections_prefix"] = "explained/connections"
    assert explained(terminal, "warehouse", "--env-name", "env3")["result"]["source"] == 1


def test_without_a_backend_the_metadata_is_asked(terminal: Terminal, world: World, options: dict[str, str]) -> None:
    found = explained(terminal, "warehouse", "--env-name", "env2", status=1)
    assert found["sources"][0]["detail"] == "None is configured: secrets.backend is empty."
    assert found["result"] is None
    world.airflow("env2").objects["variables"]["v"] = {"key": "v", "value": HUSH, "description": None}
    document = terminal.json("secrets", "explain", "v", "--env-name", "env2", "--variable")
    assert document["explanations"][0]["result"] == {"source": 3, "characters": len(HUSH), "is_json": None}


def test_another_account_than_the_environments_is_told(
    terminal: Terminal, world: World, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options["secrets.backend"] = STOCK
    environment = world.mwaa.environments.get("env2")
    role = "arn:aws:iam::999999999999:role/tasks"
    monkeypatch.setattr(environment, "spec", replace(environment.spec, execution_role_arn=role))
    found = explained(terminal, "nope", "--env-name", "env2", status=1)
    assert found["execution_role"] == role
    assert "but the environment is in 999999999999. Use a --profile of that account" in found["notes"][1]


def test_an_environment_that_is_not_there_is_one_line(terminal: Terminal) -> None:
    assert "nope" in terminal.error("secrets", "explain", "x", "--env-name", "nope", status=1)


def test_every_mistake_is_in_the_docs() -> None:
    from tests.repo.test_docs import ROOT

    page = (ROOT / "docs" / "secrets-errors.md").read_text(encoding="utf-8")
    assert [mistake.name for mistake in MISTAKES if f"\n| {mistake.name} |" not in page] == []
