# SPDX-License-Identifier: Apache-2.0
"""Benchmarks start as ``scripts/bench`` starts them; the measurements themselves take minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = sorted((ROOT / "benchmarks").glob("[a-z]*.py"))

pytestmark = pytest.mark.once


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_each_can_be_started(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", str(path), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
