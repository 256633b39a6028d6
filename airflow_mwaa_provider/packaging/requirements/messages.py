# SPDX-License-Identifier: Apache-2.0
"""What uv and pip print, read where they offer no other form: exit codes and JSON do not distinguish these cases.

Nothing else in this package depends on the wording of another program. Read in uv 0.7 and 0.13 and in pip 23.2;
``tests/packaging/test_resolver_messages.py`` has the installed uv and pip print each of these.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from airflow_mwaa_provider.packaging.image_constraints import normalized
from airflow_mwaa_provider.packaging.masking import masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "ResolverWarning",
    "Sign",
    "constraints_for_pip",
    "pip_blames_requirements",
    "pip_reason",
    "signs_in",
    "skipped_indexes",
    "unreachable_reason",
    "uv_blames_requirements",
    "uv_reason",
    "warnings_in",
    "words_in",
]


def _system_messages(*numbers: int) -> tuple[str, ...]:
    return tuple(os.strerror(number).lower() for number in numbers)


UV_UNREACHABLE = (
    *("error sending request", "dns error", "invalid peer certificate", "operation timed out"),
    *("failed to lookup", "network connectivity is disabled", "network was disabled", "could not be queried"),
    "returned a 403",
    *("401 unauthorized", "403 forbidden", "407 proxy", "429 too many", "http status server error"),
)
"""uv, where an index cannot be reached or wants other credentials."""
PIP_UNREACHABLE = (
    *("could not fetch url", "max retries exceeded", "connection broken", "read timed out", "401 client error"),
    *("403 client error", "server error:"),
)
"""pip, in the same cases."""
OTHERS_UNREACHABLE = ("timed out", "tcp connect error", "401 error")
"""Further programs, and what the tests cannot bring about. pip's was read in its source, uv's in its binary.

curl, and git with it: "Resolving timed out after 9 milliseconds" and "Connection timed out after …" (``lib/multi.c``).
hyper-util in uv: "tcp connect error" (``src/client/legacy/connect/http.rs``). pip: "401 Error, Credentials not correct
for …" (``pip/_internal/network/auth.py``).
"""
SYSTEM_UNREACHABLE = (
    *_system_messages(errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT),
    "temporary failure in name resolution",
)
"""The operating system, in the words of its C library."""
BROKEN_MACHINE = _system_messages(errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE)
"""The operating system, where it is neither the index nor the requirements."""
UV_BLAMES_REQUIREMENTS = (
    *("no solution found", "unsatisfiable", "failed to download", "failed to build", "failed to read"),
    *("failed to extract", "distribution not found", "couldn't parse", "metadata", "conflicting url"),
    *("hash mismatch", "build backend", "requested package name", "expected direct url"),
    "url dependencies must be expressed",
)
"""uv, where the requirements are wrong, and not the index or the machine."""
_UNREACHABLE = (*UV_UNREACHABLE, *PIP_UNREACHABLE, *OTHERS_UNREACHABLE, *SYSTEM_UNREACHABLE)
_PIP_IS_BROKEN = ("error: exception", "oserror")
_BROKEN_FILE = ("failed to ", "build backend", "invalid package format")
_MISSING = ("was not found", "no version of")
_NO_FILES = "there are no versions"
_YANKED = re.compile(r"([\w.-]+==[^\s,]+) was yanked")
_NEEDED_BY_ADDRESS = re.compile(r"URL dependencies must be expressed .* adding `(\S+ @ [^`]+)`")
_UV_DRAWS = dict.fromkeys(map(ord, "\u2500\u2502\u251c\u256d\u2570\u25b6\u00d7"), " ")
"""Lines and arrows around uv's explanations; they differ between its versions."""


class Sign(Enum):
    """What the reason of a failed resolution shows."""

    MISSING = "missing"
    """The index lacks a package or a version."""
    NO_FILES = "no files"
    """The index has a page of the package that lists no file."""
    BROKEN_FILE = "broken file"
    """A file cannot be read or built; otherwise, versions exclude each other."""


@dataclass(frozen=True)
class ResolverWarning:
    """A warning.

    :param names: normalized words, among them the package's name.
    :param quoted: words in quotes, among them an extra that the package lacks.
    :param yanked_because: why a version was yanked; None if the warning is about something else.
    """

    names: tuple[str, ...]
    quoted: frozenset[str]
    yanked_because: str | None


