# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the lines of a requirements file, as far as the lines themselves show: no index is asked.

Sources: MWAA's user guide, "Installing Python dependencies" and "Managing Python dependencies in requirements.txt"; the
published images; pip's documentation.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from airflow_mwaa_provider.packaging.image import HOME, PLUGINS_FOLDER
from airflow_mwaa_provider.packaging.image_constraints import normalized
from airflow_mwaa_provider.packaging.masking import masked_address, masked_line, user_of
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.requirements.parsing import (
    BAD_MARKER,
    OPTION_NAMES,
    VARIABLE,
    Encoding,
    Kind,
    Line,
    parse_line,
)
from airflow_mwaa_provider.packaging.requirements.parsing import is_commented_constraint as commented
from airflow_mwaa_provider.packaging.requirements.regime import Regime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow_mwaa_provider.packaging.requirements.target import Target

__all__ = [
    "Image",
    "at_address",
    "check_encoding",
    "check_lines",
    "constraints_of",
    "constraints_url",
    "extras_of",
    "is_the_images",
    "pinned_line",
    "pinned_version",
    "wants_hashes",
]

WRITE_HASHES = "Write hashes for all packages and their dependencies (uv pip compile --generate-hashes), or for none."
_INDEXES = ("index-url", "extra-index-url")
_BESIDE_A_REQUIREMENT = ("hash", "config-settings", "editable")
"""Options that pip reads on the line of a requirement."""
_NEAR = 0.8
"""Similarity of options: with less, one of another meaning would be proposed."""
_NOT_ONE_SIGN = ("==", ">=", "<=", "~=", "!=", "://")
_SIMILAR = {
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-",
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": "a space", "\u2265": ">=", "\u2264": "<=",
    "\uff1d": "=", "\u2260": "!=",
}  # fmt: skip


@dataclass(frozen=True)
class Image:
    """What the checks know about an image.

    :param pins: its constraints, by normalized name.
    :param essential: pins that apply whatever the file contains.
    :param is_private: its web server reaches no index.
    :param has_its_pins: pip is given these constraints, by the image or by a line that names them.
    """

    target: Target
    pins: Mapping[str, str]
    essential: Mapping[str, str]
    regime: Regime
    is_private: bool
    has_its_pins: bool = False


def constraints_url(target: Target) -> str:
    """Return the address of Airflow's published constraints for an image."""
    return (
        f"https://raw.githubusercontent.com/apache/airflow/constraints-{target.airflow_version}/"
        f"constraints-{target.python}.txt"
    )


def pinned_version(line: Line) -> str | None:
    """Return the exact version that a line pins; None if it leaves a choice."""
    if line.requirement is None:
        return None
    exact = [each.version for each in line.requirement.specifier if each.operator in ("==", "===")]
    return exact[0] if exact and not exact[0].endswith(".*") else None


def check_encoding(text: str, encoding: Encoding, name: str) -> Iterator[Problem]:
    """Return what is wrong with the encoding and the line ends of a file."""
    if not encoding.is_known:
        yield Problem(
            "unknown-encoding",
            f"{name}:1",
            f"The comment names the encoding {encoding.declared[:60]!r}, which pip does not know: it stops there.",
            "Remove the comment, and save the file as UTF-8.",
        )
    elif encoding.name != "utf-8":
        severity = Severity.WARNING if encoding.has_mark and not encoding.is_damaged else Severity.ERROR
        called = encoding.name.upper().removesuffix("-LE").removesuffix("-BE")
        yield Problem(
            "utf-16",
            f"{name}:1",
            f"The file is {called}, as Windows PowerShell writes it: "
            f"{'pip reads it, other tools do not' if severity is Severity.WARNING else 'pip cannot read it'}.",
            "Save it as UTF-8.",
            severity,
        )
    elif encoding.is_damaged:
        number = text[: text.index("\ufffd")].count("\n") + 1
        yield Problem(
            "not-utf-8",
            f"{name}:{number}",
            f"A byte is not valid {encoding.declared or 'UTF-8'}.",
            "Save the file as UTF-8.",
        )
    elif encoding.has_mark:
        yield Problem(
            "byte-order-mark",
            f"{name}:1",
            "The file begins with a byte order mark: pip skips it, other tools take it for part of the first name.",
            "Save it as UTF-8 without one.",
            Severity.WARNING,
        )
    if "\r" in text:
        yield Problem(
            "windows-line-ends",
            f"{name}:{text[: text.index(chr(13))].count(chr(10)) + 1}",
            "It has Windows line ends: pip reads them, a shell or a script may not.",
            "Save it with Unix line ends.",
            Severity.WARNING,
        )


