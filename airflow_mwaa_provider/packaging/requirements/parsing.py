# SPDX-License-Identifier: Apache-2.0
"""A requirements file as pip reads it: its encoding, its lines, their options and requirements.

Requirements, markers and versions are read by ``packaging``, options by ``optparse``, as in pip itself.

Source: pip's documentation, "Requirements File Format", and pip 23.2 to 26.3, which the tests read the same files with.
"""

from __future__ import annotations

import codecs
import optparse
import re
import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker, UndefinedComparison
from packaging.requirements import InvalidRequirement, Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BAD_MARKER",
    "OPTION_NAMES",
    "VARIABLE",
    "Encoding",
    "Kind",
    "Line",
    "address_for_uv",
    "decode",
    "is_commented_constraint",
    "parse",
    "parse_line",
]

_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz")
_VERSION_CONTROL = ("git", "hg", "svn", "bzr")
_ADDRESS = re.compile(r"(https?|ftp|file|(git|hg|svn|bzr)\+[a-z]+):", re.IGNORECASE)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_EXTRAS = re.compile(r"(.+)\[([^\]]+)\]")
_HASH = re.compile(r"[#&](sha1|sha224|sha256|sha384|sha512|md5)=([^&]*)")
_FLAGS = ("--no-index", "--prefer-binary", "--require-hashes", "--no-require-hashes", "--pre")
_WITH_VALUE = (
    ("-i", "--index-url", "--pypi-url"),
    ("--extra-index-url",),
    ("-c", "--constraint"),
    ("-r", "--requirement"),
    ("-e", "--editable"),
    ("-f", "--find-links"),
    ("--no-binary",),
    ("--only-binary",),
    ("--all-releases",),
    ("--only-final",),
    ("--trusted-host",),
    ("--use-feature",),
    ("--hash",),
    ("-C", "--config-settings"),
)
_FEATURES = (
    *("fast-deps", "inprocess-build-deps", "venv-isolation", "truststore", "no-binary-enable-wheel-cache"),
    "build-constraint",
)
OPTION_NAMES = (*_FLAGS, *(name for names in _WITH_VALUE for name in names if name.startswith("--")))
"""The options that pip reads in a file."""
VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
"""What pip replaces: capitals only."""
BAD_MARKER = "its marker compares values that cannot be compared"


class Kind(StrEnum):
    """What a line is."""

    NAME = "name"
    """A package of an index: a name, and usually a version."""
    URL = "url"
    """An archive by its address, or a package by name and address."""
    PATH = "path"
    """A file or folder."""
    VERSION_CONTROL = "version control"
    """A repository, such as ``git+https://…``."""
    EDITABLE = "editable"
    OPTIONS = "options"
    """Not a requirement: options for the whole file."""
    INVALID = "invalid"
    """A line that pip refuses; ``error`` is the reason."""


@dataclass(frozen=True)
class Line:
    """A line of the file, with those that a backslash joins to it.

    :param number: of its first line, counted from 1.
    :param text: without its comment.
    :param asked: the requirement, without options; empty if it has options only.
    :param requirement: as ``packaging`` parses it, for a name or a name with an address.
    :param marker: when it applies, also of an address or a path; None if always.
    :param options: long names without dashes, and values; a flag's value is empty.
    :param error: why pip refuses it.
    :param shown: what messages call it, if ``asked`` was rewritten for a resolver.
    :param last_number: number of the last line that a backslash joins to it; its own if none is.
    """

    number: int
    text: str
    kind: Kind
    asked: str = ""
    requirement: Requirement | None = None
    marker: Marker | None = None
    options: tuple[tuple[str, str], ...] = ()
    error: str = ""
    shown: str = ""
    last_number: int = 0

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """The options that apply to the whole file: on the line of a requirement, pip ignores them."""
        return self.options if self.kind is Kind.OPTIONS else ()

    def values(self, option: str) -> list[str]:
        """Return the values of an option, by its long name without dashes."""
        return [value for name, value in self.options if name == option]

    @property
    def hashes(self) -> frozenset[str]:
        """The hashes of which a file must have one, as ``algorithm:digest``: from options, and at an address's end."""
        at_end = _HASH.findall(self.address)
        return frozenset(value.lower() for value in (*self.values("hash"), *map(":".join, at_end)))

    @property
    def address(self) -> str:
        """The path or address of the requirement; empty for a package of an index."""
        if self.kind is Kind.EDITABLE:
            return self.values("editable")[0]
        if self.requirement is not None:
            return self.requirement.url or ""
        place, _ = _split(self.asked)
        return _with_extras(place)[0] if self.kind is Kind.PATH else place

    @property
    def file_name(self) -> str:
        """The name of the file at its address; an encoded slash, ``%2F``, separates folders, too."""
        return unquote(urlsplit(self.address).path).rpartition("/")[2]

    @property
    def extras(self) -> frozenset[str]:
        """The extras, in brackets after a name or a path."""
        if self.requirement is not None:
            return frozenset(self.requirement.extras)
        return _with_extras(_split(self.asked)[0])[1] if self.kind is Kind.PATH else frozenset()


