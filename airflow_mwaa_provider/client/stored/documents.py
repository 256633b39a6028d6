# SPDX-License-Identifier: Apache-2.0
"""Files of variables, connections and pools: read and checked completely before anything is sent, and written.

The forms are those of Airflow's own ``variables``, ``connections`` and ``pools`` ``export`` and ``import``, as JSON.
No error repeats a value.

Source: the CLI of Airflow 2.10.3 and 3.3.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_mwaa_provider.client.masks import is_masked
from airflow_mwaa_provider.client.models import Connection, Pool, Variable
from airflow_mwaa_provider.client.stored.connection_uris import connection_of_uri, is_connection_type
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "MAX_KEY_CHARS",
    "MAX_VALUE_BYTES",
    "connections_document",
    "connections_of",
    "pools_document",
    "pools_of",
    "read_document",
    "shown_key",
    "stored_text",
    "variables_document",
    "variables_of",
]

MAX_KEY_CHARS = 250
"""Airflow's own limit for keys of variables and for connection ids."""

MAX_VALUE_BYTES = 512 * 1024
"""Every task that reads a variable gets all of it, and a page of 100 variables in InvokeRestApi has at most 6 MB."""

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""A document is kept in memory, several times."""

_CONN_ID = re.compile(r"[\w#!()\-.:/\\]+")
_CONNECTION_FIELDS = frozenset(
    {"conn_id", "conn_type", "description", "host", "login", "password", "schema", "port", "extra", "extra_dejson"}
)
_POOL_FIELDS = frozenset({"slots", "description", "include_deferred", "team_name"})


# -- any document --------------------------------------------------------------------------------------


def read_document(source: Mapping[str, Any] | str | bytes, noun: str, where: str = "") -> dict[str, Any]:
    """Read a JSON object in which no key is repeated.

    :param source: the object itself, or the text of its file.
    :param noun: what it contains, for errors: ``"variables"``.
    :param where: where it comes from, for errors: ``"s3://bucket/variables.json"``.
    :raises MwaaInputError: it is not one, or is too large.
    """
    subject = f"The {noun} file {where}" if where else f"The {noun} given"
    document = _of_text(source, subject) if isinstance(source, str | bytes) else source
    if not isinstance(document, Mapping):
        raise MwaaInputError(f"{subject} is a {_kind(document)}, not a JSON object. Write {{name: …}}.")
    for key in document:
        _check_key(key, subject)
    try:
        json.dumps(dict(document), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        # Python's words name a type or a reason, and no value except NaN and Infinity.
        raise MwaaInputError(f"{subject}: it cannot be written as JSON ({_one_reason(error)}).") from None
    for key, value in document.items():
        _check_nested_keys(value, f"{subject}: {key!r}")
    return dict(document)


def _of_text(source: str | bytes, subject: str) -> Any:
    if len(source) > MAX_DOCUMENT_BYTES:
        raise MwaaInputError(f"{subject} is larger than {MAX_DOCUMENT_BYTES:,} bytes. Divide it.")
    try:
        text = source if isinstance(source, str) else source.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise MwaaInputError(f"{subject} is not UTF-8 text (byte {error.start}). Write it as JSON.") from None
    except json.JSONDecodeError as error:
        raise MwaaInputError(
            f"{subject} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from None
    except _Unreadable as error:
        raise MwaaInputError(f"{subject}: {error}") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
        raise MwaaInputError(f"{subject}: {reason}.") from None


class _Unreadable(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Unreadable(f"the key {shown_key(twice)} is repeated. Keep one of them.")
    return made


def _no_constant(name: str) -> NoReturn:
    raise _Unreadable(f"{name} is not a JSON value. Write null, or a string.")


def _one_reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "NaN or Infinity" if "float" in str(error) else str(error)


def _check_key(key: object, subject: str) -> None:
    if not isinstance(key, str):
        raise MwaaInputError(f"{subject}: a key is a {_kind(key)}, not a string.")
    if not key.strip() or key in (".", ".."):
        raise MwaaInputError(f"{subject}: {shown_key(key)} cannot be a key, because it is empty or consists of dots.")
    if len(key) > MAX_KEY_CHARS:
        raise MwaaInputError(
            f"{subject}: the key {shown_key(key)} has {len(key)} characters. Airflow accepts {MAX_KEY_CHARS}."
        )
    _check_text(key, f"{subject}: the key {shown_key(key)}")


def _check_nested_keys(value: Any, subject: str) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if not all(isinstance(key, str) for key in item):
                raise MwaaInputError(
                    f"{subject}: a key within it is not a string. Quote it, because JSON would make it one."
                )
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item


def _check_text(text: str, subject: str) -> None:
    if "\x00" in text:
        raise MwaaInputError(f"{subject} contains a NUL character, which Airflow's database does not store.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise MwaaInputError(f"{subject} contains half a surrogate pair, which UTF-8 cannot encode.") from None
    if size > MAX_VALUE_BYTES:
        raise MwaaInputError(
            f"{subject} has {size:,} bytes, and {MAX_VALUE_BYTES:,} is the most for Airflow's database. Keep it in S3, "
            "and its address in Airflow."
        )


def _optional_text(value: object, subject: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise MwaaInputError(f"{subject} is a {_kind(value)}, not a string.")
    _check_text(value, subject)
    return value


def _whole_number(value: object, subject: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise MwaaInputError(f"{subject} is not an integer from {least} to {most}.")
    return value


def _check_fields(item: Mapping[str, Any], known: frozenset[str], subject: str) -> None:
    unknown = sorted(set(item) - known)
    if unknown:
        raise MwaaInputError(
            f"{subject}: unknown field {shown_key(unknown[0])}. The fields are {', '.join(sorted(known))}."
        )


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def shown_key(key: str) -> str:
    """Return a key as messages show it."""
    return repr(key if len(key) <= 60 else f"{key[:60]}…")


# -- variables -----------------------------------------------------------------------------------------


def variables_of(document: Mapping[str, Any]) -> dict[str, Variable]:
    """Read variables: ``{"key": value}``, or ``{"key": {"value": …, "description": …}}``, or both mixed.

    A string is stored unchanged, any other value as JSON, as ``airflow variables import`` does. An object is taken for
    the second form if it has ``value`` and nothing else except ``description``. An omitted description is ``None``.

    :raises MwaaInputError: a variable cannot be stored; names it.
    """
    return {key: _variable(key, item) for key, item in document.items()}


def _variable(key: str, item: Any) -> Variable:
    subject = f"Variable {shown_key(key)}"
    value, description = item, None
    if isinstance(item, Mapping) and "value" in item and set(item) <= {"value", "description"}:
        value, description = item["value"], item.get("description")
    text = stored_text(value)
    _check_text(text, f"{subject}: its value")
    if is_masked(text):
        raise MwaaInputError(
            f"{subject}: its value is, or contains, the mask *** that Airflow shows for it. Fill it in."
        )
    return Variable(key, text, _optional_text(description, f"{subject}: its description"))


def stored_text(value: Any) -> str:
    """Return the text that Airflow's own import stores for a value."""
    return value if isinstance(value, str) else json.dumps(value, indent=2)


