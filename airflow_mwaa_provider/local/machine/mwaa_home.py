# SPDX-License-Identifier: Apache-2.0
"""AIRFLOW_HOME at MWAA's path, only for the processes of an environment.

DAGs, requirements and startup scripts for MWAA use ``/usr/local/airflow``. If the system permits it, every process of
an environment has that path (``mwaa_home_program.py``), with the environment's own files; otherwise its AIRFLOW_HOME is
in the state folder.
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

    :param folder: the folder on this machine.
    :param is_at_mwaas_path: whether the environment's own processes find it at MWAA's path.
    """

    folder: Path
    is_at_mwaas_path: bool = False

    @property
    def path(self) -> Path:
        """The path for the environment's processes."""
        return Path(MWAA_HOME) if self.is_at_mwaas_path else self.folder

    def command(self, argv: Sequence[str | Path]) -> list[str | Path]:
        """Return the command that runs another command (with the full path of its program) as the environment's.

        MWAA's path is then also its working folder.
        """
        if not self.is_at_mwaas_path:
            return list(argv)
        return [sys.executable, "-IS", PROGRAM, self.folder, *argv]


def find_problem(folder: Path) -> str | None:
    """Test whether a folder can be mounted at MWAA's path; return None, or the reason why not."""
    if sys.platform != "linux":
        return "only Linux has mount namespaces"
    try:
        if os.path.lexists(MWAA_HOME) and not _is_empty_folder(Path(MWAA_HOME)):
            # It must remain visible; it may even contain an interpreter or the state folder.
            return "this machine has its own files there"
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
        return f"it can't be tested ({type(error).__name__})"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
    reason = lines[0 if done.returncode == CANNOT_RUN else -1]
    return f"this system denies a mount namespace ({reason})"


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())
