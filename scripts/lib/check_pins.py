# SPDX-License-Identifier: Apache-2.0
"""Check that our wheel neither changes an image's packages nor adds any.

Arguments: the constraints, the resolution without the wheel, the resolution with it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

OURS = "airflow-mwaa-provider"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*(?:==\s*([^\s;#]+)|@)")


def pins(path: str) -> dict[str, str]:
    found = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        match = PIN.match(line)
        if match:
            found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2] or "file"
    return found


def main(constraints: str, without: str, with_wheel: str) -> int:
    pinned, before, after = pins(constraints), pins(without), pins(with_wheel)
    version = Path(constraints).stem
    bad = [f"{n} is {v}, pinned at {pinned[n]}" for n, v in after.items() if n in pinned and v != pinned[n]]
    bad += [f"{n} moves from {v} to {after.get(n)}" for n, v in before.items() if after.get(n) != v]
    bad += [f"{n} {v} would be added" for n, v in after.items() if n not in before and n != OURS]
    if OURS not in after or not before:
        bad.append("the wheel is not in the resolution")
    for line in bad:
        print(f"Airflow {version}: {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
