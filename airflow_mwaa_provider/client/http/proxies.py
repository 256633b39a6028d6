# SPDX-License-Identifier: Apache-2.0
"""The proxy in front of a web server: its address, built, checked, and shown without its login."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

from airflow_mwaa_provider.exceptions import MwaaInputError

_SCHEMES = ("http", "https", "socks5", "socks5h")
_HOW = "Write it as http://HOST:PORT or socks5h://HOST:PORT, and give proxy_login and proxy_password separately"


def proxy_url(proxy: str | None, login: str | None, password: str | None) -> str | None:
    """Return a proxy's address with its login and password, percent-encoded as requests expects them. It is a secret.

    :param proxy: may contain login and password itself.
    :raises MwaaInputError: it is not the address of a proxy, or has a login or password that is also given separately.
    """
    if proxy is None:
        if login is None and password is None:
            return None
        raise MwaaInputError(f"proxy_login or proxy_password is given without proxy. {_HOW}.")
    try:
        parts = urlsplit(proxy)
        good = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        good = False
    # What follows the port is usually the rest of a password that was not percent-encoded.
    if not good or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise MwaaInputError(f"proxy is not the address of a proxy. {_HOW}.")
    if (login is not None and parts.username) or (password is not None and parts.password):
        raise MwaaInputError(
            f"proxy contains a login or password that is also given as proxy_login or proxy_password. {_HOW}."
        )
    login = unquote(parts.username or "") if login is None else login
    password = unquote(parts.password or "") if password is None else password
    if password and not login:
        raise MwaaInputError(f"The proxy has a password and no login. {_HOW}.")
    if parts.scheme.startswith("http") and not _is_latin_1(login + password):
        raise MwaaInputError(
            "The proxy's login or password has characters that HTTP cannot carry. Use those of Latin-1, or a SOCKS "
            "proxy."
        )
    credentials = f"{quote(login, safe='')}:{quote(password, safe='')}@" if login else ""
    return f"{parts.scheme}://{credentials}{parts.netloc.rpartition('@')[2]}"


def shown_proxy(url: str) -> str:
    """Return a proxy's address without its credentials."""
    scheme, _, rest = url.partition("://")
    credentials, _, address = rest.rpartition("@")
    return f"{scheme}://{'***@' if credentials else ''}{address}"


def proxy_secrets(url: str | None) -> list[str]:
    """Return the secrets in a proxy's address, in the forms in which a library may print them."""
    if url is None:
        return []
    parts = urlsplit(url)
    written = [part for part in (parts.username, parts.password) if part]
    return [*written, *map(unquote, written)]


def _is_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
