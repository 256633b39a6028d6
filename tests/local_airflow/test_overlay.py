# SPDX-License-Identifier: Apache-2.0
"""A virtual environment over a virtual environment, and packages in both."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import zipfile

import pytest

from airflow_mwaa_provider.local.airflow import overlay, requirements
from airflow_mwaa_provider.local.airflow.interpreter import Interpreter
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine.logged_command import MaskedLog
from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome

REPORT = """
import importlib.metadata as metadata, json, lower, sys, upper
print(json.dumps([upper.VERSION, lower.VERSION, sys.prefix, metadata.version("upper")]))
"""


def make_wheel(folder, name, version, requires=(), command=None):
    """Write a minimal wheel: a module with its version, and a command."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"VERSION = {version!r}\ndef main():\n    print(VERSION)\n",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {one}\n" for one in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{command or f'{name}-command'} = {name}:main\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    for name, version in (("upper", "1.0"), ("upper", "2.0"), ("lower", "1.0"), ("lower", "2.0"), ("celery", "1.0")):
        make_wheel(folder, name, version)
    make_wheel(folder, "celery", "2.0")
    make_wheel(folder, "needs_lower", "1.0", ["lower>=2"])
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory, wheels):
    """A user's interpreter: a virtual environment with three packages, one of them editable."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", wheels]
    subprocess.run([*command, "upper==1.0", "lower==1.0", "celery==1.0"], check=True)
    return Interpreter(python, folder, "3.11.0", "3.3.1", None, None)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "airflow"
    folder.mkdir()
    return folder


@pytest.fixture
def install(base, home, wheels, tmp_path):
    """Install requirements into a fresh overlay; return (error, log)."""
    folder = tmp_path / "overlay"

    def install(text):
        found = overlay.look_at(base)
        log = MaskedLog(tmp_path / "log", [])
        asyncio.run(overlay.create(folder, base, found, variables={}, log=log))
        text = f"--no-index\n--find-links {wheels}\n{text}"
        variables = {"PATH": "/usr/bin:/bin"}
        error = asyncio.run(
            requirements.install(text, found, folder=folder, home=AirflowHome(home), variables=variables, log=log)
        )
        return error, log.path.read_text()

    return install


def report(python):
    return json.loads(subprocess.run([python, "-c", REPORT], check=True, capture_output=True, text=True).stdout)


def test_what_is_installed_shadows_what_is_below(install, base, tmp_path):
    before = report(base.path)
    error, log = install("# -c none, please\nupper==2.0\n")
    assert error is None, log
    folder = tmp_path / "overlay"
    assert report(overlay.python_of(folder)) == ["2.0", "1.0", str(folder), "2.0"]
    assert report(base.path) == before == ["1.0", "1.0", str(base.prefix), "1.0"]


def test_commands_of_the_interpreter_run_with_the_packages_above(install, tmp_path):
    install("# -c none\nupper==2.0\n")
    bin_ = tmp_path / "overlay" / "bin"
    said = [
        subprocess.run([bin_ / f"{name}-command"], capture_output=True, text=True, check=True).stdout
        for name in ("upper", "lower")
    ]
    assert said == ["2.0\n", "1.0\n"]
    assert f"{bin_}/python" in (bin_ / "lower-command").read_text().splitlines()[0]


def test_without_constraints_the_installed_versions_are_enforced(install, tmp_path):
    error, log = install("needs_lower\n")
    assert error == "pip ended with status 1"
    assert "the interpreter's own versions are enforced" in log
    assert "lower==1.0" in (tmp_path / "overlay" / "installed-constraints.txt").read_text()


def test_with_constraints_they_are_the_users(install):
    error, log = install("#--constraint none\nneeds_lower\n")
    assert error is None, log


def test_what_mwaa_protects_can_not_be_changed_by_any_constraints(install):
    error, log = install("#--constraint none\ncelery==2.0\n")
    assert error == "pip ended with status 1"
    assert "ERROR: pip ended with status 1" in log


def test_what_came_from_a_folder_is_no_version_of_an_index(base, tmp_path, wheels):
    site_packages = next((base.prefix / "lib").glob("python*/site-packages"))
    url = next(site_packages.glob("upper-1.0.dist-info")) / "direct_url.json"
    url.write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    try:
        packages = overlay.look_at(base).packages
    finally:
        url.unlink()
    assert "upper" not in packages
    assert packages["lower"] == "1.0"


def test_an_overlay_is_made_anew_and_removed(install, tmp_path):
    install("# -c none\nupper==2.0\n")
    install("# -c none\nlower==2.0\n")
    assert report(overlay.python_of(tmp_path / "overlay"))[:2] == ["1.0", "2.0"]
    overlay.remove(tmp_path / "overlay")
    overlay.remove(tmp_path / "overlay")
    assert not (tmp_path / "overlay").exists()


def test_pip_that_takes_too_long_is_ended(install, monkeypatch):
    monkeypatch.setattr(requirements, "INSTALL_TIMEOUT_S", 0.01)
    assert install("upper\n")[0] == "pip did not finish within 0 minutes"


def test_an_interpreter_without_venv_is_named_with_the_remedy(tmp_path, base):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named venv\nexit 1\n")
    broken.chmod(0o755)
    interpreter = Interpreter(broken, tmp_path, "3.11.0", "3.3.1", None, None)
    log = MaskedLog(tmp_path / "log", [])
    with pytest.raises(LocalMwaaError, match="can't create a virtual environment: install its venv") as caught:
        asyncio.run(overlay.create(tmp_path / "overlay", interpreter, overlay.look_at(base), variables={}, log=log))
    assert "no module named venv" in caught.value.log_tail
