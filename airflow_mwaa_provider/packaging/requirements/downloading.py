# SPDX-License-Identifier: Apache-2.0
"""Files of a package index, opened as uv opens them: with the certificates and credentials of the shell."""

from __future__ import annotations

import base64
import contextlib
import functools
import netrc
import os
import ssl
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["bundle_of", "open_file"]

_TIMEOUT_S = 60
_INDEXES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
)


def bundle_of(variables: Mapping[str, str]) -> str | None:
    """Return the path of the certificates that the shell sets for pip; None if it sets none that exists."""
    bundle = variables.get("SSL_CERT_FILE") or variables.get("PIP_CERT") or variables.get("REQUESTS_CA_BUNDLE")
    return bundle if bundle and Path(bundle).is_file() else None


def open_file(address: str, timeout_s: float = _TIMEOUT_S) -> IO[bytes]:
    """Open a file by its URL or path.

    :param timeout_s: how long a server may send nothing, in seconds.
    :raises OSError: it cannot be opened, which includes HTTP statuses.
    :raises ValueError: the address is neither a file's nor an HTTP URL.
    """
    if "://" not in address:
        return Path(address).open("rb")
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(unquote(parts.path)).open("rb")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"cannot download from {parts.scheme}:")
    user, _, host = parts.netloc.rpartition("@")
    request = Request(urlunsplit(parts._replace(netloc=host)))  # noqa: S310 - http and https
    user = unquote(user) or _user_for(parts.scheme, host)
    if user:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    context = _context(bundle_of(os.environ))
    answer: IO[bytes] = urlopen(request, timeout=timeout_s, context=context)  # noqa: S310
    return answer


@functools.lru_cache(maxsize=4)
def _context(bundle: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=bundle)  # takes longer than the download of a small file


def _user_for(scheme: str, host: str) -> str:
    """Return user and password of an index on the same host, as uv does; empty if none is known."""
    for address in (word for name in _INDEXES for word in os.environ.get(name, "").split()):
        parts = urlsplit(address.partition("=")[2] if "=" in address.partition(":")[0] else address)
        user, _, of_host = parts.netloc.rpartition("@")
        if user and (parts.scheme, of_host) == (scheme, host):
            return unquote(user)
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        known = netrc.netrc(os.environ.get("NETRC")).authenticators(host.partition(":")[0])
        if known is not None:
            return f"{known[0]}:{known[2]}"
    return ""
