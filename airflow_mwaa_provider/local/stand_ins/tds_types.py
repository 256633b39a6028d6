# SPDX-License-Identifier: Apache-2.0
"""SQL Server's types: what values they hold, how they convert, how they are stored in SQLite and sent over TDS.

Source: [MS-TDS] 2.2.5.4 (data types) and 2.2.5.5 (their values); "Data type conversion" of the T-SQL reference.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

__all__ = ["COLLATION", "MAX", "SqlServerError", "SqlType", "Value", "parse_type_info", "size_of"]

Value = int | float | Decimal | str | bytes | datetime | date | None

COLLATION = bytes.fromhex("0904d00034")
"""SQL_Latin1_General_CP1_CI_AS, the default of SQL Server and of RDS."""
MAX = -1
"""The length of ``varchar(max)`` and its like."""

_INTEGERS = {"tinyint": (1, 0, 2**8 - 1), "smallint": (2, -(2**15), 2**15 - 1),
             "int": (4, -(2**31), 2**31 - 1), "bigint": (8, -(2**63), 2**63 - 1)}  # fmt: skip
_SINGLE_BYTE = ("char", "varchar")
_UNICODE = ("nchar", "nvarchar")
_BINARY = ("binary", "varbinary")
_TOKENS = {"varchar": 0xA7, "char": 0xAF, "nvarchar": 0xE7, "nchar": 0xEF, "varbinary": 0xA5, "binary": 0xAD}
_EXACT = Context(prec=78)
"""The context of each computation with decimals: Python's own rounds to 28 digits, also in ``abs()``."""
_PLP_NULL = b"\xff" * 8
_DAY_ONE, _DAY_1900 = date(1, 1, 1), date(1900, 1, 1)


class SqlServerError(Exception):
    """An error of SQL Server: its number, its severity ("class") and its text."""

    def __init__(self, number: int, message: str, severity: int = 16, state: int = 1) -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.severity = severity
        self.state = state


