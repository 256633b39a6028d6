# SPDX-License-Identifier: Apache-2.0
"""Databases of the stand-in for SQL Server, and sessions that execute Transact-SQL in them, on SQLite in memory.

An error ends its batch. A session reads what others have committed, and waits for what they have not.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.stand_ins.tds_types import MAX, SqlServerError, SqlType, Value
from airflow_mwaa_provider.local.stand_ins.tsql_functions import (
    AGGREGATES,
    add_functions,
    higher_type,
    result_type,
)
from airflow_mwaa_provider.local.stand_ins.tsql_parser import Expression, Statement, parse_batch
from airflow_mwaa_provider.local.stand_ins.tsql_results import (
    Affected,
    DatabaseChanged,
    Finished,
    Result,
    Rows,
    TransactionChanged,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Databases", "Session"]

_LOCK_TIMEOUT_S = 5.0
_VERSION = "Microsoft SQL Server 2019 (RTM) - 15.0.2000.0 (stand-in of a local MWAA, on SQLite)"
_INT, _BIGINT, _FLOAT = SqlType("int"), SqlType("bigint"), SqlType("float")
_SYSNAME = SqlType("nvarchar", length=128)


@dataclass
class _Database:
    name: str
    number: int
    uri: str
    keeper: sqlite3.Connection
    """A database in memory lives as long as it has a connection."""


class Databases:
    """What databases there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: dict[str, _Database] = {}
        self._numbers = itertools.count(1)
        self._sessions: set[Session] = set()
        self.closing = threading.Event()
        for name in ("master", "tempdb"):
            self.create(name)

    def find(self, name: str) -> _Database | None:
        """Find a database by its name, in which case does not matter."""
        return self._by_name.get(name.lower())

    def create(self, name: str) -> None:
        """Create a database.

        :raises SqlServerError: 1801, it exists.
        """
        with self._lock:
            if self.find(name):
                raise SqlServerError(
                    1801, f"Database '{name}' already exists. Choose a different database name.", state=3
                )
            number = next(self._numbers)
            uri = f"file:tds-{id(self)}-{number}?mode=memory&cache=shared"
            keeper = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._by_name[name.lower()] = _Database(name, number, uri, keeper)

    def drop(self, name: str, *, if_exists: bool) -> None:
        """Drop a database.

        :raises SqlServerError: 3701, it does not exist; 3702, a session uses it; 3708, it belongs to the system.
        """
        with self._lock:
            database = self.find(name)
            if database is None:
                if if_exists:
                    return
                raise SqlServerError(
                    3701,
                    f"Cannot drop the database '{name}', because it does not exist or you do not have permission.",
                    11,
                )
            if database.number <= 2:
                raise SqlServerError(
                    3708, f"Cannot drop the database '{database.name}' because it is a system database."
                )
            if any(session.database is database for session in self._sessions):
                raise SqlServerError(
                    3702, f'Cannot drop database "{database.name}" because it is currently in use.', state=3
                )
            del self._by_name[name.lower()]
        database.keeper.close()

    def open_session(self, name: str, number: int, user: str) -> Session:
        """Open a session in a database.

        :raises SqlServerError: 4060, no such database.
        """
        with self._lock:
            database = self.find(name or "master")
            if database is None:
                raise SqlServerError(
                    4060, f'Cannot open database "{name}" requested by the login. The login failed.', 11
                )
            session = Session(self, database, number, user)
            self._sessions.add(session)
            return session

    def forget(self, session: Session) -> None:
        """Take note that a session has ended."""
        with self._lock:
            self._sessions.discard(session)

    def close(self) -> None:
        """Delete all databases; what waits for a lock fails."""
        self.closing.set()
        with self._lock:
            for database in self._by_name.values():
                database.keeper.close()
            self._by_name.clear()


@dataclass
class _Scope:
    """What an expression can name: the columns of its table, and variables."""

    columns: list[tuple[str, SqlType]] = field(default_factory=list)
    qualifiers: tuple[str, ...] = ()
    variables: Mapping[str, tuple[SqlType, Value]] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    aggregates: int = 0
    bare_columns: list[str] = field(default_factory=list)

    def bind(self, value: Any) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"


