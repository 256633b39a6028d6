# SPDX-License-Identifier: Apache-2.0
"""scripts/demo: two environments on this machine; a DAG in one runs a DAG in the other."""

from __future__ import annotations

import argparse
import os
import sys

from environments import DEFAULT_AIRFLOW, add_constraints_option, ensure_env
from running import guarded


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        allow_abbrev=False,
        description="Two MWAA environments on this machine, with no AWS account: a DAG in `source` runs a DAG in "
        "`target`, waits for it and reads its result. Installs what it needs into .envs/ on the first run.",
        epilog="Other arguments are those of `airflow-mwaa local demo`.",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="end by itself when the run is over (the default when no one is at the terminal)",
    )
    add_constraints_option(parser)
    given, others = parser.parse_known_args(arguments)
    once = given.once or not (sys.stdin.isatty() and sys.stdout.isatty())
    folder = ensure_env(DEFAULT_AIRFLOW, "local", constraints=given.constraints, show=True)
    os.environ["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    # By its interpreter: a script's first line takes no long path, and no path with a space.
    command = [folder / "bin" / "python", "-m", "airflow_mwaa_provider.cli.main", "local", "demo"]
    os.execv(command[0], [*map(str, command), *(["--once"] if once else []), *others])


if __name__ == "__main__":
    sys.exit(guarded("demo", main, sys.argv[1:]))