def check_lines(text: str, lines: Sequence[Line], image: Image, name: str) -> list[Problem]:
    """Return what is wrong with the lines of a file, in the order of the file.

    :param name: what the problems call the file.
    """
    found = [*_switched_off(text, image, name), *_whole_file(lines, image, name), *_repeated(lines, image, name)]
    found += [*_insecure(lines, name), *_hashes(lines, image, name)]
    for line in lines:
        found += _line(line, image, name)
    return found


def _line(line: Line, image: Image, name: str) -> Iterator[Problem]:
    where = f"{name}:{line.number}"
    foreign = next((character for character in line.text if not character.isascii()), None)
    if foreign is not None:
        similar = _SIMILAR.get(foreign)
        yield Problem(
            "non-ascii",
            where,
            f"It contains the character U+{ord(foreign):04X}{f' in place of {similar}' if similar else ''}.",
            "Retype it in ASCII.",
        )
        return
    if line.text.endswith("\\"):
        yield Problem(
            "space-after-backslash",
            where,
            "A space or a comment follows the backslash, so the next line is not joined to this one.",
            "End the line with the backslash.",
        )
        return
    yield from _variables(line, where)
    yield from _credentials(line, where)
    if line.kind is Kind.INVALID:
        # Whatever the variables contain, and if they are empty.
        filled = (VARIABLE.sub(word, line.text) for word in ("1", ""))
        if all(parse_line(line.number, text).kind is Kind.INVALID for text in filled):
            yield _invalid(line, where)
    elif image.target.is_wanted(line) or VARIABLE.search(str(line.marker)):
        yield from _asked(line, image, where)
    else:
        yield Problem(
            "marker-false",
            where,
            f"Its marker ({line.marker}) is false on the image, which has Python {image.target.python} on Linux "
            "x86_64: pip skips it silently.",
            "Correct the marker, or remove the line.",
            Severity.WARNING,
        )
    for option, value in line.settings:
        yield from _option(option, value, image, where)
    if line.kind not in (Kind.OPTIONS, Kind.INVALID):
        for option, _ in line.options:
            if option not in _BESIDE_A_REQUIREMENT:
                yield Problem(
                    "ignored-option",
                    where,
                    f"pip ignores --{option} on the line of a requirement.",
                    "Write it on its own line.",
                    Severity.WARNING,
                )


def _asked(line: Line, image: Image, where: str) -> Iterator[Problem]:
    if line.kind is Kind.NAME:
        yield from _named(line, image, where)
    elif line.kind is Kind.EDITABLE:
        sources = "a clone of the repository" if "+" in line.address.partition(":")[0] else "a folder of sources"
        yield Problem(
            "editable",
            where,
            f"{masked_address(line.address)} would be installed from {sources}, which an environment does not have.",
            f"Build a wheel of it, put the wheel into plugins.zip, and write {PLUGINS_FOLDER}/NAME.whl.",
        )
    elif line.kind is Kind.VERSION_CONTROL:
        yield Problem(
            "version-control",
            where,
            f"{masked_address(line.address)} is a repository: "
            + ("a private web server reaches none." if image.is_private else "the image may not have git."),
            f"Build a wheel of it, put the wheel into plugins.zip, and write {PLUGINS_FOLDER}/NAME.whl.",
            Severity.ERROR if image.is_private else Severity.WARNING,
        )
    elif line.kind in (Kind.URL, Kind.PATH):
        yield from _archive(line, image, where)


