# SPDX-License-Identifier: Apache-2.0
"""Connections read from, and written as, a URI, the way Airflow reads them.

Source: ``Connection._parse_from_uri`` and ``get_uri`` of Airflow 2.10.3 and 3.3.1, and ``from_uri`` of its task SDK.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import NoReturn
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from airflow_mwaa_provider.client.models import Connection

__all__ = ["connection_of_uri", "differing_fields", "is_connection_type", "uri_of_connection"]

_EXTRA_KEY = "__extra__"
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9._+-]{0,99}")


def connection_of_uri(conn_id: str, uri: str) -> Connection:
    """Read a connection from Airflow's URI form: ``postgres://login:password@host:5432/schema?sslmode=require``.

    JSON after the question mark (``?retries=3``) is read as such, as Airflow does since 3.0.

    :raises ValueError: it is not one; the message does not repeat the URI, which may contain a password.
    """
    schemes = uri.count("://")
    scheme, _, rest = uri.partition("://")
    if schemes not in (1, 2) or not is_connection_type(scheme):
        raise ValueError("a URI of a connection begins with its type: postgres://…")
    protocol = ""
    if schemes == 2:
        protocol, rest = rest.split("://", 1)
        if not is_connection_type(protocol):
            raise ValueError("the host's own protocol comes right after the type: my-type://https://host")
    try:
        parts = urlsplit(f"//{rest}")
        port = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    host = _host(parts)
    return Connection(
        conn_id=conn_id,
        conn_type=_type(scheme),
        host=f"{protocol}://{host}" if protocol and host else host,
        login=unquote(parts.username) if parts.username else parts.username,
        password=unquote(parts.password) if parts.password else parts.password,
        schema=unquote(parts.path[1:]),
        port=port,
        extra=_extra(parts.query),
    )


def uri_of_connection(connection: Connection) -> str:
    """Write a connection as a URI that every Airflow reads as the same connection.

    It encodes more than Airflow's own ``get_uri``: Airflow converts a host's capital letters to lower case, unless they
    are encoded, and some versions read a value of ``extra`` as a number and others as a string, unless ``extra`` is
    written as one value.

    :raises ValueError: no URI represents this connection; the message names the field, and no value except a type.
    """
    scheme = connection.conn_type.lower().replace("_", "-")
    login, password, host = (
        None if text is None else _quoted(text, name)
        for name, text in (("login", connection.login), ("password", connection.password), ("host", connection.host))
    )
    authority = (login or "") + ("" if password is None else f":{password}")
    authority += "@" if authority else ""
    # Airflow cannot read a URI whose authority begins with a port.
    authority += (host or "") if host or authority or not connection.port else "@"
    authority += f":{connection.port}" if connection.port else ""
    path = f"/{_quoted(connection.schema, 'schema')}" if connection.schema else ""
    query = _query(connection.extra)
    uri = f"{scheme}://{authority}{path}" + (f"{'' if path else '/'}?{query}" if query else "")
    try:
        different = differing_fields(connection, connection_of_uri(connection.conn_id, uri))
    except ValueError:
        different = ["conn_type" if not is_connection_type(scheme) else "port"]
    if different == ["conn_type"]:
        raise ValueError(
            f"a URI cannot represent the type {connection.conn_type!r}: Airflow converts it to lower case, a dash to "
            "an underscore, and postgresql to postgres"
        )
    if different:
        raise ValueError(f"a URI cannot represent its {different[0]}")
    return uri


def differing_fields(connection: Connection, other: Connection) -> list[str]:
    """Return the fields in which a task would see a difference.

    An empty string equals ``None``, as does port 0, and ``extra`` is compared as JSON, however it is spelled.
    Descriptions are ignored.
    """
    texts = ("conn_type", "host", "login", "password", "schema")
    found = [name for name in texts if (getattr(connection, name) or "") != (getattr(other, name) or "")]
    if (connection.port or 0) != (other.port or 0):
        found.append("port")
    if _meant(connection.extra) != _meant(other.extra):
        found.append("extra")
    return found


def _meant(extra: str | None) -> str:
    """Return a canonical spelling of an extra."""
    try:
        value = json.loads(extra or "{}")
    except (ValueError, RecursionError):
        return extra or ""
    return json.dumps(value, sort_keys=True)


def _quoted(text: str, name: str) -> str:
    try:
        quoted = quote(text, safe="")
    except UnicodeEncodeError:
        raise ValueError(f"its {name} contains half a surrogate pair, which UTF-8 cannot encode") from None
    if name != "host":
        return quoted
    return re.sub(
        r"%[0-9A-F]{2}|[A-Z]", lambda found: found[0] if len(found[0]) == 3 else f"%{ord(found[0]):02X}", quoted
    )


def _query(extra: str | None) -> str:
    if _meant(extra) == "{}":
        return ""
    with contextlib.suppress(ValueError, RecursionError):
        values = json.loads(extra or "")
        is_plain = isinstance(values, dict) and _EXTRA_KEY not in values
        if is_plain and all(isinstance(text, str) and not _is_json(text) for text in values.values()):
            with contextlib.suppress(UnicodeEncodeError):
                return urlencode(values)
    try:
        return urlencode({_EXTRA_KEY: extra})
    except UnicodeEncodeError:
        raise ValueError("its extra contains half a surrogate pair, which UTF-8 cannot encode") from None


def is_connection_type(text: str) -> bool:
    """Return whether a string can be the type of a connection, or a protocol, and so contains no secret."""
    return _TYPE.fullmatch(text) is not None


def _type(scheme: str) -> str:
    scheme = scheme.lower()
    return "postgres" if scheme == "postgresql" else scheme.replace("-", "_")


def _host(parts: SplitResult) -> str:
    """Return the host in lower case, unless it is a path, as Airflow does."""
    host = unquote(parts.hostname or "")
    if "/" in host:
        host = unquote(parts.netloc.rpartition("@")[2].partition(":")[0])
    return host


def _extra(query: str) -> str | None:
    if not query:
        return None
    values = dict(parse_qsl(query, keep_blank_values=True))
    if _EXTRA_KEY in values:
        return values[_EXTRA_KEY]
    return json.dumps({name: _value(text) for name, text in values.items()})


def _value(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text


def _is_json(text: str) -> bool:
    """Return whether Python reads a string as JSON, or may; NaN and Infinity count."""
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _no_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
