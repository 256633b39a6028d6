# SPDX-License-Identifier: Apache-2.0
"""What no message repeats, and no script contains: user names, passwords and tokens."""

from __future__ import annotations

import re

__all__ = ["masked", "masked_address", "masked_line", "names_a_secret", "user_of"]

_HIDDEN = "****"
_QUOTES = "`'\"(<["
_WORD = re.compile(r"\S+")
_PARAMETER = re.compile(r"([?&#])([^=?&#\s]+=)?([^?&#\s]+)")
_PLAIN = ("egg=", "subdirectory=", "md5=", "sha1=", "sha224=", "sha256=", "sha384=", "sha512=")
"""What pip reads after ``#``."""
_ADDRESS_WITH_SPACES = re.compile(r"\S*://.*@\S*")
_ASSIGNED = re.compile(r"([\w.-]+)\s*[=:]+\s*(?=\S)")
_NEVER_SHOWN = re.compile(r"credential|key|passw|secret|token", re.IGNORECASE)
"""Parts of names. No message shows what is assigned to such a name, even if the name is ``monkey``."""
_GRANTS_ACCESS = re.compile(rf"{_NEVER_SHOWN.pattern}|jwt|passphrase|signature", re.IGNORECASE)
"""Parts of names such as ``X-Amz-Signature`` or ``AWSAccessKeyId``: the value grants access."""
_HARMLESS = re.compile(r"monkey|keyword|keyboard|tokeni[sz]", re.IGNORECASE)
_WORDS_OF_A_NAME = (re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+"), re.compile(r"[A-Z]+|[a-z]+"))
_SECRET_WORDS = frozenset(("api", "auth", "authorization", "pass", "pw", "pwd", "sig"))
_PINNED = re.compile(r"[\w.-]+\s*==\s*\d+(\.(\w+|\*))*\s*([;,].*)?")
_VERSION = re.compile(r"v?\d+(\.\w+)+")
_REPOSITORY = re.compile(r"\W*(git|hg|svn|bzr)\+[a-z]+://[\w-]+(\.[\w-]+)+(:\d+)?/[^:@\s]*@[\w.-]+(#\S*|\W*)")
"""A repository on a host without a user: its @ precedes a branch, a tag or a commit."""


def masked(text: str) -> str:
    """Return a string without users and passwords in its addresses, and without values of their queries and fragments.

    A password may contain ``@`` and ``/``, and an address may lack its scheme: all up to the last ``@`` is hidden.
    """
    return _WORD.sub(lambda word: _masked_word(word[0]), text)


def masked_address(address: str) -> str:
    """Return an address without user, password and query, as :func:`masked`; it may contain spaces."""
    return _masked_word(address)


def masked_line(text: str) -> str:
    """Return a line that cannot be parsed, as :func:`masked`; addresses in it may contain spaces.

    What is assigned to a name that may be that of a secret is hidden, too, unless it is a version.
    """
    text = masked(_ADDRESS_WITH_SPACES.sub(lambda address: _masked_word(address[0]), text))
    for found in _ASSIGNED.finditer(text):
        if _NEVER_SHOWN.search(found[1]):
            is_version = _VERSION.fullmatch(text, found.end())
        elif names_a_secret(found[1]):
            is_version = _VERSION.fullmatch(text, found.end()) or _PINNED.fullmatch(text, found.start())
        else:
            continue
        if not is_version:
            return f"{text[: found.end()]}{_HIDDEN}"
    return text


def names_a_secret(name: str) -> bool:
    """Return whether a variable, an option or a parameter of an address holds a secret, judging by its name."""
    words = (word.lower() for split in _WORDS_OF_A_NAME for word in split.findall(name))
    return _GRANTS_ACCESS.search(_HARMLESS.sub(" ", name)) is not None or not _SECRET_WORDS.isdisjoint(words)


def user_of(address: str) -> str:
    """Return user and password of an address, however it is written; an empty string if it has none."""
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
