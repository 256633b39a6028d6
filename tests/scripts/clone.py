# SPDX-License-Identifier: Apache-2.0
"""A standalone clone whose tools record their calls and fail on demand.

The scripts are the project's own, unchanged. What they call (uv, ruff, mypy, pytest, mkdocs, the checks in
``scripts/lib``) is replaced by shell scripts, so the tests cover what the scripts do with it. No Python among them
reaches the network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Every tool: record the call, fail on demand; then create what uv and pytest leave behind.
TOOL = """#!/bin/sh
call="$(basename "$0") $*"
printf '%s\\n' "$call" >>"$STUB_CALLS"
case "$call" in
    *"${STUB_FAILS:-no such call}"*) echo "$STUB_SAYS"; exit "${STUB_STATUS:-1}" ;;
esac
previous="" last=""
for word in "$@"; do
    case "$previous" in
        --output-file) echo "apache-airflow==3.3.1" >"$word" ;;
        --out-dir) mkdir -p "$word"; echo wheel >"$word/airflow_mwaa_provider-0.1.0-py3-none-any.whl" ;;
    esac
    previous="$word" last="$word"
done
case "$call" in
    "uv venv "*)
        mkdir -p "$last/bin"
        for tool in python ruff mypy mkdocs; do cp "$0" "$last/bin/$tool"; done
        ;;
    "tool -m pip config list") printf '%s' "${STUB_PIP_CONFIG:-}" ;;
    "python -m pytest"*)
        [ -z "${STUB_WAITS:-}" ] || { echo $$ >>"$STUB_WAITS"; sleep 60; }
        echo "===== 3 passed in 0.01s ====="
        ;;
esac
exit 0
"""

# The scripts' own Python: the one that runs the tests, except for the checks, which would find that nothing is real.
PYTHON = """#!/bin/sh
case "$*" in
    */check_*.py* | "-m pip"*) exec "$(dirname "$0")/tool" "$@" ;;
esac
exec "{python}" "$@"
"""

NO_NETWORK = """
import socket

def refuse(*arguments):
    raise OSError("no host is to be reached from here")

socket.socket.connect = socket.getaddrinfo = refuse
"""


class Clone:
    """The scripts in their own folder, in a path with a space and an umlaut."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "ä b" / "clone"
        self.envs = self.root / ".envs"
        self.calls_file = folder / "calls"
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        package = self.root / "airflow_mwaa_provider"
        (package / "packaging").mkdir(parents=True)
        for name in ("__init__.py", "exceptions.py", "packaging/__init__.py", "packaging/image_constraints.py"):
            shutil.copy(ROOT / "airflow_mwaa_provider" / name, package / name)
        shutil.copytree(ROOT / "airflow_mwaa_provider/packaging/constraints", package / "packaging/constraints")
        shutil.copy(ROOT / "pyproject.toml", self.root)
        subprocess.run(["git", "init", "--quiet", self.root], check=True)
        self.variables = {
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder),
            "STUB_CALLS": str(self.calls_file),
            "STUB_SAYS": "this is what the tool said",
            "PYTHONPATH": str(folder / "no_network"),
        }
        (folder / "bin").mkdir()
        executable(folder / "bin" / "python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (folder / "home").mkdir()
        (folder / "no_network").mkdir()
        (folder / "no_network" / "sitecustomize.py").write_text(NO_NETWORK)

    def install_tools(self) -> None:
        """Install tools where the scripts' own environment would be."""
        binaries = self.envs / f"bootstrap-{sys.version_info[0]}.{sys.version_info[1]}" / "bin"
        binaries.mkdir(parents=True)
        executable(binaries / "uv", TOOL)
        executable(binaries / "tool", TOOL)
        executable(binaries / "python", PYTHON.format(python=sys.executable))
        (binaries.parent / ".complete").touch()

    def command(self, script: str, *arguments: str) -> list[str]:
        return [str(self.root / "scripts" / script), *arguments]

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.calls_file.unlink(missing_ok=True)
        return subprocess.run(
            self.command(script, *arguments),
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )

    def calls(self, beginning: str = "") -> list[str]:
        """Return the calls since the last run began."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [line for line in lines if line.startswith(beginning)]


def executable(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
