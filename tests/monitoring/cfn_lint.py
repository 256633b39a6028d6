# SPDX-License-Identifier: Apache-2.0
"""Run cfn-lint on a CloudFormation template."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def complaints(template: dict[str, Any], folder: Path) -> str:
    """Return all of its findings; none if the template is valid."""
    path = folder / "template.json"
    path.write_text(json.dumps(template), encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", "--regions", "eu-west-1", "--", path],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 or said, done.returncode
    return said.strip()
