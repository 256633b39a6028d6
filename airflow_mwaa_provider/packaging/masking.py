# SPDX-License-Identifier: Apache-2.0
"""What no message repeats: user names, passwords and tokens in addresses."""

from __future__ import annotations

import re

__all__ = ["masked", "masked_address", "user_of"]

_HIDDEN = "****"
_QUOTES = "`'\"(<["
_WORD = re.compile(r"\S+")
_QUERY = re.compile(r"([?&][^=&#\s]+=)[^&#\s]+")
_REPOSITORY = re.compile(r"\W*(git|hg|svn|bzr)\+[a-z]+://[\w-]+(\.[\w-]+)+(:\d+)?/[^:@\s]*@[\w.-]+(#\S*|\W*)")
"""A repository on a plain host, whose @ stands before a branch, a tag or a commit."""


def masked(text: str) -> str:
    """Return a text without the users and passwords of addresses, and without the values of their queries.

    A password may hold ``@`` and ``/``, and an address may lack its scheme: all up to the last ``@`` is hidden.
    """
    return _WORD.sub(lambda word: _masked_word(word[0]), text)


def masked_address(address: str) -> str:
    """Return an address without user, password and query, as :func:`masked`; a space may be in it."""
    return _masked_word(address)


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
    return _QUERY.sub(rf"\1{_HIDDEN}", word) if "://" in word else word
