# SPDX-License-Identifier: Apache-2.0
"""scripts/check: everything that can be checked without running the project.

The steps: format, lint, forbidden file contents, types, layers, the docs build, the wheel, and that installing it
changes none of the images' pins. Prints one line per step; stops at the first failure with the tool's own output.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import PYTHON as BOOTSTRAP_PYTHON
from environments import (
    DEFAULT_AIRFLOW,
    UV,
    add_constraints_option,
    constraints_for,
    ensure_env,
    ensure_tools_env,
    image_python,
    known_versions,
    uv_settings,
)
from running import LIB, ROOT, guarded, masked, need_git

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TAIL_LINES = 60


class StepFailed(Exception):
    """A command of a step failed, or the step found nothing to check; the output is in its log."""


class Checks:
    """The steps, in order."""

    def __init__(self, folder: Path, docs_folder: Path, work: Path, constraints: str | None) -> None:
        self._bin = folder / "bin"
        self._docs_bin = docs_folder / "bin"
        self._work = work
        self._constraints = constraints
        self._log = work / "log"
        self._variables = {**os.environ, "AIRFLOW_HOME": str(work / "airflow")}

    @property
    def steps(self) -> dict[str, Callable[[], str | None]]:
        """Return each step by name. A step returns its own summary, or None if its output has one."""
        return {
            "format": lambda: self._run(self._bin / "ruff", "format", "--check", "--diff", "."),
            "lint": lambda: self._run(self._bin / "ruff", "check", "."),
            "files": lambda: self._run(BOOTSTRAP_PYTHON, LIB / "check_files.py"),
            "types": lambda: self._run(self._bin / "mypy"),
            "layers": self._layers,
            "docs": self._docs,
            "build": self._build,
            "wheel": lambda: self._run(self._bin / "python", LIB / "check_wheel.py", self._wheel),
            "pins": self._pins,
        }

    def step(self, name: str) -> bool:
        """Run a step and print its line, after its output if it failed."""
        began = time.monotonic()
        self._log = self._work / f"{name}.log"
        try:
            summary = self.steps[name]()
        except StepFailed as failure:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
            print(masked("\n".join(lines[-_TAIL_LINES:])), file=sys.stderr)
            if str(failure):
                print(failure, file=sys.stderr)
            print(f"FAILED  {name} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
            return False
        if summary is None:
            text = self._log.read_text(encoding="utf-8", errors="replace")
            summary = "; ".join(re.findall(r"(?m)^summary: (.*)", text))
        report(name, began, summary)
        return True

    def _run(self, *command: str | Path, base: Mapping[str, str] | None = None, **variables: str) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            ended = subprocess.run(
                list(map(str, command)),
                cwd=ROOT,
                env={**(self._variables if base is None else base), **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if ended.returncode:
            raise StepFailed

    def _layers(self) -> None:
        # None of this imports Airflow, but plugins of the tools might.
        self._run(self._bin / "python", "-m", "pytest", "-q", "tests/repo/test_layers.py")

    def _docs(self) -> None:
        site = self._work / "site"
        # mkdocstrings looks for ruff on PATH; the notice is Material's warning about MkDocs 2.
        path = f"{self._docs_bin}{os.pathsep}{os.environ.get('PATH', '')}"
        self._run(
            self._docs_bin / "python", "-m", "mkdocs", "build", "--strict", "--clean", "--site-dir", site,
            PATH=path, NO_MKDOCS_2_WARNING="1",
        )  # fmt: skip
        self._run(BOOTSTRAP_PYTHON, LIB / "check_site.py", site)

    def _build(self) -> None:
        self._uv("build", "--quiet", "--python", self._bin / "python", "--out-dir", self._work / "dist", ROOT)

    @property
    def _wheel(self) -> Path:
        wheels = list((self._work / "dist").glob("*.whl"))
        if len(wheels) != 1:
            raise StepFailed(f"{len(wheels)} wheels were built, one is expected")
        return wheels[0]

    def _pins(self) -> str:
        """Resolve each image's Airflow under its pins, without and with the wheel: no version may change."""
        versions = known_versions(self._constraints)
        wheel = self._wheel.as_uri()
        for version in versions:
            pins = constraints_for(version, self._constraints)
            image = [f"apache-airflow[celery,statsd]=={version}", "apache-airflow-providers-amazon", "psycopg2-binary"]
            without = self._resolve(version, pins, "without", image)
            with_wheel = self._resolve(version, pins, "with", [*image, f"airflow-mwaa-provider @ {wheel}"])
            self._run(BOOTSTRAP_PYTHON, LIB / "check_pins.py", pins, without, with_wheel)
        return f"on {len(versions)} versions"

    def _resolve(self, version: str, pins: Path, what: str, requirements: list[str]) -> Path:
        target = self._work / f"pins-{version}-{what}.txt"
        source = target.with_suffix(".in")
        source.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        arguments = (
            "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", image_python(version),
            "--constraints", pins, "--output-file", target, source,
        )  # fmt: skip
        try:
            # Pins do not change, so uv can use its cache without an index, which is ten times faster.
            self._uv("--offline", *arguments)
        except StepFailed:
            self._uv(*arguments)
        return target

    def _uv(self, *arguments: str | Path) -> None:
        variables, options = uv_settings()
        self._run(UV, *arguments, *(options if "compile" in arguments else ()), base=variables)


def report(name: str, began: float, summary: str = "") -> None:
    """Print the line of a step that succeeded."""
    print(f"ok  {name:<12} {time.monotonic() - began:3.0f} s{f'  {summary}' if summary else ''}", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/check", description=__doc__, allow_abbrev=False)
    add_constraints_option(parser)
    given = parser.parse_args(arguments)
    began = time.monotonic()
    need_git()
    known_versions(given.constraints)  # first, because all of them are needed in the end
    folder = ensure_env(DEFAULT_AIRFLOW, constraints=given.constraints)
    docs_folder = ensure_tools_env("docs")
    report("environments", began)
    work = Path(tempfile.mkdtemp(prefix="airflow-mwaa-check."))
    try:
        checks = Checks(folder, docs_folder, work, given.constraints)
        if not all(checks.step(name) for name in checks.steps):
            return 1
    finally:
        shutil.rmtree(work)
    report("all", began)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("check", main, sys.argv[1:]))
