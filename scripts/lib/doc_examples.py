# SPDX-License-Identifier: Apache-2.0
"""Example DAGs as the docs show them: whole files, or parts with the imports and constants that they need.

A part is the code between ``[START NAME]`` and ``[END NAME]`` in a file of ``example_dags/``.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r'(?m)^( *)```python\n *--8<-- "(example_dags/[\w/]+\.py)(?::(\w+))?"\n *```$')
"""A block of a page that only shows a file or a part of it."""
MARK = re.compile(r"(?m)^ *# \[(?:START|END) \w+\]\n")


class NoSuchExample(Exception):
    """A page names a file or a part that does not exist."""


def file_text(path: str) -> str:
    """Return an example without its license line and part markers.

    :raises NoSuchExample: the file does not exist.
    """
    if not (ROOT / path).is_file():
        raise NoSuchExample(f"{path}: no such file")
    text = (ROOT / path).read_text(encoding="utf-8").removeprefix("# SPDX-License-Identifier: Apache-2.0\n")
    # Inside a function, one of the two blank lines around a marker is enough.
    return re.sub(r"\n{3,}(?= )", "\n\n", MARK.sub("", text)).strip()


def part_of(path: str, name: str) -> str:
    """Return a part of an example, dedented, below the imports, constants and functions that it uses.

    :raises NoSuchExample: the file does not exist, or it has no such part.
    """
    text = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else ""
    marked = re.search(rf"(?ms)^ *# \[START {name}\]\n(.*?)^ *# \[END {name}\]$", text)
    body = textwrap.dedent(marked[1]).strip() if marked else ""
    if not marked or not body:
        raise NoSuchExample(f"{path}: no part {name!r} is marked by [START {name}] and [END {name}]")
    first, last = text.count("\n", 0, marked.start()) + 1, text.count("\n", 0, marked.end()) + 1
    above = needed_above(text, body, first, last)
    return f"{above}\n\n{body}" if above else body


def needed_above(text: str, body: str, first: int, last: int) -> str:
    """Return the module-level statements outside the lines ``first`` to ``last`` whose names a part uses."""
    statements = [node for node in ast.parse(text).body if node.lineno < first or (node.end_lineno or 0) > last]
    makers = {name: node for node in statements for name in names_made(node)}
    wanted, used = set(names_used(ast.parse(body))), set[str]()
    taken = set[ast.stmt]()
    while new := wanted - used:
        used |= new
        for node in {makers[name] for name in new if name in makers}:
            # The part does not need what encloses it, such as the function of a DAG.
            if node.lineno <= first and (node.end_lineno or 0) >= last:
                continue
            taken.add(node)
            if not is_import(node):
                wanted |= set(names_used(node))
    lines = text.splitlines()
    shown, before = list[str](), 0
    for node in sorted(taken, key=lambda node: node.lineno):
        if shown and any(not line.strip() for line in lines[before : node.lineno - 1]):
            shown.append("")
        source = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        shown.append(narrowed(source, used) if is_import(node) else source)
        before = node.end_lineno or 0
    return "\n".join(shown)


def is_import(node: ast.stmt) -> bool:
    """Return whether a statement only imports, possibly with a fallback."""
    if isinstance(node, ast.Try):
        return all(map(is_import, [*node.body, *(each for handler in node.handlers for each in handler.body)]))
    return isinstance(node, ast.Import | ast.ImportFrom)


def narrowed(source: str, used: set[str]) -> str:
    """Remove unused names from import lines."""

    def used_only(match: re.Match[str]) -> str:
        kept = [name for name in match[2].split(", ") if name.split()[-1] in used]
        return f"{match[1]}{', '.join(kept)}\n" if kept else ""

    return re.sub(r"(?m)^( *from \S+ import )([\w, ]+)\n", used_only, f"{source}\n").rstrip()


def names_made(node: ast.stmt) -> Iterator[str]:
    """Return the names that a module-level statement defines."""
    for each in ast.walk(node) if is_import(node) or isinstance(node, ast.Assign | ast.AnnAssign) else [node]:
        if isinstance(each, ast.alias):
            yield (each.asname or each.name).partition(".")[0]
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id
        elif isinstance(each, ast.FunctionDef | ast.ClassDef):
            yield each.name


def names_used(tree: ast.AST) -> Iterator[str]:
    """Return the names that code reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id


def shown(markdown: str) -> str:
    """Return a page's Markdown with the code of the examples inserted, each under its file name.

    Below the first part of a file, the whole file follows in a collapsed block, so that it can be copied.
    """
    with_file = set[str]()

    def code(match: re.Match[str]) -> str:
        indent, path, part = match.groups()
        lines = f'```python title="{path}"\n{part_of(path, part) if part else file_text(path)}\n```'
        if part and path not in with_file:
            whole = textwrap.indent(f"```python\n{file_text(path)}\n```", "    ")
            lines += f'\n\n??? example "The whole file"\n\n{whole}'
        with_file.add(path)
        return textwrap.indent(lines, indent)

    return BLOCK.sub(code, markdown)
