# SPDX-License-Identifier: Apache-2.0
"""Log in to an Airflow web server as its administrator."""

from __future__ import annotations

import html
import re

import aiohttp
from yarl import URL

from airflow_mwaa_provider.local.airflow.setup import ADMIN
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.runtime import ApiSession

_TIMEOUT = aiohttp.ClientTimeout(total=60)
_CSRF_FIELD = re.compile(r'<input[^>]*name="csrf_token"[^>]*value="([^"]*)"')


async def log_in_2(base_url: str, password: str) -> ApiSession:
    """Log in to Airflow 2 through its login form, as a browser does; the result is the cookie ``session``.

    :raises LocalMwaaError: the login was rejected.
    """
    login_url = f"{base_url}/login/"
    async with aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        async with client.get(login_url) as answer:
            field = _CSRF_FIELD.search(await answer.text())
            if answer.status != 200 or field is None:
                raise LocalMwaaError(f"Airflow's login page answered {answer.status} without a form")
        form = {"username": ADMIN, "password": password, "csrf_token": html.unescape(field.group(1))}
        async with client.post(login_url, data=form, allow_redirects=False) as answer:
            # If it is rejected, the form is shown again, or is the redirect's target.
            if answer.status != 302 or "/login" in answer.headers.get("Location", ""):
                raise LocalMwaaError(f"Airflow's login form answered {answer.status}")
        cookie = client.cookie_jar.filter_cookies(URL(base_url)).get("session")
    if cookie is None:
        raise LocalMwaaError("Airflow's login form returned no session")
    return ApiSession("session", cookie.value, {"Cookie": f"session={cookie.value}"})


async def log_in_3(base_url: str, password: str) -> ApiSession:
    """Log in to Airflow 3 at its token endpoint; the result is a JWT, as cookie ``_token`` and as bearer token.

    :raises LocalMwaaError: the login was rejected.
    """
    credentials = {"username": ADMIN, "password": password}
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT) as client,
        client.post(f"{base_url}/auth/token", json=credentials) as answer,
    ):
        if answer.status not in (200, 201):
            raise LocalMwaaError(f"Airflow's token endpoint answered {answer.status}")
        token = str((await answer.json())["access_token"])
    return ApiSession("_token", token, {"Authorization": f"Bearer {token}"})
