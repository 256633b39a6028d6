# SPDX-License-Identifier: Apache-2.0
"""The installed uv and pip print what ``requirements/messages.py`` reads: another wording fails here."""

from __future__ import annotations

import ctypes
import ensurepip
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from airflow_mwaa_provider.exceptions import ResolverUnavailable
from airflow_mwaa_provider.packaging.requirements import messages
from airflow_mwaa_provider.packaging.requirements.messages import Sign, constraints_for_pip
from airflow_mwaa_provider.packaging.requirements.resolving import (
    Asked,
    Resolution,
    Resolver,
    Unresolvable,
    find_resolver,
)
from airflow_mwaa_provider.packaging.requirements.target import Target
from tests.packaging.conftest import BUILD_SYSTEM, uv_folder
from tests.packaging.wheel_index import WheelIndex, metadata, source, wheel

pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform != "linux", reason="pip resolves for Linux there only")]

IMAGE = {"3.11": "2.10.3", "3.12": "3.3.1"}[f"{sys.version_info.major}.{sys.version_info.minor}"]

UNREACHABLE_BY_UV = {
    "refused": ("error sending request",),
    "unknown host": ("dns error", "failed to lookup"),
    "tls": ("invalid peer certificate",),
    "hangs": ("operation timed out",),
    "offline": ("network was disabled",),
    "offline, by its address": ("network connectivity is disabled",),
    "401": ("401 unauthorized", "could not be queried"),
    "403": ("403 forbidden", "returned a 403"),
    "407": ("407 proxy",),
    "429": ("429 too many",),
    "502": ("http status server error",),
}
UNREACHABLE_BY_PIP = {
    "refused": ("could not fetch url", "max retries exceeded"),
    "hangs": ("read timed out",),
    "cut": ("connection broken",),
    "401": ("401 client error",),
    "403": ("403 client error",),
    "407": ("could not fetch url",),
    "429": ("could not fetch url",),
    "502": ("server error:",),
}
BLAMED_BY_UV = {
    "one==1.0\ntwo==1.0": ("no solution found", "unsatisfiable"),
    "gone @ {url}/files/gone-1.0-py3-none-any.whl": ("failed to download",),
    "other @ {url}/files/failing-1.0.tar.gz": ("failed to build", "build backend"),
    "cut-wheel==1.0": ("failed to read",),
    "cut-source==1.0": ("failed to extract",),
    "changed==1.0": ("hash mismatch",),
    "one @ file:///no/such/one-1.0-py3-none-any.whl": ("distribution not found",),
    "other @ {url}/files/one.rar": ("couldn't parse", "expected direct url"),
    "other @ {url}/files/one-1.0-py3-none-any.whl": ("requested package name",),
    "other @ {url}/files/renamed": ("couldn't parse",),
    "renamed @ {url}/files/renamed-1.0-py3-none-any.whl": ("metadata",),
    "one @ {url}/files/one-1.0-py3-none-any.whl\none @ {url}/files/copy/one-1.0-py3-none-any.whl": ("conflicting url",),
}
NEEDS_AN_ADDRESS = "url dependencies must be expressed"


