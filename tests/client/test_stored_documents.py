# SPDX-License-Identifier: Apache-2.0
"""Files of variables, connections and pools: what they may contain, and the errors for what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mwaa_provider.client.stored.documents import (
    MAX_DOCUMENT_BYTES,
    MAX_VALUE_BYTES,
    connections_document,
    connections_of,
    pools_document,
    pools_of,
    read_document,
    stored_text,
    variables_document,
    variables_of,
)
from airflow_mwaa_provider.exceptions import MwaaInputError

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
keys = texts.filter(lambda key: key.strip() and key not in (".", ".."))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is repeated"),
        ('{"a": {"x": 1, "x": 2}}', "the key 'x' is repeated"),
        ("a = 1", "is not JSON: Expecting value in line 1, column 1"),
        ("", "is not JSON"),
        ("[1]", "a list, not a JSON object"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", r"is not UTF-8 text \(byte 0\)"),
        ('{"a": NaN}', "NaN is not a JSON value"),
        ('{"a": -Infinity}', "-Infinity is not a JSON value"),
        ('{"a": 1e999}', "NaN or Infinity"),
        ('{"": 1}', "'' cannot be a key"),
        ('{" ": 1}', "' ' cannot be a key"),
        ('{"..": 1}', "'..' cannot be a key"),
        (json.dumps({"k" * 251: 1}), "has 251 characters. Airflow accepts 250"),
        ('{"a\\u0000": 1}', "NUL character"),
        ('{"\\ud800": 1}', "half a surrogate pair"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "too many digits"),
        (b" " * (MAX_DOCUMENT_BYTES + 1), "larger than 16,777,216 bytes. Divide it"),
        ({1: "a"}, "a key is a int, not a string"),
        ({"a": {1: "x"}}, "a key within it is not a string"),
        ({"a": float("nan")}, "NaN or Infinity"),
        ({"a": object()}, "not JSON serializable"),
    ],
)
def test_a_file_that_is_refused_as_a_whole(source: Any, message: str) -> None:
    with pytest.raises(MwaaInputError, match=message) as caught:
        read_document(source, "variables", "vars.json")
    assert str(caught.value).startswith("The variables file vars.json")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"a": "x" * 1_000_000}, "'a': its value has 1,000,000 bytes, and 524,288 is the most"),
        ({"a": ["ü" * MAX_VALUE_BYTES]}, "'a': its value has"),
        ({"a": {"deep": "\ud800"}, "b": "\ud800"}, "'b': its value contains half a surrogate"),
        ({"a": "x\x00"}, "'a': its value contains a NUL"),
        ({"a": "***"}, "'a'.*the mask"),
        ({"a": {"user": "u", "password": "***"}}, "'a'.*the mask"),
        ({"a": {"value": 1, "description": 2}}, "'a': its description is a int"),
    ],
)
def test_a_variable_that_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(MwaaInputError, match=message):
        variables_of(document)


SECRET = "hunter2 of the tests"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"host": "h"}, "'db' has no conn_type"),
        ({"conn_type": "x", "passwort": SECRET}, "unknown field 'passwort'"),
        ({"conn_type": "x", "port": "5432"}, "port is not an integer"),
        ({"conn_type": "x", "port": 70000}, "port is not an integer"),
        ({"conn_type": "x", "extra": SECRET}, "extra is not a JSON object"),
        ({"conn_type": "x", "extra": "[1]"}, "extra is not a JSON object"),
        ({"conn_type": "x", "extra": "{}", "extra_dejson": {}}, "both extra and extra_dejson"),
        ({"conn_type": "x", "password": "***"}, "mask"),
        ({"conn_type": "x", "extra": {"token": "***"}}, "mask"),
        ({"conn_type": "x", "conn_id": "other"}, "conn_id names another connection"),
        ({"conn_type": "x", "password": {"a": SECRET}}, "password is a dict"),
        ({"conn_type": "x", "login": SECRET + "\x00"}, "login contains a NUL"),
        (SECRET, "its URI cannot be read"),
        (f"postgres://u:{SECRET}@h:port/x", "its URI cannot be read: its host or port"),
        (f"a://b://c://{SECRET}", "its URI cannot be read"),
        (f"a://u:{SECRET}@b://c", "its URI cannot be read"),
        (f"{SECRET}://h", "its URI cannot be read: a URI of a connection begins with its type"),
        (f'"password: {SECRET}, host: https://h"', "its URI cannot be read"),
        (f'["{SECRET}", "https://h"]', "its URI cannot be read"),
        (f"u:{SECRET}@h://x", "its URI cannot be read"),
        (f"a\nb {SECRET}://h", "its URI cannot be read"),
        (f"a://{SECRET} b://h", "its URI cannot be read: the host's own protocol"),
        (f'{{"conn_type": "x", "password": "{SECRET}"', "its text is not JSON"),
        (
            f'{{"conn_type": "x", "password": "{SECRET}", "password": "a"}}',
            "its text: the key 'password' is repeated",
        ),
        (f'{{"password": "{SECRET}", "host": "https://h"}}', "'db' has no conn_type"),
        ({"conn_type": f"x://{SECRET}"}, "its conn_type is invalid"),
        ({"conn_type": " x"}, "its conn_type is invalid"),
        (7, "'db' is a int. Give its fields"),
    ],
)
def test_a_connection_that_is_refused(item: Any, message: str) -> None:
    with pytest.raises(MwaaInputError, match=message) as caught:
        connections_of({"db": item})
    assert SECRET not in str(caught.value)
    with pytest.raises(MwaaInputError, match="Airflow accepts only letters"):
        connections_of({"d b": item})


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "has no slots"),
        ("4", "has no slots"),
        ({"slots": "4"}, "not an integer from -1"),
        ({"slots": True}, "not an integer from -1"),
        ({"slots": -2}, "not an integer from -1"),
        ({"slots": 1, "include_deferred": "yes"}, "neither true nor false"),
        ({"slots": 1, "description": 1}, "description is a int"),
        ({"slots": 1, "size": 1}, "unknown field 'size'"),
        ({"slots": 1, "team_name": "a"}, "belongs to a team"),
    ],
)
def test_a_pool_that_is_refused(item: Any, message: str) -> None:
    with pytest.raises(MwaaInputError, match=message):
        pools_of({"p": item})


@given(st.dictionaries(keys, json_values, max_size=5))
def test_values_of_all_shapes_are_stored_as_airflow_stores_them(document: dict[str, Any]) -> None:
    read = read_document(json.dumps(document), "variables")
    assert read == document
    if any("***" in json.dumps(value) for value in document.values()):
        return
    for key, variable in variables_of(read).items():
        value = document[key]
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "description"}:
            value = value["value"]
        assert variable.value == (value if isinstance(value, str) else json.dumps(value, indent=2))


@given(st.dictionaries(keys, st.tuples(st.one_of(texts, json_values.map(stored_text)), st.none() | texts), max_size=5))
def test_what_was_exported_is_imported_with_the_same_texts(stored: dict[str, tuple[str, str | None]]) -> None:
    from airflow_mwaa_provider.client.models import Variable

    if any("***" in value for value, _ in stored.values()):
        return
    variables = [Variable(key, value, description) for key, (value, description) in stored.items()]
    text = json.dumps(variables_document(variables, is_rewritten=False))
    again = variables_of(read_document(text, "variables"))
    assert {key: (variable.value, variable.description or "") for key, variable in again.items()} == {
        key: (value, description or "") for key, (value, description) in stored.items()
    }


def test_connections_and_pools_come_back() -> None:
    fields = {"conn_type": "x", "host": "h", "login": "l", "schema": "s", "port": 1, "extra": '{"a": 1}'}
    read = connections_of({"db": {**fields, "password": SECRET}})
    written = connections_document(read.values())
    assert written == {"db": {**fields, "description": None}}
    assert read["db"].password == SECRET
    assert SECRET not in repr(read)
    assert connections_of({"db": {"conn_type": "x", "extra_dejson": {"a": 1}}})["db"].extra == '{"a": 1}'
    assert connections_of({"db": ["x://h"]})["db"].host == "h"
    pools = {"p": {"slots": 3, "description": "d", "include_deferred": True}}
    assert pools_document(pools_of(pools).values()) == pools
    assert pools_of({"p": {"slots": 3, "team_name": None}})["p"].slots == 3


def test_a_connection_as_json_text_is_read_as_its_fields() -> None:
    """As Airflow reads one from the environment, even if one of its fields looks like a URI."""
    fields = {"conn_type": "slack", "password": "s3cret", "host": "https://hooks.slack.com", "extra": {"a": "b://c"}}
    for text in (json.dumps(fields), f"\n  {json.dumps(fields, indent=2)}\n"):
        made = connections_of({"hook": text})["hook"]
        assert made == connections_of({"hook": fields})["hook"]
        assert (made.conn_type, made.password, made.host) == ("slack", "s3cret", "https://hooks.slack.com")


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[" * 100_000])
def test_what_is_no_json_in_a_uri_is_text(text: str) -> None:
    made = connections_of({"c": f"http://h?x={text}"})["c"]
    assert json.loads(made.extra or "") == {"x": text}


def test_white_space_around_a_uri_is_no_part_of_it() -> None:
    assert connections_of({"c": " \tpostgres://u:p@h/s\n"}) == connections_of({"c": "postgres://u:p@h/s"})


URIS = [
    "postgres://login:pass%2Fword@Host.Example:5432/schema?sslmode=require&n=1&list=%5B1%5D&empty=",
    "postgresql://h",
    "my-type://https://host.example:8080/path",
    "aws://",
    "aws://?region_name=eu-west-1",
    "x://%2Fcloudsql%2Fa:b@h/s?__extra__=%7B%22a%22%3A+%22b%22%7D",
    "x://u:p@%2Ftmp%2Fsocket/db",
    "x://:only-password@h",
    "x://u@h/a%2Fb",
    "x://[::1]:80/",
]


@pytest.mark.parametrize("uri", URIS)
def test_uris_are_read_as_airflow_reads_them(uri: str) -> None:
    from airflow.models.connection import Connection

    theirs, ours = Connection(conn_id="c", uri=uri), connections_of({"c": uri})["c"]
    for name in ("conn_type", "host", "login", "password", "schema", "port"):
        assert getattr(ours, name) == getattr(theirs, name), name
    # Airflow 2 stores each of them as a string; the newer form is used for any Airflow.
    extra = {name: _parsed(value) for name, value in theirs.extra_dejson.items()}
    assert json.loads(ours.extra or "{}") == extra


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value
