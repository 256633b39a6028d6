# SPDX-License-Identifier: Apache-2.0
"""For the docs build: list the contents of the reference's pages on its first page.

A line ``<!-- reference: client, metadata/export -->`` becomes a list of the public names on the pages in these folders
of ``docs/reference/`` (or on these pages), each with the first sentence of its docstring.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "reference"
MARK = re.compile(r"(?m)^<!-- reference: (.*) -->$")


def pages_of(name: str) -> list[Path]:
    """Return the page of a module, and the pages of its submodules."""
    page = FOLDER / f"{name}.md"
    return [*([page] if page.is_file() else []), *sorted((FOLDER / name).rglob("*.md"))]


def summary(path: str) -> str:
    """Return the first sentence of the docstring of a function or class, by its import path."""
    module, _, name = path.rpartition(".")
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            first = (ast.get_docstring(node) or "").split("\n\n")[0]
            return re.sub(r"(?<=[.!?]) .*", "", " ".join(first.split()).replace("``", "`"))
        for each in node.names if isinstance(node, ast.ImportFrom) else ():
            if name == (each.asname or each.name):
                return summary(f"{node.module}.{each.name}")
    raise LookupError(f"{path}: not found in {file}")


def listed(names: str) -> str:
    """Return the list of the names in some modules."""
    rows = list[str]()
    for page in [page for name in names.split(", ") for page in pages_of(name)]:
        link = page.relative_to(FOLDER.parent).as_posix()
        paths = re.findall(r"(?m)^::: (\S+)$", page.read_text(encoding="utf-8"))
        rows += [f"- [`{path.rpartition('.')[2]}`]({link}#{path}): {summary(path)}" for path in paths]
    return "\n".join(rows)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for every page."""
    return MARK.sub(lambda match: listed(match[1]), markdown)
