# SPDX-License-Identifier: Apache-2.0
"""A server that answers everything with one page, as a proxy does that wants a login."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

PAGE = b"<html><body><h1>Log in</h1></body></html>"


class PageServer:
    """Answers each request with ``page`` and status 200."""

    def __init__(self) -> None:
        self.page = PAGE
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(pages.page)))
                self.end_headers()
                self.wfile.write(pages.page)

            def log_message(self, *_: Any) -> None:
                """Leave the output to the tests."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def page_server() -> Iterator[PageServer]:
    server = PageServer()
    yield server
    server.stop()
