# SPDX-License-Identifier: Apache-2.0
"""An S3 with scripted answers: a proxy in front of moto, for errors that moto does not return."""

from __future__ import annotations

import http.client
import threading
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from tests.metadata.lab import REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[[str, str], tuple[int, str, str] | None]

_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'


class FaultyS3:
    """Context manager that runs the proxy.

    ``answer(method, path_and_query)`` returns a status, code and message to answer with, or ``None`` to forward the
    call; status 0 closes the connection.
    """

    def __init__(self, behind: str, answer: Answer) -> None:
        self.calls: list[tuple[str, str]] = []
        self.owners: set[str | None] = set()
        self.answer = answer
        self._handled = 0
        self._change = threading.Condition()
        outer, target = self, urlsplit(behind)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(size)
                if len(content) < size:  # the client was killed; moto would wait for the rest
                    self.close_connection = True
                    return
                with outer.handling(), suppress(ConnectionError):  # the client may have disconnected
                    self.answer(content)

            def answer(self, content: bytes) -> None:
                outer.calls.append((self.command, self.path))
                outer.owners.add(self.headers.get("x-amz-expected-bucket-owner"))
                told = outer.answer(self.command, self.path)
                if told is not None:
                    status, code, message = told
                    if status == 0:
                        self.connection.close()
                        self.close_connection = True
                        return
                    xml = message if message.startswith("<?xml") else _ERROR.format(code=code, message=message)
                    self.reply(status, {"Content-Type": "application/xml"}, xml.encode())
                    return
                headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                with closing(http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)) as connection:
                    connection.request(self.command, self.path, content, headers)
                    answered = connection.getresponse()
                    self.reply(answered.status, dict(answered.getheaders()), answered.read())

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

            def reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                        self.send_header(name, value)
                length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> FaultyS3:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._change:
            assert self._change.wait_for(lambda: self._handled == 0, 200), "S3 has what it was sent"
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def handling(self) -> Iterator[None]:
        with self._change:
            self._handled += 1
        try:
            yield
        finally:
            with self._change:
                self._handled -= 1
                self._change.notify_all()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=5),
        )
