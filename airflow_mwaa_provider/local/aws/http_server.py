# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of the endpoint and the gateways: its limits, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable

_BODY_MAX_BYTES = 8 * 1024 * 1024
"""The limit for requests that are read whole. Requests that are passed on are streamed, without a limit."""
_HEADER_MAX_BYTES = 65_536
"""Presigned URLs are long, and so are Airflow's session cookies."""
_SHUTDOWN_S = 2.0


async def serve(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
    listener: socket.socket,
    tls: ssl.SSLContext | None = None,
) -> web.AppRunner:
    """Answer every request on a bound socket with one function.

    :return: the runner, whose ``cleanup()`` ends it and closes the socket.
    """
    app = web.Application(client_max_size=_BODY_MAX_BYTES)
    # A dot does not match a line break, which a variable's key may contain.
    app.router.add_route("*", r"/{path:[\s\S]*}", handle)
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=_SHUTDOWN_S,
        # Bodies are passed through unchanged, including gzip.
        auto_decompress=False,
        max_line_size=_HEADER_MAX_BYTES,
        max_field_size=_HEADER_MAX_BYTES,
    )
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=tls).start()
    return runner