@pytest.fixture(scope="module")
def packages() -> Iterator[tuple[WheelIndex, str]]:
    index = WheelIndex()
    server = index.start()
    url = f"http://127.0.0.1:{server.server_port}"
    index.add("one", "1.0", "two>=2", extras=("known",))
    for version in ("1.0", "2.0"):
        index.add("two", version)
    index.files["copy/one-1.0-py3-none-any.whl"] = index.files["one-1.0-py3-none-any.whl"]
    index.add("withdrawn", "1.0", yanked="wrong files")
    index.add("withdrawn", "0.1")
    index.add("needs-withdrawn", "1.0", "withdrawn==1.0")
    index.add("needs-address", "1.0", f"two @ {url}/files/two-1.0-py3-none-any.whl")
    index.pages["empty"] = []
    index.add("cut-wheel", "1.0")
    del index.files["cut_wheel-1.0-py3-none-any.whl.metadata"]
    index.files["cut_wheel-1.0-py3-none-any.whl"] = index.files["cut_wheel-1.0-py3-none-any.whl"][:40]
    build = {"pyproject.toml": BUILD_SYSTEM, "backend.py": "raise RuntimeError('foo.h is missing')"}
    about = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"
    for name in ("failing", "cut-source", "changed"):
        index.add(name, "1.0", from_source=build)
        content = source(name, "1.0", about.format(name), build)
        index.files[f"{name}-1.0.tar.gz"] = content[:60] if name == "cut-source" else content
        if name != "changed":
            index.pages[name][0]["hashes"] = {"sha256": hashlib.sha256(content).hexdigest()}
    inside = wheel("one", "1.0", metadata("one", "1.0", (), "", ()), "py3-none-any", {})
    index.files["renamed-1.0-py3-none-any.whl"] = inside
    yield index, url
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def failing_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of indexes, named after the way that they fail."""
    is_over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.path.split("/")[1]
            if wanted == "hangs":
                is_over.wait(30)
            self.send_response(int(wanted) if wanted.isdigit() else 200)
            self.send_header("Content-Type", "text/html")
            self.send_header("WWW-Authenticate", "Basic realm=index")
            if wanted == "cut":
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", "0")
            self.end_headers()
            self.wfile.write(b"9\r\n<html>" * (wanted == "cut"))

        def log_message(self, *_: object) -> None:
            pass

    plain, secure = (ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    for server in (plain, secure):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    found = {
        "refused": "http://127.0.0.1:9/simple",
        "unknown host": "http://index.invalid/simple",
        "tls": f"https://127.0.0.1:{secure.server_port}/simple",
    }
    for name in ("hangs", "cut", "401", "403", "407", "429", "502"):
        found[name] = f"http://127.0.0.1:{plain.server_port}/{name}/simple"
    yield found
    is_over.set()
    for server in (plain, secure):
        server.shutdown()
        server.server_close()


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What uv and pip print, without the machine's settings."""
    found: list[str] = []
    run = subprocess.run

    def recording(*arguments: Any, **options: Any) -> Any:
        done = run(*arguments, **options)
        found.append(" ".join(f"{done.stderr}{done.stdout}".lower().translate(DRAWN).split()))
        return done

    monkeypatch.setattr(subprocess, "run", recording)
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "0",
        "UV_HTTP_TIMEOUT": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
        "PIP_TIMEOUT": "1",
        "PYTHONWARNINGS": "ignore",
    }.items():
        monkeypatch.setenv(name, value)
    return found


DRAWN = dict.fromkeys(map(ord, "\u2500\u2502\u251c\u256d\u2570\u25b6\u00d7"), " ")


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch, printed: list[str]) -> Resolver:
    monkeypatch.setenv("PATH", f"{uv_folder()}{os.pathsep}{os.environ['PATH']}")
    found = find_resolver(Target.of(IMAGE))
    assert found.name.startswith("uv ")
    return found


@pytest.fixture(scope="module")
def unpacked_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).parent / "_bundled"]
    [pip] = [found for folder in folders if folder for found in Path(folder).glob("pip-*.whl")][:1]
    folder = tmp_path_factory.mktemp("pip")
    with zipfile.ZipFile(pip) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, unpacked_pip: Path, tmp_path: Path, printed: list[str]) -> Resolver:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(unpacked_pip))
    found = find_resolver(Target.of(IMAGE))
    assert found.name.startswith("pip ")
    return found


def resolve(resolver: Resolver, url: str, requirements: str, monkeypatch: pytest.MonkeyPatch) -> Resolution:
    for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, url)
    return resolver.resolve(Asked(tuple(requirements.splitlines()), ("unrelated==1.0",)))


def is_unreachable(error: pytest.ExceptionInfo[ResolverUnavailable]) -> bool:
    return str(error.value).startswith("The package index cannot be reached: ")


