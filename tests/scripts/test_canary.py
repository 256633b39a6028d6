# SPDX-License-Identifier: Apache-2.0
"""A test run fails, and reports where, if the value of a secret can be read in what it leaves or shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from scripts.lib import canary
from tests import leftovers
from tests.scripts.clone import ROOT, Clone, executable

SEED = "of a run within a test"
"""The surrounding run has another value, and must not find what these tests do."""

RUN = """
import base64, gzip, json
from urllib.parse import quote
from scripts.lib import canary
from tests.metadata.lab import Lab

def test_that_leaves_the_value(tmp_path):
    text = f"12:30 INFO password=é{canary.value()}@/ was read"
    for before in range(3):
        (tmp_path / f"base64-{before}").write_bytes(base64.b64encode(b"." * before + text.encode()))
    (tmp_path / "clear").write_text(text)
    (tmp_path / "far").write_bytes(b"." * (4 * 2**20 - 30) + text.encode())
    (tmp_path / "gzip").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "hex").write_text(text.encode().hex().upper())
    (tmp_path / "json").write_text(json.dumps(text))
    (tmp_path / "url").write_text(quote(text, safe=""))
    (tmp_path / "utf-16").write_bytes(text.encode("utf-16"))
    (tmp_path / f"name-{canary.value()}").touch()
    (tmp_path / "without").write_text(text.replace(canary.value(), "***"))
    (tmp_path / "link").symlink_to("/nowhere")

def test_that_removes_what_it_has_left(tmp_path):
    lab = Lab(tmp_path / "lab")
    (tmp_path / "lab" / "of-a-server").write_text(canary.value())
    lab.start_postgres()
    lab.stop()
"""
SUITE = """
        cat "$HOME/secret"
        [ -z "$STUB_PROCESSES" ] || {
            sh -c "sleep 5; :" "$(cat "$HOME/secret")" &
            NAMED="$(cat "$HOME/secret")" sleep 5
            wait
        }
"""


def value_of(seed: str) -> str:
    """What a run with this seed searches for."""
    code = "import canary; print(canary.value())"
    variables = {**os.environ, canary.SEED: seed, "PYTHONPATH": str(ROOT / "scripts" / "lib")}
    return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True).stdout.strip()


def test_a_value_in_a_file_fails_the_run_that_wrote_it(tmp_path: Path) -> None:
    (tmp_path / "run_leaking.py").write_text(RUN, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", "pyproject.toml"]
    variables = {name: text for name, text in os.environ.items() if name not in {leftovers.FOLDER, "TMPDIR"}}
    done = subprocess.run(
        [*command, tmp_path / "run_leaking.py"],
        cwd=ROOT,
        env={**variables, canary.SEED: SEED, "COLUMNS": "10000"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    [told] = re.findall(r"(?m)^E +AssertionError: (the value .*/clear.*)$", done.stdout)
    files = {
        "in clear": ("clear", "far", "gzip", "json", "url"),
        "as base64": ("base64-0", "base64-1", "base64-2"),
        "as UTF-16": ("utf-16",),
        "in hexadecimal": ("hex",),
    }
    assert sorted(re.findall(r"/([^/\s,]+)(?=,|$)", told)) == sorted(
        [name for names in files.values() for name in names] + ["test_that_leaves_the_value0"]
    )
    for called, names in files.items():
        for name in names:
            assert re.search(rf"{called} in \S+/{name}(,|$)", told), name
    assert "in clear in a name in " in told
    assert re.search(r"(?m)^E +AssertionError: the value .* is in clear in \S+/of-a-server$", done.stdout)
    assert value_of(SEED) not in told


def test_a_value_in_the_output_fails_the_run(clone: Clone) -> None:
    leaking(clone)
    done = clone.run("test", "--airflow", "3.3.1", **{canary.SEED: SEED, "STUB_PROCESSES": ""})
    assert done.returncode == 1
    assert re.search(r"in clear in the output of other unit tests on Airflow 3\.3\.1$", done.stderr, re.M)
    assert "test: failed" not in done.stderr
    assert clone.run("test", "--airflow", "3.3.1", **{canary.SEED: "another", "STUB_PROCESSES": ""}).returncode == 0


def test_a_value_in_the_list_of_processes_fails_the_run(clone: Clone) -> None:
    leaking(clone)
    done = clone.run("test", "--airflow", "3.3.1", **{canary.SEED: SEED, "STUB_PROCESSES": "1"})
    assert done.returncode == 1
    assert re.search(r"in clear in /proc/\d+/cmdline \(sh\)\n", done.stderr), done.stderr
    assert re.search(r"in clear in /proc/\d+/environ \(sleep\)\n", done.stderr), done.stderr


def leaking(clone: Clone) -> None:
    """Let the stub of pytest show the value that a run with :data:`SEED` searches for."""
    Path(clone.variables["HOME"], "secret").write_text(value_of(SEED))
    for tool in clone.envs.glob("bootstrap-*/bin/uv"):
        begin = '"python -m pytest"*)\n'
        assert begin in tool.read_text()
        executable(tool, tool.read_text().replace(begin, begin + SUITE))
