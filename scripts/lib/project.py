# SPDX-License-Identifier: Apache-2.0
"""What the scripts need from pyproject.toml and from constraints files."""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from running import ROOT

sys.path.append(str(ROOT))

from airflow_mwaa_provider.packaging.image_constraints import normalized

PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;#]+)")


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def extra_requirements(extra: str) -> list[Requirement]:
    """Return the requirements of an extra, with the project's other extras that it names expanded."""
    table = project()
    found: list[Requirement] = []
    for line in table["optional-dependencies"].get(extra, []):
        requirement = Requirement(line)
        if normalized(requirement.name) == normalized(table["name"]):
            for other in sorted(requirement.extras):
                found += extra_requirements(other)
        else:
            found.append(requirement)
    return found


def key(version: str, extra: str, python: str, constraints: str) -> str:
    """Return a hash of everything that determines what is installed, so that a stale environment is never reused."""
    table = project()
    init = (ROOT / "airflow_mwaa_provider" / "__init__.py").read_text()
    parts = [
        "compiled",
        version,
        extra,
        str(Path(python).resolve()),
        str(ROOT),
        Path(constraints).read_text(),
        repr(table["dependencies"]),
        repr([str(requirement) for requirement in extra_requirements(extra)]),
        repr([table.get("entry-points"), table.get("scripts")]),
        repr(re.findall(r'__version__ = "(.*)"', init)),
    ]
    if version == extra:  # an environment of tools, without the project
        parts = parts[1:5] + parts[7:8]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def filter_constraints(source: str, target: str, extra: str) -> list[str]:
    """Copy constraints without the pins that contradict our development tools; return the omitted pins.

    A pin of something that the package needs at run time is never dropped; the install must fail instead.
    """
    runtime = {normalized(Requirement(line).name) for line in project()["dependencies"]}
    tools = {normalized(requirement.name): requirement for requirement in extra_requirements(extra)}
    kept, dropped = [], []
    for line in Path(source).read_text().splitlines():
        match = PIN.match(line)
        if match:
            name, pinned = normalized(match[1]), match[2]
            tool = tools.get(name)
            if tool and name not in runtime and not tool.specifier.contains(pinned, prereleases=True):
                dropped.append(f"{name} {pinned}")
                continue
        kept.append(line)
    Path(target).write_text("\n".join(kept) + "\n")
    return dropped