def _insecure(lines: Iterable[Line], name: str) -> Iterator[Problem]:
    trusted = {value for line in lines for option, value in line.settings if option == "trusted-host"}
    for line in lines:
        for option, value in line.settings:
            host = urlsplit(value).netloc.rpartition("@")[2] if value.lower().startswith("http://") else ""
            name_only = host.partition(":")[0]
            is_here = name_only == "localhost" or name_only.startswith("127.") or host.startswith("[::1]")
            if option in (*_INDEXES, "find-links") and host and not is_here and not {host, name_only} & trusted:
                yield Problem(
                    "insecure-index",
                    f"{name}:{line.number}",
                    f"pip ignores {masked_address(value)[:200]}, because it does not use HTTPS.",
                    "Write https://.",
                )


def _variables(line: Line, where: str) -> Iterator[Problem]:
    match = VARIABLE.search(line.text)
    if match:
        yield Problem(
            "variable",
            where,
            f"{match[0][:60]} is replaced in the environment, so the line is not checked here.",
            "Set it in a startup script, or with a configuration option: foo.user is AIRFLOW__FOO__USER.",
            Severity.WARNING,
        )


def _credentials(line: Line, where: str) -> Iterator[Problem]:
    for address in dict.fromkeys((line.address, *(value for _, value in line.options))):
        # A user of SSH, such as git, needs a key, and is not a secret.
        is_ssh = "ssh://" in address
        user = user_of(address)
        if VARIABLE.sub("", user).strip(":") and not (":" not in user and (is_ssh or user == "git")):
            yield Problem(
                "credentials-in-url",
                where,
                f"{masked_address(address)} contains a user name or password: everyone who may read the bucket or "
                "pip's log sees it.",
                "Write ${AIRFLOW__FOO__USER}:${AIRFLOW__FOO__PASS}, and set the options foo.user and foo.pass.",
                Severity.WARNING,
            )


def _invalid(line: Line, where: str) -> Problem:
    option = line.error.rpartition(" ")[2]
    if line.error.startswith("no such option"):
        # But not one that means the opposite.
        names = [name for name in OPTION_NAMES if name.startswith("--no") == option.startswith("--no")]
        near = difflib.get_close_matches(option, names, n=1, cutoff=_NEAR)
        return Problem(
            "unknown-option",
            where,
            f"pip has no option {option} in a requirements file.",
            f"Write {near[0]}, or remove it." if near else "Remove it.",
        )
    if not line.asked or (line.text != line.asked and not line.options):
        return Problem("bad-option", where, f"The option cannot be parsed: {line.error}.", "Correct it.")
    shown = masked_line(line.asked)
    if "#" in line.asked and " #" not in line.asked:
        return Problem(
            "comment-glued",
            where,
            f"{shown[:60]!r} has a # without a space before it, so it is not a comment.",
            "Insert a space before the #.",
        )
    words = line.asked.split()
    if words[0] in ("pip", "pip3", "python", "python3", "uv", "conda"):
        return Problem("shell-command", where, f"{shown[:60]!r} is a command.", "Write only the packages.")
    if line.asked[0] in "'\"":
        fix = "Remove the quotes, which belong to a shell."
    elif line.error == BAD_MARKER:
        fix = "Correct its marker: strings are compared with == and !=."
    elif "${" in line.asked and not VARIABLE.search(line.asked):
        fix = "Write the variable in capitals: pip replaces no other."
    elif "=" in line.asked and shown == line.asked and not any(sign in line.asked for sign in _NOT_ONE_SIGN):
        fix = f"Write {line.asked.replace('=', '==', 1)[:60]}."
    else:
        fix = "Write name==version, one per line."
    return Problem("not-a-requirement", where, f"{shown[:60]!r} is not a requirement that pip can parse.", fix)


