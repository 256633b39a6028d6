# SPDX-License-Identifier: Apache-2.0
"""Find code that depends on the wording of an error: ``"x" in str(error)``, ``re.match(…, error.detail)`` and so on.

An error's words are for people. Code must use its class or its fields.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

_ERROR_NAMES = {"err", "error", "exc", "exception", "failure"}
_WORDS = {"args", "detail", "message", "msg"}
"""Attributes of an error that are, or contain, its words."""
_COMPARISONS = (ast.In, ast.NotIn, ast.Eq, ast.NotEq)
_METHODS = {"count", "endswith", "find", "index", "partition", "rfind", "rindex", "rpartition", "startswith"}
_PATTERN_METHODS = {"findall", "finditer", "fullmatch", "match", "search"}


def found_in(sources: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Yield path, function and expression of each place that compares or searches the words of an error."""
    found = set()
    for path, source in sources.items():
        for function, name in _functions(ast.parse(source), ""):
            found |= {(path, name, ast.unparse(place)) for place in _places(function)}
    return sorted(found)


def _functions(node: ast.AST, outer: str) -> Iterator[tuple[ast.AST, str]]:
    for child in ast.iter_child_nodes(node):
        name = outer
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{outer}.{child.name}" if outer else child.name
            if not isinstance(child, ast.ClassDef):
                yield child, name
        yield from _functions(child, name)


def _places(function: ast.AST) -> Iterator[ast.AST]:
    errors = set(_errors(function))
    words: set[str] = set()
    while more := set(_assigned(function, errors, words)) - words:
        words |= more
    for node in _own(function):
        looked_at: list[ast.expr] = []
        if isinstance(node, ast.Compare) and any(isinstance(kind, _COMPARISONS) for kind in node.ops):
            looked_at = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _METHODS:
                looked_at = [node.func.value]
            elif node.func.attr in _PATTERN_METHODS:
                looked_at = node.args
        if any(_are_words(each, errors, words) for each in looked_at):
            yield node


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Return the nodes of a function without those of the functions inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _own(child)


def _errors(function: ast.AST) -> Iterator[str]:
    """Return the names that are errors in a function: caught, annotated as errors, or named so."""
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        elif isinstance(node, ast.arg):
            kind = ast.unparse(node.annotation) if node.annotation is not None else ""
            if node.arg in _ERROR_NAMES or kind.rstrip("'\" |None").endswith(("Error", "Exception")):
                yield node.arg
        elif isinstance(node, ast.comprehension) and "cause" in ast.unparse(node.iter):
            yield ast.unparse(node.target)


def _assigned(function: ast.AST, errors: set[str], words: set[str]) -> Iterator[str]:
    for node in _own(function):
        if isinstance(node, ast.Assign | ast.NamedExpr) and _are_words(node.value, errors, words):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _are_words(expression: ast.AST, errors: set[str], words: set[str]) -> bool:
    """Return whether an expression contains an error's words."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and node.id in words:
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"repr", "str"}:
            if any(_is_error(each, errors) for each in node.args):
                return True
        elif (isinstance(node, ast.Attribute) and node.attr in _WORDS and _is_error(node.value, errors)) or (
            isinstance(node, ast.FormattedValue) and _is_error(node.value, errors)
        ):
            return True
    return False


def _is_error(node: ast.AST, errors: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in errors
