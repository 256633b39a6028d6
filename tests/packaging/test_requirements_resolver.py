# SPDX-License-Identifier: Apache-2.0
"""Failures other than of the requirements: the index, the machine, settings of uv and pip, repeated options."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from airflow_mwaa_provider.packaging.requirements.checking import check_requirements
from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport
from tests.packaging import zips
from tests.packaging.conftest import BUILD_SYSTEM
from tests.packaging.wheel_index import WheelIndex, metadata, source, wheel

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def broken_index() -> Iterator[str]:
    """Answers with the status in its address; with 200, an HTML page, or a document that is not JSON."""

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


@pytest.mark.parametrize(
    ("about", "sign", "code"),
    [
        ("Requires-Python: <3.10\n", "Wheel-Version: 1.0\n", "wheel-requires-another-python"),
        ("", "Wheel-Version: 2.0\n", "wheel-of-another-format"),
        ("Requires-Python: >=3.8\n", "Wheel-Version: 1.0\n", None),
    ],
)
def test_a_wheel_of_ones_own_is_one_that_the_image_takes(
    index: WheelIndex, tmp_path: Path, about: str, sign: str, code: str | None
) -> None:
    """uv, which installs nothing, accepts each of them."""
    (tmp_path / "ours-1.0-py3-none-any.whl").write_bytes(zips.wheel("ours", "1.0", about=about, sign=sign))
    report = check_requirements("folium==0.15.1\nours==1.0\n", "3.3.1", wheels=tmp_path)
    found = [(problem.code, problem.where) for problem in report.problems]
    assert found == ([(code, "requirements.txt:2")] if code else [])
    assert all(problem.what.startswith("ours-1.0-py3-none-any.whl: It") for problem in report.problems)


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


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("omegaconf==2.0.6\n", "1", "pip refuses omegaconf 2.0.6: its metadata says that it needs 'PyYAML>=5.1.*'"),
        ("folium==0.15.1\nneeds-omegaconf==1.0\n", "2", "omegaconf 2.0.6 (needs-omegaconf needs omegaconf):"),
        ("# -c none\nneeds-omegaconf==1.0\n", "2", "omegaconf 2.0.6 (needs-omegaconf needs omegaconf):"),
    ],
)
def test_a_version_whose_metadata_pip_refuses(text: str, where: str, words: str, index: WheelIndex) -> None:
    [problem] = check_requirements(text, "3.3.1").errors
    assert (problem.code, problem.where) == ("refused-metadata", f"requirements.txt:{where}")
    assert words in problem.what
    name = "needs-omegaconf==1.1" if "needs" in text else "omegaconf==2.3.0"
    assert problem.fix == f"Write {name}."


def test_a_version_whose_metadata_pip_refuses_is_in_no_way_of_other_proposals(index: WheelIndex) -> None:
    report = check_requirements("awswrangler==3.12.0\nomegaconf==2.0.6\n", "3.3.1")
    assert [problem.fix for problem in report.errors] == ["Write awswrangler==3.17.1.", "Write omegaconf==2.3.0."]


@pytest.mark.parametrize("before", ["", "# -c none\n"])
def test_another_version_is_taken_where_pip_takes_it(before: str, index: WheelIndex) -> None:
    found = versions(check_requirements(f"{before}half-refused\nomegaconf==2.3.0\nfolium==0.15.1\n", "3.3.1"))
    assert (found["half-refused"], found["omegaconf"]) == ("1.0", "2.3.0")


def test_a_version_whose_metadata_pip_refuses_is_not_proposed(index: WheelIndex) -> None:
    [problem] = check_requirements("omegaconf==2.0.9\n", "3.3.1").errors
    assert (problem.code, problem.fix) == ("missing-version", "Write omegaconf==2.3.0.")


def test_only_metadata_of_old_wheels_is_read(index: WheelIndex) -> None:
    check_requirements("recent==1.0\nfolium==0.15.1\npandas\n", "3.3.1")
    read = [path.rpartition("/")[2] for path in index.asked if path.endswith(".metadata")]
    assert sorted(read) == ["branca-0.8.2-py3-none-any.whl.metadata", "folium-0.15.1-py3-none-any.whl.metadata"]


def test_metadata_that_is_not_beside_the_wheel_is_read_in_it_unless_it_is_large(
    index: WheelIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "omegaconf-2.0.6-py3-none-any.whl"
    monkeypatch.delitem(index.files, f"{name}.metadata")
    assert check_requirements("omegaconf==2.0.6\n", "3.3.1").errors[0].code == "refused-metadata"
    [page] = [page for page in index.pages["omegaconf"] if page["filename"] == name]
    monkeypatch.setitem(page, "size", 1_000_001)
    assert versions(check_requirements("omegaconf==2.0.6\n", "3.3.1"))["omegaconf"] == "2.0.6"


@pytest.mark.parametrize(
    ("line", "which"),
    [
        ("withdrawn==1.0,>=0.5", "withdrawn"),
        ("needs-withdrawn==1.0", "withdrawn (needs-withdrawn needs withdrawn)"),
    ],
)
def test_a_yanked_version_that_something_pins_is_taken_as_pip_takes_it(
    line: str, which: str, index: WheelIndex
) -> None:
    report = check_requirements(f"folium==0.15.1\n{line}\n", "3.3.1")
    assert versions(report)["withdrawn"] == "1.0"
    [problem] = report.problems
    assert (problem.code, problem.where) == ("yanked", "requirements.txt:2")
    assert problem.what == f"This version of {which} was withdrawn by its authors: wrong files."


@pytest.mark.parametrize("line", ["withdrawn>=0.5", "needs-some-withdrawn==1.0", "withdrawn==1.0.*"])
def test_a_yanked_version_that_nothing_pins_is_not_taken(line: str, index: WheelIndex) -> None:
    report = check_requirements(f"{line}\n", "3.3.1")
    assert len(report.errors) == 1
    assert "withdrawn" not in versions(report)


@pytest.mark.parametrize("file", ["folium-0.15.1-py3-none-any.whl", "folium", "folium.rar"])
def test_an_address_that_is_not_that_of_its_package_is_an_error_of_its_line(
    file: str, index: WheelIndex, index_url: str
) -> None:
    address = index_url.replace("/simple", f"/files/{file}")
    report = check_requirements(f"pandas\nmaps @ {address}\nbranca==0.8.2\n", "3.3.1")
    assert [(problem.code, problem.where) for problem in report.problems] == [("lines-conflict", "requirements.txt:2")]
    assert report.errors[0].fix == "Use another file in line 2, or remove the line."
    assert versions(report)["branca"] == "0.8.2"


def test_a_package_may_need_another_by_its_address(
    index: WheelIndex, index_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "files", dict(index.files))
    monkeypatch.setattr(index, "pages", dict(index.pages))
    address = index_url.replace("/simple", "/files/folium-0.15.1-py3-none-any.whl")
    index.add("needs-address", "1.0", f"folium @ {address}")
    report = check_requirements("branca==0.8.2\nneeds-address==1.0\n", "3.3.1")
    assert report.problems == ()
    assert versions(report) == {"branca": "0.8.2", "folium": "0.15.1", "needs-address": "1.0"}


@pytest.mark.parametrize(
    ("option", "line", "fix"),
    [
        ("--only-binary :all:", "mysqlclient==2.2.8", "Remove --only-binary :all:."),
        ("--no-binary=folium", "folium==0.15.1", "Remove --no-binary folium."),
        ("--only-binary :all:", "half-built==1.0", "Write half-built==0.5.1."),
    ],
)
def test_an_option_that_leaves_out_the_files_of_a_version_is_named(
    option: str, line: str, fix: str, index: WheelIndex
) -> None:
    [problem] = check_requirements(f"{option}\n{line}\n", "3.3.1").errors
    assert (problem.code, problem.where, problem.fix) == ("missing-version", "requirements.txt:2", fix)
    named = option.replace("=", " ")
    assert problem.what == f"The index has {line}, but no file that {named} allows."


def test_a_line_that_contradicts_a_pin_is_told_once(index: WheelIndex) -> None:
    report = check_requirements("awswrangler==3.12.0\nboto3==1.30.0\npandas==2.3.3\n", "3.3.1")
    assert [(problem.code, problem.where) for problem in report.problems] == [
        ("pin-conflict", f"requirements.txt:{number}") for number in (1, 2, 3)
    ]
    assert [problem.fix.partition(",")[0] for problem in report.problems] == [
        "Write awswrangler==3.17.1.",
        "Write boto3==1.43.56",
        "Write pandas==3.0.5",
    ]


@pytest.mark.parametrize("is_cut", [True, False], ids=["a wheel that is cut off", "a source that does not build"])
def test_a_broken_file_and_no_other_version(
    is_cut: bool, index: WheelIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(index, "files", dict(index.files))
    monkeypatch.setattr(index, "pages", dict(index.pages))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    if is_cut:
        index.add("broken", "1.0")
        index.files["broken-1.0-py3-none-any.whl"] = index.files["broken-1.0-py3-none-any.whl"][:40]
    else:
        failing = {"pyproject.toml": BUILD_SYSTEM, "backend.py": "raise RuntimeError('foo.h is missing')"}
        index.add("broken", "1.0", from_source=failing)
        about = "Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n"  # which may not declare all requirements
        index.files["broken-1.0.tar.gz"] = content = source("broken", "1.0", about, failing)
        index.pages["broken"][0]["hashes"] = {"sha256": hashlib.sha256(content).hexdigest()}
    [problem] = check_requirements("broken==1.0\n", "3.3.1").errors
    assert problem.code == "lines-conflict"
    assert problem.fix == "Try again; if it fails again, give a wheel of what fails: --wheels FOLDER."