def _named(line: Line, image: Image, where: str) -> Iterator[Problem]:
    assert line.requirement is not None
    name, specifier = normalized(line.requirement.name), line.requirement.specifier
    essential = image.essential.get(name)
    if name == "apache-airflow" and not specifier.contains(str(essential), prereleases=True):
        yield Problem(
            "another-airflow",
            where,
            f"apache-airflow{specifier} is not the environment's {essential}, which requirements cannot change.",
            f"Write {pinned_line(line, str(essential))}, or remove the line.",
        )
    elif essential is not None and not specifier.contains(essential, prereleases=True):
        yield Problem(
            "essential-pin",
            where,
            f"{name}{specifier} is not {essential}, which MWAA needs and never lets requirements change.",
            f"Write {pinned_line(line, essential)}, or remove the line.",
        )
    elif not pinned_version(line) and not (image.has_its_pins and name in image.pins) and not essential:
        yield Problem(
            "unpinned",
            where,
            f"{name} has no exact version: each start of a container may install a different one.",
            "Pin it: name==version.",
            Severity.WARNING,
        )


def _archive(line: Line, image: Image, where: str) -> Iterator[Problem]:
    place = line.address
    is_local = line.kind is Kind.PATH
    path = unquote(urlsplit(place).path) if place.lower().startswith("file:") else place
    if is_local and not path.startswith(f"{HOME}/"):
        yield Problem(
            "local-path",
            where,
            f"{masked_address(place)[:100]} is a path on another machine, which no environment has.",
            f"Put the file into plugins.zip, and write {PLUGINS_FOLDER}/{path.replace(chr(92), '/').rpartition('/')[2]}"
            f"{extras_of(line)}.",
        )
    elif not is_local and image.is_private:
        yield _needs_network(masked_address(place), where)
    file_name = unquote((path if is_local else urlsplit(place).path).replace("\\", "/").rpartition("/")[2])
    if not file_name.endswith(".whl"):
        return
    try:
        _, _, _, tags = parse_wheel_filename(file_name)
    except InvalidWheelFilename:
        yield Problem(
            "wheel-name", where, f"{file_name} is not a valid wheel name: pip refuses it.", "Restore its original name."
        )
        return
    if image.target.rank(file_name) is not None:
        return
    for_platform = any(tag.platform == known.platform for tag in tags for known in image.target.ranks)
    if for_platform:
        yield Problem(
            "wheel-for-another-python",
            where,
            f"{file_name} is not for the image's Python {image.target.python}.",
            f"Use the wheel for cp{image.target.python.replace('.', '')}.",
        )
    else:
        yield Problem(
            "wheel-for-another-platform",
            where,
            f"{file_name} is not for the image's platform, Linux on x86_64 with glibc 2.34.",
            "Use the wheel for manylinux x86_64.",
        )


def _option(option: str, value: str, image: Image, where: str) -> Iterator[Problem]:
    path = _local_path(value)
    if option == "requirement":
        yield _included(value, image, where)
    elif option == "constraint":
        yield from _constraint(value, image, where)
    elif option == "trusted-host":
        yield Problem(
            "trusted-host",
            where,
            f"pip would not check the certificate of {value}: anyone on the way could serve it other packages.",
            "Remove it, and use a certificate of a known authority on the host.",
            Severity.WARNING,
        )
    elif option in _INDEXES or option == "find-links":
        if path is None:
            if image.is_private:
                yield _needs_network(masked_address(value), where)
        elif not VARIABLE.search(value) and not path.startswith(f"{HOME}/"):
            yield Problem(
                "local-path",
                where,
                f"{masked_address(value)[:100]} is a path on another machine, which no environment has.",
                f"Put the files into plugins.zip, and write {PLUGINS_FOLDER}.",
            )


def _local_path(value: str) -> str | None:
    """Return the path that an option names, or None for an address of another machine."""
    if value.lower().startswith("file:"):
        return unquote(urlsplit(value).path)
    return None if "://" in value else value


