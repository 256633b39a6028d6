# SPDX-License-Identifier: Apache-2.0
"""Connections written as a URI, the way Airflow reads them.

Source: ``Connection._parse_from_uri`` of Airflow 2.10.3 and 3.3.1.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from airflow_mwaa_provider.client.models import Connection

__all__ = ["connection_of_uri", "is_connection_type"]

_EXTRA_KEY = "__extra__"
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9._+-]{0,99}")


def connection_of_uri(conn_id: str, uri: str) -> Connection:
    """Read a connection from Airflow's URI form: ``postgres://login:password@host:5432/schema?sslmode=require``.

    What is JSON after the question mark (``?retries=3``) is read as such, which Airflow does since 3.0.

    :raises ValueError: it isn't one; the text does not repeat the URI, which may hold a password.
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


def is_connection_type(text: str) -> bool:
    """Check whether text can be the type of a connection, or a protocol; it holds no secret then."""
    return _TYPE.fullmatch(text) is not None


def _type(scheme: str) -> str:
    scheme = scheme.lower()
    return "postgres" if scheme == "postgresql" else scheme.replace("-", "_")


def _host(parts: SplitResult) -> str:
    """Give the host in lower case, but where it is a path: Airflow does that."""
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


def _no_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
