# SPDX-License-Identifier: Apache-2.0
"""scripts/check can fail: the tests make each command of each step fail, one by one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.scripts.clone import Clone, executable

STEPS = ["environments", "format", "lint", "files", "types", "layers", "docs", "build", "wheel", "pins", "all"]

# Part of a call -> its step.
COMMANDS = {
    "ruff format": "format",
    "ruff check": "lint",
    "check_files.py": "files",
    "mypy": "types",
    "tests/repo/test_layers.py": "layers",
    "mkdocs build": "docs",
    "check_site.py": "docs",
    "uv build": "build",
    "check_wheel.py": "wheel",
    "pins-2.10.3-without.txt": "pins",
    "pins-2.10.3-with.txt": "pins",
    "pins-3.3.1-without.in": "pins",
    "pins-3.3.1-with.in": "pins",
    "check_pins.py": "pins",
}


@pytest.fixture
def two_versions(clone: Clone, tmp_path: Path) -> str:
    folder = tmp_path / "two"
    folder.mkdir()
    for version in ("2.10.3", "3.3.1"):
        (folder / f"{version}.txt").write_text("apache-airflow-providers-amazon==9.0.0\n")
    return str(folder)


def test_every_step_is_carried_out(clone: Clone, two_versions: str) -> None:
    done = clone.run("check", "--constraints", two_versions)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"(?m)^ok  (\w+)", done.stdout) == STEPS
    assert "on 2 versions" in done.stdout
    assert [command for command in COMMANDS if not any(command in call for call in clone.calls())] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_fails_fails_its_step(clone: Clone, two_versions: str, command: str) -> None:
    done = clone.run("check", "--constraints", two_versions, STUB_FAILS=command)
    assert done.returncode == 1, done.stderr
    assert re.findall(r"(?m)^FAILED  (\w+)", done.stderr) == [COMMANDS[command]]
    assert "this is what the tool said" in done.stderr
    assert re.findall(r"(?m)^ok  (\w+)", done.stdout) == STEPS[: STEPS.index(COMMANDS[command])]


def test_no_command_is_left_out_above(clone: Clone, two_versions: str) -> None:
    """The list has all that check calls, except to make the environments; add new steps to it."""
    clone.run("check", "--constraints", two_versions)
    others = ("uv venv", "uv pip install", "uv --version", "pip config list")
    assert [call for call in clone.calls() if not any(known in call for known in (*COMMANDS, *others))] == []


def test_a_build_without_a_wheel_fails(clone: Clone, two_versions: str) -> None:
    tool = next(clone.envs.glob("bootstrap-*/bin/uv"))
    executable(tool, tool.read_text().replace("airflow_mwaa_provider-0.1.0-py3-none-any.whl", "sdist.tar.gz"))
    done = clone.run("check", "--constraints", two_versions)
    assert done.returncode == 1
    assert "0 wheels were built" in done.stderr
    assert "FAILED  wheel" in done.stderr


def test_no_version_to_try_the_wheel_on_is_an_error(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = clone.run("check", "--constraints", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "has no constraints file named like 3.3.1.txt" in done.stderr
    assert clone.calls("uv venv") == []


def test_one_file_of_constraints_is_not_enough(clone: Clone, two_versions: str) -> None:
    done = clone.run("check", "--constraints", f"{two_versions}/3.3.1.txt")
    assert done.returncode == 1
    assert "all versions need a folder of constraints files" in done.stderr
    assert clone.calls("uv venv") == []


def test_nothing_of_it_is_left(clone: Clone, two_versions: str, tmp_path: Path) -> None:
    for fails in ("no such call", "check_site.py"):
        clone.run("check", "--constraints", two_versions, STUB_FAILS=fails)
        assert list(tmp_path.glob("airflow-mwaa-check.*")) == []