def unreachable_reason(output: str) -> str | None:
    """Return why the index cannot be reached, on one line; None if the failure has another reason."""
    if not _has(output, _UNREACHABLE):
        return None
    lines = [line.strip() for line in output.splitlines()]
    cause = next((line for line in reversed(lines) if _has(line, _UNREACHABLE)), _unwrapped(output))
    place = next((line for line in lines if "failed to fetch" in line.lower()), cause)
    return cause if place == cause else f"{place}: {cause.removeprefix('cause: ')}"


def skipped_indexes(pip_output: str) -> list[str]:
    """Return the lines on indexes that pip has skipped; pip prints them to standard output, and only with ``-vv``."""
    return [line for line in pip_output.splitlines() if "Could not fetch URL" in line and " 404 " not in line]


def uv_blames_requirements(output: str) -> bool:
    """Return whether uv has failed because of the requirements."""
    return _has(output, UV_BLAMES_REQUIREMENTS) and not _has(output, BROKEN_MACHINE)


def pip_blames_requirements(output: str) -> bool:
    """Return whether pip has failed because of the requirements."""
    return _has(output, ["error: "]) and not _has(output, (*_PIP_IS_BROKEN, *BROKEN_MACHINE))


def uv_reason(output: str) -> str:
    """Return uv's explanation of a failure on one line, without its drawing and its hints."""
    text = _unwrapped(output)
    for start in ("cause: ", "No solution found when resolving dependencies: ", "error: "):
        text = text.partition(start)[2] or text
    return text.partition(" hint: ")[0]


def pip_reason(output: str) -> str:
    """Return pip's errors on one line."""
    errors = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR: ")]
    return " ".join(" ".join(errors or [output]).split())


def signs_in(reason: str) -> frozenset[Sign]:
    """Return what a reason shows."""
    words = {Sign.MISSING: _MISSING, Sign.NO_FILES: (_NO_FILES,), Sign.BROKEN_FILE: _BROKEN_FILE}
    return frozenset(sign for sign, each in words.items() if _has(reason, each))


def words_in(reason: str) -> frozenset[str]:
    """Return the words of a reason that may be names of packages, normalized."""
    words = {normalized(word) for word in reason.replace("=", " ").replace("[", " ").split()}
    return frozenset(words | {word.strip("<>~!.,`") for word in words})


def constraints_for_pip(uv_reason: str) -> Iterator[str]:
    """Return constraints with which uv takes what pip takes without them.

    They are a yanked version that something pins, and the address by which a package needs another one.
    """
    # An address whose password is masked cannot be used.
    yield from (needed for needed in _NEEDED_BY_ADDRESS.findall(uv_reason) if "****" not in needed)
    for pin in _YANKED.findall(uv_reason):
        if re.search(rf"(depends? on|requires?) {re.escape(pin)}(?!\w|\.[\w*])", uv_reason):
            yield pin


def warnings_in(output: str) -> tuple[ResolverWarning, ...]:
    """Return the warnings of uv or pip."""
    # pip prints the reason of a yanked version on a line of its own.
    lines = masked(output.replace("\nReason for being yanked", " Reason for being yanked")).splitlines()
    return tuple(
        _warning(line.partition(":")[2].strip())
        for line in map(str.strip, lines)
        if line.lower().startswith("warning:")
    )


def _warning(text: str) -> ResolverWarning:
    names = tuple(normalized(word.strip("`'\"(),").partition("==")[0]) for word in text.split())
    because = text.rpartition("eason")[2].partition(":")[2].strip(" \"')") if "yanked" in text else None
    return ResolverWarning(names, frozenset(re.findall(r"[`'](\S+?)[`']", text)), because)


def _unwrapped(output: str) -> str:
    """Return an output on one line: uv before 0.8 wraps it at 80 columns, whatever the terminal."""
    return " ".join(output.translate(_UV_DRAWS).split())


def _has(text: str, words: Iterable[str]) -> bool:
    unwrapped = _unwrapped(text).lower()
    return any(each in unwrapped for each in words)
