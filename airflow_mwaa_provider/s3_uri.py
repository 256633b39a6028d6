# SPDX-License-Identifier: Apache-2.0
"""Addresses in S3."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["S3Uri"]

_FORM = re.compile(r"s3://([A-Za-z0-9.\-_:]+)(?:/(.*))?", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class S3Uri:
    """``s3://BUCKET/KEY``: a bucket, an object, or the prefix of several objects' keys.

    :param key: the key as written; empty for the bucket itself.
    """

    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> S3Uri | None:
        """Return the address that a string is; ``None`` if it is not one."""
        match = _FORM.fullmatch(text)
        return None if match is None else cls(match[1], match[2] or "")

    @property
    def prefix(self) -> str:
        """The key without slashes at its ends, to which names of objects are appended after a slash."""
        return self.key.strip("/")

    @property
    def names_object(self) -> bool:
        """Whether this can be the address of one object."""
        return bool(self.key) and not self.key.endswith("/")
