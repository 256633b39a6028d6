# SPDX-License-Identifier: Apache-2.0
"""scripts/demo: two environments on this machine; a DAG in one runs a DAG in the other."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import recording
from environments import DEFAULT_AIRFLOW, add_constraints_option, ensure_env
from running import Failure, guarded


def record(command: list[str], target: Path) -> int:
    """Run the demo as if in an 80-column terminal, and draw what it prints."""
    if not target.resolve().parent.is_dir():
        raise Failure(f"--record {target}: no such folder")
    variables = {**os.environ, "COLUMNS": str(recording.COLUMNS), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    print(done.stdout, end="")
    if done.returncode:
        return done.returncode
    try:
        picture = recording.svg_of("scripts/demo", done.stdout)
    except ValueError as error:
        raise Failure(f"--record {target}: {error}") from None
    target.write_text(picture, encoding="utf-8")
    print(f"Recorded in {target}.")
    return 0


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
        help="stop both environments when the run is over (the default without a terminal)",
    )
    parser.add_argument("--record", metavar="FILE.svg", type=Path, help="run once, and draw the output as an SVG")
    add_constraints_option(parser)
    given, others = parser.parse_known_args(arguments)
    once = given.once or given.record or not (sys.stdin.isatty() and sys.stdout.isatty())
    folder = ensure_env(DEFAULT_AIRFLOW, "local", constraints=given.constraints, show=True)
    os.environ["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    # Through its interpreter, because a shebang line cannot hold a long path or one with a space.
    python = folder / "bin" / "python"
    command = [str(python), "-m", "airflow_mwaa_provider.cli.main", "local", "demo", *(["--once"] if once else [])]
    if given.record:
        return record([*command, *others], given.record)
    return os.execv(python, [*command, *others])


if __name__ == "__main__":
    sys.exit(guarded("demo", main, sys.argv[1:]))