def variables_document(variables: Iterable[Variable], *, is_rewritten: bool) -> dict[str, Any]:
    """Describe variables so that importing them stores the same texts.

    An object or a list is written as such if that is true for it.

    :param is_rewritten: Airflow has rewritten the JSON of these texts in one line, so that their spacing is lost.
    """
    return {variable.key: _described(variable, is_rewritten) for variable in variables}


def _described(variable: Variable, is_rewritten: bool) -> Any:
    value = _exported(variable.value or "", is_rewritten)
    looks_described = isinstance(value, dict) and "value" in value and set(value) <= {"value", "description"}
    if variable.description or looks_described:
        return {"value": value, "description": variable.description or None}
    return value


def _exported(text: str, is_rewritten: bool) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        if stored_text(value) == text or (is_rewritten and isinstance(value, dict | list)):
            json.dumps(value, allow_nan=False)
            return value
    except (ValueError, RecursionError):
        return text  # no JSON, or JSON that would not come back unchanged
    return text


# -- connections ---------------------------------------------------------------------------------------


def connections_of(document: Mapping[str, Any]) -> dict[str, Connection]:
    """Read connections: ``{"conn_id": {"conn_type": …, …}}``, or a string instead of the fields: a URI, or JSON.

    :raises MwaaInputError: a connection cannot be stored; names it.
    """
    return {conn_id: _connection(conn_id, item) for conn_id, item in document.items()}


