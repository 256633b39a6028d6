# SPDX-License-Identifier: Apache-2.0
"""Count the lines of sources (code, docstrings, the rest) and find places with repeated lines."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPEATED_LINES = 6
"""This many consecutive equal lines count as a place."""


@dataclass(frozen=True)
class Lines:
    """The number of lines of each kind."""

    code: int
    docstrings: int
    comments_and_blank: int


@dataclass(frozen=True)
class Repetition:
    """Lines that repeat earlier ones, in order of paths and lines."""

    path: str
    line: int
    first_path: str
    first_line: int
    lines: int
    """The lines, with ignored ones blank."""


def count(sources: Mapping[str, str]) -> Lines:
    """Return the lines of all sources; a standalone string counts as a docstring."""
    code = docstrings = total = 0
    for source in sources.values():
        lines = source.splitlines()
        full = {number for number, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")}
        told: set[int] = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant | ast.JoinedStr):
                full |= _span(node)  # in a string, what looks like a comment is not one
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                told |= _span(node)
        code += len(full - told)
        docstrings += len(told)
        total += len(lines)
    return Lines(code, docstrings, total - code - docstrings)


def repetitions(sources: Mapping[str, str]) -> list[Repetition]:
    """Return the places where ``REPEATED_LINES`` or more lines repeat earlier ones, regardless of indentation.

    Lines that occur three times are two such places: as many as could be removed. Imports, ``__all__``, the license
    line and blank lines are ignored.
    """
    files = {path: list(_comparable(source)) for path, source in sorted(sources.items())}
    texts = {path: [text for _, text in lines] for path, lines in files.items()}
    seen: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    found = []
    for path, lines in texts.items():
        known = at = 0  # what begins before ``known`` has been indexed
        while at + REPEATED_LINES <= len(lines):
            while known + REPEATED_LINES <= at:  # it ends before this line, so it does not overlap
                seen.setdefault(tuple(lines[known : known + REPEATED_LINES]), []).append((path, known))
                known += 1
            before = seen.get(tuple(lines[at : at + REPEATED_LINES]), [])
            longest = max(
                ((_equal(lines, at, texts[other], start, path == other), other, start) for other, start in before),
                key=lambda each: each[0],
                default=(0, "", 0),
            )
            length, other, start = longest
            if length:
                found.append(Repetition(path, files[path][at][0], other, files[other][start][0], length))
            at += max(length, 1)
        for start in range(known, len(lines) - REPEATED_LINES + 1):
            seen.setdefault(tuple(lines[start : start + REPEATED_LINES]), []).append((path, start))
    return found


def _equal(lines: list[str], at: int, others: list[str], start: int, same_file: bool) -> int:
    """Return how many lines from ``at`` equal those from ``start``, without overlap in one file."""
    most = min(len(lines) - at, (at if same_file else len(others)) - start)
    return next((length for length in range(most) if lines[at + length] != others[start + length]), most)


def _comparable(source: str) -> Iterator[tuple[int, str]]:
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if _only_imports(node) or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"):
            left_out |= _span(node)
    for number, line in enumerate(source.splitlines(), 1):
        text = line.strip()
        if text and number not in left_out and not text.startswith("# SPDX-"):
            yield number, text


def _only_imports(node: ast.AST) -> bool:
    if isinstance(node, ast.If):  # if TYPE_CHECKING
        return all(map(_only_imports, [*node.body, *node.orelse]))
    return isinstance(node, ast.Import | ast.ImportFrom)


def _span(node: ast.AST) -> set[int]:
    return set(range(node.lineno, node.end_lineno + 1))  # type: ignore[attr-defined]
