# SPDX-License-Identifier: Apache-2.0
"""A connection as the value of a secret, and back.

Source: ``SecretsManagerBackend._standardize_secret_keys`` of the amazon provider 9.0.0 and 9.34.0, and
``Connection.from_json`` of Airflow 2.10.3 and 3.3.1.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.client.stored.connection_uris import connection_of_uri, differing_fields, uri_of_connection

__all__ = ["SecretForm", "connection_of_secret", "secret_of_connection"]

_FIELDS = ("conn_type", "login", "password", "host", "port", "schema", "extra", "description")
_ALIASES = {
    "user": "login", "username": "login", "user_name": "login", "pass": "password", "key": "password",
    "remote_host": "host", "server": "host", "database": "schema", "conn_id": "conn_type",
    "connection_type": "conn_type", "engine": "conn_type",
}  # fmt: skip
"""Other names of fields that the amazon provider accepts."""


class SecretForm(StrEnum):
    """The form in which a secret holds a connection."""

    JSON = "json"
    URI = "uri"


def secret_of_connection(connection: Connection, form: SecretForm) -> str:
    """Return the value of a secret from which a task reads the same connection.

    :raises ValueError: this form cannot hold it; the message names the field, and no value except a type.
    """
    if form is SecretForm.URI:
        return uri_of_connection(connection)
    fields = {name: getattr(connection, name) for name in _FIELDS}
    if connection.extra:
        fields["extra"] = _extra(connection.extra)
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        text = json.dumps(given, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(given)
    different = differing_fields(connection, connection_of_secret(connection.conn_id, text))
    if different == ["conn_type"]:
        raise ValueError(
            f"a secret cannot hold the type {connection.conn_type!r}: Airflow changes a dash to an underscore, and "
            "postgresql to postgres"
        )
    if different:
        raise ValueError(f"a secret cannot hold its {different[0]}")
    return text


def connection_of_secret(conn_id: str, text: str) -> Connection:
    """Read a connection as Airflow reads a secret.

    :raises ValueError: it is not a connection; the message repeats nothing of it.
    """
    text = text.strip()
    if not text.startswith("{"):
        return connection_of_uri(conn_id, text)
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    except ValueError:
        raise ValueError("it begins like JSON but is not") from None
    fields: dict[str, Any] = {}
    for name, value in document.items():
        fields.setdefault(name if name in _FIELDS else _ALIASES.get(name, ""), value)
    conn_type = str(fields.get("conn_type") or "")
    if not conn_type:
        raise ValueError("it has no conn_type")
    extra = fields.get("extra")
    return Connection(
        conn_id=conn_id,
        conn_type="postgres" if conn_type == "postgresql" else conn_type.replace("-", "_"),
        host=_text(fields.get("host"), "host"),
        login=_text(fields.get("login"), "login"),
        password=_text(fields.get("password"), "password"),
        schema=_text(fields.get("schema"), "schema"),
        port=_port(fields.get("port")),
        extra=(extra if isinstance(extra, str) else json.dumps(extra)) if extra else None,
        description=_text(fields.get("description"), "description"),
    )


def _extra(text: str) -> Any:
    """Return an extra as an object, so that people can read it, or as a string if JSON would change it."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) and value else text


def _port(value: Any) -> int | None:
    if not value:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError("its port is not a number") from None


def _text(value: Any, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"its {name} is not a string")
