# SPDX-License-Identifier: Apache-2.0
"""Create the scripts' own small environment (uv and packaging) in .envs/, and run a script in it.

This runs in the machine's own Python, which may have only the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from running import ENVS, LIB, Failure, guarded, install_failure, lock, logged

FOLDER = ENVS / f"bootstrap-{sys.version_info[0]}.{sys.version_info[1]}"
PYTHON = FOLDER / "bin" / "python"
UV = FOLDER / "bin" / "uv"
WHAT = ["uv>=0.5", "packaging>=23"]


ELSEWHERE = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_DRY_RUN", "PIP_PYTHON", "PIP_USER"}
"""Settings of pip that would install uv outside the environment."""


def works() -> bool:
    """Return whether the environment is complete and runs: its Python may have been removed."""
    try:
        return all(
            subprocess.run(command, capture_output=True, check=False).returncode == 0
            for command in ([UV, "--version"], [PYTHON, "-c", "import packaging"])
        )
    except OSError:
        return False


def is_whole() -> bool:
    """Return whether the environment is complete and works."""
    return (FOLDER / ".complete").exists() and works()


def make() -> None:
    """Create the environment unless it exists."""
    if is_whole():
        return
    with lock("bootstrap"):
        if is_whole():
            return
        print("installing uv for the scripts into .envs/", file=sys.stderr)
        log = ENVS / "logs" / "bootstrap.log"
        if not logged(log, [sys.executable, "-m", "venv", "--clear", FOLDER]):
            raise install_failure(
                log, f"{sys.executable} -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"
            )
        variables = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        if not logged(log, [PYTHON, "-m", "pip", "install", *WHAT], variables={**variables, "PIP_USER": "0"}):
            raise install_failure(log, "pip could not install uv")
        if not works():
            raise Failure(
                "pip has installed uv elsewhere; remove target, prefix, root and dry-run from its configuration"
            )
        (FOLDER / ".complete").touch()


def main(arguments: list[str]) -> NoReturn:
    script, *rest = arguments
    make()
    os.execv(PYTHON, [str(PYTHON), str(LIB / f"{script}.py"), *rest])


if __name__ == "__main__":
    sys.exit(guarded(Path(sys.argv[1]).name, main, sys.argv[1:]))
