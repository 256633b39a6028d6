# SPDX-License-Identifier: Apache-2.0
"""The first bytes of a Linux program or library."""

from __future__ import annotations

__all__ = ["HEADER_BYTES", "is_elf", "is_x86_64"]

HEADER_BYTES = 20
_X86_64 = 62


def is_elf(start: bytes) -> bool:
    """Return whether a file with this beginning is a program or a library."""
    return start[:4] == b"\x7fELF"


def is_x86_64(start: bytes) -> bool:
    """Return whether it is one for MWAA's processor."""
    return is_elf(start) and int.from_bytes(start[18:20], "little") == _X86_64
