# SPDX-License-Identifier: Apache-2.0
"""A package index on loopback: wheels and source archives of a few lines, served according to PEP 691."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/vnd.pypi.simple.v1+json"


def metadata(name: str, version: str, requires: tuple[str, ...], python: str, extras: tuple[str, ...]) -> str:
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {python}"] * bool(python)
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {each}" for each in requires]
    return "\n".join(lines) + "\n"


def wheel(name: str, version: str, about: str, tag: str, files: dict[str, str]) -> bytes:
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    pure = str(tag.endswith("-any")).lower()
    contents = {
        **files,
        f"{info}/METADATA": about,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: {pure}\nTag: {tag}\n",
    }
    record = ""
    for path, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in contents.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return made.getvalue()


def source(name: str, version: str, about: str, files: dict[str, str]) -> bytes:
    folder = f"{name}-{version}"
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path, text in {"PKG-INFO": about, **files}.items():
            entry = tarfile.TarInfo(f"{folder}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


@dataclass
class WheelIndex:
    """The contents of the index: bytes by file name, and a simple page by package.

    ``asked`` lists the requested paths. ``user`` is the required user and password, separated by a colon.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    user: str = ""

    def add(
        self,
        name: str,
        version: str,
        *requires: str,
        tag: str = "py3-none-any",
        python: str = "",
        extras: tuple[str, ...] = (),
        yanked: str = "",
        size: int | None = None,
        from_source: dict[str, str] | None = None,
        uploaded: str = "2020-01-01",
    ) -> str:
        """Add a wheel with its metadata beside it, or a source archive with these files; return its SHA-256."""
        about = metadata(name, version, requires, python, extras)
        if from_source is not None:
            file_name, content = f"{name}-{version}.tar.gz", source(name, version, about, from_source)
        else:
            module = name.replace("-", "_")
            file_name = f"{module}-{version}-{tag}.whl"
            content = wheel(name, version, about, tag, {f"{module}.py": f"VERSION = {version!r}\n"})
            self.files[f"{file_name}.metadata"] = about.encode()
        digest = hashlib.sha256(content).hexdigest()
        self.files[file_name] = content
        self.pages.setdefault(name, []).append(
            {
                "filename": file_name,
                "url": f"/files/{file_name}",
                "hashes": {"sha256": digest},
                "requires-python": python or None,
                "yanked": yanked or False,
                "size": len(content) if size is None else size,
                "upload-time": f"{uploaded}T00:00:00Z",
            }
        )
        return digest

    def start(self) -> ThreadingHTTPServer:
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index.asked.append(self.path)
                wanted = f"Basic {base64.b64encode(index.user.encode()).decode()}" if index.user else None
                if self.headers["Authorization"] != wanted:
                    self.answer(401, b"", "text/plain")
                    return
                kind, _, name = self.path.strip("/").partition("/")
                if kind == "simple" and name in index.pages:
                    page = {"meta": {"api-version": "1.1"}, "name": name, "files": index.pages[name]}
                    self.answer(200, json.dumps(page).encode(), JSON)
                elif kind == "files" and name in index.files:
                    self.answer(200, index.files[name], "application/octet-stream")
                else:
                    self.answer(404, b"", "text/plain")

            def do_HEAD(self) -> None:
                self.do_GET()

            def answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server
