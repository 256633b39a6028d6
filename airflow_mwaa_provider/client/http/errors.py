# SPDX-License-Identifier: Apache-2.0
"""What a failed connection means: never made, rejected for its certificate, or interrupted.

Judged by the exceptions that urllib3 wraps into one another. ``__context__`` is not followed, because it may lead to an
exception that the caller of this package was handling, which is unrelated to this call.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
# What libraries add to the meaningful words: a connection's repr, OpenSSL's source line, a number.
_NOISE = re.compile(r"^.*Failed to establish a new connection: |\s*\(_ssl\.c:\d+\)|\[Errno -?\d+\] |\b0x[0-9a-f]+: ")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Return an exception and those it wraps, the outermost first."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        inner = waiting.pop(0)
        if not isinstance(inner, BaseException) or id(inner) in seen:
            continue
        seen.add(id(inner))
        yield inner
        waiting += [inner.__cause__, getattr(inner, "reason", None), getattr(inner, "original_error", None)]
        waiting += [*inner.args, *_keywords(inner)]


def never_connected(error: BaseException) -> bool:
    """Return whether the request cannot have reached the server, because no connection was made."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    return any(
        isinstance(inner, NewConnectionError | ConnectTimeoutError | socket.gaierror)
        # http.client's words when a proxy rejects CONNECT; it has no class for that.
        or (isinstance(inner, OSError) and str(inner).startswith("Tunnel connection failed"))
        for inner in causes(error)
    )


def handshake_failed(error: BaseException) -> bool:
    """Return whether TLS was rejected before the request was sent, and not interrupted afterwards."""
    return any(
        isinstance(inner, ssl.SSLError)
        and not isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
        and not any(word in str(inner) for word in ("EOF", "BAD_RECORD_MAC", "DECRYPTION_FAILED"))
        for inner in causes(error)
    )


def bundle_unreadable(error: BaseException) -> bool:
    """Return whether the CA bundle could not be read, so that nothing was sent."""
    return any(isinstance(inner, FileNotFoundError | IsADirectoryError | PermissionError) for inner in causes(error))


def reason(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return the innermost cause in a few words, without a full stop and without secrets."""
    texts = [str(inner) or type(inner).__name__ for inner in causes(error)]
    return unended(truncate(mask_secrets(_NOISE.sub("", texts[-1]), secrets)))


def mask_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace secrets, and credentials in URLs, with asterisks."""
    text = without_credentials(text)
    for secret in sorted(secrets, key=len, reverse=True):
        # Shorter strings are no secrets, and would leave holes in every word.
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return text


def without_credentials(text: str) -> str:
    """Remove user and password from the URLs in a string."""
    return _CREDENTIALS.sub("***@", text)


def truncate(text: str, length: int = 200) -> str:
    """Return a string as one line of at most ``length`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def unended(text: str) -> str:
    """Return a string without its final full stop, for use within a sentence."""
    return text.rstrip(". ")


def _keywords(error: BaseException) -> list[Any]:
    """Return the values that botocore's errors were made from."""
    keywords = getattr(error, "kwargs", None)
    return list(keywords.values()) if isinstance(keywords, dict) else []
