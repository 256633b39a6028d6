# SPDX-License-Identifier: Apache-2.0
"""Virtual environments per Airflow version, stored in .envs/ under a key of all that determines their contents."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pip_settings
import project
from bootstrap import PYTHON as BOOTSTRAP_PYTHON
from bootstrap import UV
from running import ENVS, ROOT, Failure, install_failure, lock, logged, need_space

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging import image_constraints

DEFAULT_AIRFLOW = "3.3.1"
OTHER_AIRFLOW = "2.10.3"
CONSTRAINTS = "AIRFLOW_MWAA_CONSTRAINTS"
_UNUSED_DAYS = 7


def add_constraints_option(parser: argparse.ArgumentParser) -> None:
    """Add the ``--constraints`` option to a script."""
    parser.add_argument(
        "--constraints",
        metavar="PATH",
        default=os.environ.get(CONSTRAINTS) or None,
        help=f"a constraints file, or a folder of files named X.txt ({CONSTRAINTS}, else those of the package)",
    )


def constraints_for(version: str, given: str | None) -> Path:
    """Return the constraints file of an Airflow version: the given one, or the package's."""
    if given is None:
        try:
            with image_constraints.path_of(version) as path:  # a file of the clone
                return path
        except MwaaInputError as error:
            raise Failure(f"{error} Or pass your own file with --constraints.") from None
    path = Path(given)
    if path.is_dir():
        path = path / f"{version}.txt"
    if not path.is_file():
        raise Failure(f"no constraints for Airflow {version}: {path} does not exist")
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Failure(f"the constraints {path} are not UTF-8 text; pass another file") from None
    return path.resolve()


def known_versions(given: str | None) -> list[str]:
    """Return every Airflow version that has a constraints file, oldest first."""
    if given is None:
        return list(image_constraints.versions())
    if not Path(given).is_dir():
        raise Failure(f"all versions need a folder of constraints files, and {given} is not one")
    found = [path.stem for path in Path(given).glob("*.txt") if re.fullmatch(r"\d+(\.\d+)+", path.stem)]
    if not found:
        raise Failure(f"{given} has no constraints file named like 3.3.1.txt")
    return sorted(found, key=numbers)


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that sort."""
    return tuple(map(int, re.findall(r"\d+", version)))


def image_python(version: str) -> str:
    """Return the Python version of MWAA's image of an Airflow version, or of the closest older image."""
    known = [known for known in image_constraints.versions() if numbers(known) <= numbers(version)]
    return image_constraints.python_of(known[-1] if known else image_constraints.versions()[0])


@functools.cache
def uv_settings() -> tuple[dict[str, str], list[str]]:
    """Return the variables to run uv with, and the options for its commands that use a package index."""
    variables, options = pip_settings.for_uv(BOOTSTRAP_PYTHON)
    return {**variables, "UV_PYTHON_DOWNLOADS": "never"}, options


def uv(log: Path, *arguments: str | Path, shown: bool = False) -> bool:
    """Run uv with its output in a log; return whether it succeeded."""
    # Do not show the list of 200 packages at the end.
    lines = (lambda line: not re.match(r" [+~-] ", line)) if shown else None
    variables, options = uv_settings()
    from_index = options if arguments[:2] == ("pip", "install") else []
    return logged(log, [UV, *arguments, *from_index], variables=variables, shown=lines)


