# SPDX-License-Identifier: Apache-2.0
"""What fails beside the requirements: the index, the machine, settings of uv and pip, options given twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from airflow_mwaa_provider.packaging.requirements.checking import check_requirements
from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport
from tests.packaging.wheel_index import WheelIndex, metadata, wheel

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def broken_index() -> Iterator[str]:
    """Answers with the status that its address names; with 200, a page of HTML, or a document that is no JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.path.split("/")[1]
            kind = "application/vnd.pypi.simple.v1+json" if wanted == "json" else "text/html"
            self.send_response(int(wanted) if wanted.isdigit() else 200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(b"{" if wanted == "json" else b"<html><form>Sign in</form></html>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def versions(report: RequirementsReport) -> dict[str, str]:
    return {package.name: package.version for package in report.resolved}


@pytest.mark.parametrize(
    ("answer", "words"),
    [("401", "401 Unauthorized"), ("403", "403 Forbidden"), ("502", "502 Bad Gateway"), ("json", "line 1 column 1")],
)
def test_an_index_that_fails_is_not_taken_for_one_without_the_package(
    answer: str, words: str, index: WheelIndex, broken_index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    report = check_requirements(f"# private\n--index-url {broken_index}/{answer}/simple\nfolium==0.15.1\n", "3.3.1")
    [problem] = report.errors
    assert (problem.code, problem.where) == ("not-resolved", "requirements.txt:2")
    assert words in problem.what
    assert report.as_dict()["ok"] is False


def test_a_page_that_is_no_index(index: WheelIndex, broken_index: str) -> None:
    report = check_requirements(f"--index-url {broken_index}/html/simple\nfolium==0.15.1\n", "3.3.1")
    [problem] = report.errors
    assert (problem.code, problem.fix) == (
        "unknown-package",
        "Check the address of the index, and that it needs no password.",
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -9 $$", f"was ended by signal {int(signal.SIGKILL)}"),
        ("echo 'error: Failed to build' >&2; echo '  cause: No space left on device' >&2; exit 2", "No space left"),
        ("echo 'error: something that no one foresaw' >&2; exit 2", "failed: error: something that no one foresaw"),
    ],
)
def test_a_resolver_that_fails_is_not_taken_for_one_that_finds_nothing(
    script: str, words: str, index: WheelIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo uv 0.9.0 && exit 0\n{script}\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    [problem] = check_requirements("folium==0.15.1\n", "3.3.1").errors
    assert (problem.code, problem.where) == ("not-resolved", "requirements.txt:1")
    assert words in problem.what


@pytest.mark.parametrize("option", ["--pre", "--index-url {url}", "--no-index"])
def test_an_option_given_twice(option: str, index: WheelIndex, index_url: str, own_wheels: Path) -> None:
    line = option.format(url=index_url)
    report = check_requirements(f"{line}\n{line}\nours==1.0\n", "3.3.1", wheels=own_wheels)
    assert versions(report) == {"ours": "1.0"}


@pytest.fixture
def own_wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "my wheels, v2"
    folder.mkdir()
    content = wheel("ours", "1.0", metadata("ours", "1.0", (), "", ()), "py3-none-any", {})
    (folder / "ours-1.0-py3-none-any.whl").write_bytes(content)
    return folder


def test_a_folder_of_wheels_may_have_a_comma_and_a_space_in_its_name(index: WheelIndex, own_wheels: Path) -> None:
    assert versions(check_requirements("ours==1.0\n", "3.3.1", wheels=own_wheels)) == {"ours": "1.0"}


def test_a_settings_file_says_which_index_and_nothing_else(
    index: WheelIndex, index_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "uv" / "uv.toml"
    settings.parent.mkdir()
    settings.write_text(
        'exclude-newer = "2006-01-01T00:00:00Z"\n[pip]\nno-deps = true\n'
        f'[[index]]\nname = "ours"\nurl = "{index_url}"\ndefault = true\n'
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("UV_NO_CONFIG")
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    assert versions(check_requirements("folium==0.15.1\n", "3.3.1")) == {"branca": "0.8.2", "folium": "0.15.1"}
