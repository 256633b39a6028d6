# SPDX-License-Identifier: Apache-2.0
"""HTTPS to the web server of an environment: time-outs, proxy, CA bundle, and errors of the connection.

Private web servers are reached through a proxy, such as the SOCKS tunnel of the guide's bastion host
(``socks5h://127.0.0.1:8080``), or from inside their VPC.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from http.cookiejar import Cookie, DefaultCookiePolicy
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_mwaa_provider.client.http.errors import handshake_failed, never_connected, reason
from airflow_mwaa_provider.client.http.proxies import proxy_secrets, proxy_url, shown_proxy
from airflow_mwaa_provider.client.http.retrying import time_left_s
from airflow_mwaa_provider.exceptions import CallTimeout, MwaaInputError, UnsupportedByTransport, WebServerUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests


# Where requests looks for a CA bundle, in this order.
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class WebServerSettings:
    """How to reach web servers.

    :param proxy: ``http://…``, ``https://…``, ``socks5://…`` or ``socks5h://…``; ``None`` leaves it to the
        process's environment (``HTTPS_PROXY``, ``NO_PROXY``).
    :param proxy_login: login for the proxy; may be part of ``proxy`` instead, percent-encoded.
    :param proxy_password: password for the proxy; may be part of it too.
    :param ca_bundle: path of a PEM file; ``True`` is the system's choice (``REQUESTS_CA_BUNDLE`` included), ``False``
        checks nothing.
    :param connect_timeout_s: limit for connecting.
    :param read_timeout_s: limit for waiting for the next byte of an answer; less if the call's deadline is nearer.
    """

    proxy: str | None = field(default=None, repr=False)
    proxy_login: str | None = field(default=None, repr=False)
    proxy_password: str | None = field(default=None, repr=False)
    ca_bundle: str | bool = True
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        self.proxy_url()
        if self.ca_bundle == "":
            raise MwaaInputError("ca_bundle is empty. Give the path of a PEM file, or True for the system's choice.")

    def proxy_url(self) -> str | None:
        """Return the proxy's address with its login and password: a secret.

        :raises MwaaInputError: it cannot be built.
        """
        return proxy_url(self.proxy, self.proxy_login, self.proxy_password)


class WebServer:
    """A pool of connections to web servers; every request is sent exactly once."""

    def __init__(self, env_name: str, settings: WebServerSettings) -> None:
        self._env_name = env_name
        self._settings = settings
        self._proxy = settings.proxy_url()
        self._sessions = threading.local()
        self._ca_bundle_is_good = settings.ca_bundle is False

    def send(
        self,
        method: str,
        url: str,
        *,
        is_mutating: bool,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Mapping[str, str] | bytes | None = None,
    ) -> requests.Response:
        """Send one request; redirects are not followed, cookies are not kept.

        :param is_mutating: whether the request changes anything, so that a lost answer leaves a doubt.
        :param headers: their credentials, and the fields of a form, never appear in an error.
        :raises WebServerUnreachable: the request did not reach a web server, or the connection was interrupted;
            ``ambiguous`` if it may have been carried out.
        :raises CallTimeout: no answer in time.
        :raises UnsupportedByTransport: the package requests is not installed, as in Lambda.
        """
        if find_spec("requests") is None:
            raise UnsupportedByTransport(
                f"Environment {self._env_name!r}: {method} to its web server needs the package requests, which is not "
                "installed. Run pip install requests (for a Lambda zip: airflow-mwaa package lambda --with-requests), "
                "or use transport rest_api.",
                env_name=self._env_name,
            )
        import requests

        self._check_ca_bundle()
        proxy = self._proxy
        read_timeout_s = time_left_s(self._settings.read_timeout_s)
        secrets = _secrets(headers or {}, data) + proxy_secrets(proxy)
        host, path = urlsplit(url).netloc, urlsplit(url).path
        where = f"Environment {self._env_name!r}: {method} {path} at {host}"
        doubt = " It may have taken effect." if is_mutating else ""
        unsure: dict[str, Any] = {"env_name": self._env_name, "transient": True, "ambiguous": is_mutating}
        try:
            return self._session().request(
                method,
                url,
                headers=dict(headers or {}),
                params=params,
                json=json,
                data=data,
                timeout=(time_left_s(self._settings.connect_timeout_s), read_timeout_s),
                allow_redirects=False,
                # Per request, because in requests REQUESTS_CA_BUNDLE takes precedence over a session's own setting.
                verify=self._settings.ca_bundle,
                proxies={"http": proxy, "https": proxy} if proxy else None,
                # Otherwise an entry of ~/.netrc would replace the Authorization header.
                auth=lambda request: request,
            )
        except requests.exceptions.InvalidSchema as error:
            raise MwaaInputError(
                f"{where} was not sent: {reason(error, secrets)}. A SOCKS proxy needs the package PySocks. "
                "Run pip install pysocks.",
                env_name=self._env_name,
            ) from None
        except (requests.exceptions.RequestException, OSError, ValueError) as error:
            words = reason(error, secrets)
            if never_connected(error):
                raise self._unreachable(where, words) from None
            if handshake_failed(error):
                raise WebServerUnreachable(
                    f"{where}: TLS failed ({words}). Give the CA that signed its certificate in "
                    "REQUESTS_CA_BUNDLE, or as ca_bundle of the connection, and check that nothing but the web server "
                    "answers there.",
                    env_name=self._env_name,
                ) from None
            if isinstance(error, requests.exceptions.Timeout):
                raise CallTimeout(
                    f"{where} got no answer within {read_timeout_s:.3g} s.{doubt} Try again later.", **unsure
                ) from None
            if isinstance(error, ValueError):
                # A URL, a header or a proxy's address that requests rejects.
                raise MwaaInputError(
                    f"{where} was not sent: {words}. Check the host's name and the proxy's address.",
                    env_name=self._env_name,
                ) from None
            raise WebServerUnreachable(
                f"{where}: the connection was interrupted ({words}).{doubt} Try again later.", **unsure
            ) from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._sessions, "session", None)
        if session is None:
            import requests

            session = requests.Session()
            # Cookies are sent explicitly, so that one login never leaks into another's call.
            session.cookies.set_policy(_NoCookies())
            self._sessions.session = session
        return session

    def _check_ca_bundle(self) -> None:
        """Refuse a CA bundle that cannot be used, while it is certain that nothing was sent."""
        if self._ca_bundle_is_good:
            return
        import ssl
        from pathlib import Path

        given: str | None = self._settings.ca_bundle if isinstance(self._settings.ca_bundle, str) else None
        source = ""
        for name in _CA_VARIABLES if given is None else ():
            if given := os.environ.get(name):
                source = f" (of {name})"
                break
        if given and not Path(given).is_dir():
            try:
                ssl.create_default_context(cafile=given)
            except OSError as error:  # ssl.SSLError is one too
                raise MwaaInputError(
                    f"Environment {self._env_name!r}: the CA bundle {given!r}{source} cannot be used: "
                    f"{reason(error)}. Give the path of a PEM file.",
                    env_name=self._env_name,
                ) from None
        self._ca_bundle_is_good = True

    def _unreachable(self, where: str, words: str) -> WebServerUnreachable:
        if self._proxy:
            how = f" through the proxy {shown_proxy(self._proxy)}"
            way_out = (
                "Check the proxy's address, login and password, and that it may reach this host; or use "
                "transport rest_api."
            )
        else:
            how = ""
            way_out = (
                "A private web server answers only inside its VPC. Run this there, set a proxy (http or "
                "socks5h), or use transport rest_api."
            )
        return WebServerUnreachable(
            f"{where}: the web server cannot be reached{how} ({words}). {way_out}",
            env_name=self._env_name,
            transient=True,
        )


class _NoCookies(DefaultCookiePolicy):
    """Keep and send no cookies; ``Response.cookies`` still has what an answer set."""

    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        return False

    def return_ok(self, cookie: Cookie, request: Any) -> bool:
        return False


def _secrets(headers: Mapping[str, str], data: Mapping[str, str] | bytes | None) -> list[str]:
    credentials = [headers[name] for name in ("Authorization", "Cookie") if name in headers]
    found = [part for text in credentials for part in (text, text.partition(" ")[2], text.partition("=")[2]) if part]
    return found + ([] if data is None or isinstance(data, bytes) else list(data.values()))