@pytest.mark.parametrize("failure", UNREACHABLE_BY_UV)
def test_uv_says_that_an_index_cannot_be_reached(
    failure: str,
    uv: Resolver,
    failing_index: dict[str, str],
    printed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if failure.startswith("offline"):
        monkeypatch.setenv("UV_OFFLINE", "1")
    line = "one @ http://127.0.0.1:9/one-1.0-py3-none-any.whl" if "address" in failure else "one==1.0"
    with pytest.raises(ResolverUnavailable) as error:
        resolve(uv, failing_index.get(failure, failing_index["refused"]), line, monkeypatch)
    assert is_unreachable(error)
    for phrase in UNREACHABLE_BY_UV[failure]:
        assert phrase in printed[-1]


@pytest.mark.parametrize("failure", UNREACHABLE_BY_PIP)
def test_pip_says_that_an_index_cannot_be_reached(
    failure: str,
    pip: Resolver,
    failing_index: dict[str, str],
    printed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ResolverUnavailable) as error:
        resolve(pip, failing_index[failure], "one==1.0", monkeypatch)
    assert is_unreachable(error)
    for phrase in UNREACHABLE_BY_PIP[failure]:
        assert phrase in printed[-1]


@pytest.mark.parametrize("requirements", BLAMED_BY_UV)
def test_uv_says_that_the_requirements_are_wrong(
    requirements: str,
    uv: Resolver,
    packages: tuple[WheelIndex, str],
    printed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, url = packages
    with pytest.raises(Unresolvable):
        resolve(uv, f"{url}/simple", requirements.format(url=url), monkeypatch)
    for phrase in BLAMED_BY_UV[requirements]:
        assert phrase in printed[-1]


def test_each_phrase_is_printed_by_a_test() -> None:
    for listed, tried in (
        (messages.UV_UNREACHABLE, UNREACHABLE_BY_UV),
        (messages.PIP_UNREACHABLE, UNREACHABLE_BY_PIP),
        (messages.UV_BLAMES_REQUIREMENTS, {**BLAMED_BY_UV, "needs-address": (NEEDS_AN_ADDRESS,)}),
    ):
        assert set(listed) == {phrase for phrases in tried.values() for phrase in phrases}


@pytest.mark.parametrize(
    "printed",
    [
        "fatal: unable to access 'https://host/r/': Resolving timed out after 9000 milliseconds",
        "fatal: unable to access 'https://host/r/': Connection timed out after 300001 milliseconds",
        "client error (Connect): tcp connect error: deadline has elapsed",
        "WARNING: 401 Error, Credentials not correct for https://host/simple/one/",
    ],
)
def test_what_no_index_here_brings_about_is_read_too(printed: str) -> None:
    phrases = [phrase for phrase in messages.OTHERS_UNREACHABLE if phrase in printed.lower()]
    assert len(phrases) == 1
    assert messages.unreachable_reason(f"error: failed to fetch\n{printed}\n") is not None
    listed = (*messages.UV_UNREACHABLE, *messages.PIP_UNREACHABLE)
    assert not any(phrase in printed.lower() for phrase in listed), "or a phrase of a test above is enough"


def test_the_system_says_that_no_name_server_answers() -> None:
    explain = ctypes.CDLL(None).gai_strerror
    explain.restype = ctypes.c_char_p
    assert explain(socket.EAI_AGAIN).decode().lower() in messages.SYSTEM_UNREACHABLE


@pytest.mark.parametrize(
    ("requirements", "sign"),
    [
        ("absent==1.0", Sign.MISSING),
        ("one==9.0", Sign.MISSING),
        ("empty", Sign.NO_FILES),
        ("cut-wheel==1.0", Sign.BROKEN_FILE),
        ("other @ {url}/files/failing-1.0.tar.gz", Sign.BROKEN_FILE),
        ("one==1.0\ntwo==1.0", None),
    ],
)
def test_the_signs_in_a_reason_of_uv(
    requirements: str,
    sign: Sign | None,
    uv: Resolver,
    packages: tuple[WheelIndex, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, url = packages
    with pytest.raises(Unresolvable) as error:
        resolve(uv, f"{url}/simple", requirements.format(url=url), monkeypatch)
    assert error.value.signs == ({sign} if sign else set())


def test_uv_names_what_pip_takes_without_being_asked(
    uv: Resolver, packages: tuple[WheelIndex, str], printed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = packages
    found = resolve(uv, f"{url}/simple", "needs-withdrawn==1.0\nneeds-address==1.0", monkeypatch).packages
    assert (found["withdrawn"].version, found["two"].version) == ("1.0", "1.0")
    assert any(NEEDS_AN_ADDRESS in output for output in printed)
    needed = {each for output in printed for each in constraints_for_pip(output.replace("url dep", "URL dep"))}
    assert needed == {"withdrawn==1.0", f"two @ {url}/files/two-1.0-py3-none-any.whl"}


@pytest.mark.parametrize("program", ["uv", "pip"])
def test_warnings(
    program: str, packages: tuple[WheelIndex, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = packages
    resolver: Resolver = request.getfixturevalue(program)
    yanked, extra = sorted(
        resolve(resolver, f"{url}/simple", "withdrawn==1.0\none[absent]==1.0", monkeypatch).warnings,
        key=lambda warning: warning.yanked_because is None,
    )
    assert (yanked.yanked_because, "withdrawn" in yanked.names) == ("wrong files", True)
    assert (extra.yanked_because, "one" in extra.names, "absent" in extra.quoted) == (None, True, True)


def test_pip_fails_on_the_machine_and_not_because_of_the_requirements(
    pip: Resolver, packages: tuple[WheelIndex, str], printed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = packages
    with pytest.raises(ResolverUnavailable) as error:
        resolve(pip, f"{url}/simple", "one @ file:///no/such/one-1.0-py3-none-any.whl", monkeypatch)
    assert not is_unreachable(error)
    assert "error: could not install packages due to an oserror" in printed[-1]
