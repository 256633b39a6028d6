# SPDX-License-Identifier: Apache-2.0
"""This backend returns the same as the amazon provider's, the first time and from the cache."""

from __future__ import annotations

import inspect
import json
import random
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend
from airflow.providers.amazon.aws.secrets.systems_manager import SystemsManagerParameterStoreBackend

from airflow_mwaa_provider.secrets.secrets_manager import CachedSecretsManagerBackend
from airflow_mwaa_provider.secrets.systems_manager import CachedSystemsManagerParameterStoreBackend
from tests import seeds
from tests.secrets.conftest import SecretsService

PAIRS = [
    (CachedSecretsManagerBackend, SecretsManagerBackend),
    (CachedSystemsManagerParameterStoreBackend, SystemsManagerParameterStoreBackend),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_keywords_and_their_defaults_are_the_same(ours: Any, theirs: Any) -> None:
    taken = inspect.signature(ours).parameters
    for name, parameter in inspect.signature(theirs).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            assert taken[name].default == parameter.default, name
            assert taken[name].kind == parameter.kind, name
    for method in ("get_conn_value", "get_variable", "get_config", "get_connection"):
        assert set(inspect.signature(getattr(theirs, method)).parameters) <= set(
            inspect.signature(getattr(ours, method)).parameters
        )


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_refusals_are_logged_by_the_same_logger(ours: Any, theirs: Any) -> None:
    asked = type(ours().cache.amazon_backend.stock)
    assert (asked.__module__, asked.__qualname__) == (theirs.__module__, theirs.__qualname__)


WORDS = ("conn_type", "conn_id", "engine", "login", "user", "username", "password", "pass", "host", "port", "schema",
         "extra", "database", "kind", "nonsense")  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    {},
    {"connections_prefix": "a/b/", "variables_prefix": ""},
    {"connections_prefix": None, "sep": "-"},
    {"connections_lookup_pattern": "^c[0-4]", "variables_lookup_pattern": "V"},
    {"extra_conn_words": {"conn_type": ["kind"], "user": ["nonsense"]}},
]


def secret(chosen: random.Random) -> str:
    """Return something that people store, or something similar."""
    fields = {word: chosen.choice(["http", "é", "", None, 5432, {"a": [1]}]) for word in chosen.sample(WORDS, 5)}
    return str(
        chosen.choice(
            [
                json.dumps(fields),
                f" {json.dumps(fields)}\n",
                json.dumps(fields)[:-2],
                json.dumps(json.dumps(fields)),
                "postgres://u:p%40@h:5432/db?a=b",
                "'http://u:p@h'",
                "plain",
                " ",
                "{",
                "{}",
                "[1]",
                "null",
            ]
        )
    )


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_answers_are_the_same(service: SecretsService, folder: Path, options: dict[str, Any]) -> None:
    chosen = random.Random(f"{seeds.of_the_day()} {options}")
    prefixes = [options.get("connections_prefix") or "", options.get("variables_prefix", "airflow/variables"), ""]
    names = ["airflow/connections", "airflow/variables", "airflow/config", *filter(None, prefixes)]
    for prefix in names:
        for number in range(6):
            if chosen.random() < 0.8:
                separator = options.get("sep", "/")
                service.put(f"{prefix.rstrip('/')}{separator}c{number}", secret(chosen))
    ours = CachedSecretsManagerBackend(cache_dir=str(folder), **options)
    theirs = SecretsManagerBackend(**options)

    def answer(backend: Any, method: str, secret_id: str) -> str | None:
        try:
            found: str | None = getattr(backend, method)(secret_id)
        except Exception:  # noqa: BLE001 - what Airflow takes for "not here"
            return None
        return found

    for _ in range(2):
        for method in ("get_conn_value", "get_variable", "get_config"):
            for number in range(7):
                expected = answer(theirs, method, f"c{number}")
                assert answer(ours, method, f"c{number}") == expected, (method, number)
    assert ours.connections_prefix == theirs.connections_prefix
    assert ours.sep == theirs.sep
