# SPDX-License-Identifier: Apache-2.0
"""AIRFLOW_HOME at MWAA's path, for the processes of an environment alone.

DAGs, requirements and startup scripts of MWAA name ``/usr/local/airflow``. Where the system permits it, every process
of an environment has that path (``mwaa_home_program.py``), and each environment another folder there; elsewhere its
AIRFLOW_HOME is the folder in the state folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.machine.mwaa_home_program import CANNOT_RUN, MWAA_HOME

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = Path(__file__).with_name("mwaa_home_program.py")
_PROBE_TIMEOUT_S = 30.0
_PROBE = "import os, sys; sys.exit(not os.path.samefile(sys.argv[1], sys.argv[2]))"


@dataclass(frozen=True)
class AirflowHome:
    """The AIRFLOW_HOME of an environment.

    :param folder: where it is on this machine.
    :param is_at_mwaas_path: for the environment's own processes.
    """

    folder: Path
    is_at_mwaas_path: bool = False

    @property
    def path(self) -> Path:
        """Where the environment's processes find it."""
        return Path(MWAA_HOME) if self.is_at_mwaas_path else self.folder

    def command(self, argv: Sequence[str | Path]) -> list[str | Path]:
        """Return the command that runs another one (with the whole path of its program) as the environment's.

        At MWAA's path, that is the folder it works in, too.
        """
        if not self.is_at_mwaas_path:
            return list(argv)
        return [sys.executable, "-IS", PROGRAM, self.folder, *argv]


def find_problem(folder: Path) -> str | None:
    """Try out whether a folder can be had at MWAA's path; return None, or in a few words why not."""
    if sys.platform != "linux":
        return "only Linux has mount namespaces"
    try:
        if os.path.lexists(MWAA_HOME) and not _is_empty_folder(Path(MWAA_HOME)):
            # Whoever made it wants to see it; an interpreter or the state folder may even be in it.
            return "this machine has something of its own there"
        probe: list[str | Path] = [sys.executable, "-ISc", _PROBE, folder, MWAA_HOME]
        done = subprocess.run(
            AirflowHome(folder, is_at_mwaas_path=True).command(probe),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"it can't be tried out ({type(error).__name__})"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
    reason = lines[0 if done.returncode == CANNOT_RUN else -1]
    return f"this system refuses a mount namespace ({reason})"


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())
