# SPDX-License-Identifier: Apache-2.0
"""Pass a request on to another HTTP server on this machine, and its answer back, both as streams."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from airflow_mwaa_provider.local.aws.faults import hold_body, html_page, reset_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import StreamReader

_log = logging.getLogger(__name__)

# RFC 9110, 7.6.1, and Expect: aiohttp's server has answered 100-continue itself by the time the body is read.
_HOP_BY_HOP = {
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_DEFAULT_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


def client_session() -> aiohttp.ClientSession:
    """Return a session that changes nothing that passes through it.

    Each request gets its own connection. On a reused connection that the server closes at the same time, a request
    would be lost, and the caller would see a fault that nobody injected.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        max_line_size=65_536,
        max_field_size=65_536,
        trust_env=False,
    )


async def forward(
    request: web.Request,
    http: aiohttp.ClientSession,
    base_url: str,
    *,
    extra_headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    send_answer: bool = True,
    rewrite_location: Callable[[str], str] | None = None,
    on_answer: Callable[[aiohttp.ClientResponse], None] | None = None,
    on_body: Callable[[int, bytes], None] | None = None,
) -> web.StreamResponse:
    """Pass a request on, with the memory of one buffer regardless of the size of the bodies.

    :param body: the request's body, if the caller has read it; otherwise it is streamed.
    :param send_answer: False reads the whole answer and discards it.
    :param on_body: gets the answer's status and its whole body before the client does; for small answers.
    """
    headers = _end_to_end(request.headers)
    headers.update(extra_headers or {})
    try:
        answer = await http.request(
            request.method,
            URL(base_url + request.raw_path, encoded=True),
            headers=headers,
            data=body or await _body(request),
            allow_redirects=False,
            skip_auto_headers=_DEFAULT_HEADERS,
        )
    except (aiohttp.ClientError, TimeoutError) as error:
        _log.warning("%s %s: no answer from %s: %s", request.method, request.path, base_url, error)
        return html_page(502)
    async with answer:
        if on_answer is not None:
            on_answer(answer)
        if not send_answer:
            async for _ in answer.content.iter_any():
                pass
            return web.Response(status=answer.status)
        if on_body is not None:
            try:
                content = await answer.read()
            except aiohttp.ClientPayloadError:
                return html_page(502)
            on_body(answer.status, content)
            return web.Response(status=answer.status, body=content, headers=_end_to_end(answer.headers))
        return await _pass_back(request, answer, rewrite_location)


async def _body(request: web.Request) -> bytes | StreamReader | None:
    if not request.body_exists:
        return None
    held = await hold_body(request)
    return request.content if held is None else held


async def _pass_back(
    request: web.Request, answer: aiohttp.ClientResponse, rewrite_location: Callable[[str], str] | None
) -> web.StreamResponse:
    headers = _end_to_end(answer.headers)
    if rewrite_location is not None and "Location" in headers:
        headers["Location"] = rewrite_location(headers["Location"])
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        await response.write_eof()
    except aiohttp.ClientPayloadError:
        # The server was interrupted. The client must see that, too, and not take a part for the whole answer.
        reset_connection(request)
    except ConnectionError:
        _log.debug("%s %s: the client disconnected", request.method, request.path)
    return response


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        if name.lower() not in _HOP_BY_HOP | named:
            kept.add(name, value)
    return kept
