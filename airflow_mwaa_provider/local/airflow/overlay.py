# SPDX-License-Identifier: Apache-2.0
"""A virtual environment over an interpreter: it has all of the interpreter's packages, and its own before them.

So an environment's requirements leave no trace in the user's interpreter. ``venv`` alone cannot do that if the
interpreter is itself in a virtual environment: the new one would be beside it, not over it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.airflow import interpreter as interpreters
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import logged_command
from airflow_mwaa_provider.local.machine.processes import tail
from airflow_mwaa_provider.local.machine.threads import run_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_mwaa_provider.local.airflow.interpreter import Interpreter
    from airflow_mwaa_provider.local.machine.logged_command import MaskedLog

_CREATE_TIMEOUT_S = 180.0
_PTH = "_below.pth"
# Packages whose versions pip can find; what came from a folder or a URL is not a version of an index.
_FACTS = """
import importlib.metadata as metadata, importlib.util as util, json, os, site

packages, seen = {}, set()
for distribution in metadata.distributions():
    name = (distribution.metadata["Name"] or "").lower().replace("_", "-").replace(".", "-")
    if name and name not in seen:
        seen.add(name)
        if distribution.read_text("direct_url.json") is None:
            packages[name] = distribution.version
folders = site.getsitepackages() + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
print(json.dumps({
    "site_packages": [folder for folder in folders if os.path.isdir(folder)],
    "has_pip": util.find_spec("pip") is not None,
    "packages": packages,
}))
"""


@dataclass(frozen=True)
class Base:
    """The installed packages of an interpreter that can have an overlay."""

    site_packages: tuple[str, ...]
    has_pip: bool
    packages: dict[str, str]
    """Versions by pip's normalized names, without packages that were installed from a folder or a URL."""


def look_at(interpreter: Interpreter) -> Base:
    """Ask an interpreter for its packages. :raises LocalMwaaError: it does not answer."""
    facts: dict[str, Any] = interpreters.ask(interpreter.path, _FACTS, ("site_packages", "has_pip", "packages"))
    return Base(tuple(facts["site_packages"]), facts["has_pip"], facts["packages"])


def python_of(folder: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return folder / "bin" / "python"


async def create(
    folder: Path, interpreter: Interpreter, base: Base, *, variables: Mapping[str, str], log: MaskedLog
) -> None:
    """Create the virtual environment again, with pip.

    :raises LocalMwaaError: the interpreter has no ``venv``, or cannot provide pip.
    :raises OSError: the folder cannot be written.
    """
    await run_whole(remove, folder)
    log.begin("creating a virtual environment")
    without_pip = ["--without-pip"] if base.has_pip else []
    end = await logged_command.run(
        "venv",
        [interpreter.path, "-m", "venv", *without_pip, folder],
        environment=variables,
        cwd=folder.parent,
        log=log,
        timeout_s=_CREATE_TIMEOUT_S,
    )
    if end.exit_status != 0:
        raise LocalMwaaError(
            f"{interpreter.path} can't create a virtual environment: install its venv and ensurepip, or pip; "
            f"the log is {log.path}",
            tail(log.path),
        )
    await run_whole(_fill, folder, interpreter, base)


def _fill(folder: Path, interpreter: Interpreter, base: Base) -> None:
    _show_packages_below(folder, base)
    _copy_scripts(folder / "bin", interpreter.path.parent)


def remove(folder: Path) -> None:
    """Remove the virtual environment, if it exists."""
    if folder.exists():
        shutil.rmtree(folder)


def _show_packages_below(folder: Path, base: Base) -> None:
    # addsitedir, not plain lines: the interpreter may have .pth files, for example from editable installs.
    lines = [f"import site; site.addsitedir({path!r})\n" for path in base.site_packages]
    for site_packages in folder.glob("lib/python*/site-packages"):
        (site_packages / _PTH).write_text("".join(lines), encoding="utf-8")


def _copy_scripts(target: Path, source: Path) -> None:
    """Copy the interpreter's commands, such as ``airflow``, which would otherwise bypass the virtual environment."""
    old, new = f"{source}/python".encode(), f"{target}/python".encode()
    for script in source.iterdir():
        copy = target / script.name
        if copy.exists() or copy.is_symlink() or script.is_symlink() or not script.is_file():
            continue
        with script.open("rb") as file:
            if file.read(2) != b"#!":
                continue
            first, second = file.readline(), file.readline()
            # A path that is too long for a #! line is in the second one, after a #! of the shell.
            if old not in first + second:
                continue
            rest = file.read()
        copy.write_bytes(b"#!" + first.replace(old, new) + second.replace(old, new) + rest)
        copy.chmod(0o700)
