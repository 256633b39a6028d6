# SPDX-License-Identifier: Apache-2.0
"""What no message repeats: user names, passwords and tokens in addresses."""

from __future__ import annotations

import re

__all__ = ["masked", "masked_address", "masked_line", "user_of"]

_HIDDEN = "****"
_QUOTES = "`'\"(<["
_WORD = re.compile(r"\S+")
_PARAMETER = re.compile(r"([?&#])([^=?&#\s]+=)?([^?&#\s]+)")
_PLAIN = ("egg=", "subdirectory=", "md5=", "sha1=", "sha224=", "sha256=", "sha384=", "sha512=")
"""What pip reads after ``#``."""
_ADDRESS_WITH_SPACES = re.compile(r"\S*://.*@\S*")
_ASSIGNED = re.compile(r"([\w.-]*(?:secret|passw|token|key|credential)[\w.-]*\s*[=:]+\s*)(\S.*)", re.IGNORECASE)
_VERSION = re.compile(r"v?\d+(\.\w+)+")
_REPOSITORY = re.compile(r"\W*(git|hg|svn|bzr)\+[a-z]+://[\w-]+(\.[\w-]+)+(:\d+)?/[^:@\s]*@[\w.-]+(#\S*|\W*)")
"""A repository on a plain host, whose @ stands before a branch, a tag or a commit."""


def masked(text: str) -> str:
    """Return a text without users, passwords, and the values of queries and fragments in its addresses.

    A password may hold ``@`` and ``/``, and an address may lack its scheme: all up to the last ``@`` is hidden.
    """
    return _WORD.sub(lambda word: _masked_word(word[0]), text)


def masked_address(address: str) -> str:
    """Return an address without user, password and query, as :func:`masked`; a space may be in it."""
    return _masked_word(address)


def masked_line(text: str) -> str:
    """Return a line that cannot be read, as :func:`masked`; addresses in it may have spaces.

    The value of a name that tells of a secret is hidden, too.
    """
    text = _ADDRESS_WITH_SPACES.sub(lambda address: _masked_word(address[0]), text)
    return _ASSIGNED.sub(lambda found: found[0] if _VERSION.fullmatch(found[2]) else found[1] + _HIDDEN, masked(text))


def user_of(address: str) -> str:
    """Return what stands for user and password in an address, however it is written; empty if nothing does."""
    if _REPOSITORY.fullmatch(address):
        return ""
    head, _, _ = address.rpartition("@")
    _, scheme, user = head.partition("://")
    return user if scheme else head if ":" in head else ""


def _masked_word(word: str) -> str:
    if user_of(word):
        head, _, host = word.rpartition("@")
        start, scheme, _ = head.partition("://")
        if not scheme:
            start = word[: len(word) - len(word.lstrip(_QUOTES))]
        word = f"{start}{scheme}{_HIDDEN}@{host}"
    return _PARAMETER.sub(_masked_parameter, word) if "/" in word else word


def _masked_parameter(found: re.Match[str]) -> str:
    start, name, _ = found.groups(default="")
    return found[0] if start != "?" and name in _PLAIN else f"{start}{name}{_HIDDEN}"
