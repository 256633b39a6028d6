# SPDX-License-Identifier: Apache-2.0
"""The proxy before a web server: its address put together, checked, and shown without its login."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

from airflow_mwaa_provider.exceptions import MwaaInputError

_SCHEMES = ("http", "https", "socks5", "socks5h")
_HOW = "write it as http://HOST:PORT or socks5h://HOST:PORT, and give proxy_login and proxy_password beside it"


def proxy_url(proxy: str | None, login: str | None, password: str | None) -> str | None:
    """Put login and password into a proxy's address, percent-encoded, as requests takes them. A secret.

    :param proxy: may hold login and password itself.
    :raises MwaaInputError: it is no such address, or says the login or the password twice.
    """
    if proxy is None:
        if login is None and password is None:
            return None
        raise MwaaInputError(f"proxy_login and proxy_password are given and proxy is not; {_HOW}.")
    try:
        parts = urlsplit(proxy)
        good = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        good = False
    # What stands behind the port is mostly the rest of a password that was not percent-encoded.
    if not good or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise MwaaInputError(f"proxy is not the address of a proxy; {_HOW}.")
    if (login is not None and parts.username) or (password is not None and parts.password):
        raise MwaaInputError(f"proxy holds a login or password, and proxy_login or proxy_password another; {_HOW}.")
    login = unquote(parts.username or "") if login is None else login
    password = unquote(parts.password or "") if password is None else password
    if password and not login:
        raise MwaaInputError(f"There is a password for the proxy and no login; {_HOW}.")
    if parts.scheme.startswith("http") and not _is_latin_1(login + password):
        raise MwaaInputError(
            "The proxy's login or password has letters that HTTP cannot carry; use those of Latin-1, or a SOCKS proxy."
        )
    credentials = f"{quote(login, safe='')}:{quote(password, safe='')}@" if login else ""
    return f"{parts.scheme}://{credentials}{parts.netloc.rpartition('@')[2]}"


def shown_proxy(url: str) -> str:
    """A proxy's address for the eyes of everyone."""
    scheme, _, rest = url.partition("://")
    credentials, _, address = rest.rpartition("@")
    return f"{scheme}://{'***@' if credentials else ''}{address}"


def proxy_secrets(url: str | None) -> list[str]:
    """What must not be shown of a proxy's address, in the forms in which a library may print it."""
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