def _included(value: str, image: Image, where: str) -> Problem:
    path, shown = _local_path(value), masked_address(value)[:200]
    if path is None and image.is_private:
        return _needs_network(shown, where)
    if path is None or path.startswith(f"{HOME}/"):
        reason = "pip reads it in the environment" if path is None else "it is in the environment only"
        return Problem(
            "not-here", where, f"{shown} cannot be checked: {reason}.", "Write its lines here.", Severity.WARNING
        )
    return Problem(
        "includes-file",
        where,
        f"{shown} is not uploaded with this file, so pip does not find it.",
        "Write its lines here.",
    )


def _constraint(value: str, image: Image, where: str) -> Iterator[Problem]:
    path = _local_path(value)
    if path is not None:
        if not path.startswith(f"{HOME}/"):
            yield Problem(
                "local-path",
                where,
                f"{masked_address(value)[:100]} is a path on another machine, which no environment has.",
                f"Upload it to the DAG folder, and write {HOME}/dags/{path.rpartition('/')[2]}.",
            )
        return
    if image.is_private:
        yield _needs_network(masked_address(value), where)
    named = constraints_of(value)
    if named is None:
        return
    airflow, python = named
    url = constraints_url(image.target)
    is_near = airflow.rpartition(".")[0] == image.target.airflow_version.rpartition(".")[0]
    if airflow != image.target.airflow_version:
        yield Problem(
            "constraints-of-another-airflow",
            where,
            f"The constraints are those of Airflow {airflow}, but the image has {image.target.airflow_version}.",
            f"Write --constraint {url}.",
            Severity.WARNING if is_near else Severity.ERROR,
        )
    elif python != image.target.python:
        yield Problem(
            "constraints-of-another-python",
            where,
            f"The constraints are those of Python {python}, but the image has {image.target.python}.",
            f"Write --constraint {url}.",
        )


def constraints_of(address: str) -> tuple[str, str] | None:
    """Return the versions of Airflow and Python in an address of Airflow's constraints; None for another address."""
    parts = urlsplit(address).path.split("/")
    if len(parts) < 2 or not parts[-1].startswith("constraints-") or not parts[-2].startswith("constraints-"):
        return None
    kind_and_python = parts[-1].removeprefix("constraints-").removesuffix(".txt")
    # constraints-no-providers-3.12.txt and constraints-source-providers-3.12.txt exist as well.
    return parts[-2].removeprefix("constraints-"), kind_and_python.rpartition("-")[2]


def is_the_images(address: str, target: Target) -> bool:
    """Return whether an address is that of the constraints of the image."""
    return urlsplit(address).path == urlsplit(constraints_url(target)).path


def _needs_network(place: str, where: str) -> Problem:
    return Problem(
        "needs-network",
        where,
        f"A private web server cannot reach {place[:200]}.",
        f"Put the wheels into plugins.zip (--offline), and write --find-links {PLUGINS_FOLDER} and --no-index.",
    )


def _switched_off(text: str, image: Image, name: str) -> Iterator[Problem]:
    numbers = [number for number, line in enumerate(text.splitlines(), 1) if commented(line)]
    if image.regime is Regime.NONE and numbers:
        yield Problem(
            "constraints-switched-off",
            f"{name}:{numbers[0]}",
            "The constraint option in this comment switches off the image's own constraints.",
            "Remove the comment, unless this is intended.",
            Severity.WARNING,
        )


