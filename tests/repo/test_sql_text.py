# SPDX-License-Identifier: Apache-2.0
"""The package never parses its own SQL: fields hold its meaning, not words in its text."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import airflow_mwaa_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(airflow_mwaa_provider.__file__).parent
_KEYWORD = re.compile(
    r"\b(SELECT|EXISTS|WHERE|FROM|JOIN|UNION|DELETE|INSERT|UPDATE|RETURNING|LIMIT|WITH|AND|OR|NOT|IN|NULL|CASE)\b"
)
_SEARCHES = {
    "count", "endswith", "find", "findall", "finditer", "fullmatch", "index", "match", "partition", "removeprefix",
    "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "search", "split", "splitlines",
    "startswith", "sub",
}  # fmt: skip
_SQL_NAME = re.compile(r"(^|_)(sql|query|queries|statement|condition|clause)$")


def searches(source: str) -> Iterator[tuple[int, str]]:
    """Find where a program searches in SQL, or searches for a word of SQL."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for place, operator in enumerate(node.ops):
                if isinstance(operator, ast.In | ast.NotIn):
                    looked_for, looked_in = sides[place], sides[place + 1]
                    if _is_sql(looked_in) or (_has_keyword(looked_for) and not _is_collection(looked_in)):
                        yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SEARCHES:
            looked_for = [*node.args, *(keyword.value for keyword in node.keywords)]
            if _is_sql(node.func.value) or any(map(_is_sql, looked_for)) or any(map(_has_keyword, looked_for)):
                yield node.lineno, ast.unparse(node)


def _is_sql(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return _is_sql(node.func)
    if isinstance(node, ast.BinOp):
        return _is_sql(node.left) or _is_sql(node.right)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return bool(_SQL_NAME.search(name))


def _has_keyword(node: ast.expr) -> bool:
    return any(
        isinstance(found, ast.Constant) and isinstance(found.value, str) and bool(_KEYWORD.search(found.value))
        for found in ast.walk(node)
    )


def _is_collection(node: ast.expr) -> bool:
    return isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict)


def test_no_module_of_metadata_searches_sql() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {what}"
        for path in sorted((PACKAGE / "metadata").rglob("*.py"))
        for line, what in searches(path.read_text())
    ]
    assert found == [], "keep what it means in a field beside the SQL"


@pytest.mark.parametrize(
    "line",
    [
        '"EXISTS" in rule.sql',
        "word not in unit.row_condition_sql",
        '"SELECT" in text',
        'any("EXISTS" in text for text in (rule.sql, rule.query))',
        'condition.split(" AND ")',
        'text.partition(" WHERE ")',
        "re.search(pattern, guard.query)",
        're.match(r"\\bNOT EXISTS\\b", text)',
        'unit.kept_sql(guard).startswith("NOT ")',
        'text.startswith("(SELECT")',
    ],
)
def test_a_search_in_sql_is_found(line: str) -> None:
    assert list(searches(f"found = {line}"))


@pytest.mark.parametrize(
    "line",
    [
        "name in unit.tables",
        '"a" in names',
        'level in ("SELECT", "DELETE")',
        'key.split("/")',
        'rule.sql + " AND true"',
    ],
)
def test_what_is_no_search_in_sql(line: str) -> None:
    assert not list(searches(f"found = {line}"))
