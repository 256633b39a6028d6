# SPDX-License-Identifier: Apache-2.0
"""pip's settings on a machine also apply to uv: a private index with its own CA, a proxy."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import os
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.scripts.clone import ROOT

LIB = ROOT / "scripts" / "lib"
NAMES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def asked(shell: dict[str, str], listed: str = "") -> dict[str, str]:
    """What uv gets from the scripts' module, in a separate interpreter."""
    code = (
        "import json, os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pip_settings import pip_settings, uv_variables\n"
        "from running import Failure\n"
        "try:\n    print(json.dumps(uv_variables(os.environ, pip_settings(sys.argv[2]))))\n"
        "except Failure as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, LIB, listed], env=shell, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout) if done.stdout.startswith("{") else {"failure": done.stdout.strip()}


@pytest.mark.parametrize(
    ("shell", "listed", "wanted"),
    [
        ({}, "", {}),
        ({}, "global.index-url='https://a/simple'", {"UV_DEFAULT_INDEX": "https://a/simple"}),
        ({}, "global.index-url='https://a'\ninstall.index-url='https://b'", {"UV_DEFAULT_INDEX": "https://b"}),
        ({}, ":env:.index-url='https://c'\ninstall.index-url='https://b'", {"UV_DEFAULT_INDEX": "https://c"}),
        ({}, "download.index-url='https://a'", {}),
        ({"UV_INDEX_URL": "https://mine"}, "global.index-url='https://a'", {}),
        ({"UV_DEFAULT_INDEX": "https://mine"}, "global.index-url='https://a'", {}),
        (
            {},
            "global.extra-index-url='https://a\\nhttps://b'",
            {"UV_INDEX": "https://a https://b", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        ({}, "global.find-links='/wheels https://h/more'", {"UV_FIND_LINKS": "/wheels,https://h/more"}),
        ({}, "global.find-links='wheels'", {"UV_FIND_LINKS": str(Path("wheels").absolute())}),
        ({}, "global.timeout='7.5'", {"UV_HTTP_TIMEOUT": "8"}),
        ({"HOME": str(LIB)}, "global.cert='~/python.sh'", {"SSL_CERT_FILE": str(LIB / "python.sh")}),
        ({}, "global.trusted-host='a b'", {"UV_INSECURE_HOST": "a b"}),
        (
            {},
            "global.proxy='http://p:1'",
            {"ALL_PROXY": "http://p:1", "HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:1"},
        ),
        ({"SSL_CERT_FILE": "mine"}, f"global.cert='{__file__}'", {}),
        ({}, f":env:.cert='{__file__}'", {"SSL_CERT_FILE": __file__}),
        ({"REQUESTS_CA_BUNDLE": __file__}, "", {"SSL_CERT_FILE": __file__}),
        ({"CURL_CA_BUNDLE": __file__}, "", {"SSL_CERT_FILE": __file__}),
        ({"REQUESTS_CA_BUNDLE": "elsewhere"}, f"global.cert='{__file__}'", {"SSL_CERT_FILE": __file__}),
        ({"REQUESTS_CA_BUNDLE": str(LIB)}, "", {"SSL_CERT_DIR": str(LIB)}),
    ],
)
def test_what_uv_is_given(shell: dict[str, str], listed: str, wanted: dict[str, str]) -> None:
    assert asked(shell, listed) == wanted


@pytest.mark.parametrize("timeout", ["soon", "inf"])
def test_a_time_out_that_is_no_number(timeout: str) -> None:
    assert asked({}, f"global.timeout='{timeout}'") == {
        "failure": f"pip's time-out '{timeout}' is not a number of seconds; correct its timeout"
    }


def test_a_bundle_that_is_not_there() -> None:
    assert asked({"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}) == {
        "failure": "the CA bundle /nowhere/ca.pem, which is set for pip, does not exist; correct PIP_CERT or pip's cert"
    }


def wheel() -> bytes:
    """An empty wheel."""
    files = {
        "lonely-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: lonely\nVersion: 1.0\n",
        "lonely-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "lonely-1.0.dist-info/RECORD"
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}"
        for name, text in files.items()
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in {**files, record: "\n".join([*lines, f"{record},,", ""])}.items():
            archive.writestr(name, text)
    return packed.getvalue()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of an index with one package, and the CA bundle needed to trust it."""
    authority = trustme.CA()
    bundle = tmp_path / "bundle ä.pem"
    authority.cert_pem.write_to_path(str(bundle))
    content = wheel()
    name = "lonely-1.0-py3-none-any.whl"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages = {"/simple/lonely/": f'<a href="/{name}">{name}</a>'.encode(), f"/{name}": content}
            body = pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        do_HEAD = do_GET  # noqa: N815 - as the protocol writes it

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/simple", bundle
    server.shutdown()
    thread.join(5)
    server.server_close()


def install(tmp_path: Path, **variables: str) -> str:
    """Install from the index as the scripts do, with the real uv and pip; return the error."""
    [tools, *_] = sorted((ROOT / ".envs").glob("bootstrap-*/bin"))
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "import environments, running\n"
        "log = running.ENVS / 'logs' / Path(sys.argv[2]).parent.name / 'install.log'\n"
        "try:\n"
        "    done = environments.uv(log, 'pip', 'install', '--no-cache', '--target', sys.argv[2], 'lonely')\n"
        "    print('' if done else running.install_failure(log, 'something else'))\n"
        "finally:\n"
        "    log.unlink(); log.parent.rmdir()\n"
    )
    shell = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_")) and name not in NAMES
    }
    done = subprocess.run(
        [tools / "python", "-c", code, LIB, tmp_path / "installed"],
        env={**shell, "PIP_CONFIG_FILE": os.devnull, "UV_HTTP_RETRIES": "0", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


needs_uv = pytest.mark.skipif(
    not list((ROOT / ".envs").glob("bootstrap-*/bin/uv")), reason="scripts/test makes the environment that has uv"
)


@needs_uv
@pytest.mark.parametrize("named_in", ["PIP_CERT", "REQUESTS_CA_BUNDLE", "a file"])
def test_an_index_behind_an_authority_of_its_own(index: tuple[str, Path], tmp_path: Path, named_in: str) -> None:
    url, bundle = index
    if named_in == "a file":
        file = tmp_path / "pip.conf"
        file.write_text(f"[global]\nindex-url = {url}\ncert = {bundle}\n", encoding="utf-8")
        assert install(tmp_path, PIP_CONFIG_FILE=str(file)) == ""
    else:
        assert install(tmp_path, PIP_INDEX_URL=url, **{named_in: str(bundle)}) == ""
    assert (tmp_path / "installed" / "lonely-1.0.dist-info").is_dir()


@needs_uv
def test_without_the_bundle_it_is_told_that_one_is_missing(index: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = index
    assert install(tmp_path, PIP_INDEX_URL=url).startswith("the package index is not trusted; name its CA bundle")


@needs_uv
def test_a_proxy_that_is_set_for_pip_is_used(index: tuple[str, Path], tmp_path: Path) -> None:
    """The proxy does not respond, so the index is not reached although it runs."""
    url, bundle = index
    said = install(tmp_path, PIP_INDEX_URL=url, PIP_CERT=str(bundle), PIP_PROXY="http://127.0.0.1:9")
    assert said.startswith("the package index cannot be reached")