def _whole_file(lines: Sequence[Line], image: Image, name: str) -> Iterator[Problem]:
    options = {option: line for line in lines for option, _ in line.settings}
    named = [line for line in lines if line.kind is Kind.NAME]
    if "constraint" in options and image.regime is Regime.IMAGE:
        yield Problem(
            "constraint-form",
            f"{name}:{options['constraint'].number}",
            "The image looks for --constraint followed by a space. Without it, it applies its own constraints as well.",
            "Replace the equals sign by a space.",
            Severity.WARNING,
        )
    if not lines or not named:
        return
    if image.target.airflow_version == "2.8.1" and image.regime is Regime.IMAGE:
        yield Problem(
            "no-constraint-line",
            f"{name}:1",
            "It names no constraints. The user guide requires them for Airflow 2.7.2 and later.",
            f"Begin with --constraint {constraints_url(image.target)}.",
            Severity.WARNING,
        )
    if "no-index" in options and "find-links" not in options:
        yield Problem(
            "nowhere-to-look",
            f"{name}:{options['no-index'].number}",
            "With --no-index alone, pip has nowhere to look for packages.",
            f"Add --find-links {PLUGINS_FOLDER}.",
        )
    if image.is_private and "no-index" not in options:
        yield Problem(
            "no-index-missing",
            f"{name}:{named[0].number}",
            "A private web server reaches no package index, but pip would ask one for each package.",
            f"Put the wheels into plugins.zip (--offline), and write --find-links {PLUGINS_FOLDER} and --no-index.",
        )


def wants_hashes(lines: Iterable[Line]) -> int:
    """Return the number of the first line that makes pip require hashes for everything; 0 if there is none."""
    lines = tuple(lines)
    if _first_with("no-require-hashes", lines):
        return 0
    hashed = next((line.number for line in lines if line.values("hash")), 0)
    return hashed or _first_with("require-hashes", lines)


def _first_with(option: str, lines: Iterable[Line]) -> int:
    return next((line.number for line in lines if any(name == option for name, _ in line.settings)), 0)


def _hashes(lines: Sequence[Line], image: Image, name: str) -> Iterator[Problem]:
    both = _first_with("require-hashes", lines), _first_with("no-require-hashes", lines)
    if all(both):
        yield Problem(
            "bad-option",
            f"{name}:{max(both)}",
            "pip refuses --require-hashes and --no-require-hashes in one file.",
            "Remove one of them.",
        )
    for line in lines if wants_hashes(lines) else ():
        is_asked = line.asked and line.kind is not Kind.INVALID and image.target.is_wanted(line)
        if is_asked and not line.hashes:
            yield Problem(
                "hashes-on-some",
                f"{name}:{line.number}",
                "Other lines have hashes, but this one has none: pip requires all or none.",
                WRITE_HASHES,
            )


def _repeated(lines: Iterable[Line], image: Image, name: str) -> Iterator[Problem]:
    by_name: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.requirement is not None and image.target.is_wanted(line):
            by_name[normalized(line.requirement.name)].append(line)
    for package, same in by_name.items():
        first = same[0]
        for line in same[1:]:
            if _differ(pinned_version(first), pinned_version(line)):
                yield Problem(
                    "two-versions",
                    f"{name}:{line.number}",
                    f"{package} is {pinned_version(line)} here and {pinned_version(first)} in line {first.number}.",
                    "Remove one of the lines.",
                )
            else:
                yield Problem(
                    "repeated",
                    f"{name}:{line.number}",
                    f"{package} is also in line {first.number}.",
                    "Merge the lines.",
                    Severity.WARNING,
                )


def _differ(first: str | None, second: str | None) -> bool:
    try:
        return first is not None and second is not None and Version(first) != Version(second)
    except InvalidVersion:
        return first != second


def pinned_line(line: Line, version: str) -> str:
    """Return a line for one version of the same package, with its extras and marker."""
    return _with(line, f"=={version}")


def at_address(line: Line, address: str) -> str:
    """Return a line for the same package at an address, with its extras and marker."""
    return _with(line, f" @ {address} ").strip()


def extras_of(line: Line) -> str:
    """Return the extras of a line, in brackets; an empty string if it has none."""
    return f"[{','.join(sorted(line.extras))}]" if line.extras else ""


def _with(line: Line, which: str) -> str:
    assert line.requirement is not None
    marker = f"; {line.requirement.marker}" if line.requirement.marker else ""
    return f"{line.requirement.name}{extras_of(line)}{which}{marker}"
