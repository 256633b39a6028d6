# SPDX-License-Identifier: Apache-2.0
"""scripts/fakesnow: a Python that has fakesnow."""

from __future__ import annotations

import argparse
import os
import sys

from environments import ensure_tools_env
from running import guarded


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/fakesnow",
        allow_abbrev=False,
        usage="%(prog)s PYTHON-ARGUMENTS",
        description="A Python that has fakesnow, which answers as Snowflake does, on DuckDB. It is installed into "
        ".envs/ on the first run.",
        epilog="Example: scripts/fakesnow -m uvicorn fakesnow.server:app --port 8085",
    )
    if not arguments or arguments[0] in {"-h", "--help"}:
        parser.parse_args(["--help"])
    python = str(ensure_tools_env("fakesnow") / "bin" / "python")
    os.execv(python, [python, *arguments])


if __name__ == "__main__":
    sys.exit(guarded("fakesnow", main, sys.argv[1:]))
