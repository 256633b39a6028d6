# SPDX-License-Identifier: Apache-2.0
"""TDS 7.2 to 7.4 as bytes: packets, the messages of a client, and the tokens of an answer.

Source: [MS-TDS] "Tabular Data Stream Protocol", 2.2.3 (packets), 2.2.6 (messages of a client), 2.2.7 (tokens).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.stand_ins.tds_types import COLLATION, SqlServerError, SqlType, Value, parse_type_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SQL_BATCH, RPC, RESPONSE, ATTENTION, LOGIN7, PRELOGIN = 0x01, 0x03, 0x04, 0x06, 0x10, 0x12
ENCRYPT_OFF, ENCRYPT_ON, ENCRYPT_NOT_SUPPORTED, ENCRYPT_REQUIRED = 0, 1, 2, 3
HEADER_BYTES = 8
DEFAULT_PACKET_BYTES = 4096
VERSIONS = {0x72090002: "7.2", 0x730A0003: "7.3", 0x730B0003: "7.3", 0x74000004: "7.4"}
"""The versions that are spoken; since 7.2, lengths have the sizes that this module writes."""

DONE, DONE_PROCEDURE, DONE_IN_PROCEDURE = 0xFD, 0xFE, 0xFF
MORE, ERROR, IN_TRANSACTION, COUNT, ATTENTION_ACKNOWLEDGED = 0x01, 0x02, 0x04, 0x10, 0x20
DATABASE, PACKET_SIZE, SQL_COLLATION, BEGIN, COMMIT, ROLLBACK = 1, 4, 7, 8, 9, 10
_SP_EXECUTESQL = 10


class ProtocolError(Exception):
    """What the client sent is no TDS that this server speaks: SQL Server would close the connection."""


def packets(kind: int, payload: bytes, packet_bytes: int, spid: int = 0) -> Iterator[bytes]:
    """Split a message into packets."""
    room = packet_bytes - HEADER_BYTES
    for number, start in enumerate(range(0, max(len(payload), 1), room), 1):
        part = payload[start : start + room]
        last = start + room >= len(payload)
        yield struct.pack(">BBHHBB", kind, int(last), len(part) + HEADER_BYTES, spid, number % 256, 0) + part


def prelogin_options(payload: bytes) -> dict[int, bytes]:
    """Read the options of PRELOGIN, by number."""
    options = {}
    at = 0
    while at < len(payload) and payload[at] != 0xFF:
        number, start, size = struct.unpack_from(">BHH", payload, at)
        options[number] = payload[start : start + size]
        at += 5
    return options


def prelogin_answer(encryption: int) -> bytes:
    """Return the answer to PRELOGIN: the version (SQL Server 2019's), and whether this is encrypted."""
    options = {0: bytes([15, 0, 0x07, 0xD0, 0, 0]), 1: bytes([encryption]), 2: b"\0", 3: b"", 4: b"\0"}
    start = 5 * len(options) + 1
    head, body = b"", b""
    for number, data in options.items():
        head += struct.pack(">BHH", number, start + len(body), len(data))
        body += data
    return head + b"\xff" + body


@dataclass(frozen=True, repr=False)
class Login:
    """LOGIN7; no ``repr``, because it has a password."""

    version: int
    packet_bytes: int
    user: str
    password: str
    application: str
    database: str
    integrated: bool

    @classmethod
    def parse(cls, payload: bytes) -> Login:
        """Read LOGIN7."""

        def text(at: int) -> str:
            start, size = struct.unpack_from("<HH", payload, at)
            return payload[start : start + 2 * size].decode("utf-16-le")

        start, size = struct.unpack_from("<HH", payload, 44)
        hidden = payload[start : start + 2 * size]
        # Each byte was rotated by four bits and combined with 0xA5.
        password = bytes(((byte ^ 0xA5) >> 4 | (byte ^ 0xA5) << 4) & 0xFF for byte in hidden)
        version, wanted = struct.unpack_from("<II", payload, 4)
        return cls(
            version=version,
            packet_bytes=min(max(wanted or DEFAULT_PACKET_BYTES, 512), 32767),
            user=text(40),
            password=password.decode("utf-16-le"),
            application=text(48),
            database=text(68),
            integrated=bool(payload[25] & 0x80),
        )


def batch_text(payload: bytes) -> str:
    """Return the statements of a SQL batch."""
    return payload[_after_headers(payload) :].decode("utf-16-le")


@dataclass(frozen=True)
class Procedure:
    """A remote procedure call: its name, and its parameters by name and in order."""

    name: str
    parameters: list[tuple[str, SqlType, Value]]

    @classmethod
    def parse(cls, payload: bytes) -> Procedure:
        """Read an RPC request of one call.

        :raises SqlServerError: a parameter has an unknown type.
        :raises ProtocolError: several calls in one request.
        """
        at = _after_headers(payload)
        size = struct.unpack_from("<H", payload, at)[0]
        if size == 0xFFFF:
            number = struct.unpack_from("<H", payload, at + 2)[0]
            name = "sp_executesql" if number == _SP_EXECUTESQL else f"procedure {number}"
            at += 4
        else:
            name = payload[at + 2 : at + 2 + 2 * size].decode("utf-16-le")
            at += 2 + 2 * size
        at += 2
        parameters = []
        while at < len(payload):
            if payload[at] in (0x80, 0xFF):
                raise ProtocolError("several procedures in one request")
            characters = payload[at]
            label = payload[at + 1 : at + 1 + 2 * characters].decode("utf-16-le")
            kind, value, at = parse_type_info(payload, at + 2 + 2 * characters)
            parameters.append((label, kind, value))
        return cls(name, parameters)


def _after_headers(payload: bytes) -> int:
    size: int = struct.unpack_from("<I", payload)[0]
    if not 4 <= size <= len(payload):
        raise ProtocolError("no ALL_HEADERS")
    return size


def _short_text(text: str) -> bytes:
    return bytes([len(text.encode("utf-16-le")) // 2]) + text.encode("utf-16-le")


def _long_text(text: str) -> bytes:
    return struct.pack("<H", len(text.encode("utf-16-le")) // 2) + text.encode("utf-16-le")


def login_acknowledged(version: int) -> bytes:
    """Return LOGINACK."""
    body = b"\x01" + struct.pack(">I", version) + _short_text("Microsoft SQL Server") + bytes([15, 0, 0x07, 0xD0])
    return b"\xad" + struct.pack("<H", len(body)) + body


def changed(what: int, new: str, old: str) -> bytes:
    """Return ENVCHANGE for a database or a packet size."""
    body = bytes([what]) + _short_text(new) + _short_text(old)
    return b"\xe3" + struct.pack("<H", len(body)) + body


def changed_collation() -> bytes:
    """Return ENVCHANGE for the collation of the server."""
    body = bytes([SQL_COLLATION, len(COLLATION)]) + COLLATION + b"\0"
    return b"\xe3" + struct.pack("<H", len(body)) + body


def changed_transaction(what: int, number: int) -> bytes:
    """Return ENVCHANGE for a transaction that has begun or ended."""
    descriptor = b"\x08" + struct.pack("<Q", number)
    body = bytes([what]) + (descriptor + b"\0" if what == BEGIN else b"\0" + descriptor)
    return b"\xe3" + struct.pack("<H", len(body)) + body


def message(number: int, text: str, *, severity: int = 0, state: int = 1, server: str = "MWAA-STAND-IN") -> bytes:
    """Return ERROR for a severity above 10, INFO for others."""
    body = struct.pack("<iBB", number, state, severity) + _long_text(text) + _short_text(server) + b"\0"
    body += struct.pack("<I", 1)
    return (b"\xaa" if severity > 10 else b"\xab") + struct.pack("<H", len(body)) + body


def error(raised: SqlServerError) -> bytes:
    """Return ERROR."""
    return message(raised.number, raised.message, severity=raised.severity, state=raised.state)


def columns(described: Sequence[tuple[str, SqlType]]) -> bytes:
    """Return COLMETADATA; every column may be NULL."""
    body = b"\x81" + struct.pack("<H", len(described))
    for name, kind in described:
        body += struct.pack("<IH", 0, 1) + kind.type_info() + _short_text(name)
    return body


def row(described: Sequence[tuple[str, SqlType]], values: Sequence[Value]) -> bytes:
    """Return ROW."""
    return b"\xd1" + b"".join(kind.encode(value) for (_, kind), value in zip(described, values, strict=True))


def return_status(status: int) -> bytes:
    """Return RETURNSTATUS of a procedure."""
    return b"\x79" + struct.pack("<i", status)


def done(token: int, status: int, count: int = 0) -> bytes:
    """Return DONE, DONEPROC or DONEINPROC."""
    return struct.pack("<BHHQ", token, status, 0, count)
