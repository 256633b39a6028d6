# SPDX-License-Identifier: Apache-2.0
"""Reads the imports of a source tree and says which of the project's layer rules they break.

The rules are those of the "May import" table: which layer may know which, who must not know Airflow, what
may not be imported while a DAG file is parsed, where the Airflow version may be asked for, and that no files
import each other in a circle.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

PACKAGE = "airflow_mwaa_provider"

_BELOW_HOOKS = {"metadata", "client", "monitoring", "exceptions"}
_BELOW_OPERATORS = {"triggers", "links", "hooks", "_compat"} | _BELOW_HOOKS
MAY_IMPORT: dict[str, set[str]] = {
    "_compat": set(),
    "aws_lambda": {"aws_lambda_context", "aws_lambda_events", "client", "exceptions"},
    "aws_lambda_context": {"client", "exceptions"},
    "aws_lambda_endpoints": {"aws_lambda_context", "client", "exceptions"},
    "aws_lambda_events": {"exceptions"},
    "cli": {"client", "metadata", "packaging", "monitoring", "preflight", "local", "secrets", "exceptions", "s3_uri"},
    "client": {"exceptions", "quiet_logs", "s3_uri"},
    "exceptions": set(),
    "hooks": {"_compat", "provider_info"} | _BELOW_HOOKS,  # the form of a connection is data there
    "links": {"hooks", "_compat"} | _BELOW_HOOKS,
    "local": {"_compat", "exceptions"},
    "metadata": {"exceptions", "s3_uri"},
    "monitoring": {"client", "exceptions"},
    "operators": {"secrets", "packaging"} | _BELOW_OPERATORS,
    "packaging": {"client", "exceptions", "s3_uri"},  # the client's AWS calls: what was built is uploaded
    "plugins": {"metadata", "monitoring", "secrets", "exceptions", "_compat"},
    "preflight": {"exceptions"},
    "provider_info": set(),
    "quiet_logs": set(),
    "s3_uri": set(),
    "secrets": {"exceptions", "quiet_logs", "_compat"},
    "sensors": _BELOW_OPERATORS,
    "triggers": {"hooks", "_compat"} | _BELOW_HOOKS,
}
"""Every layer may also import itself and the package's root, which holds nothing but the version."""

ROOMS: dict[str, dict[str, set[str]]] = {
    "local": {
        "airflow": {"machine", "runtime", "errors"},
        "aws": {"runtime", "errors"},
        "machine": {"errors"},
    },
}
"""What a sub-package may know of its own layer; the layer's other files may know all of it."""

WITHOUT_AIRFLOW = {
    "aws_lambda",
    "aws_lambda_context",
    "aws_lambda_endpoints",
    "aws_lambda_events",
    "client",
    "exceptions",
    "metadata",
    "monitoring",
    "packaging",
    "preflight",
    "provider_info",
    "quiet_logs",
    "s3_uri",
}
AIRFLOW_ONLY_LAZILY = {"cli"}
PARSED_WITH_DAGS = {"links", "operators", "secrets", "sensors", "triggers"}
HEAVY = ("airflow.providers.amazon", "boto3", "botocore", "pandas", "psycopg2", "pyarrow", "requests", "rich")

LONG_LINES = 700
"""A longer file is reported, and breaks no rule: files are cut by concept, not by length."""

STANDALONE = {"local/airflow/cli_server.py", "local/airflow/setup.py"}
"""Files that the local MWAA runs by their path inside another interpreter, one that need not have this package.

They cannot use ``_compat.py``, so they may ask for the Airflow version; and they may import nothing of ours.
"""


@dataclass(frozen=True)
class Import:
    """One imported module name."""

    name: str
    line: int
    lazy: bool
    """Inside a function: only when it is called."""
    typing_only: bool
    """Under ``if TYPE_CHECKING``: never at run time."""


@dataclass
class Module:
    """What one source file imports, and the version questions that it asks."""

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


def read_tree(folder: Path) -> dict[str, str]:
    """Sources by path relative to ``folder``."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def violations(sources: Mapping[str, str]) -> list[str]:
    """Every broken rule, as ``path:line: what``."""
    modules = [read_module(path, source) for path, source in sources.items()]
    by_name = {module.name: module for module in modules}
    found: list[str] = []
    for module in modules:
        found += _form_violations(module)
        found += _layer_violations(module)
        found += _room_violations(module)
        found += _airflow_violations(module)
        if module.layer in PARSED_WITH_DAGS:
            found += _heavy_violations(module, by_name)
    return found + list(_circle_violations(modules))


def circles(sources: Mapping[str, str]) -> set[tuple[str, ...]]:
    """Return the files of which each imports, through others or itself, all the rest.

    Every import counts: those inside functions, and those for types alone, which tie two files together for whoever
    reads or moves one of them.
    """
    return _circles(_arrows([read_module(path, source) for path, source in sources.items()]))


def long_files(sources: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the files past ``LONG_LINES``, longest first, with their lengths."""
    lengths = {path: len(source.splitlines()) for path, source in sources.items()}
    return sorted(
        ((path, length) for path, length in lengths.items() if length > LONG_LINES), key=lambda each: (-each[1], each)
    )