@dataclass(frozen=True)
class SqlType:
    """A type, such as ``decimal(10, 2)`` or ``nvarchar(max)``.

    :param length: of strings in characters, of binary values in bytes; ``MAX`` for ``(max)``.
    :param precision: of decimals.
    :param scale: of decimals, and the digits of a second of ``datetime2``.
    """

    name: str
    length: int = 0
    precision: int = 0
    scale: int = 0

    @property
    def kind(self) -> str:
        """The family of the type, in which values compare without a conversion."""
        if self.name in _INTEGERS or self.name == "bit":
            return "integer"
        if self.name in _SINGLE_BYTE or self.name in _UNICODE:
            return "string"
        if self.name in _BINARY:
            return "binary"
        return {"real": "float", "numeric": "decimal", "datetime2": "datetime"}.get(self.name, self.name)

    @property
    def is_unicode(self) -> bool:
        """Whether it holds any character, and not only those of code page 1252."""
        return self.name in _UNICODE

    def __str__(self) -> str:
        if self.length:
            return f"{self.name}({'max' if self.length == MAX else self.length})"
        if self.kind == "decimal":
            return f"{self.name}({self.precision},{self.scale})"
        return f"{self.name}({self.scale})" if self.name == "datetime2" else self.name

    @classmethod
    def parse(cls, text: str) -> SqlType:
        """Parse what ``str()`` returned."""
        found = re.fullmatch(r"(\w+)(?:\((\w+)(?:, *(\d+))?\))?", text)
        if found is None:
            raise ValueError(text)
        return cls.named(found[1], [part for part in found.groups()[1:] if part is not None])

    @classmethod
    def named(cls, name: str, arguments: list[str]) -> SqlType:
        """Make a type from its name and what stands in parentheses behind it, with SQL Server's defaults.

        :raises SqlServerError: no such type, or a size that it cannot have.
        """
        name = {"integer": "int", "dec": "decimal", "rowversion": "timestamp"}.get(name.lower(), name.lower())
        numbers = [MAX if each.lower() == "max" else int(each) for each in arguments]
        if name in _INTEGERS or name in ("bit", "real", "datetime", "date"):
            if numbers:
                raise SqlServerError(
                    2716, f"Column, parameter, or variable #1: Cannot specify a column width on data type {name}."
                )
            return cls(name)
        if name == "float":
            return cls("real" if numbers and numbers[0] <= 24 else "float")
        if name in ("decimal", "numeric"):
            precision, scale = [*numbers, *(18, 0)[len(numbers) :]][:2]
            if not 0 <= scale <= precision <= 38 or not precision:
                raise SqlServerError(
                    2750,
                    f"Column or parameter #1: Specified column precision {precision} is greater than "
                    "the maximum precision of 38.",
                )
            return cls(name, precision=precision, scale=scale)
        if name == "datetime2":
            return cls(name, scale=numbers[0] if numbers else 7)
        if name in _TOKENS:
            length = numbers[0] if numbers else 1
            most = 4000 if name in _UNICODE else 8000
            if length > most or length == 0 or (length == MAX and not name.removeprefix("n").startswith("var")):
                raise SqlServerError(
                    131,
                    f"The size ({length}) given to the type '{name}' exceeds the maximum allowed "
                    "for any data type (8000).",
                )
            return cls(name, length=length)
        raise SqlServerError(2715, f"Column, parameter, or variable #1: Cannot find data type {name}.")

    def of_text(self, value: str) -> str:
        """Return a string as the type can hold it: others than Unicode ones know code page 1252 only."""
        return value if self.is_unicode else value.encode("cp1252", "replace").decode("cp1252")

    # Stored in SQLite

    @property
    def storage(self) -> str:
        """The type of a column of SQLite, which has this type's name behind the word that decides its affinity."""
        affinity = {"integer": "INTEGER", "float": "REAL", "binary": "BLOB"}.get(self.kind, "TEXT")
        collation = {"string": " COLLATE tsql", "decimal": " COLLATE tsql_decimal"}.get(self.kind, "")
        return f'"{affinity} {self}"{collation}'

    @classmethod
    def of_storage(cls, declared: str) -> SqlType:
        """Return the type of a column of SQLite that was declared with :attr:`storage`."""
        return cls.parse(declared.strip('"').partition(" ")[2])

    def store(self, value: Value) -> int | float | str | bytes | None:
        """Return a value of this type as SQLite keeps it."""
        if isinstance(value, Decimal):
            return f"{value:f}"
        if isinstance(value, datetime):
            return value.isoformat(" ", "microseconds")
        return value.isoformat() if isinstance(value, date) else value

    def load(self, stored: int | float | str | bytes | None) -> Value:
        """Return what :meth:`store` was given."""
        if stored is None:
            return None
        if self.kind == "decimal":
            return Decimal(str(stored))
        if self.kind == "datetime":
            return datetime.fromisoformat(str(stored))
        if self.kind == "date":
            return date.fromisoformat(str(stored))
        return float(stored) if self.kind == "float" else stored

    # Converted

    def convert(self, value: Value, source: SqlType, *, explicit: bool = False) -> Value:
        """Convert a value of another type to this one.

        :param explicit: by ``CAST``, which cuts long strings and binary values; elsewhere they are an error.
        :raises SqlServerError: it cannot be converted, or does not fit.
        """
        if value is None:
            return None
        pair = (source.kind, self.kind)
        if pair in _NEVER and not (explicit and pair in _ONLY_EXPLICIT):
            raise SqlServerError(
                257, f"Implicit conversion from data type {source.name} to {self.name} is not allowed. "
                "Use the CONVERT function to run this query."
            )  # fmt: skip
        if self.kind == "string":
            return self._sized(_as_text(value, source), source, explicit)
        if self.kind == "binary":
            return self._sized(value if isinstance(value, bytes) else _as_bytes(value, source), source, explicit)
        if self.kind in ("datetime", "date"):
            return self._as_time(value, source)
        return self._as_number(value, source)

    def _sized(self, value: str | bytes, source: SqlType, explicit: bool) -> str | bytes:
        cut: str | bytes = self.of_text(value) if isinstance(value, str) else value
        if self.length == MAX:
            return cut
        if size_of(cut) > self.length:
            if explicit or (isinstance(cut, str) and not _first(cut, self.length)[1].strip(" ")):
                cut = _first(cut, self.length)[0] if isinstance(cut, str) else cut[: self.length]
            elif source.kind not in ("string", "binary"):
                raise SqlServerError(
                    8115, f"Arithmetic overflow error converting {source.name} to data type {self.name}."
                )
            else:
                raise SqlServerError(8152, "String or binary data would be truncated.")
        if self.name in ("char", "nchar", "binary"):
            missing = self.length - size_of(cut)
            cut = cut + " " * missing if isinstance(cut, str) else cut + b"\0" * missing
        return cut

    def _as_number(self, value: Value, source: SqlType) -> Value:
        if isinstance(value, bytes):
            value = int.from_bytes(value[-8:], "big", signed=len(value) >= 8)
        if self.name == "bit" and isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return int(value.strip().lower() == "true")
        if isinstance(value, str):
            value = self._number_of(value, source)
        if not isinstance(value, int | float | Decimal):
            raise SqlServerError(206, f"Operand type clash: {source.name} is incompatible with {self.name}")
        if self.name == "bit":
            return int(value != 0)
        if self.kind == "float":
            number = float(value)
            return struct.unpack("<f", struct.pack("<f", number))[0] if self.name == "real" else number
        overflow = SqlServerError(8115, f"Arithmetic overflow error converting {source.name} to data type {self.name}.")
        if self.kind == "integer":
            whole = int(value)  # cuts digits behind the point, as SQL Server does
            _, least, most = _INTEGERS[self.name]
            if not least <= whole <= most:
                raise overflow
            return whole
        exact = (
            Decimal(value) if isinstance(value, int) else value if isinstance(value, Decimal) else Decimal(repr(value))
        )
        number_ = exact.quantize(Decimal(1).scaleb(-self.scale), ROUND_HALF_UP, _EXACT)
        if number_.copy_abs() >= Decimal(10) ** (self.precision - self.scale):
            raise overflow
        return number_

    def _number_of(self, text: str, source: SqlType) -> Value:
        cleaned = text.strip(" ")
        try:
            if self.kind == "float":
                if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cleaned):
                    return float(cleaned)
            elif self.kind == "decimal":
                if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", cleaned):
                    return Decimal(cleaned)
                raise SqlServerError(8114, f"Error converting data type {source.name} to {self.name}.")
            elif re.fullmatch(r"[+-]?\d+", cleaned):
                return int(cleaned)
            elif not cleaned:
                return 0
        except (ValueError, InvalidOperation) as error:
            raise SqlServerError(8114, f"Error converting data type {source.name} to {self.name}.") from error
        if self.kind == "float":
            raise SqlServerError(8114, f"Error converting data type {source.name} to {self.name}.")
        raise SqlServerError(
            245, f"Conversion failed when converting the {source.name} value '{text}' to data type {self.name}."
        )

    def _as_time(self, value: Value, source: SqlType) -> Value:
        if isinstance(value, str):
            found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(\.\d{1,7})?)?))?", value.strip())
            # The older type knows no microseconds, and says so.
            if found is None or (self.name == "datetime" and len(found[3] or "") > 4):
                raise SqlServerError(241, "Conversion failed when converting date and/or time from character string.")
            try:
                value = datetime.fromisoformat(f"{found[1]} {(found[2] or '00:00')[:15]}")
            except ValueError:
                raise _out_of_range(source, self) from None
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if not isinstance(value, datetime):
            raise SqlServerError(206, f"Operand type clash: {source.name} is incompatible with {self.name}")
        if self.kind == "date":
            return value.date()
        if self.name == "datetime":
            if value.year < 1753:
                raise _out_of_range(source, self)
            ticks = _ticks(value)
            return datetime.combine(value.date(), datetime.min.time()) + timedelta(milliseconds=round(ticks * 10 / 3))
        unit = 10 ** (6 - min(self.scale, 6))
        midnight = datetime.combine(value.date(), datetime.min.time())
        micros = round((value - midnight) / timedelta(microseconds=1) / unit) * unit
        return midnight + timedelta(microseconds=micros)

    # Sent over TDS

    def type_info(self) -> bytes:
        """Return TYPE_INFO."""
        if self.name in _INTEGERS:
            return bytes([0x26, _INTEGERS[self.name][0]])
        if self.name in _TOKENS:
            width = 2 if self.is_unicode else 1
            size = 0xFFFF if self.length == MAX else self.length * width
            return struct.pack("<BH", _TOKENS[self.name], size) + (b"" if self.kind == "binary" else COLLATION)
        if self.kind == "decimal":
            token = 0x6A if self.name == "decimal" else 0x6C
            return bytes([token, self._decimal_bytes() + 1, self.precision, self.scale])
        return {
            "bit": b"\x68\x01",
            "real": b"\x6d\x04",
            "float": b"\x6d\x08",
            "datetime": b"\x6f\x08",
            "date": b"\x28",
            "datetime2": bytes([0x2A, self.scale]),
        }[self.name]

    def encode(self, value: Value) -> bytes:
        """Return a value, with its length before it."""
        if self.name in _TOKENS:
            return self._encode_string(value)
        if value is None:
            return b"\0"
        if isinstance(value, int):
            size = 1 if self.name == "bit" else _INTEGERS[self.name][0]
            return bytes([size]) + value.to_bytes(size, "little", signed=self.name not in ("tinyint", "bit"))
        if isinstance(value, float):
            return b"\x04" + struct.pack("<f", value) if self.name == "real" else b"\x08" + struct.pack("<d", value)
        if isinstance(value, Decimal):
            magnitude = int(value.copy_abs().scaleb(self.scale, _EXACT))
            size = self._decimal_bytes()
            return bytes([size + 1, value >= 0]) + magnitude.to_bytes(size, "little")
        if isinstance(value, datetime) and self.name == "datetime":
            return struct.pack("<BiI", 8, (value.date() - _DAY_1900).days, _ticks(value))
        if isinstance(value, datetime):
            size = 3 if self.scale <= 2 else 4 if self.scale <= 4 else 5
            micros = (value - datetime.combine(value.date(), datetime.min.time())) // timedelta(microseconds=1)
            units = micros * 10 // int(10 ** (7 - self.scale))
            days = (value.date() - _DAY_ONE).days
            return bytes([size + 3]) + units.to_bytes(size, "little") + days.to_bytes(3, "little")
        if isinstance(value, date):
            return b"\x03" + (value - _DAY_ONE).days.to_bytes(3, "little")
        raise TypeError(f"{self}: {type(value).__name__}")

    def _encode_string(self, value: Value) -> bytes:
        if value is None:
            return _PLP_NULL if self.length == MAX else b"\xff\xff"
        data = (
            value
            if isinstance(value, bytes)
            else str(value).encode("utf-16-le" if self.is_unicode else "cp1252", "replace")
        )
        if self.length != MAX:
            return struct.pack("<H", len(data)) + data
        chunk = struct.pack("<I", len(data)) + data if data else b""
        return struct.pack("<Q", len(data)) + chunk + b"\0\0\0\0"

    def _decimal_bytes(self) -> int:
        return 4 if self.precision <= 9 else 8 if self.precision <= 19 else 12 if self.precision <= 28 else 16


