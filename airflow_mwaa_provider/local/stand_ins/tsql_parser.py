# SPDX-License-Identifier: Apache-2.0
"""A part of Transact-SQL, parsed: a batch is read as a whole before any of its statements is executed.

What is not part of it gets SQL Server's error for a syntax that it does not know, also where SQL Server would know it:
joins, subqueries, GROUP BY, procedural code. Names are resolved when a statement is executed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.stand_ins.tds_types import MAX, SqlServerError, SqlType, Value, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Statement", "parse_batch", "parse_declarations"]

RESERVED = frozenset(
    """ADD ALL ALTER AND ANY AS ASC AUTHORIZATION BACKUP BEGIN BETWEEN BREAK BROWSE BULK BY CASCADE CASE CHECK
    CHECKPOINT CLOSE CLUSTERED COALESCE COLLATE COLUMN COMMIT COMPUTE CONSTRAINT CONTAINS CONTAINSTABLE
    CONTINUE CONVERT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURSOR
    DATABASE DBCC DEALLOCATE DECLARE DEFAULT DELETE DENY DESC DISK DISTINCT DISTRIBUTED DOUBLE DROP DUMP ELSE
    END ERRLVL ESCAPE EXCEPT EXEC EXECUTE EXISTS EXIT EXTERNAL FETCH FILE FILLFACTOR FOR FOREIGN FREETEXT
    FREETEXTTABLE FROM FULL FUNCTION GOTO GRANT GROUP HAVING HOLDLOCK IDENTITY IDENTITY_INSERT IDENTITYCOL IF
    IN INDEX INNER INSERT INTERSECT INTO IS JOIN KEY KILL LEFT LIKE LINENO LOAD MERGE NATIONAL NOCHECK
    NONCLUSTERED NOT NULL NULLIF OF OFF OFFSETS ON OPEN OPENDATASOURCE OPENQUERY OPENROWSET OPENXML OPTION OR
    ORDER OUTER OVER PERCENT PIVOT PLAN PRECISION PRIMARY PRINT PROC PROCEDURE PUBLIC RAISERROR READ READTEXT
    RECONFIGURE REFERENCES REPLICATION RESTORE RESTRICT RETURN REVERT REVOKE RIGHT ROLLBACK ROWCOUNT
    ROWGUIDCOL RULE SAVE SCHEMA SECURITYAUDIT SELECT SESSION_USER SET SETUSER SHUTDOWN SOME STATISTICS
    SYSTEM_USER TABLE TABLESAMPLE TEXTSIZE THEN TO TOP TRAN TRANSACTION TRIGGER TRUNCATE TRY_CONVERT TSEQUAL
    UNION UNIQUE UNPIVOT UPDATE UPDATETEXT USE USER VALUES VARYING VIEW WAITFOR WHEN WHERE WHILE WITH
    WRITETEXT""".split()  # noqa: SIM905 - a hundred lines otherwise
)
"""The reserved keywords of Transact-SQL: no names, unless they are quoted."""

_ON_OR_OFF = frozenset(
    """ANSI_DEFAULTS ANSI_NULLS ANSI_NULL_DFLT_OFF ANSI_NULL_DFLT_ON ANSI_PADDING ANSI_WARNINGS ARITHABORT ARITHIGNORE
    CONCAT_NULL_YIELDS_NULL CURSOR_CLOSE_ON_COMMIT IMPLICIT_TRANSACTIONS NOCOUNT NUMERIC_ROUNDABORT QUOTED_IDENTIFIER
    XACT_ABORT""".split()  # noqa: SIM905
)
_WITH_NUMBER = frozenset({"TEXTSIZE", "LOCK_TIMEOUT", "ROWCOUNT"})

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<nstring>[Nn]'(?:[^']|'')*')|(?P<string>'(?:[^']|'')*')
    |(?P<quoted>\[(?:[^\]]|\]\])*\]|"(?:[^"]|"")*")
    |(?P<binary>0[xX][0-9a-fA-F]*)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<global>@@\w+)|(?P<variable>@\w+)|(?P<word>[^\W\d][\w@$\#]*)
    |(?P<operator><=|>=|<>|!=|[-+*/%=<>(),.;])
    |(?P<unknown>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """A token: ``text`` is the value of a string or a quoted name, otherwise as written."""

    kind: str
    text: str

    @property
    def keyword(self) -> str:
        """The word in capitals, if it is one without quotes."""
        return self.text.upper() if self.kind == "word" else ""


@dataclass(frozen=True)
class Expression:
    """An expression: an operator, a function or what ``kind`` says, and its operands.

    Kinds: literal, column, variable, global, star, call, cast, minus, not, and, or, compare, arithmetic, is_null,
    like, in.
    """

    kind: str
    text: str = ""
    operands: tuple[Expression, ...] = ()
    value: Value = None
    type: SqlType | None = None
    negated: bool = False


@dataclass(frozen=True)
class ColumnDefinition:
    """A column of CREATE TABLE."""

    name: str
    type: SqlType
    nullable: bool
    primary_key: bool
    unique: bool


@dataclass
class Statement:
    """A statement: which it is, and what it says of the fields that it needs.

    :param name: of a table or a database, in its parts.
    """

    kind: str
    name: tuple[str, ...] = ()
    if_exists: bool = False
    columns: list[ColumnDefinition] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    rows: list[list[Expression]] = field(default_factory=list)
    items: list[tuple[Expression, str]] = field(default_factory=list)
    where: Expression | None = None
    order_by: list[tuple[Expression, bool]] = field(default_factory=list)
    top: Expression | None = None
    distinct: bool = False
    alias: str = ""


def parse_batch(text: str) -> list[Statement]:
    """Parse the statements of a batch.

    :raises SqlServerError: 102, 105 or 156, or another of SQL Server's, that names what it does not understand.
    """
    return _Parser(text).batch()


def parse_declarations(text: str) -> list[tuple[str, SqlType]]:
    """Parse the parameters of ``sp_executesql``, such as ``@name nvarchar(20), @age int``."""
    return _Parser(text).declarations()


def _tokens(text: str) -> list[Token]:
    found = []
    for match in _TOKEN.finditer(text):
        kind, value = str(match.lastgroup), match[0]
        if kind == "space":
            continue
        if kind == "unknown":
            if value in "'\"[":
                raise SqlServerError(
                    105, f"Unclosed quotation mark after the character string '{text[match.end() :]}'.", 15
                )
            raise SqlServerError(102, f"Incorrect syntax near '{value}'.", 15)
        if kind in ("string", "nstring"):
            value = value[value.index("'") + 1 : -1].replace("''", "'")
        elif kind == "quoted":
            close = value[-1]
            value = value[1:-1].replace(close * 2, close)
        found.append(Token(kind, value))
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    # Tokens

    def _peek(self, ahead: int = 0) -> Token:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("end", "")

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _error(self) -> SqlServerError:
        token = self._peek()
        if token.kind == "end":
            last = self._tokens[-1].text if self._tokens else ""
            return SqlServerError(102, f"Incorrect syntax near '{last}'.", 15)
        if token.keyword in RESERVED:
            return SqlServerError(156, f"Incorrect syntax near the keyword '{token.text}'.", 15)
        return SqlServerError(102, f"Incorrect syntax near '{token.text}'.", 15)

    def _accept(self, *words: str) -> bool:
        """Read these words or operators if they come next."""
        for ahead, word in enumerate(words):
            token = self._peek(ahead)
            if token.kind not in ("word", "operator") or token.text.upper() != word:
                return False
        self._at += len(words)
        return True

    def _expect(self, *words: str) -> None:
        if not self._accept(*words):
            raise self._error()

    def _name(self) -> str:
        token = self._peek()
        if token.kind == "quoted" or (token.kind == "word" and token.keyword not in RESERVED):
            self._at += 1
            return token.text
        raise self._error()

    def _names(self, most: int = 3) -> tuple[str, ...]:
        """Read a name of several parts; a part may be empty, as in ``testdb..pet``."""
        parts = [self._name()]
        while self._accept("."):
            parts.append("" if self._peek().text == "." and self._peek().kind == "operator" else self._name())
        if len(parts) > most:
            raise SqlServerError(
                117, f"The object name '{'.'.join(parts)}' contains more than the maximum number of prefixes.", 15
            )
        return tuple(parts)

    def _list(self, read: Callable[[], object]) -> None:
        """Read a list in parentheses."""
        self._expect("(")
        read()
        while self._accept(","):
            read()
        self._expect(")")

    # Statements

    def batch(self) -> list[Statement]:
        statements: list[Statement] = []
        while self._accept(";"):
            pass
        while self._peek().kind != "end":
            statements.append(self._statement(first=not statements))
            while self._accept(";"):
                pass
        return statements

    def declarations(self) -> list[tuple[str, SqlType]]:
        found = []
        while self._peek().kind == "variable":
            found.append((self._next().text, self._type()))
            if not self._accept(","):
                break
        if self._peek().kind != "end":
            raise self._error()
        return found

    def _statement(self, *, first: bool) -> Statement:
        readers = {
            "SET": self._set, "USE": self._use, "CREATE": self._create, "DROP": self._drop, "TRUNCATE": self._truncate,
            "INSERT": self._insert, "SELECT": self._select, "UPDATE": self._update, "DELETE": self._delete,
            "BEGIN": self._begin, "COMMIT": self._end_transaction, "ROLLBACK": self._end_transaction,
        }  # fmt: skip
        token = self._peek()
        if token.keyword in readers:
            self._at += 1
            return readers[token.keyword]()
        procedure = self._accept("EXEC") or self._accept("EXECUTE")
        if procedure or (first and token.kind in ("word", "quoted") and token.keyword not in RESERVED):
            raise SqlServerError(2812, f"Could not find stored procedure '{'.'.join(self._names())}'.", state=62)
        raise self._error()

    def _set(self) -> Statement:
        if self._accept("TRANSACTION", "ISOLATION", "LEVEL"):
            for level in (
                ("READ", "UNCOMMITTED"),
                ("READ", "COMMITTED"),
                ("REPEATABLE", "READ"),
                ("SNAPSHOT",),
                ("SERIALIZABLE",),
            ):
                if self._accept(*level):
                    return Statement("set")
            raise self._error()
        options = [self._next().keyword]
        while self._accept(","):
            options.append(self._next().keyword)
        self._at -= 1
        if len(options) == 1 and options[0] in _WITH_NUMBER:
            self._at += 1
            self._accept("-")
            if self._next().kind == "number":
                return Statement("set")
        elif all(option in _ON_OR_OFF for option in options):
            self._at += 1
            if self._accept("ON") or self._accept("OFF"):
                return Statement("set", targets=options, if_exists=self._peek(-1).keyword == "ON")
        elif self._peek().keyword and self._peek().keyword not in RESERVED:
            raise SqlServerError(195, f"'{self._peek().text}' is not a recognized SET option.", 15)
        raise self._error()

    def _use(self) -> Statement:
        return Statement("use", (self._name(),))

    def _create(self) -> Statement:
        if self._accept("DATABASE"):
            return Statement("create_database", (self._name(),))
        self._expect("TABLE")
        statement = Statement("create_table", self._names())

        def element() -> None:
            if self._accept("PRIMARY", "KEY"):
                self._list(lambda: statement.targets.append(self._name()))
            else:
                statement.columns.append(self._column())

        self._list(element)
        return statement

    def _column(self) -> ColumnDefinition:
        name, kind = self._name(), self._type()
        nullable, primary_key, unique = True, False, False
        while True:
            if self._accept("NOT", "NULL"):
                nullable = False
            elif self._accept("PRIMARY", "KEY"):
                primary_key, nullable = True, False
            elif self._accept("UNIQUE"):
                unique = True
            elif not self._accept("NULL"):
                return ColumnDefinition(name, kind, nullable, primary_key, unique)

    def _type(self) -> SqlType:
        name = self._name()
        arguments: list[str] = []
        if self._peek().text == "(":

            def argument() -> None:
                token = self._peek()
                if token.keyword != "MAX" and not token.text.isdigit():
                    raise self._error()
                arguments.append(self._next().text)

            self._list(argument)  # fmt: skip
        return SqlType.named(name, arguments)

    def _drop(self) -> Statement:
        kind = "drop_database" if self._accept("DATABASE") else "drop_table"
        if kind == "drop_table":
            self._expect("TABLE")
        if_exists = self._accept("IF", "EXISTS")
        name = (self._name(),) if kind == "drop_database" else self._names()
        return Statement(kind, name, if_exists=if_exists)

    def _truncate(self) -> Statement:
        self._expect("TABLE")
        return Statement("truncate", self._names())

    def _insert(self) -> Statement:
        self._accept("INTO")
        statement = Statement("insert", self._names())
        if self._peek().text == "(":
            self._list(lambda: statement.targets.append(self._name()))
        self._expect("VALUES")
        while True:
            values: list[Expression] = []
            self._list(lambda values=values: values.append(self._expression()))  # type: ignore[misc]
            statement.rows.append(values)
            if not self._accept(","):
                return statement

    def _update(self) -> Statement:
        statement = Statement("update", self._names())
        self._expect("SET")
        while True:
            statement.targets.append(self._name())
            self._expect("=")
            statement.rows.append([self._expression()])
            if not self._accept(","):
                break
        return self._filtered(statement)

    def _delete(self) -> Statement:
        self._accept("FROM")
        return self._filtered(Statement("delete", self._names()))

    def _filtered(self, statement: Statement) -> Statement:
        if self._accept("WHERE"):
            statement.where = self._condition()
        return statement

    def _begin(self) -> Statement:
        if not self._accept("TRANSACTION"):
            self._expect("TRAN")
        return Statement("begin")

    def _end_transaction(self) -> Statement:
        kind = self._peek(-1).keyword.lower()
        for word in ("TRANSACTION", "TRAN", "WORK"):
            if self._accept(word):
                break
        return Statement(kind)

    def _select(self) -> Statement:
        statement = Statement("select")
        statement.distinct = self._accept("DISTINCT")
        if self._accept("TOP"):
            parenthesized = self._accept("(")
            statement.top = self._primary()
            if parenthesized:
                self._expect(")")
        while True:
            statement.items.append(self._item())
            if not self._accept(","):
                break
        if self._accept("FROM"):
            statement.name = self._names()
            if self._accept("AS") or self._peek().kind == "quoted" or self._is_alias():
                statement.alias = self._name()
            self._filtered(statement)
        if self._accept("ORDER", "BY"):
            while True:
                key = self._expression()
                descending = self._accept("DESC") or (self._accept("ASC") and False)
                statement.order_by.append((key, descending))
                if not self._accept(","):
                    break
        return statement

    def _is_alias(self) -> bool:
        return self._peek().kind == "word" and self._peek().keyword not in RESERVED

    def _item(self) -> tuple[Expression, str]:
        if self._accept("*"):
            return Expression("star"), ""
        value = self._expression()
        if self._accept("AS"):
            if self._peek().kind in ("string", "nstring"):
                return value, self._next().text
            return value, self._name()
        if self._peek().kind == "quoted" or self._is_alias():
            return value, self._name()
        return value, value.text.rpartition("\0")[2] if value.kind == "column" else ""

    # Expressions

    def _condition(self) -> Expression:
        """Read a condition: in T-SQL, one is no value, and a value is none."""
        found = self._conjunction()
        while self._accept("OR"):
            found = Expression("or", operands=(found, self._conjunction()))
        return found

    def _conjunction(self) -> Expression:
        found = self._negation()
        while self._accept("AND"):
            found = Expression("and", operands=(found, self._negation()))
        return found

    def _negation(self) -> Expression:
        if self._accept("NOT"):
            return Expression("not", operands=(self._negation(),))
        if self._peek().text == "(" and self._is_condition_in_parentheses():
            self._expect("(")
            found = self._condition()
            self._expect(")")
            return found
        return self._predicate()

    def _is_condition_in_parentheses(self) -> bool:
        """Try to read a value; if that is no whole operand, the parenthesis holds a condition."""
        start = self._at
        try:
            self._expression()
            return False
        except SqlServerError:
            return True
        finally:
            self._at = start

    def _predicate(self) -> Expression:
        left = self._expression()
        for operator in ("<=", ">=", "<>", "!=", "=", "<", ">"):
            if self._accept(operator):
                return Expression("compare", {"!=": "<>"}.get(operator, operator), (left, self._expression()))
        if self._accept("IS"):
            negated = self._accept("NOT")
            self._expect("NULL")
            return Expression("is_null", operands=(left,), negated=negated)
        negated = self._accept("NOT")
        if self._accept("LIKE"):
            return Expression("like", operands=(left, self._expression()), negated=negated)
        if self._accept("BETWEEN"):
            least = self._expression()
            self._expect("AND")
            both = (
                Expression("compare", ">=", (left, least)),
                Expression("compare", "<=", (left, self._expression())),
            )
            found = Expression("and", operands=both)
            return Expression("not", operands=(found,)) if negated else found
        if self._accept("IN"):
            choices: list[Expression] = []
            self._list(lambda: choices.append(self._expression()))
            return Expression("in", operands=(left, *choices), negated=negated)
        if self._peek().kind == "end" or self._peek().keyword in RESERVED or self._peek().text in (")", ";"):
            near = self._peek().text or self._peek(-1).text
            raise SqlServerError(
                4145,
                "An expression of non-boolean type specified in a context where a condition is expected, "
                f"near '{near}'.",
                15,
            )
        raise self._error()

    def _expression(self) -> Expression:
        found = self._term()
        while (operator := self._peek()).kind == "operator" and operator.text in "+-":
            self._at += 1
            found = Expression("arithmetic", operator.text, (found, self._term()))
        return found

    def _term(self) -> Expression:
        found = self._primary()
        while (operator := self._peek()).kind == "operator" and operator.text in "*/%":
            self._at += 1
            found = Expression("arithmetic", operator.text, (found, self._primary()))
        return found

    def _primary(self) -> Expression:
        token = self._peek()
        if self._accept("-"):
            return Expression("minus", operands=(self._primary(),))
        if self._accept("+"):
            return self._primary()
        if self._accept("("):
            found = self._expression()
            self._expect(")")
            return found
        if token.kind in ("string", "nstring", "number", "binary"):
            self._at += 1
            return _literal(token)
        if self._accept("NULL"):
            return Expression("literal", type=SqlType("int"))
        if token.kind in ("variable", "global"):
            self._at += 1
            return Expression(token.kind, token.text)
        if self._accept("CAST", "("):
            value = self._expression()
            self._expect("AS")
            kind = self._type()
            self._expect(")")
            return Expression("cast", operands=(value,), type=kind)
        if self._accept("CONVERT", "("):
            kind = self._type()
            self._expect(",")
            value = self._expression()
            self._expect(")")
            return Expression("cast", operands=(value,), type=kind)
        if (
            token.keyword
            and self._peek(1).text == "("
            and (token.keyword not in RESERVED or token.keyword == "COALESCE")
        ):
            return self._call()
        return Expression("column", "\0".join(self._names()))

    def _call(self) -> Expression:
        name = self._next().keyword
        arguments: list[Expression] = []
        if self._accept("(", ")"):
            return Expression("call", name)
        if self._accept("(", "*", ")"):
            return Expression("call", name, (Expression("star"),))
        self._list(lambda: arguments.append(self._expression()))
        return Expression("call", name, tuple(arguments))


def _literal(token: Token) -> Expression:
    if token.kind in ("string", "nstring"):
        name, most = ("nvarchar", 4000) if token.kind == "nstring" else ("varchar", 8000)
        kind = SqlType(name, length=max(size_of(token.text), 1) if size_of(token.text) <= most else MAX)
        return Expression("literal", value=kind.of_text(token.text), type=kind)
    if token.kind == "binary":
        digits = token.text[2:]
        data = bytes.fromhex("0" * (len(digits) % 2) + digits)
        return Expression(
            "literal", value=data, type=SqlType("varbinary", length=max(len(data), 1) if len(data) <= 8000 else MAX)
        )
    if "e" in token.text.lower():
        if float(token.text) == float("inf"):
            raise SqlServerError(
                168,
                f"The floating point value '{token.text}' is out of the range of computer representation (8 bytes).",
                15,
            )
        return Expression("literal", value=float(token.text), type=SqlType("float"))
    if token.text.isdigit() and int(token.text) < 2**31:
        return Expression("literal", value=int(token.text), type=SqlType("int"))
    number = Decimal(token.text)
    scale = max(-int(number.as_tuple().exponent), 0)
    precision = max(len(number.as_tuple().digits), scale, 1)
    if precision > 38:
        raise SqlServerError(
            1007,
            f"The number '{token.text}' is out of the range for numeric representation (maximum precision 38).",
            15,
        )
    return Expression("literal", value=number, type=SqlType("numeric", precision=precision, scale=scale))