@dataclass(frozen=True)
class Encoding:
    """How a file's bytes are to be read.

    :param name: Python's name of the encoding.
    :param has_mark: it begins with a byte order mark.
    :param is_damaged: its bytes are not valid in that encoding; the text has replacement characters.
    :param declared: the encoding that a comment names; empty without one.
    :param is_known: Python, and so pip, has the encoding that the comment names.
    """

    name: str
    has_mark: bool
    is_damaged: bool
    declared: str = ""
    is_known: bool = True


def decode(content: bytes) -> tuple[str, Encoding]:
    """Return a file's text and its encoding: by its byte order mark, else by a comment that names it, else UTF-8."""
    found = ((mark, name) for mark, name in _MARKS if content.startswith(mark))
    mark, encoding = next(found, (b"", _without_mark(content)))
    declared = "" if mark else _declared(content)
    for errors in ("strict", "replace") if declared else ():
        try:
            return content.decode(declared, errors), Encoding("utf-8", False, errors == "replace", declared)
        except UnicodeDecodeError:
            continue
        except (LookupError, UnicodeError):
            return content.decode("utf-8", "replace"), Encoding("utf-8", False, False, declared, is_known=False)
    body = content[len(mark) :]
    try:
        return body.decode(encoding), Encoding(encoding, bool(mark), False)
    except UnicodeDecodeError:
        return body.decode(encoding, "replace"), Encoding(encoding, bool(mark), True)


def parse(text: str) -> tuple[Line, ...]:
    """Return the lines that are more than a comment.

    ``${NAME}`` is left as it is: the variable's value in the environment is unknown here.
    """
    return tuple(replace(parse_line(first, line), last_number=last) for first, last, line in _joined(text))


def parse_line(number: int, text: str) -> Line:
    """Parse one line, given without its comment and with those that a backslash joins to it."""
    words = text.split(" ")
    end = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    asked, rest = " ".join(words[:end]).strip(), " ".join(words[end:])
    try:
        options = _options(rest)
    except ValueError as error:
        return Line(number, text, Kind.INVALID, asked, error=str(error))
    if not asked:
        editable = any(name == "editable" for name, _ in options)
        return Line(number, text, Kind.EDITABLE if editable else Kind.OPTIONS, options=options)
    return _required(number, text, asked, options)


def is_commented_constraint(line: str) -> bool:
    """Return whether a comment contains a constraint option, with which MWAA omits its own constraints."""
    match = _COMMENT.search(line)
    return match is not None and any(option in match[0] for option in ("-c ", "--constraint "))


def address_for_uv(address: str) -> str:
    """Return an address with its scheme in lower case, and without the hash at its end, which uv does not check."""
    place, mark, end = address.partition("#")
    rest = _HASH.sub("", mark + end).lstrip("#&")
    scheme, separator, path = place.partition(":")
    place = f"{scheme.lower()}{separator}{path}" if separator else place
    return f"{place}#{rest}" if rest else place


def _declared(content: bytes) -> str:
    """Return the encoding that a comment in the first two lines names, as pip reads it; empty without one."""
    for line in content.split(b"\n")[:2]:
        match = _CODING.search(line) if line.startswith(b"#") else None
        if match:
            return match[1].decode("ascii")
    return ""


def _without_mark(content: bytes) -> str:
    """Return UTF-8, or UTF-16 if every second byte at the start is zero."""
    start = content[:200]
    if start[1:2] == b"\0" or start[:1] == b"\0":
        return "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
    return "utf-8"


def _joined(text: str) -> Iterator[tuple[int, int, str]]:
    """Return lines with their first and last numbers: those that end in a backslash with the next, without comments."""
    first, number, parts = 0, 0, list[str]()

    def finished() -> Iterator[tuple[int, int, str]]:
        line = _COMMENT.sub("", "".join(parts)).strip()
        parts.clear()
        if line:
            yield first, number, line

    for number, line in enumerate(text.splitlines(), 1):
        if not parts:
            first = number
        is_comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not is_comment:
            parts.append(line.strip("\\"))
            continue
        parts.append(" " + line if is_comment else line)
        yield from finished()
    if parts:
        yield from finished()


