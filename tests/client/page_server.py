# SPDX-License-Identifier: Apache-2.0
"""A server that answers every request alike: with a page, like a proxy that requires a login, or with an AWS error."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

PAGE = b"<html><body><h1>Log in</h1></body></html>"


class PageServer:
    """Answers each request with ``page`` and status 200, or with an error of the code ``refusal``.

    If set, ``silence`` is waited for first; ``asked`` is set by a request.
    """

    def __init__(self) -> None:
        self.page = PAGE
        self.refusal = ""
        self.silence: threading.Event | None = None
        self.asked = threading.Event()
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                pages.asked.set()
                if pages.silence is not None:
                    pages.silence.wait(30)
                page = pages.page
                if pages.refusal and "X-Amz-Target" in self.headers:
                    page = json.dumps({"__type": pages.refusal, "message": "no"}).encode()
                elif pages.refusal:
                    error = f"<Error><Code>{pages.refusal}</Code><Message>no</Message></Error>"
                    page = f"<ErrorResponse>{error}</ErrorResponse>".encode()
                self.send_response(400 if pages.refusal else 200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: Any) -> None:
                """Keep the tests' output clean."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def client(self, service: str) -> Any:
        """Return a boto3 client for a service that calls this server instead."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="eu-west-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def _page_server() -> Iterator[PageServer]:
    server = PageServer()
    yield server
    server.stop()


@pytest.fixture
def page_server(_page_server: PageServer) -> PageServer:
    _page_server.page, _page_server.refusal, _page_server.silence = PAGE, "", None
    _page_server.asked.clear()
    return _page_server