_NEVER = {
    ("string", "binary"), ("float", "binary"), ("binary", "float"), ("decimal", "datetime"), ("datetime", "integer"),
    ("datetime", "float"), ("datetime", "decimal"), ("date", "integer"), ("date", "float"), ("date", "decimal"),
    ("integer", "date"), ("float", "date"), ("decimal", "date"), ("integer", "datetime"), ("float", "datetime"),
    ("binary", "date"), ("binary", "datetime"),
}  # fmt: skip
_ONLY_EXPLICIT = {("string", "binary")}


def _out_of_range(source: SqlType, target: SqlType) -> SqlServerError:
    return SqlServerError(
        242,
        f"The conversion of a {source.name} data type to a {target.name} data type resulted in an out-of-range value.",
    )


def size_of(value: str | bytes) -> int:
    """Return how long SQL Server finds a value: it counts units of UTF-16."""
    return len(value.encode("utf-16-le")) // 2 if isinstance(value, str) else len(value)


def _first(value: str, units: int) -> tuple[str, str]:
    """Split a string behind so many units of UTF-16."""
    data = value.encode("utf-16-le")
    return data[: 2 * units].decode("utf-16-le", "ignore"), data[2 * units :].decode("utf-16-le", "ignore")


def _ticks(value: datetime) -> int:
    """Return the time of day in 1/300 s, which is what ``datetime`` keeps."""
    midnight = datetime.combine(value.date(), datetime.min.time())
    return min(round((value - midnight) / timedelta(microseconds=1) * 3 / 10_000), 24 * 3600 * 300 - 1)


