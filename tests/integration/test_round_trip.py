# SPDX-License-Identifier: Apache-2.0
"""Values arrive unchanged: generated confs and variables through each transport, read back and compared."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from airflow_mwaa_provider.exceptions import UnsendableCommand
from tests.integration.world import World

FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"

# PostgreSQL stores neither NUL nor half a surrogate pair, by any transport.
text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=60)
shell_text = st.one_of(text, st.text("'\"\\$`;&|<>(){}[]*?!#~=%^ \t\n\r-", max_size=40))
# Airflow 3 stores a conf as JSONB, which returns a float beyond 2**53 as an integer with other digits.
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(-1e15, 1e15))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, shell_text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(shell_text, inner, max_size=4)),
    max_leaves=10,
)
confs = st.dictionaries(shell_text, json_values, max_size=5)


def examples(transport: str) -> int:
    if FULL:
        return 200 if transport == "cli" else 1000
    return 6 if transport == "cli" else 20


def generated(transport: str) -> Any:
    return settings(
        max_examples=examples(transport),
        deadline=None,
        derandomize=True,
        # No shrinking: every example is a run, and the first failure is enough.
        phases=[Phase.explicit, Phase.generate],
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def test_conf(world: World, env_name: str, transport: str) -> None:
    sender = world.environment(env_name, transport)
    reader = world.environment(env_name, "web_session")
    count = 0

    @generated(transport)
    @given(conf=confs)
    def round_trip(conf: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        run = sender.trigger_dag_run("paused", conf=conf)
        assert reader.get_dag_run("paused", run.run_id).conf == conf

    round_trip()
    assert count >= examples(transport)


def test_variable(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    # The CLI prints the stored string; Airflow 3's REST API rewrites values that are JSON.
    reader = world.environment(env_name, "cli")
    exact = transport == "cli" or env_name.startswith("airflow-2")
    key = f"round trip {uuid.uuid4().hex}"
    count = 0

    @generated(transport)
    @given(value=shell_text)
    def round_trip(value: str) -> None:
        nonlocal count
        count += 1
        # What Airflow 3 shows instead of a hidden value cannot be distinguished from an equal value.
        assume(exact or "***" not in value)
        environment.variables.set(key, value)
        seen = environment.variables.get(key).value
        assert seen == value or (not exact and _same_json(seen, value))
        if seen != value or count % 20 == 1:
            assert reader.variables.get(key).value == value

    round_trip()
    assert count >= examples(transport)
    environment.variables.delete(key)


def _same_json(seen: str | None, value: str) -> bool:
    return bool(json.loads(seen or "") == json.loads(value))


@pytest.mark.parametrize("value", ["a\x00b", "half \ud800 pair"])
def test_what_cannot_travel_is_refused_before_it_is_sent(world: World, env_name: str, value: str) -> None:
    environment = world.environment(env_name, "cli")
    assert environment.airflow_version
    world.admin("DELETE", "calls")
    with pytest.raises(UnsendableCommand, match="variables set"):
        environment.variables.set("key", value)
    assert world.admin("GET", "calls")["counts"].get(env_name, {}) == {}