@dataclass(frozen=True)
class _Table:
    schema: str
    name: str
    title: str
    columns: list[tuple[str, SqlType]]
    required: frozenset[str]
    """Columns that may not be NULL."""

    @property
    def quoted(self) -> str:
        return f'{self.schema}."{self.name}"'


class Session:
    """A connection's session. It is used by one thread."""

    def __init__(self, databases: Databases, database: _Database, number: int, user: str) -> None:
        self.database = database
        self.number = number
        self.user = user
        self.transactions = 0
        """``@@TRANCOUNT``."""
        self._databases = databases
        self._connection = sqlite3.connect(":memory:", uri=True, isolation_level=None, check_same_thread=False)
        self._attached: dict[str, str] = {}
        self._aliases = itertools.count(1)
        self._transaction_numbers = itertools.count(1)
        self._transaction_number = 0
        self._raised: SqlServerError | None = None
        self._affected = 0
        add_functions(self._connection, self._report)

    def close(self) -> None:
        """Roll back what is open, and end the session."""
        self._databases.forget(self)
        self._connection.close()

    def execute(self, text: str, variables: Mapping[str, tuple[SqlType, Value]] | None = None) -> Iterator[Result]:
        """Execute a batch, and yield what its statements return.

        :raises SqlServerError: a statement failed; those before it have been executed, and none if the syntax is wrong.
        """
        for statement in parse_batch(text):
            for result in getattr(self, f"_{statement.kind}")(statement, dict(variables or {})):
                if isinstance(result, Rows):
                    self._affected = len(result.rows)
                elif isinstance(result, Affected):
                    self._affected = result.count
                yield result

    # Statements

    def _set(self, _: Statement, __: Mapping[str, Any]) -> Iterator[Result]:
        yield Finished()

    def _use(self, statement: Statement, _: Mapping[str, Any]) -> Iterator[Result]:
        [name] = statement.name
        database = self._databases.find(name)
        if database is None:
            raise SqlServerError(
                911, f"Database '{name}' does not exist. Make sure that the name is entered correctly."
            )
        before, self.database = self.database, database
        yield DatabaseChanged(database.name, before.name)

    def _create_database(self, statement: Statement, _: Mapping[str, Any]) -> Iterator[Result]:
        if self.transactions:
            raise SqlServerError(
                226, "CREATE DATABASE statement not allowed within multi-statement transaction.", state=6
            )
        self._databases.create(statement.name[0])
        yield Finished()

    def _drop_database(self, statement: Statement, _: Mapping[str, Any]) -> Iterator[Result]:
        if self.transactions:
            raise SqlServerError(574, "DROP DATABASE statement cannot be used inside a user transaction.", state=0)
        self._databases.drop(statement.name[0], if_exists=statement.if_exists)
        yield Finished()

    def _create_table(self, statement: Statement, _: Mapping[str, Any]) -> Iterator[Result]:
        schema, name, _title = self._resolve(statement.name)
        if self._columns(schema, name):
            raise SqlServerError(2714, f"There is already an object named '{name}' in the database.", state=6)
        keys = [*statement.targets, *(column.name for column in statement.columns if column.primary_key)]
        lines = []
        for column in statement.columns:
            line = f"{_quote(column.name)} {column.type.storage}"
            line += "" if column.nullable and column.name not in keys else " NOT NULL"
            lines.append(line + (" UNIQUE" if column.unique else ""))
        if keys:
            lines.append(f"PRIMARY KEY ({', '.join(map(_quote, keys))})")
        self._write(f"CREATE TABLE {schema}.{_quote(name)} ({', '.join(lines)})")
        yield Finished()

    def _drop_table(self, statement: Statement, _: Mapping[str, Any]) -> Iterator[Result]:
        schema, name, title = self._resolve(statement.name)
        if self._columns(schema, name):
            self._write(f"DROP TABLE {schema}.{_quote(name)}")
        elif not statement.if_exists:
            raise SqlServerError(
                3701,
                f"Cannot drop the table '{title}', because it does not exist or you do not have permission.",
                11,
                state=5,
            )
        yield Finished()

    def _truncate(self, statement: Statement, _: Mapping[str, Any]) -> Iterator[Result]:
        self._write(f"DELETE FROM {self._table(statement.name).quoted}")  # noqa: S608 - quoted
        yield Finished()

    def _insert(self, statement: Statement, variables: Mapping[str, Any]) -> Iterator[Result]:
        table = self._table(statement.name)
        targets = [self._column(table, name) for name in statement.targets] or table.columns
        for name in sorted(table.required - {name for name, _ in targets}):
            raise SqlServerError(515, _null_message(name, table), state=2)
        scope = _Scope(variables=variables)
        rows = []
        for values in statement.rows:
            if len(values) != len(targets) and not statement.targets:
                raise SqlServerError(213, "Column name or number of supplied values does not match table definition.")
            if len(values) > len(targets):
                raise SqlServerError(
                    110,
                    "There are fewer columns in the INSERT statement than values specified in the VALUES clause.",
                    15,
                )
            if len(values) < len(targets):
                raise SqlServerError(
                    109,
                    "There are more columns in the INSERT statement than values specified in the VALUES clause.",
                    15,
                )
            cells = [self._assigned(value, column, table, scope) for value, column in zip(values, targets, strict=True)]
            rows.append(f"({', '.join(cells)})")
        names = ", ".join(_quote(name) for name, _ in targets)
        text = f"INSERT INTO {table.quoted} ({names}) VALUES {', '.join(rows)}"  # noqa: S608 - quoted
        yield Affected(self._write(text, scope.parameters, table))

    def _update(self, statement: Statement, variables: Mapping[str, Any]) -> Iterator[Result]:
        table = self._table(statement.name)
        scope = _Scope(table.columns, statement.name, variables)
        changes = []
        for name, [value] in zip(statement.targets, statement.rows, strict=True):
            column = self._column(table, name)
            changes.append(f"{_quote(column[0])} = {self._assigned(value, column, table, scope)}")
        where = self._where(statement, scope)
        text = f"UPDATE {table.quoted} SET {', '.join(changes)}{where}"  # noqa: S608 - quoted
        yield Affected(self._write(text, scope.parameters, table))

    def _delete(self, statement: Statement, variables: Mapping[str, Any]) -> Iterator[Result]:
        table = self._table(statement.name)
        scope = _Scope(table.columns, statement.name, variables)
        where = self._where(statement, scope)
        text = f"DELETE FROM {table.quoted}{where}"  # noqa: S608 - quoted
        yield Affected(self._write(text, scope.parameters, table))

    def _select(self, statement: Statement, variables: Mapping[str, Any]) -> Iterator[Result]:
        table = self._table(statement.name) if statement.name else None
        qualifiers = (statement.alias,) if statement.alias else statement.name
        scope = _Scope(table.columns if table else [], qualifiers, variables)
        values, columns = [], []
        for item, name in statement.items:
            if item.kind == "star":
                if table is None:
                    raise SqlServerError(263, "Must specify table to select from.")
                scope.bare_columns += [column for column, _ in table.columns]
                values += [_quote(column) for column, _ in table.columns]
                columns += table.columns
                continue
            text, kind = self._value(item, scope)
            values.append(text)
            columns.append((name, kind))
        if scope.aggregates and scope.bare_columns:
            raise SqlServerError(
                8120,
                f"Column '{statement.name[-1]}.{scope.bare_columns[0]}' is invalid in the select list because it is "
                "not contained in either an aggregate function or the GROUP BY clause."
            )  # fmt: skip
        text = f"SELECT {'DISTINCT ' if statement.distinct else ''}{', '.join(values)}"
        if table:
            text += f" FROM {table.quoted}{self._where(statement, scope)}"
        if statement.order_by:
            text += f" ORDER BY {', '.join(self._keys(statement, columns, scope))}"
        if statement.top is not None:
            text += f" LIMIT {self._value(statement.top, scope)[0]}"
        found = self._run(text, scope.parameters)
        yield Rows(
            columns, [tuple(kind.load(cell) for (_, kind), cell in zip(columns, row, strict=True)) for row in found]
        )

    def _keys(self, statement: Statement, columns: list[tuple[str, SqlType]], scope: _Scope) -> Iterator[str]:
        names = [name.lower() for name, _ in columns]
        for key, descending in statement.order_by:
            if key.kind == "literal" and isinstance(key.value, int):
                if not 1 <= key.value <= len(columns):
                    raise SqlServerError(
                        108,
                        f"The ORDER BY position number {key.value} is out of range of the number of items in the "
                        "select list.",
                        15,
                    )
                text, kind = str(key.value), columns[key.value - 1][1]
            elif key.kind == "column" and key.text.lower() in names:
                text, kind = str(names.index(key.text.lower()) + 1), columns[names.index(key.text.lower())][1]
            else:
                text, kind = self._value(key, scope)
            collation = {"string": " COLLATE tsql", "decimal": " COLLATE tsql_decimal"}.get(kind.kind, "")
            yield f"{text}{collation}{' DESC' if descending else ''}"

    def _begin(self, _: Statement, __: Mapping[str, Any]) -> Iterator[Result]:
        self.transactions += 1
        if self.transactions == 1:
            self._transaction_number = next(self._transaction_numbers)
            yield TransactionChanged("begin", self._transaction_number)
        yield Finished()

    def _commit(self, _: Statement, __: Mapping[str, Any]) -> Iterator[Result]:
        if not self.transactions:
            raise SqlServerError(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self.transactions -= 1
        if not self.transactions:
            if self._connection.in_transaction:
                self._run("COMMIT")
            yield TransactionChanged("commit", self._transaction_number)
        yield Finished()

    def _rollback(self, _: Statement, __: Mapping[str, Any]) -> Iterator[Result]:
        if not self.transactions:
            raise SqlServerError(3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self.transactions = 0
        if self._connection.in_transaction:
            self._run("ROLLBACK")
        yield TransactionChanged("rollback", self._transaction_number)
        yield Finished()

    # Names

    def _resolve(self, name: tuple[str, ...]) -> tuple[str, str, str]:
        """Return SQLite's schema of a table, its name, and how errors call it."""
        title = ".".join(name)
        *qualifiers, table = name
        owner = qualifiers[-1] if qualifiers else ""
        database = self._databases.find(qualifiers[0]) if len(qualifiers) > 1 and qualifiers[0] else self.database
        if database is None or owner.lower() not in ("", "dbo"):
            raise SqlServerError(208, f"Invalid object name '{title}'.")
        return self._attach(database), table, title

    def _attach(self, database: _Database) -> str:
        if database.uri not in self._attached:
            if not self._connection.in_transaction:
                for uri in [
                    uri for uri in self._attached if all(uri != each.uri for each in self._databases._by_name.values())
                ]:
                    self._run(f"DETACH {self._attached.pop(uri)}")
            alias = f"d{next(self._aliases)}"
            self._run(f"ATTACH :uri AS {alias}", {"uri": database.uri})
            self._attached[database.uri] = alias
        return self._attached[database.uri]

    def _columns(self, schema: str, table: str) -> list[tuple[str, SqlType, bool]]:
        """Return the columns of a table, and whether each must have a value; none if it does not exist."""
        found = self._run(f"PRAGMA {schema}.table_info({_quote(table)})")
        return [(name, SqlType.of_storage(kind), bool(required)) for _, name, kind, required, *_ in found]

    def _table(self, name: tuple[str, ...]) -> _Table:
        schema, table, title = self._resolve(name)
        columns = self._columns(schema, table)
        if not columns:
            raise SqlServerError(208, f"Invalid object name '{title}'.")
        database = self._databases.find(name[0]) if len(name) == 3 else None
        return _Table(
            schema,
            table,
            f"{(database or self.database).name}.dbo.{table}",
            [(name, kind) for name, kind, _ in columns],
            frozenset(name for name, _, required in columns if required),
        )

    def _column(self, table: _Table, name: str) -> tuple[str, SqlType]:
        for column in table.columns:
            if column[0].lower() == name.lower():
                return column
        raise SqlServerError(207, f"Invalid column name '{name}'.")

    # Expressions

    def _where(self, statement: Statement, scope: _Scope) -> str:
        return f" WHERE {self._test(statement.where, scope)}" if statement.where else ""

    def _assigned(self, value: Expression, column: tuple[str, SqlType], table: _Table, scope: _Scope) -> str:
        """Return a value converted to the type of its column."""
        text, kind = self._value(value, scope)
        name, target = column
        where = scope.bind(f"table '{table.title}', column '{name}'")
        text = f"tsql_convert({text}, {scope.bind(str(kind))}, {scope.bind(str(target))}, 0, {where})"
        return f"tsql_required({text}, {scope.bind(_null_message(name, table))})" if name in table.required else text

    def _converted(self, text: str, kind: SqlType, target: SqlType, scope: _Scope, *, explicit: bool = False) -> str:
        if kind == target or (kind.kind == target.kind and not explicit and kind.kind in ("string", "binary")):
            return text
        return f"tsql_convert({text}, {scope.bind(str(kind))}, {scope.bind(str(target))}, {int(explicit)}, '')"

    def _test(self, test: Expression, scope: _Scope) -> str:
        if test.kind in ("and", "or"):
            return f"({f' {test.kind.upper()} '.join(self._test(each, scope) for each in test.operands)})"
        if test.kind == "not":
            return f"(NOT {self._test(test.operands[0], scope)})"
        if test.kind == "is_null":
            return f"({self._value(test.operands[0], scope)[0]} IS {'NOT ' if test.negated else ''}NULL)"
        left, *others = test.operands
        if test.kind == "in":
            any_of = " OR ".join(self._comparison(left, other, "=", scope) for other in others)
            return f"({'NOT ' if test.negated else ''}({any_of}))"
        if test.kind == "like":
            texts = [
                self._converted(*self._value(each, scope), SqlType("nvarchar", length=MAX), scope)
                for each in test.operands
            ]
            return f"({'NOT ' if test.negated else ''}tsql_like({', '.join(texts)}))"
        return self._comparison(left, others[0], test.text, scope)

    def _comparison(self, left: Expression, right: Expression, operator: str, scope: _Scope) -> str:
        (one, its_kind), (other, other_kind) = self._pair(left, right, scope)
        common = higher_type(its_kind, other_kind)
        one, other = self._converted(one, its_kind, common, scope), self._converted(other, other_kind, common, scope)
        return f"(tsql_compare({one}, {other}, {scope.bind(common.kind)}) {operator} 0)"

    def _pair(
        self, left: Expression, right: Expression, scope: _Scope
    ) -> tuple[tuple[str, SqlType], tuple[str, SqlType]]:
        """Return two operands; NULL has the type of the other one."""
        (one, its_kind), (other, other_kind) = self._value(left, scope), self._value(right, scope)
        if _is_null(left):
            return (one, other_kind), (other, other_kind)
        return (one, its_kind), (other, its_kind if _is_null(right) else other_kind)

    def _value(self, value: Expression, scope: _Scope) -> tuple[str, SqlType]:
        """Return an expression as SQLite computes it, and its type."""
        if value.kind == "literal" and value.type is not None:
            return scope.bind(value.type.store(value.value)), value.type
        if value.kind == "column":
            return self._column_value(value, scope)
        if value.kind == "variable":
            if value.text.lower() not in scope.variables:
                raise SqlServerError(137, f'Must declare the scalar variable "{value.text}".', 15, 2)
            kind, given = scope.variables[value.text.lower()]
            return scope.bind(kind.store(given)), kind
        if value.kind == "global":
            return self._global(value.text, scope)
        if value.kind == "cast" and value.type is not None:
            text, kind = self._value(value.operands[0], scope)
            return self._converted(text, kind, value.type, scope, explicit=True), value.type
        if value.kind == "minus":
            text, kind = self._value(value.operands[0], scope)
            return self._computed("-", (scope.bind(0), SqlType("tinyint")), (text, kind), scope)
        if value.kind == "arithmetic":
            first, second = self._pair(value.operands[0], value.operands[1], scope)
            return self._computed(value.text, first, second, scope)
        if value.kind == "call":
            return self._called(value, scope)
        raise SqlServerError(102, "Incorrect syntax near '*'.", 15)

    def _column_value(self, value: Expression, scope: _Scope) -> tuple[str, SqlType]:
        *qualifiers, name = value.text.split("\0")
        known = [part.lower() for part in scope.qualifiers]
        if qualifiers and [part.lower() for part in qualifiers] != known[-len(qualifiers) :]:
            raise SqlServerError(
                4104, f'The multi-part identifier "{value.text.replace(chr(0), ".")}" could not be bound.'
            )
        for column, kind in scope.columns:
            if column.lower() == name.lower():
                scope.bare_columns.append(column)
                return _quote(column), kind
        raise SqlServerError(207, f"Invalid column name '{name}'.")

    def _global(self, name: str, scope: _Scope) -> tuple[str, SqlType]:
        values: dict[str, tuple[Value, SqlType]] = {
            "@@VERSION": (_VERSION, SqlType("nvarchar", length=300)),
            "@@TRANCOUNT": (self.transactions, _INT),
            "@@SPID": (self.number, SqlType("smallint")),
            "@@ROWCOUNT": (self._affected, _INT),
            "@@SERVERNAME": ("MWAA-STAND-IN", _SYSNAME),
        }
        if name.upper() not in values:
            raise SqlServerError(137, f'Must declare the scalar variable "{name}".', 15, 2)
        given, kind = values[name.upper()]
        return scope.bind(given), kind

    def _computed(
        self, operator: str, left: tuple[str, SqlType], right: tuple[str, SqlType], scope: _Scope
    ) -> tuple[str, SqlType]:
        (one, its_kind), (other, other_kind) = left, right
        result = result_type(operator, its_kind, other_kind)
        common = higher_type(its_kind, other_kind)
        if common.kind not in ("decimal", "string", "binary"):
            one, other = (
                self._converted(one, its_kind, common, scope),
                self._converted(other, other_kind, common, scope),
            )
            its_kind = other_kind = common
        names = ", ".join(scope.bind(str(kind)) for kind in (its_kind, other_kind, result))
        return f"tsql_compute('{operator}', {one}, {other}, {names})", result

    def _called(self, call: Expression, scope: _Scope) -> tuple[str, SqlType]:
        name, arguments = call.text, call.operands
        if name in ("COUNT", *AGGREGATES):
            return self._aggregated(name, arguments, scope)
        facts: dict[str, tuple[Value, SqlType]] = {
            "DB_NAME": (self.database.name, _SYSNAME),
            "DB_ID": (self.database.number, SqlType("smallint")),
            "SCHEMA_NAME": ("dbo", _SYSNAME),
            "SUSER_SNAME": (self.user, _SYSNAME),
            "GETDATE": (
                SqlType("datetime").convert(datetime.now(), SqlType("datetime2", scale=7)),
                SqlType("datetime"),
            ),
            "SYSDATETIME": (datetime.now(), SqlType("datetime2", scale=7)),
        }
        if name in facts and not arguments:
            given, kind = facts[name]
            return scope.bind(kind.store(given)), kind
        if name == "DB_ID" and len(arguments) == 1 and isinstance(arguments[0].value, str):
            database = self._databases.find(arguments[0].value)
            return scope.bind(database.number if database else None), SqlType("smallint")
        if name in ("ISNULL", "COALESCE") and len(arguments) >= 2:
            values = [self._value(each, scope) for each in arguments]
            kinds = [kind for (_, kind), each in zip(values, arguments, strict=True) if not _is_null(each)] or [_INT]
            target = kinds[0] if name == "ISNULL" else reduce(higher_type, kinds)
            values = [
                (text, target if _is_null(each) else kind) for (text, kind), each in zip(values, arguments, strict=True)
            ]
            texts = [self._converted(text, kind, target, scope) for text, kind in values]
            return f"coalesce({', '.join(texts)})", target
        if name in ("LEN", "UPPER", "LOWER") and len(arguments) == 1:
            text, kind = self._value(arguments[0], scope)
            string = kind if kind.kind == "string" else SqlType("varchar", length=8000)
            text = self._converted(text, kind, string, scope)
            return f"tsql_{name.lower()}({text})", _INT if name == "LEN" else string
        raise SqlServerError(195, f"'{name}' is not a recognized built-in function name.", 15, 10)

    def _aggregated(self, name: str, arguments: Sequence[Expression], scope: _Scope) -> tuple[str, SqlType]:
        if len(arguments) != 1:
            raise SqlServerError(174, f"The {name.lower()} function requires 1 argument(s).", 15)
        scope.aggregates += 1
        if name == "COUNT" and arguments[0].kind == "star":
            return "count(*)", _INT
        bare = len(scope.bare_columns)
        text, kind = self._value(arguments[0], scope)
        del scope.bare_columns[bare:]
        if name == "COUNT":
            return f"count({text})", _INT
        result = kind
        if name in ("SUM", "AVG"):
            if kind.kind not in ("integer", "float", "decimal") or kind.name == "bit":
                raise SqlServerError(8117, f"Operand data type {kind.name} is invalid for {name.lower()} operator.")
            if kind.kind == "decimal":
                result = SqlType("decimal", precision=38, scale=kind.scale if name == "SUM" else max(kind.scale, 6))
            elif kind.kind == "integer":
                result = _BIGINT if kind.name == "bigint" else _INT
        return f"tsql_{name.lower()}({text}, {scope.bind(str(kind))}, {scope.bind(str(result))})", result

    # SQLite

    def _report(self, error: SqlServerError) -> None:
        """Keep the error of a function: SQLite only reports that there was one."""
        self._raised = error

    def _write(self, text: str, parameters: Mapping[str, Any] | None = None, table: _Table | None = None) -> int:
        """Execute what changes something, in the transaction if one is open."""
        if self.transactions and not self._connection.in_transaction:
            self._run("BEGIN")
        return int(self._run(text, parameters, table=table, counts=True))

    def _run(
        self,
        text: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        table: _Table | None = None,
        counts: bool = False,
    ) -> Any:
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            self._raised = None
            try:
                with closing(self._connection.execute(text, parameters or {})) as cursor:
                    rows = cursor.fetchall()
                    return cursor.rowcount if counts else rows
            except sqlite3.OperationalError as error:
                if self._raised is not None:
                    raise self._raised from None
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_BUSY):
                    raise
                if time.monotonic() > deadline or self._databases.closing.wait(0.01):
                    raise SqlServerError(1222, "Lock request time out period exceeded.", state=45) from error
            except sqlite3.IntegrityError as error:
                raise _duplicate(table) from error


def _is_null(value: Expression) -> bool:
    return value.kind == "literal" and value.value is None


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _null_message(column: str, table: _Table) -> str:
    return (
        f"Cannot insert the value NULL into column '{column}', table '{table.title}'; column does not allow nulls. "
        "The statement fails."
    )


def _duplicate(table: _Table | None) -> SqlServerError:
    name = table.title.partition(".")[2] if table else ""
    return SqlServerError(
        2627,
        f"Violation of UNIQUE KEY or PRIMARY KEY constraint. Cannot insert duplicate key in object '{name}'.",
        14,
    )
