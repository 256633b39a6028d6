# SPDX-License-Identifier: Apache-2.0
"""What Transact-SQL computes with values, as functions that SQLite calls: values come and go as SQLite stores them."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from fnmatch import translate
from functools import reduce
from operator import add, mul, sub, truediv
from re import DOTALL, IGNORECASE
from re import compile as compile_pattern
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.stand_ins.tds_types import MAX, SqlServerError, SqlType, Value, size_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

__all__ = ["AGGREGATES", "add_functions", "higher_type", "result_type"]

AGGREGATES = ("SUM", "MIN", "MAX", "AVG")

_RANK = ["datetime2", "datetime", "date", "float", "real", "decimal", "numeric", "bigint", "int", "smallint", "tinyint",
         "bit", "nvarchar", "nchar", "varchar", "char", "varbinary", "binary"]  # fmt: skip
"""Of two types, the other is converted to the one that comes first here."""
_OPERATIONS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "modulo"}
_EXACT = Context(prec=78)


def add_functions(connection: sqlite3.Connection, report: Callable[[SqlServerError], None]) -> None:
    """Add the functions, aggregates and collations to a connection.

    :param report: is called with the error of a function, of which SQLite only reports that there was one.
    """

    def reporting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except SqlServerError as error:
                report(error)
                raise

        return call

    def aggregate_class(name: str) -> Any:
        class Aggregate:
            def __init__(self) -> None:
                self.values: list[Value] = []
                self.kinds = ("int", "int")

            def step(self, value: Any, kind: str, result: str) -> None:
                self.kinds = (kind, result)
                if value is not None:
                    self.values.append(SqlType.parse(kind).load(value))

            def finalize(self) -> Any:
                return reporting(_aggregate)(name, self.values, *map(SqlType.parse, self.kinds))

        return Aggregate

    for name, arguments, function in (
        ("tsql_convert", 5, _convert),
        ("tsql_required", 2, _required),
        ("tsql_compare", 3, _compare),
        ("tsql_compute", 6, _compute),
        ("tsql_like", 2, _like),
        ("tsql_len", 1, lambda text: None if text is None else size_of(text.rstrip(" "))),
        ("tsql_upper", 1, lambda text: None if text is None else text.upper()),
        ("tsql_lower", 1, lambda text: None if text is None else text.lower()),
    ):
        connection.create_function(name, arguments, reporting(function), deterministic=True)
    for name in AGGREGATES:
        connection.create_aggregate(f"tsql_{name.lower()}", 3, aggregate_class(name))
    connection.create_collation("tsql", lambda one, other: _compare(one, other, "string") or 0)
    connection.create_collation("tsql_decimal", lambda one, other: _compare(one, other, "decimal") or 0)


def higher_type(one: SqlType, other: SqlType) -> SqlType:
    """Return the type that both are converted to."""
    if one.kind == other.kind == "decimal":
        scale = max(one.scale, other.scale)
        whole = max(one.precision - one.scale, other.precision - other.scale)
        return SqlType("decimal", precision=min(whole + scale, 38), scale=scale)
    first = min(one, other, key=lambda kind: _RANK.index(kind.name))
    second = other if first is one else one
    if first.kind == "decimal" and second.kind == "integer":
        return SqlType("decimal", precision=38, scale=min(first.scale, 19))
    if first.kind in ("string", "binary") and first.kind == second.kind:
        length = MAX if MAX in (first.length, second.length) else max(first.length, second.length)
        return SqlType(first.name, length=length)
    return first


def result_type(operator: str, one: SqlType, other: SqlType) -> SqlType:
    """Return the type of what an operator computes.

    :raises SqlServerError: 402, it does not apply to these types.
    """
    common = higher_type(one, other)
    if common.kind in ("string", "binary") and one.kind == other.kind and operator == "+":
        length = MAX if MAX in (one.length, other.length) else one.length + other.length
        most = 4000 if common.is_unicode else 8000
        name = (
            common.name if common.name.removeprefix("n").startswith("var") else common.name.replace("char", "varchar")
        )
        return SqlType(
            name.replace("binary", "varbinary") if name == "binary" else name,
            length=MAX if length == MAX else min(length, most),
        )
    if (
        common.kind not in ("integer", "float", "decimal")
        or common.name == "bit"
        or (common.kind == "float" and operator == "%")
    ):
        raise SqlServerError(
            402, f"The data types {one.name} and {other.name} are incompatible in the {_OPERATIONS[operator]} operator."
        )  # fmt: skip
    if common.kind != "decimal":
        return common
    (p1, s1), (p2, s2) = _digits(one), _digits(other)
    if operator in "+-":
        scale = max(s1, s2)
        precision = max(p1 - s1, p2 - s2) + scale + 1
    elif operator == "*":
        precision, scale = p1 + p2 + 1, s1 + s2
    elif operator == "/":
        scale = max(6, s1 + p2 + 1)
        precision = p1 - s1 + s2 + scale
    else:
        scale = max(s1, s2)
        precision = min(p1 - s1, p2 - s2) + scale
    if precision > 38:
        scale = max(scale - (precision - 38), min(scale, 6))
    return SqlType("decimal", precision=min(precision, 38), scale=scale)


def _digits(kind: SqlType) -> tuple[int, int]:
    if kind.kind == "decimal":
        return kind.precision, kind.scale
    return {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19, "bit": 1}.get(kind.name, 38), 0


def _convert(value: Any, source: str, target: str, explicit: int, where: str) -> Any:
    if value is None:
        return None
    kind, result = SqlType.parse(source), SqlType.parse(target)
    loaded = kind.load(value)
    try:
        return result.store(result.convert(loaded, kind, explicit=bool(explicit)))
    except SqlServerError as error:
        if error.number == 8152 and where:
            shown = str(value)[: result.length] if isinstance(value, str) else ""
            message = f"String or binary data would be truncated in {where}. Truncated value: '{shown}'."
            raise SqlServerError(2628, message) from None
        raise


def _required(value: Any, message: str) -> Any:
    if value is None:
        raise SqlServerError(515, message, state=2)
    return value


def _compare(one: Any, other: Any, kind: str) -> int | None:
    if one is None or other is None:
        return None
    if kind == "string":
        one, other = one.rstrip(" ").casefold(), other.rstrip(" ").casefold()
    elif kind == "binary":
        one, other = one.rstrip(b"\0"), other.rstrip(b"\0")
    elif kind == "decimal":
        one, other = Decimal(str(one)), Decimal(str(other))
    return int(one > other) - int(one < other)


def _compute(operator: str, one: Any, other: Any, first: str, second: str, result: str) -> Any:
    if one is None or other is None:
        return None
    kind = SqlType.parse(result)
    if kind.kind in ("string", "binary"):
        return kind.store(kind.convert(one + other, kind, explicit=True))
    left: Any = SqlType.parse(first).load(one)
    right: Any = SqlType.parse(second).load(other)
    if operator in "/%" and not right:
        raise SqlServerError(8134, "Divide by zero error encountered.")
    if kind.kind == "decimal":
        exact = [each if isinstance(each, Decimal) else Decimal(str(each)) for each in (left, right)]
        method = {"%": "remainder"}.get(operator, _OPERATIONS[operator])
        return kind.store(kind.convert(getattr(_EXACT, method)(*exact), SqlType("expression")))
    if operator in "/%" and kind.kind == "integer":
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)  # towards zero
        return kind.convert(quotient if operator == "/" else left - quotient * right, SqlType("expression"))
    computed = {"+": add, "-": sub, "*": mul, "/": truediv}[operator](left, right)
    if computed in (float("inf"), float("-inf")):
        raise SqlServerError(8115, f"Arithmetic overflow error converting expression to data type {kind.name}.")
    return kind.convert(computed, SqlType("expression"))


def _like(text: str | None, pattern: str | None) -> bool | None:
    if text is None or pattern is None:
        return None
    shell = pattern.replace("?", "[?]").replace("*", "[*]").replace("%", "*").replace("_", "?").replace("[^", "[!")
    return compile_pattern(translate(shell), IGNORECASE | DOTALL).match(text) is not None


def _aggregate(name: str, values: list[Any], kind: SqlType, result: SqlType) -> Any:
    if not values:
        return None
    if name in ("MIN", "MAX"):
        found = values[0]
        for value in values[1:]:
            order = _compare(value, found, kind.kind) or 0
            found = value if (order < 0 if name == "MIN" else order > 0) else found
        return kind.store(found)
    total: Any = reduce(_EXACT.add, values) if kind.kind == "decimal" else sum(values)
    if name == "AVG" and kind.kind == "integer":
        total = (
            int(total / abs(len(values)))
            if abs(total) < 2**53
            else (abs(total) // len(values)) * (1 if total >= 0 else -1)
        )
    elif name == "AVG":
        total = (
            _EXACT.divide(total, Decimal(len(values))).quantize(Decimal(1).scaleb(-result.scale), ROUND_HALF_UP, _EXACT)
            if kind.kind == "decimal"
            else total / len(values)
        )
    return result.store(result.convert(total, SqlType("expression")))
