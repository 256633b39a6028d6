# SPDX-License-Identifier: Apache-2.0
"""Check that a built wheel declares and contains what it should, and nothing else."""

from __future__ import annotations

import email
import re
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_mwaa_provider"
CONSTRAINTS = f"{PACKAGE}/packaging/constraints"
MAX_BYTES = 2_000_000


def problems(path: Path) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    init = (ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8")
    version = re.findall(r'(?m)^__version__ = "(.*)"$', init)
    found: list[str] = []

    def expect(what: str, actual: object, wanted: object) -> None:
        if actual != wanted:
            found.append(f"{what}: {actual!r}, expected {wanted!r}")

    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        info = f"{PACKAGE}-{version[0]}.dist-info"
        if f"{info}/METADATA" not in names:
            return [f"no {info}/METADATA in {path.name}"]
        said = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
        entry_points = ConfigParser()
        entry_points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
        packed = {name: wheel.read(name) for name in names if name.startswith(f"{CONSTRAINTS}/")}
        legal = {name: wheel.read(name) for name in names if name.startswith(f"{info}/licenses/")}

    expect("version sources", len(version), 1)
    expect("name", said["Name"], project["name"])
    expect("version", said["Version"], version[0])
    expect("requires-python", said["Requires-Python"], project["requires-python"])
    expect("extras", set(said.get_all("Provides-Extra", [])), set(project["optional-dependencies"]))
    expect(
        "entry points",
        {name: dict(entry_points[name]) for name in entry_points.sections()},
        {"console_scripts": project["scripts"], **project["entry-points"]},
    )
    runtime = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    expect("runtime dependencies", len(runtime), len(project["dependencies"]))
    capped = [line for line in runtime if re.search(r"<|==|~=", line)]
    expect("dependencies with an upper bound (the image's constraints decide)", capped, [])
    expect("py.typed", f"{PACKAGE}/py.typed" in names, True)
    for name in ("LICENSE", "NOTICE"):
        expect(name, legal.get(f"{info}/licenses/{name}") == (ROOT / name).read_bytes(), True)
    expect("tag", path.name.endswith("-py3-none-any.whl"), True)
    expect("files elsewhere", sorted(n for n in names if not n.startswith((f"{PACKAGE}/", f"{info}/"))), [])
    expect("compiled files", sorted(n for n in names if n.endswith((".pyc", ".so"))), [])
    tracked = {p.relative_to(ROOT).as_posix() for kind in ("*.py", "*.sh") for p in (ROOT / PACKAGE).rglob(kind)}
    expect("modules and scripts left out", sorted(tracked - names), [])
    kept = {f"{CONSTRAINTS}/{file.name}": file.read_bytes() for file in (ROOT / CONSTRAINTS).glob("*.txt")}
    expect("constraints files in the sources", bool(kept), True)
    expect("constraints files left out", sorted(kept.keys() - packed.keys()), [])
    expect("constraints files that differ", sorted(n for n in kept.keys() & packed.keys() if packed[n] != kept[n]), [])
    expect("constraints files of nowhere", sorted(packed.keys() - kept.keys()), [])
    if path.stat().st_size > MAX_BYTES:
        found.append(f"{path.stat().st_size} bytes, over {MAX_BYTES}")
    print(f"summary: {path.name}, {len(names)} files, {path.stat().st_size // 1024} KiB")
    return found


def main(paths: list[str]) -> int:
    if len(paths) != 1:
        print(f"one wheel expected, not {paths}")
        return 1
    found = problems(Path(paths[0]))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