def _form_violations(module: Module) -> Iterator[str]:
    if module.first_line != "# SPDX-License-Identifier: Apache-2.0":
        yield f"{module.path}:1: the first line is not the SPDX line"


def _layer_violations(module: Module) -> Iterator[str]:
    if module.layer and module.layer not in MAY_IMPORT:
        yield f"{module.path}:1: {module.layer} is in no layer; name it in the table"
        return
    for imported in module.imports:
        head, _, rest = imported.name.partition(".")
        if head != PACKAGE:
            continue
        layer = rest.split(".")[0]
        if module.path in STANDALONE:
            yield f"{module.path}:{imported.line}: {imported.name} may be missing where this file runs"
            continue
        if layer in {module.layer, "", "__version__"}:
            continue
        if not module.layer:
            yield f"{module.path}:{imported.line}: the package's root imports {imported.name}"
        elif layer not in MAY_IMPORT[module.layer]:
            yield f"{module.path}:{imported.line}: {module.layer} may not import {imported.name}"


def _room_violations(module: Module) -> Iterator[str]:
    rooms = ROOMS.get(module.layer, {})
    room = module.path.split("/")[1] if module.path.count("/") > 1 else ""
    if module.layer in ROOMS and room and room not in rooms:
        yield f"{module.path}:1: {module.layer}/{room} is no room; name it in the table"
        return
    for imported in module.imports if room in rooms else ():
        parts = imported.name.split(".")
        if parts[:2] == [PACKAGE, module.layer] and len(parts) > 2 and parts[2] not in {room, *rooms[room]}:
            yield f"{module.path}:{imported.line}: {module.layer}/{room} may not import {imported.name}"


def _airflow_violations(module: Module) -> Iterator[str]:
    for imported in module.imports:
        if imported.name.split(".")[0] != "airflow":
            continue
        if module.layer in WITHOUT_AIRFLOW or not module.layer:
            yield f"{module.path}:{imported.line}: {module.layer or 'the root'} imports {imported.name}"
        elif module.layer in AIRFLOW_ONLY_LAZILY and not imported.lazy and not imported.typing_only:
            yield f"{module.path}:{imported.line}: {imported.name} at module level makes every command slow"
    if module.layer != "_compat" and module.path not in STANDALONE:
        for line, what in module.version_questions:
            yield f"{module.path}:{line}: {what}; only _compat.py may"


def _heavy_violations(module: Module, by_name: Mapping[str, Module]) -> Iterator[str]:
    """Follow what is imported at module level through the package's own files."""
    queue, seen = [(module, "")], {module.name}
    while queue:
        current, through = queue.pop()
        for imported in current.imports:
            if imported.lazy or imported.typing_only:
                continue
            for heavy in HEAVY:
                if imported.name == heavy or imported.name.startswith(f"{heavy}."):
                    yield (
                        f"{current.path}:{imported.line}: {heavy} would be imported"
                        f" whenever a DAG file imports {module.name}{through}"
                    )
            for name in _with_parents(imported.name):
                if name in by_name and name not in seen:
                    seen.add(name)
                    queue.append((by_name[name], f"{through} -> {name}"))


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


def _arrows(modules: Iterable[Module]) -> dict[str, dict[str, int]]:
    """Return by file the files that it imports, with the line of the first such import."""
    paths = {module.name: module.path for module in modules}
    arrows: dict[str, dict[str, int]] = {}
    for module in modules:
        arrows[module.path] = {}
        for imported in module.imports:
            # Of "package.module.name" the longest part that is a file.
            known = [paths[name] for name in _with_parents(imported.name) if name in paths]
            if known and known[-1] != module.path:
                arrows[module.path].setdefault(known[-1], imported.line)
    return arrows


def _circles(arrows: Mapping[str, Mapping[str, int]]) -> set[tuple[str, ...]]:
    reached = {path: _reached(path, arrows) for path in arrows}
    return {
        tuple(sorted(other for other in reached[path] if path in reached[other]))
        for path in arrows
        if path in reached[path]
    }


def _reached(path: str, arrows: Mapping[str, Mapping[str, int]]) -> set[str]:
    """Return the files that one imports, and those that these import, and so on."""
    queue, seen = [path], set()
    while queue:
        more = arrows[queue.pop()].keys() - seen
        seen |= more
        queue += more
    return seen


def _circle_violations(modules: list[Module]) -> Iterator[str]:
    arrows = _arrows(modules)
    for circle in sorted(_circles(arrows)):
        first = circle[0]
        into = min(path for path in arrows[first] if path in circle)
        yield (
            f"{first}:{arrows[first][into]}: imports {into}, which imports it again; these files are a circle: "
            f"{', '.join(circle)}. Move what they share into a file that imports none of them"
        )