def find_python(want: str) -> Path | None:
    """Find an interpreter of a version, such as 3.12, that actually runs: a pyenv shim may not."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))  # noqa: PTH111 - there may be no home
    candidates = [shutil.which(f"python{want}"), shutil.which("python3"), sys.executable]
    candidates += map(str, sorted(pyenv.glob(f"versions/{want}*/bin/python3"), reverse=True))
    for candidate in filter(None, candidates):
        found = _runs(candidate, want)
        if found is not None:
            return found
    asked = subprocess.run(
        [UV, "python", "find", "--no-project", want],
        env=uv_settings()[0],
        cwd=ENVS,
        capture_output=True,
        text=True,
        check=False,
    )
    return _runs(asked.stdout.strip(), want) if asked.returncode == 0 else None


def _runs(candidate: str, want: str) -> Path | None:
    code = "import sys, ssl, sqlite3, venv; print('%d.%d' % sys.version_info[:2]); print(sys._base_executable)"
    try:
        asked = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return None
    lines = asked.stdout.splitlines()
    return Path(lines[1]) if asked.returncode == 0 and lines[0] == want else None


def ensure_env(version: str, extra: str = "dev", *, constraints: str | None = None, show: bool = False) -> Path:
    """Return the folder of a virtual environment with an Airflow, at its constraints' pins, and this project.

    It is created on first use, then reused. Bytecode is compiled at once: if the shell disables it, every Airflow
    process would compile what it imports, which is two thirds of its start time.

    :param show: also show the installer's output.
    """
    want, note = image_python(version), ""
    python = find_python(want)
    if python is None:
        note = f" (the image has {want}, which this machine has not)"
        want = f"{sys.version_info[0]}.{sys.version_info[1]}"
        python = _runs(sys.executable, want)
    if python is None:
        raise Failure(f"{sys.executable} has no ssl or no sqlite3; install a Python that has both")
    pins = constraints_for(version, constraints)
    key = project.key(version, extra, str(python), str(pins))
    folder = ENVS / f"airflow-{version}-{extra}-{key}"
    print(f"Airflow {version} [{extra}]: Python {want}{note}, pins of {pins.name}", file=sys.stderr)
    if not (folder / ".complete").exists():
        with lock(f"airflow-{version}-{extra}"):
            if not (folder / ".complete").exists():
                _install(version, extra, python, pins, folder, show=show)
    return _used(folder)


def _install(version: str, extra: str, python: Path, pins: Path, folder: Path, *, show: bool) -> None:
    need_space()
    log = ENVS / "logs" / f"airflow-{version}-{extra}.log"
    filtered = ENVS / "constraints" / f"used-{folder.name}.txt"
    filtered.parent.mkdir(exist_ok=True)
    dropped = project.filter_constraints(str(pins), str(filtered), extra)
    if dropped:
        print(
            f"  left out these pins of development tools, which contradict ours: {', '.join(dropped)}", file=sys.stderr
        )
    amazon = re.search(r"(?m)^apache-airflow-providers-amazon(==[^\s;#]+)", pins.read_text(encoding="utf-8"))
    requirements = [f"apache-airflow=={version}", f"apache-airflow-providers-amazon{amazon[1] if amazon else ''}"]
    if numbers(version) >= (3,):
        requirements.append("apache-airflow-providers-fab")
    print(f"  installing into .envs/{folder.name} ...", file=sys.stderr)
    began = time.monotonic()
    _new_venv(folder, python, log)
    if not uv(
        log, "pip", "install", "--compile-bytecode", "--python", folder / "bin" / "python",
        "--constraints", filtered, "--editable", f"{ROOT}[{extra}]", *requirements, shown=show,
    ):  # fmt: skip
        raise install_failure(log, f"the install for Airflow {version} failed")
    print(f"  installed in {time.monotonic() - began:.0f} s", file=sys.stderr)
    (folder / ".complete").touch()


def ensure_tools_env(extra: str) -> Path:
    """Return the environment of an extra: tools that need neither Airflow nor this project."""
    folder = ENVS / f"{extra}-{project.key(extra, extra, str(BOOTSTRAP_PYTHON), os.devnull)}"
    if not (folder / ".complete").exists():
        with lock(extra):
            if not (folder / ".complete").exists():
                log = ENVS / "logs" / f"{extra}.log"
                _new_venv(folder, BOOTSTRAP_PYTHON, log)
                wanted = map(str, project.extra_requirements(extra))
                if not uv(log, "pip", "install", "--python", folder / "bin" / "python", *wanted):
                    raise install_failure(log, f"the install of the extra [{extra}] failed")
                (folder / ".complete").touch()
    return _used(folder)


def _new_venv(folder: Path, python: Path, log: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed run
    if not uv(log, "venv", "--no-project", "--python", python, folder):
        raise install_failure(log, f"no virtual environment could be made in .envs/{folder.name}")


def _used(folder: Path) -> Path:
    """Record the use; remove environments that this one replaced, a week after their last use.

    They differ from it only in the key, and an outdated key is never used again. The servers that the tests keep are
    removed in the same way: they are only copied, right after their use is recorded.
    """
    (folder / ".used").touch()
    for mark in [*ENVS.glob(f"{folder.name.rpartition('-')[0]}-*/.used"), *ENVS.glob("metadata-*/.used")]:
        with contextlib.suppress(FileNotFoundError):  # another run was faster
            if mark.parent != folder and mark.stat().st_mtime < time.time() - _UNUSED_DAYS * 24 * 3600:
                shutil.rmtree(mark.parent, ignore_errors=True)
    return folder