def _as_text(value: Value, source: SqlType) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("cp1252", "replace")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        if source.name == "datetime":
            return f"{value:%b} {value.day:2} {value.year} {(value.hour - 1) % 12 + 1:2}:{value:%M%p}"
        return value.isoformat(" ", "microseconds")
    return value.isoformat() if isinstance(value, date) else str(value)


def _as_bytes(value: Value, source: SqlType) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(_INTEGERS.get(source.name, (1,))[0], "big", signed=value < 0)
    if isinstance(value, str):
        return value.encode("utf-16-le" if source.is_unicode else "cp1252", "replace")
    raise SqlServerError(206, f"Operand type clash: {source.name} is incompatible with varbinary")


def parse_type_info(data: bytes, at: int) -> tuple[SqlType, Value, int]:
    """Read TYPE_INFO and a value behind it, as parameters of a procedure are sent.

    :return: the type, the value, and where the next parameter begins.
    :raises SqlServerError: an unknown type.
    """
    token = data[at]
    if token in (0x26, 0x68, 0x6D, 0x6F):
        size = data[at + 2]
        raw = data[at + 3 : at + 3 + size]
        by_size = {
            0x26: {1: "tinyint", 2: "smallint", 4: "int", 8: "bigint"},
            0x68: {1: "bit"},
            0x6D: {4: "real", 8: "float"},
        }
        end = at + 3 + size
        if token in by_size:
            kind = SqlType(by_size[token][data[at + 1]])
            if not size:
                return kind, None, end
            if token == 0x6D:
                return kind, struct.unpack("<f" if size == 4 else "<d", raw)[0], end
            return kind, int.from_bytes(raw, "little", signed=kind.name not in ("tinyint", "bit")), end
        if not size:
            return SqlType("datetime"), None, end
        if size == 8:
            days, ticks = struct.unpack("<iI", raw)
            midnight = datetime(1900, 1, 1) + timedelta(days=days)
            return SqlType("datetime"), midnight + timedelta(milliseconds=round(ticks * 10 / 3)), end
    if token in (0x6A, 0x6C):
        precision, scale, size = data[at + 2 : at + 5]
        kind = SqlType("decimal" if token == 0x6A else "numeric", precision=precision, scale=scale)
        end = at + 5 + size
        if not size:
            return kind, None, end
        magnitude = Decimal(int.from_bytes(data[at + 6 : end], "little")).scaleb(-scale, _EXACT)
        return kind, magnitude if data[at + 5] else magnitude.copy_negate(), end
    names = {number: name for name, number in _TOKENS.items()}
    if token in names:
        name = names[token]
        at += 3 if name in _BINARY else 8
        most = struct.unpack_from("<H", data, at - (2 if name in _BINARY else 7))[0]
        width = 2 if name in _UNICODE else 1
        if most == 0xFFFF:
            content, at = _read_chunks(data, at)
            kind = SqlType(name, length=MAX)
        else:
            size = struct.unpack_from("<H", data, at)[0]
            kind = SqlType(name, length=max(most // width, 1))
            content = None if size == 0xFFFF else data[at + 2 : at + 2 + size]
            at += 2 + (0 if content is None else size)
        if content is None or name in _BINARY:
            return kind, content, at
        return kind, content.decode("utf-16-le" if width == 2 else "cp1252", "replace"), at
    raise SqlServerError(
        8009, "The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is incorrect. "
        f"Parameter 1 (\"\"): Data type 0x{token:02X} is unknown."
    )  # fmt: skip


def _read_chunks(data: bytes, at: int) -> tuple[bytes | None, int]:
    if data[at : at + 8] == _PLP_NULL:
        return None, at + 8
    at += 8
    parts = []
    while size := struct.unpack_from("<I", data, at)[0]:
        parts.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return b"".join(parts), at + 4