class _Options(optparse.OptionParser):
    def error(self, msg: str) -> NoReturn:
        raise ValueError(msg)

    def exit(self, status: int = 0, msg: str | None = None) -> NoReturn:
        raise ValueError(msg or str(status))


def _collect(option: optparse.Option, _text: str, value: str | None, parser: optparse.OptionParser) -> None:
    assert parser.values is not None
    if option.dest == "hash":
        _check_hash(value or "", parser)
    elif option.dest == "use-feature" and value not in _FEATURES:
        parser.error(f"--use-feature must be one of {', '.join(_FEATURES)}")
    elif option.dest == "config-settings" and "=" not in (value or ""):
        parser.error("--config-settings takes NAME=VALUE")
    if not _is_address(value or ""):
        parser.error("the host of its address has an unmatched bracket")
    parser.values.found.append((option._long_opts[0].removeprefix("--"), value or ""))


def _check_hash(value: str, parser: optparse.OptionParser) -> None:
    algorithm, separator, _ = value.partition(":")
    if not separator or algorithm not in ("sha256", "sha384", "sha512"):
        parser.error("--hash takes sha256:, sha384: or sha512: and the digest")


def _parser() -> optparse.OptionParser:
    parser = _Options(add_help_option=False)
    for flag in _FLAGS:
        parser.add_option(flag, action="callback", callback=_collect)
    for names in _WITH_VALUE:
        dest = names[-1].removeprefix("--")
        parser.add_option(*names, dest=dest, action="callback", callback=_collect, type="string")
    return parser


_PARSER = _parser()


def _options(text: str) -> tuple[tuple[str, str], ...]:
    values = optparse.Values({"found": []})
    _PARSER.parse_args(shlex.split(text), values)
    return tuple(values.found)


def _required(number: int, text: str, asked: str, options: tuple[tuple[str, str], ...]) -> Line:
    place, condition = _split(asked)
    invalid = Line(number, text, Kind.INVALID, asked, options=options)
    try:
        marker = Marker(condition) if condition else None
        if marker is not None:
            marker.evaluate({"extra": ""})
    except InvalidMarker as error:
        return replace(invalid, error=str(error).splitlines()[0])
    except UndefinedComparison:
        return replace(invalid, error=BAD_MARKER)
    line = Line(number, text, Kind.NAME, asked, marker=marker, options=options)
    if not _is_address(place.partition("@")[2].strip()) or not _is_address(place):
        return replace(invalid, error="the host of its address has an unmatched bracket")
    if _is_version_control(place):
        return replace(line, kind=Kind.VERSION_CONTROL)
    if place.lower().startswith("file:") or (_looks_like_path(place) and "://" not in place):
        return replace(line, kind=Kind.PATH)
    try:
        requirement = Requirement(place)
    except InvalidRequirement as error:
        scheme, separator, _ = place.partition("://")
        if separator and scheme.isalpha():
            return replace(line, kind=Kind.URL)
        return replace(invalid, error=str(error).splitlines()[0])
    requirement.marker = marker
    kind = Kind.NAME
    if requirement.url:
        kind = Kind.VERSION_CONTROL if _is_version_control(requirement.url) else Kind.URL
        kind = Kind.PATH if requirement.url.lower().startswith("file:") else kind
    return replace(line, kind=kind, requirement=requirement)


def _split(asked: str) -> tuple[str, str]:
    """Return the requirement and its marker, which may be empty; in an address, only ``; `` begins one."""
    place, _, marker = asked.partition("; " if _ADDRESS.match(asked) else ";")
    return place.strip(), marker.strip()


def _with_extras(path: str) -> tuple[str, frozenset[str]]:
    """Return a path, and the extras after it; an address has none."""
    match = None if _ADDRESS.match(path) else _EXTRAS.fullmatch(path)
    return (match[1], frozenset(word.strip() for word in match[2].split(","))) if match else (path, frozenset())


def _is_address(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:
        return False
    return True


def _is_version_control(place: str) -> bool:
    return place.lower().startswith(tuple(f"{name}+" for name in _VERSION_CONTROL))


def _looks_like_path(place: str) -> bool:
    name = place.partition("[")[0].lower()
    return place.startswith((".", "/", "~", "\\")) or name.endswith(_ARCHIVES) or name[1:3] in (":\\", ":/")
