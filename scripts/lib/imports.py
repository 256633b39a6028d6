# SPDX-License-Identifier: Apache-2.0
"""Read the imports of a source tree: between files, between rooms, and in circles.

``tests/repo/layers.py`` checks them against the rules; ``scripts/structure`` counts and draws them. Only the standard
library, because both run where the project is not installed.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

PACKAGE = "airflow_mwaa_provider"

LONG_LINES = 700
"""A longer file is reported, but breaks no rule: split files by concept, not by length."""


@dataclass(frozen=True)
class Import:
    """One imported module name."""

    name: str
    line: int
    lazy: bool
    """Inside a function: imported only when it is called."""
    typing_only: bool
    """Under ``if TYPE_CHECKING``: never imported at run time."""


@dataclass
class Module:
    """What one source file imports, and where it checks versions."""

    path: str
    name: str
    layer: str
    first_line: str
    imports: list[Import] = field(default_factory=list)
    version_questions: list[tuple[int, str]] = field(default_factory=list)


class _Reader(ast.NodeVisitor):
    def __init__(self, module: Module, is_package: bool) -> None:
        self.module = module
        self.is_package = is_package
        self.lazy = False
        self.typing_only = False

    def _add(self, name: str, node: ast.AST) -> None:
        self.module.imports.append(Import(name, node.lineno, self.lazy, self.typing_only))  # type: ignore[attr-defined]

    def _ask(self, node: ast.AST, what: str) -> None:
        self.module.version_questions.append((node.lineno, what))  # type: ignore[attr-defined]

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node)
            if alias.name == "airflow.version":
                self._ask(node, "imports airflow.version")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = self.module.name.split(".")
            parts = parts[: len(parts) - node.level + (1 if self.is_package else 0)]
            base = ".".join([*parts, base] if base else parts)
        for alias in node.names:
            self._add(f"{base}.{alias.name}", node)
        names = {alias.name for alias in node.names}
        if base == "airflow.version" or (base == "airflow" and names & {"__version__", "version"}):
            self._ask(node, "imports Airflow's version")

    def generic_visit(self, node: ast.AST) -> None:
        before = self.lazy
        self.lazy = before or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        super().generic_visit(node)
        self.lazy = before

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)
            return
        before, self.typing_only = self.typing_only, True
        for child in node.body:
            self.visit(child)
        self.typing_only = before
        for child in node.orelse:
            self.visit(child)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None and _names_import_error(node.type):
            self._ask(node, "catches ImportError")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and node.value.id == "airflow" and "version" in node.attr:
            self._ask(node, f"reads airflow.{node.attr}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func).rpartition(".")[2]
        first = node.args[0] if node.args else None
        text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
        if called in {"import_module", "__import__", "find_spec"} and text:
            self._add(text, node)
        if called == "find_spec" and text.split(".")[0] == "airflow":
            self._ask(node, f"looks for {text}")
        if called in {"version", "distribution"} and text.startswith("apache-airflow"):
            self._ask(node, f"asks for the version of {text}")
        if called == "suppress" and any(_names_import_error(argument) for argument in node.args):
            self._ask(node, "suppresses ImportError")
        self.generic_visit(node)


def _names_import_error(node: ast.expr) -> bool:
    return any(
        isinstance(part, ast.Name) and part.id in {"ImportError", "ModuleNotFoundError"} for part in ast.walk(node)
    )


def read_module(path: str, source: str) -> Module:
    """Read one file; ``path`` is relative to the package, with slashes."""
    parts = path.removesuffix(".py").split("/")
    is_package = parts[-1] == "__init__"
    names = [PACKAGE, *(parts[:-1] if is_package else parts)]
    lines = source.splitlines()
    module = Module(
        path=path,
        name=".".join(names),
        layer=names[1] if len(names) > 1 else "",
        first_line=next((line for line in lines if not line.startswith("#!")), ""),
    )
    _Reader(module, is_package).visit(ast.parse(source, path))
    return module


def read_modules(sources: Mapping[str, str]) -> list[Module]:
    """Read the sources, by path."""
    return [read_module(path, source) for path, source in sources.items()]


def read_tree(folder: Path) -> dict[str, str]:
    """Return the sources by path relative to ``folder``."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def with_parents(name: str) -> Iterator[str]:
    """Return the names ``a``, ``a.b`` and ``a.b.c`` of ``a.b.c``."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


def file_arrows(modules: Iterable[Module]) -> dict[str, dict[str, int]]:
    """Return for each file the files that it imports, with the line of the first such import."""
    modules = list(modules)
    paths = {module.name: module.path for module in modules}
    arrows: dict[str, dict[str, int]] = {}
    for module in modules:
        arrows[module.path] = {}
        for imported in module.imports:
            # The longest part of "package.module.name" that is a file.
            known = [paths[name] for name in with_parents(imported.name) if name in paths]
            if known and known[-1] != module.path:
                arrows[module.path].setdefault(known[-1], imported.line)
    return arrows


def circles(arrows: Mapping[str, Collection[str]]) -> set[tuple[str, ...]]:
    """Return the groups in which each member leads to all others, directly or through others, or to itself.

    Every import of a file counts, including those inside functions and those only for types, because they tie two files
    together for people who read or move one of them.
    """
    reached = {name: _reached(name, arrows) for name in arrows}
    return {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in arrows
        if name in reached[name]
    }


def _reached(name: str, arrows: Mapping[str, Collection[str]]) -> set[str]:
    """Return everything that the arrows of one lead to, directly or indirectly."""
    queue, seen = [name], set()
    while queue:
        more = set(arrows[queue.pop()]) - seen
        seen |= more
        queue += more
    return seen


@dataclass
class Room:
    """A folder with source files, as you see it when you open it."""

    files: int = 0
    """Files in it and in the rooms within it, including each ``__init__.py``."""
    arrows: dict[str, set[str]] = field(default_factory=dict)
    """For each file and room at its top, the others there that it imports, at any depth.

    A file is named with its suffix, a room without one. ``__init__.py`` is the room itself, and not included.
    """

    @property
    def files_at_top(self) -> list[str]:
        return sorted(name for name in self.arrows if name.endswith(".py"))

    @property
    def rooms_at_top(self) -> list[str]:
        return sorted(name for name in self.arrows if not name.endswith(".py"))


def rooms(arrows: Mapping[str, Collection[str]]) -> dict[str, Room]:
    """Return the rooms by path, the tree itself as ``""``, from the arrows between files.

    Each arrow between files becomes one between two items side by side in one room, or one between a room and its own
    ``__init__.py``, which is omitted.
    """
    found: dict[str, Room] = {"": Room()}
    for path in arrows:
        *folders, file = path.split("/")
        for depth in range(len(folders) + 1):
            room = found.setdefault("/".join(folders[:depth]), Room())
            room.files += 1
            name = folders[depth] if depth < len(folders) else file
            if name != "__init__.py":
                room.arrows.setdefault(name, set())
    for path, imported in arrows.items():
        for other in imported:
            ours, theirs = path.split("/"), other.split("/")
            depth = next(depth for depth, (one, two) in enumerate(zip(ours, theirs, strict=False)) if one != two)
            if "__init__.py" not in (ours[depth], theirs[depth]):
                found["/".join(ours[:depth])].arrows[ours[depth]].add(theirs[depth])
    return dict(sorted(found.items()))


def long_files(sources: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the files longer than ``LONG_LINES``, longest first, with their lengths."""
    lengths = {path: len(source.splitlines()) for path, source in sources.items()}
    return sorted(
        ((path, length) for path, length in lengths.items() if length > LONG_LINES), key=lambda each: (-each[1], each)
    )