def _connection(conn_id: str, item: Any) -> Connection:
    subject = f"Connection {shown_key(conn_id)}"
    if not _CONN_ID.fullmatch(conn_id):
        raise MwaaInputError(f"{subject}: Airflow accepts only letters, digits and #!()-_.:/\\ in an id.")
    if isinstance(item, list) and len(item) == 1:
        item = item[0]  # a form that Airflow's own import also accepts
    if isinstance(item, str) and item.lstrip().startswith("{"):
        item = _of_text(item, f"{subject}: its text")  # as Airflow reads a connection from the environment or a secret
        _check_nested_keys(item, subject)
    if isinstance(item, str):
        try:
            made = connection_of_uri(conn_id, item.strip())
        except ValueError as error:
            raise MwaaInputError(f"{subject}: its URI cannot be read: {error}.") from None
    elif isinstance(item, Mapping):
        made = _connection_of_fields(conn_id, item, subject)
    else:
        raise MwaaInputError(f"{subject} is a {_kind(item)}. Give its fields, or its URI as a string.")
    for name in ("conn_type", "host", "login", "password", "schema", "extra", "description"):
        _optional_text(getattr(made, name), f"{subject}: its {name}")
    if not made.conn_type:
        raise MwaaInputError(f"{subject} has no conn_type. Give one, such as 'postgres'.")
    if not is_connection_type(made.conn_type):
        raise MwaaInputError(
            f"{subject}: its conn_type is invalid. Use letters, digits, dots, dashes, underscores, such as 'postgres'."
        )
    _check_extra(made.extra, subject)
    if is_masked(made.password) or is_masked(made.extra):
        raise MwaaInputError(f"{subject} contains the mask *** that Airflow shows for a secret. Fill it in.")
    return made


def _connection_of_fields(conn_id: str, item: Mapping[str, Any], subject: str) -> Connection:
    _check_fields(item, _CONNECTION_FIELDS, subject)
    if item.get("conn_id", conn_id) != conn_id:
        raise MwaaInputError(f"{subject}: its field conn_id names another connection. Leave it out.")
    if "extra" in item and "extra_dejson" in item:
        raise MwaaInputError(f"{subject} has both extra and extra_dejson. Keep one of them.")
    extra = item.get("extra", item.get("extra_dejson"))
    port = item.get("port")
    return Connection(
        conn_id=conn_id,
        conn_type=item.get("conn_type") or "",
        host=item.get("host"),
        login=item.get("login"),
        password=item.get("password"),
        schema=item.get("schema"),
        port=None if port is None else _whole_number(port, f"{subject}: its port", 0, 65535),
        extra=json.dumps(extra) if isinstance(extra, Mapping) else extra,
        description=item.get("description"),
    )


def _check_extra(extra: str | None, subject: str) -> None:
    if not extra:
        return
    try:
        known = isinstance(json.loads(extra), dict)
    except (ValueError, RecursionError):
        known = False
    if not known:
        raise MwaaInputError(f"{subject}: its extra is not a JSON object, and Airflow accepts nothing else.")


def connections_document(connections: Iterable[Connection]) -> dict[str, Any]:
    """Describe connections by their fields; passwords are never among them."""
    return {
        connection.conn_id: {
            "conn_type": connection.conn_type,
            "description": connection.description,
            "host": connection.host,
            "login": connection.login,
            "schema": connection.schema,
            "port": connection.port,
            "extra": connection.extra,
        }
        for connection in connections
    }


# -- pools ---------------------------------------------------------------------------------------------


def pools_of(document: Mapping[str, Any]) -> dict[str, Pool]:
    """Read pools: ``{"name": {"slots": 4, "description": "…", "include_deferred": false}}``.

    :raises MwaaInputError: a pool cannot be stored; names it.
    """
    return {name: _pool(name, item) for name, item in document.items()}


def _pool(name: str, item: Any) -> Pool:
    subject = f"Pool {shown_key(name)}"
    if not isinstance(item, Mapping) or "slots" not in item:
        raise MwaaInputError(f"{subject} has no slots. Give them: {{'slots': 4}}.")
    _check_fields(item, _POOL_FIELDS, subject)
    if item.get("team_name") is not None:
        raise MwaaInputError(f"{subject} belongs to a team, which MWAA does not support. Leave team_name out.")
    include_deferred = item.get("include_deferred", False)
    if not isinstance(include_deferred, bool):
        raise MwaaInputError(f"{subject}: its include_deferred is neither true nor false.")
    return Pool(
        name,
        _whole_number(item["slots"], f"{subject}: its number of slots", -1, 2**31 - 1),
        _optional_text(item.get("description"), f"{subject}: its description"),
        include_deferred,
    )


def pools_document(pools: Iterable[Pool]) -> dict[str, Any]:
    """Describe pools."""
    return {
        pool.name: {
            "slots": pool.slots,
            "description": pool.description,
            "include_deferred": pool.include_deferred,
        }
        for pool in pools
    }
