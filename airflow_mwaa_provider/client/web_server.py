# SPDX-License-Identifier: Apache-2.0
"""HTTPS to the web server of an environment: time-outs, proxy, CA bundle, and what goes wrong on the way.

Private web servers are reached through a proxy, such as the SOCKS tunnel of the guide's bastion host
(``socks5h://127.0.0.1:8080``), or from inside their VPC.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_mwaa_provider.exceptions import CallTimeout, MwaaInputError, WebServerUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests


@dataclass(frozen=True)
class WebServerSettings:
    """How to reach web servers.

    :param proxy: ``http://…``, ``https://…``, ``socks5://…`` or ``socks5h://…``; ``None`` leaves it to the
        process's environment (``HTTPS_PROXY``, ``NO_PROXY``).
    :param ca_bundle: path of a PEM file; ``True`` is the system's choice (``REQUESTS_CA_BUNDLE`` included).
    :param connect_timeout_s: bound on connecting.
    :param read_timeout_s: bound on waiting for the next byte of an answer.
    """

    proxy: str | None = None
    ca_bundle: str | bool = True
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.proxy is None:
            return
        scheme = urlsplit(self.proxy).scheme
        if scheme not in ("http", "https", "socks5", "socks5h"):
            raise MwaaInputError(
                f"proxy {_without_password(self.proxy)!r}: write it as http://HOST:PORT or socks5h://HOST:PORT."
            )


class WebServer:
    """A pool of connections to web servers; every request is sent exactly once."""

    def __init__(self, env_name: str, settings: WebServerSettings) -> None:
        self._env_name = env_name
        self._settings = settings
        self._sessions = threading.local()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Any = None,
        secrets: tuple[str, ...] = (),
    ) -> requests.Response:
        """Send one request; redirects are not followed, cookies are not kept.

        :param secrets: strings that must not appear in an error.
        :raises WebServerUnreachable: the request did not reach a web server, or the connection broke;
            ``ambiguous`` when it may have been carried out.
        :raises CallTimeout: no answer in time.
        """
        import requests

        host = urlsplit(url).netloc
        acts = method not in ("GET", "HEAD")
        proxy = self._settings.proxy
        try:
            response = self._session().request(
                method,
                url,
                headers=dict(headers or {}),
                params=params,
                json=json,
                data=data,
                timeout=(self._settings.connect_timeout_s, self._settings.read_timeout_s),
                allow_redirects=False,
                # Per request, because requests lets REQUESTS_CA_BUNDLE win over a session's own setting.
                verify=self._settings.ca_bundle,
                proxies={"http": proxy, "https": proxy} if proxy else None,
                # Otherwise an entry of ~/.netrc would replace the Authorization header.
                auth=lambda request: request,
            )
        except (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError) as error:
            raise self._unreachable(host, error, secrets) from None
        except requests.exceptions.SSLError as error:
            raise WebServerUnreachable(
                f"Environment {self._env_name!r}: TLS with {host} failed: {_reason(error, secrets)}. "
                "Give the CA that signed its certificate as ca_bundle (or REQUESTS_CA_BUNDLE).",
                env_name=self._env_name,
            ) from None
        except requests.exceptions.Timeout:
            raise CallTimeout(
                f"Environment {self._env_name!r}: {method} {urlsplit(url).path} got no answer from {host} within "
                f"{self._settings.read_timeout_s:g} s." + (" It may have taken effect." if acts else ""),
                env_name=self._env_name,
                transient=True,
                ambiguous=acts,
            ) from None
        except requests.exceptions.InvalidSchema as error:
            raise MwaaInputError(
                f"Environment {self._env_name!r}: {_reason(error, secrets)}. A SOCKS proxy needs the package PySocks: "
                "pip install pysocks.",
                env_name=self._env_name,
            ) from None
        except requests.exceptions.ConnectionError as error:
            if _never_connected(error):
                raise self._unreachable(host, error, secrets) from None
            raise WebServerUnreachable(
                f"Environment {self._env_name!r}: the connection to {host} broke during {method} {urlsplit(url).path}."
                + (" It may have taken effect." if acts else ""),
                env_name=self._env_name,
                transient=True,
                ambiguous=acts,
            ) from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise WebServerUnreachable(
                f"Environment {self._env_name!r}: {method} {urlsplit(url).path} at {host} failed: "
                f"{_reason(error, secrets)}.",
                env_name=self._env_name,
                transient=True,
                ambiguous=acts,
            ) from None
        return response

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._sessions, "session", None)
        if session is None:
            import requests

            session = requests.Session()
            # Cookies travel explicitly, so that one login never leaks into another's call.
            session.cookies.set_policy(_NoCookies())
            self._sessions.session = session
        return session

    def _unreachable(self, host: str, error: Exception, secrets: tuple[str, ...]) -> WebServerUnreachable:
        by_proxy = f" through the proxy {_without_password(self._settings.proxy)}" if self._settings.proxy else ""
        return WebServerUnreachable(
            f"Environment {self._env_name!r}: the web server {host} cannot be reached{by_proxy}: "
            f"{_reason(error, secrets)}. A private web server answers only inside its VPC: run this there, set a "
            "proxy (http or socks5h) in the connection, or use transport='rest_api'.",
            env_name=self._env_name,
            transient=True,
        )


class _NoCookies(DefaultCookiePolicy):
    """Neither keeps nor sends cookies; ``Response.cookies`` still shows what an answer set."""

    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        return False

    def return_ok(self, cookie: Cookie, request: Any) -> bool:
        return False


def _never_connected(error: Exception) -> bool:
    """Whether the request cannot have reached the server: the connection itself was not made."""
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError)


def _reason(error: Exception, secrets: tuple[str, ...]) -> str:
    """The innermost cause in a few words, without what must not be shown."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        following = inner.__cause__ or inner.__context__
        if following is None:
            break
        inner = following
    text = " ".join(str(inner).split()) or type(inner).__name__
    for secret in secrets:
        text = text.replace(secret, "***")
    return text if len(text) <= 200 else text[:199] + "…"


def _without_password(url: str | None) -> str:
    if not url:
        return ""
    parts = urlsplit(url)
    return url if parts.password is None else url.replace(f":{parts.password}@", ":***@")
