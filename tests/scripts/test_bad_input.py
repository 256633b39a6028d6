# SPDX-License-Identifier: Apache-2.0
"""Something is missing on the machine or in the way: one line reports it, and what to do."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts.clone import ROOT, Clone, executable


def only(folder: Path, *commands: str) -> str:
    """A PATH with only these commands of the machine."""
    folder.mkdir()
    for command in ("sh", "dirname", "basename", "head", *commands):
        (folder / command).symlink_to(str(shutil.which(command)))
    return str(folder)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/lib/running.py as a module."""
    spec = importlib.util.spec_from_file_location("running", ROOT / "scripts" / "lib" / "running.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "running", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", ["test", "check", "demo", "bench", "fakesnow", "dbt"])
def test_no_python(clone: Clone, tmp_path: Path, script: str) -> None:
    done = clone.run(script, PATH=only(tmp_path / "only"))
    assert done.returncode == 1
    assert done.stderr == f"{script}: error: there is no python3 on PATH; install Python 3.11 or later\n"


def test_an_old_python(clone: Clone, tmp_path: Path) -> None:
    path = only(tmp_path / "only")
    executable(tmp_path / "only" / "python3", '#!/bin/sh\n[ "$1" != --version ] || echo Python 3.10.9\nexit 1\n')
    done = clone.run("test", PATH=path)
    assert done.returncode == 1
    assert done.stderr == "test: error: python3 on PATH is Python 3.10.9; install Python 3.11 or later\n"


def test_an_old_python_beside_a_newer_one(clone: Clone, tmp_path: Path) -> None:
    path = only(tmp_path / "only", "git", "cp", "mkdir", "nice", "env")
    executable(tmp_path / "only" / "python3", "#!/bin/sh\nexit 1\n")
    (tmp_path / "only" / "python3.12").symlink_to(tmp_path / "bin" / "python3")
    done = clone.run("test", "--quick", PATH=path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["test", "check"])
def test_no_git(clone: Clone, tmp_path: Path, script: str) -> None:
    done = clone.run(script, PATH=f"{tmp_path / 'bin'}:{only(tmp_path / 'only')}")
    assert done.returncode == 1
    assert done.stderr == f"{script}: error: git is not on PATH; install it\n"


def test_no_clone(clone: Clone) -> None:
    shutil.rmtree(clone.root / ".git")
    done = clone.run("check")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"check: error: {clone.root} is not a clone that git can read (fatal: not a git repository"
    )
    assert len(done.stderr.splitlines()) == 1


def test_no_space(running: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40 - 2**20, 2**20))
    with pytest.raises(running.Failure, match=r"^1 MB are free in .*/\.envs, an environment takes \d+; free some"):
        running.need_space()


def test_a_file_where_the_environments_should_be(clone: Clone) -> None:
    shutil.rmtree(clone.envs)
    clone.envs.write_text("")
    done = clone.run("test")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(clone.envs) in done.stderr


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("error: failed to write: No space left on device (os error 28)", "there is no space left"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "there is no space left"),
        ("  Caused by: invalid peer certificate: UnknownIssuer", "the package index is not trusted"),
        ("SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]')", "the package index is not trusted"),
        ("  Caused by: dns error: failed to lookup address information", "the package index cannot be reached"),
        ("WARNING: NewConnectionError(... [Errno 111] Connection refused')", "the package index cannot be reached"),
        ("error sending request for url (https://me:s3cret@index/simple/)", "the package index cannot be reached"),
    ],
)  # fmt: skip
def test_an_install_that_fails_for_a_known_reason(clone: Clone, said: str, told: str) -> None:
    done = clone.run("test", "--quick", STUB_FAILS="uv pip install", STUB_SAYS=said)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"test: error: {told}")
    assert ".envs/logs/airflow-3.3.1-dev.log" in last
    assert "s3cret" not in done.stderr
    assert said not in done.stderr.splitlines()


@pytest.mark.parametrize("password", ["hunter2", "hun/ter2", "hun#t@er2"])
def test_no_password_of_an_index_is_shown_or_kept(clone: Clone, password: str) -> None:
    said = f"Looking in indexes: https://me:{password}@index/simple, 'http://me:{password}@other/simple'"
    done = clone.run("test", "--quick", STUB_FAILS="uv pip install", STUB_SAYS=said)
    assert done.returncode == 1
    log = (clone.envs / "logs" / "airflow-3.3.1-dev.log").read_text()
    for text in (done.stderr, log):
        assert "https://****@index/simple, 'http://****@other/simple'" in text
        assert "er2" not in text


def test_no_index_for_the_very_first_install(clone: Clone) -> None:
    """The real pip, and an index that does not respond."""
    shutil.rmtree(clone.envs)
    python = str(getattr(sys, "_base_executable", sys.executable))
    clone.variables.pop("PYTHONPATH")
    variables = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": "/dev/null"}
    executable(clone.calls_file.parent / "bin" / "python3", f'#!/bin/sh\nexec "{python}" "$@"\n')
    done = clone.run("test", "--quick", **variables)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2, done.stderr
    first, second = done.stderr.splitlines()
    assert first == "installing uv for the scripts into .envs/"
    assert second.startswith("test: error: the package index cannot be reached")
    assert "set PIP_INDEX_URL or a proxy, as for pip" in second


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["test", "--airflow"], 2, "expected one argument"),
        (["test", "--quick", "--full"], 2, "not allowed with argument"),
        (["test", "tests/client"], 2, "unrecognized arguments: tests/client"),
        (["test", "--airflow", "2.9.0"], 1, "The nearest is 2.9.2"),
        (["test", "--airflow", "banana"], 1, "'banana' is not an Airflow version"),
        (["test", "--constraints", "nowhere"], 1, "no constraints for Airflow 2.10.3: nowhere does not exist"),
        (["test", "--full", "--constraints", "nowhere"], 1, "nowhere is not one"),
        (["check", "--quick"], 2, "unrecognized arguments: --quick"),
        (["bench"], 2, "the following arguments are required: NAME"),
        (["bench", "nothing"], 2, "invalid choice: 'nothing'"),
    ],
)
def test_arguments_that_cannot_be_meant(clone: Clone, arguments: list[str], status: int, says: str) -> None:
    done = clone.run(*arguments)
    assert done.returncode == status
    assert says in done.stderr.splitlines()[-1]
    assert clone.calls("uv venv") == []


@pytest.mark.parametrize("script", ["test", "check"])
def test_help(clone: Clone, script: str) -> None:
    done = clone.run(script, "--help")
    assert done.returncode == 0
    assert f"scripts/{script}" in done.stdout
    assert "--constraints" in done.stdout


def test_the_shell_part_is_for_any_shell() -> None:
    """macOS has bash 3.2, Debian's sh is dash."""
    for path in [*(ROOT / "scripts").glob("[a-z]*"), ROOT / "scripts" / "lib" / "python.sh"]:
        if path.is_file():
            assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
            assert "[[" not in path.read_text()
