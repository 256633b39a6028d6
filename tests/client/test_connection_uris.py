# SPDX-License-Identifier: Apache-2.0
"""A connection written as a URI is the same connection to this Airflow, with any values in its fields."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from airflow.models import Connection as AirflowConnection
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.client.stored.connection_uris import connection_of_uri, differing_fields, uri_of_connection

HOSTILE = "@/%:?#&+ \n\t\r\\'\"=;[]{}é🚀ß%41%2F://ÀB"
TEXTS = st.one_of(st.none(), st.text(st.sampled_from(HOSTILE)), st.text(st.characters(exclude_categories=["Cs"])))
VALUES = st.one_of(
    TEXTS, st.integers(), st.booleans(), st.sampled_from(["1", "true", "null", "1.10", "NaN", "{", "[1]"])
)
EXTRAS = st.one_of(
    st.none(),
    st.dictionaries(TEXTS.filter(bool), st.recursive(VALUES, lambda inner: st.lists(inner, max_size=2), max_leaves=4)),
    st.dictionaries(TEXTS.filter(bool), TEXTS.filter(lambda text: text is not None)),
)
CONNECTIONS = st.builds(
    Connection,
    st.just("c"),
    st.sampled_from(["postgres", "google_cloud_platform", "http", "a.b+c", "aws"]),
    host=TEXTS,
    login=TEXTS,
    password=TEXTS,
    schema=TEXTS,
    port=st.one_of(st.none(), st.integers(1, 65535)),
    extra=EXTRAS.map(lambda extra: None if extra is None else json.dumps(extra)),
)


def readers() -> dict[str, Any]:
    """Return the classes that parse URIs in this Airflow: the model, and the class of the task SDK."""
    found: dict[str, Any] = {"model": AirflowConnection}
    if AIRFLOW_V_3:
        from airflow.sdk import Connection as SdkConnection

        if hasattr(SdkConnection, "from_uri"):  # that of 3.0.6 parses none
            found["task SDK"] = SdkConnection
    return found


def of_airflow(connection: Any) -> Connection:
    names = ("conn_type", "host", "login", "password", "schema", "port", "extra")
    return Connection(conn_id="c", **{name: getattr(connection, name) for name in names})


@settings(max_examples=500, deadline=None)
@given(CONNECTIONS)
@example(Connection("c", "http", host="https://Example.COM/Path?x=1"))
@example(Connection("c", "http", host="a://b://c"))
@example(Connection("c", "postgres", port=5432))
@example(Connection("c", "postgres", password="p"))
@example(Connection("c", "postgres", login=""))
@example(Connection("c", "postgres", host="::1", port=1))
@example(Connection("c", "postgres", extra='{"__extra__": "x"}'))
@example(Connection("c", "postgres", extra='{"half": "\\ud800"}'))
def test_every_airflow_reads_the_same_connection(connection: Connection) -> None:
    uri = uri_of_connection(connection)
    assert uri.isascii()
    assert not set(uri) & set(" \n\t\r\"'")
    assert differing_fields(connection, connection_of_uri("c", uri)) == []
    for name, reader in readers().items():
        assert differing_fields(connection, of_airflow(reader(conn_id="c", uri=uri))) == [], name


@pytest.mark.parametrize("conn_type", ["Postgres", "my-type", "postgresql"])
def test_a_type_that_a_uri_cannot_hold(conn_type: str) -> None:
    with pytest.raises(ValueError, match=f"cannot represent the type '{conn_type}'"):
        uri_of_connection(Connection("c", conn_type))


@pytest.mark.parametrize("name", ["host", "login", "password", "schema"])
def test_half_a_character_is_named_and_not_repeated(name: str) -> None:
    with pytest.raises(ValueError, match=f"its {name} contains half a surrogate pair") as raised:
        uri_of_connection(replace(Connection("c", "aws"), **{name: "canary\ud800"}))
    assert "canary" not in str(raised.value)


def test_differences_are_those_that_a_task_sees() -> None:
    one = Connection("c", "aws", host="", port=0, extra='{"a": 1, "b": 2}', description="x")
    assert differing_fields(one, Connection("c", "aws", extra='{"b":2,"a":1}')) == []
    other = Connection("c", "http", "h", "l", "p", "s", 1, "{}")
    assert differing_fields(one, other) == ["conn_type", "host", "login", "password", "schema", "port", "extra"]
    assert differing_fields(replace(one, extra='{"a": 1}'), replace(one, extra='{"a": true}')) == ["extra"]
