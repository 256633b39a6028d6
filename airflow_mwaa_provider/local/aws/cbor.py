# SPDX-License-Identifier: Apache-2.0
"""The part of CBOR that AWS's protocol rpc-v2-cbor needs; newer SDKs use it for CloudWatch.

Source: RFC 8949; Smithy's description of the protocol, for the types that occur.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INDEFINITE = 31
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}
_SIMPLE_VALUES = {20: False, 21: True, 22: None, 23: None}
_EPOCH_SECONDS = 1
"""The tag of a time in seconds since 1970."""
_BREAK = object()
_DEEPEST = 32


class CborError(ValueError):
    """The bytes are not the CBOR of a request."""


def loads(content: bytes) -> Any:
    """Return the single value in some bytes; times become :class:`datetime`.

    :raises CborError: there is no value, or more than one.
    """
    reader = _Reader(content)
    try:
        value = reader.item()
    except (struct.error, IndexError, OverflowError, OSError, UnicodeDecodeError) as error:
        raise CborError(f"CBOR that is incomplete or can't be read: {type(error).__name__}") from error
    if value is _BREAK or reader.position != len(content):
        raise CborError("CBOR that is not one value")
    return value


def dumps(value: Mapping[str, Any] | list[Any] | str) -> bytes:
    """Return strings, and lists and maps of them, as CBOR; errors consist of these."""
    if isinstance(value, str):
        text = value.encode()
        return _head(_TEXT, len(text)) + text
    if isinstance(value, list):
        return _head(_ARRAY, len(value)) + b"".join(map(dumps, value))
    return _head(_MAP, len(value)) + b"".join(dumps(part) for pair in value.items() for part in pair)


def _head(kind: int, length: int) -> bytes:
    # Always four bytes of length: shorter forms are allowed, but not required.
    return bytes([kind << 5 | 26]) + length.to_bytes(4, "big")


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0
        self._depth = 0

    def item(self) -> Any:
        kind, info = divmod(self._content[self.position], 32)
        self.position += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CborError("CBOR that is nested too deeply")
        value = self._simple(info) if kind == _SIMPLE else self._of_kind(kind, info)
        self._depth -= 1
        return value

    def _of_kind(self, kind: int, info: int) -> Any:
        length = None if info == _INDEFINITE else self._number(info)
        if kind in (_BYTES, _TEXT):
            content = b"".join(self._pieces()) if length is None else self._take(length)
            return content.decode() if kind == _TEXT else content
        if kind == _ARRAY:
            return self._items(length)
        if kind == _MAP:
            flat = self._items(None if length is None else 2 * length)
            return dict(zip(flat[::2], flat[1::2], strict=True))
        if length is None:
            raise CborError("CBOR with a number of invalid length")
        if kind == _TAG:
            value = self.item()
            is_time = length == _EPOCH_SECONDS and isinstance(value, int | float)
            return datetime.fromtimestamp(value, UTC) if is_time else value
        return length if kind == _UNSIGNED else -1 - length

    def _pieces(self) -> list[bytes]:
        return [piece.encode() if isinstance(piece, str) else piece for piece in self._items(None)]

    def _items(self, count: int | None) -> list[Any]:
        items: list[Any] = []
        while count is None or len(items) < count:
            value = self.item()
            if value is _BREAK:
                if count is not None:
                    raise CborError("CBOR that is incomplete")
                break
            items.append(value)
        return items

    def _simple(self, info: int) -> Any:
        if info == _INDEFINITE:
            return _BREAK
        if info in _FLOATS:
            form = _FLOATS[info]
            return struct.unpack(form, self._take(struct.calcsize(form)))[0]
        if info not in _SIMPLE_VALUES:
            raise CborError("CBOR with a value of an unknown kind")
        return _SIMPLE_VALUES[info]

    def _number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise CborError("CBOR with a length of an unknown form")
        return int.from_bytes(self._take(1 << (info - 24)), "big")

    def _take(self, count: int) -> bytes:
        content = self._content[self.position : self.position + count]
        if len(content) < count:
            raise IndexError
        self.position += count
        return content
