# SPDX-License-Identifier: Apache-2.0
"""scripts/bench: this package against named rivals, as ratios."""

from __future__ import annotations

import argparse
import os
import sys

from environments import DEFAULT_AIRFLOW, add_constraints_option, ensure_env
from running import ROOT, guarded


def main(arguments: list[str]) -> int:
    there = sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py"))
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        allow_abbrev=False,
        description="Run benchmarks/NAME.py: a table of this package against rivals, then one line of JSON with "
        "the ratios.",
        epilog="Other arguments are the benchmark's own; --quick takes about a minute.",
    )
    parser.add_argument("name", metavar="NAME", choices=there, help=", ".join(there))
    parser.add_argument("--airflow", metavar="X", default=DEFAULT_AIRFLOW, help="on this Airflow (%(default)s)")
    add_constraints_option(parser)
    given, others = parser.parse_known_args(arguments)
    folder = ensure_env(given.airflow, constraints=given.constraints)
    os.environ["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    python = str(folder / "bin" / "python")
    # -P: benchmarks/secrets.py must not shadow Python's own module.
    os.execv(python, [python, "-P", str(ROOT / "benchmarks" / f"{given.name}.py"), *others])


if __name__ == "__main__":
    sys.exit(guarded("bench", main, sys.argv[1:]))
