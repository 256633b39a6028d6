# SPDX-License-Identifier: Apache-2.0
"""scripts/dbt: dbt, in its own environment."""

from __future__ import annotations

import os
import sys

from environments import ensure_tools_env
from running import guarded


def main(arguments: list[str]) -> int:
    dbt = str(ensure_tools_env("dbt") / "bin" / "dbt")
    os.execv(dbt, [dbt, *arguments])


if __name__ == "__main__":
    sys.exit(guarded("dbt", main, sys.argv[1:]))
