# SPDX-License-Identifier: Apache-2.0
"""A proxy as in companies, which cannot reach its client's own machine."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class RefusingProxy:
    """A real proxy that rejects everything, and records the requests."""

    def __init__(self) -> None:
        self.asked = asked = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def refuse(self) -> None:
                asked.append(f"{self.command} {self.path}")
                self.send_error(403, "not through this proxy")

            def log_message(self, *arguments: Any) -> None:
                """Write nothing."""

        for method in ("CONNECT", "DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"):
            setattr(Handler, f"do_{method}", Handler.refuse)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables of a shell that uses it for everything."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        without_exceptions = {"NO_PROXY": "", "no_proxy": ""}
        return {**{name: url for upper in names for name in (upper, upper.lower())}, **without_exceptions}

    def __enter__(self) -> RefusingProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
